"""The cases about speed: one client and many, with and without fdatasync, few keys and many, beside the other servers.

Must never measure two servers at the same time, nor one of them in other rounds than the others.
"""
import json, os, subprocess

from servers import GOOD, has_pidfd_info, is_there, policy

USERS = 1000

# How a case calls `load`.
SHAPES = {
    "connect+get": ["-c", "1"],
    "open connection": ["-c", "1", "-o"],
    "connect+get, 64 clients": ["-c", "64"],
    "open connection, 64 clients": ["-c", "64", "-o"],
    # Each of them is a user of its own.
    "connect+get, 1000 clients": ["-c", "1000", "-U", str(USERS)],
    "open connection, 1000 clients": ["-c", "1000", "-U", str(USERS), "-o"],
}


def load(bench, server, *arguments):
    command = [
        bench.programs + "/load", "-k", server.protocol, "-a", server.address, "-p", str(server.pid), "-u", str(GOOD),
        *arguments]
    return run(command)


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900)
    if result.returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return json.loads(result.stdout)


def rounds(bench, case, servers, measure):
    """Measures each server in each round, in an order that turns, and prints the table of the case."""
    for number in range(bench.rounds):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            bench.results.add(case, server.name, measure(server))
    print(bench.results.table(case) + "\n", flush=True)


class Library:
    """s6-fdholderd once more, asked by its own library."""

    def __init__(self, server):
        self.name, self.pid, self.address, self.protocol = "s6, own library", server.pid, server.address, None


def speed(bench):
    """connect+get and open connection, with 1, 64 and 1000 clients, without sync."""
    place = bench.place("speed", 10)
    everybody = policy(place.keys, 10, range(GOOD, GOOD + USERS), "limit each-user connections 64 requests 1000000\n")
    servers = [place.daemon(text=everybody), place.floor("floor, /proc")]
    if has_pidfd_info():
        servers.append(place.floor("floor", "-i"))
    else:
        servers[1].name = "floor"
    if is_there("s6-fdholder-daemon"):
        servers += [place.s6()]
        servers += [Library(servers[-1])]
    servers += [place.tcp()]
    for name, shape in SHAPES.items():
        clients = int(shape[1])
        if bench.quick and clients == 1000:
            continue

        def measure(server):
            if server.protocol is None:
                return run([bench.programs + "/s6-client", "-a", server.address, "-p", str(server.pid), "-u", str(GOOD),
                            "-s", bench.seconds, "-K", "10", *shape[2:]])
            return load(bench, server, "-s", bench.seconds, "-K", "10", *shape)

        # The library makes one request at a time.
        rounds(bench, name, [one for one in servers if clients == 1 or one.protocol], measure)
    place.stop()
    must, ratio = bench.results.must, bench.results.ratio
    for case, floor, s6 in (("connect+get", 0.9, 1.2), ("open connection", 0.8, 0.8)):
        must(f"{case}, part of the floor's rate", ratio(case, "keybroker", "floor", "rate"), least=floor)
        must(f"{case}, times the rate of s6-fdholderd with its own library",
             ratio(case, "keybroker", "s6, own library", "rate"), least=s6)
        must(f"{case}, times the rate of s6-fdholderd with the same client",
             ratio(case, "keybroker", "s6", "rate"), least=s6)


def tcp(bench):
    """The exchange at whose end the client has read the key, by a descriptor and over TCP loopback."""
    place = bench.place("tcp", 10)
    servers = [place.daemon(), place.floor("floor", *(["-i"] if has_pidfd_info() else [])),
               place.tcp(), place.tcp("tcp, uid asked", "-d")]
    for shape in ("connect+get", "open connection"):
        case = f"{shape}, and the key is read"
        rounds(bench, case, servers, lambda server: load(
            bench, server, "-s", bench.seconds, "-K", "10", "-b", *SHAPES[shape]))
        ratio = bench.results.ratio
        bench.results.note(
            f"{case}: the floor has {ratio(case, 'floor', 'tcp', 'rate'):.2f} times the rate of tcp, with "
            f"{ratio(case, 'floor', 'tcp', 'both_cpu'):.2f} of the CPU: the same work, without a policy and a chain")
        for other in ("tcp, uid asked", "tcp"):
            bench.results.must(f"{case}, times the rate of {other}", ratio(case, "keybroker", other, "rate"), least=2)
            bench.results.must(f"{case}, part of the CPU of client and server with {other}",
                               ratio(case, "keybroker", other, "both_cpu"), most=0.5)
    place.stop()


def durable(bench):
    """Each record is on disk before its key leaves."""
    place = bench.place("durable", 10)
    servers = [
        place.daemon("keybroker, sync", sync="always"),
        place.floor("floor, sync", "-f", *(["-i"] if has_pidfd_info() else []))]
    for shape in list(SHAPES)[:4]:
        case = f"{shape}, durable"

        def measure(server):
            # What others left to write is not this one's to wait for.
            os.sync()
            return load(bench, server, "-s", bench.seconds, "-K", "10", *SHAPES[shape])

        rounds(bench, case, servers, measure)
        ratio = bench.results.ratio(case, *(server.name for server in servers), "rate")
        if "64" not in shape:
            bench.results.must(f"{case}, part of the floor's rate", ratio, least=0.9)
        elif bench.results.median(case, servers[1].name, "rate") >= 10_000:
            bench.results.must(f"{case}, grants a second (the floor reaches 10000)",
                               bench.results.median(case, servers[0].name, "rate"), least=10_000)
        else:
            bench.results.must(f"{case}, part of the rate of the floor, which does not reach 10000 either", ratio,
                               least=0.9)
        if "64" in shape:
            counts = {server.name: grants_per_sync(bench, server, SHAPES[shape]) for server in servers}
            bench.results.note(f"{case}: grants for each fdatasync, counted by " + ", ".join(
                f"{how}: {name} {count:.1f}" for name, (how, count) in counts.items()))
            bench.results.must(f"{case}, grants for each fdatasync", counts[servers[0].name][1], least=32)
    place.stop()


def grants_per_sync(bench, server, shape):
    """Counted in a run of its own, without slowing the server: by the kernel's own counters."""
    command = [bench.programs + "/load", "-k", "kb", "-a", server.address, "-u", str(GOOD), "-K", "10", "-s", "1", *shape]
    before = os.stat(server.log).st_size
    writes = writes_of(server.pid)
    counter = ["perf", "stat", "-x,", "-e", "syscalls:sys_enter_fdatasync", "-p", str(server.pid), "--"]
    result = subprocess.run(counter + command, capture_output=True, text=True) if is_there("perf") else None
    if not result or result.returncode != 0:
        result = subprocess.run(command, check=True, capture_output=True, text=True)
    with open(server.log, "rb") as file:
        file.seek(before)
        records = file.read().count(b"\n")
    try:
        line = next(line for line in result.stderr.splitlines() if "fdatasync" in line)
        return "perf stat", records / max(1, int(line.split(",")[0]))
    except (StopIteration, ValueError):
        # Each commit is one write and one fdatasync; replies are no writes in this count.
        return "/proc/PID/io, one for each write", records / max(1, writes_of(server.pid) - writes)


def writes_of(pid):
    with open(f"/proc/{pid}/io") as file:
        return int(next(line.split()[1] for line in file if line.startswith("syscw")))


def keys(bench):
    """A policy of 10, 1000 and 100,000 keys, asked for at random."""
    for number in (10, 1000) if bench.quick else (10, 1000, 100_000):
        place = bench.place(f"keys-{number}", number)
        servers = [place.daemon(), place.floor("floor", *(["-i"] if has_pidfd_info() else [])), place.tcp()]
        # It holds an open descriptor for each.
        if number <= 1000 and is_there("s6-fdholder-daemon"):
            servers.append(place.s6())
        for shape in ("connect+get", "open connection"):
            rounds(bench, f"{shape}, {number} keys", servers, lambda server: load(
                bench, server, "-s", bench.seconds, "-K", str(number), *SHAPES[shape]))
        place.stop()
