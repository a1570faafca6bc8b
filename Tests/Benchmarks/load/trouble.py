"""The cases in which something else happens meanwhile: a boot, a hostile user, a reload.

Must never judge a client by another run than the quiet one of the same round.
"""
import os, signal, subprocess, threading, time

from cases import load, rounds, run
from servers import GOOD, HOSTILE, has_pidfd_info, is_there, policy

STRANGER = 61003
TRICKS = ["connections", "requests", "unread", "descriptors", "malformed", "half-closed", "watches"]


def storm(bench):
    """10,000 processes of 1000 uids ask for their key at the same moment. The daemon has the limits that it ships with."""
    processes, uids, first = (2000, 200, 62000) if bench.quick else (10_000, 1000, 62000)
    place = bench.place("storm", 10)
    text = policy(place.keys, 10, range(first, first + uids))
    servers = [place.daemon("keybroker", sync="never", text=text, connections=None),
               place.daemon("keybroker, sync", sync="always", text=text, connections=None),
               place.floor("floor", *(["-i"] if has_pidfd_info() else [])), place.floor("floor, sync", "-f"), place.tcp()]
    if is_there("s6-fdholder-daemon"):
        servers.append(place.s6())
    case = f"boot storm, {processes} processes of {uids} users; times are from the start of the storm"
    rounds(bench, case, servers, lambda server: run(
        [bench.programs + "/storm", "-k", server.protocol, "-a", server.address, "-p", str(server.pid), "-c",
         str(processes), "-u", str(first), "-U", str(uids), "-K", "10"]))
    busy = bench.results.median(case, "keybroker", "busy")
    bench.results.note(f"{case}: the daemon told {busy:.0f} of them to ask again; the last one had its key after " + ", ".join(
        f"{bench.results.median(case, server.name, 'max') / 1e6:.2f} s ({server.name})" for server in servers))
    place.stop()


def hostile(bench):
    """Another user's requests while one floods. Both are named by the policy, or the hostile one is a stranger."""
    place = bench.place("hostile", 10)
    text = (f"key k0 {place.keys}/k0\nkey k1 {place.keys}/k1\npermit {GOOD} key k0\npermit {HOSTILE} key k1\n"
            f"limit {GOOD} connections 64 requests 1000000\n")
    daemon = place.daemon("keybroker", sync="always", text=text, connections=None, has_mounts=True)
    kinds = [("a permitted user", HOSTILE)] + ([] if bench.quick else [("a stranger", STRANGER)])
    shapes = [("connect+get", [])] + ([] if bench.quick else [("open connection", ["-o"])])
    runs = [("spin", "the machine, not the daemon", HOSTILE)] + [
        (trick, kind, uid) for kind, uid in kinds for trick in TRICKS] + [
        ("mounts", "anybody with fusermount3", 0)]
    os.mkdir(place.keys + ".mounts")
    found = {}
    seconds = "0.5" if bench.quick else "2"
    for number in range(1 if bench.quick else bench.rounds):
        for shape, options in shapes:
            def good():
                return load(bench, daemon, "-c", "16", "-r", "500", "-s", seconds, *options)

            quiet = good()
            found.setdefault((shape, "quiet", ""), []).append((quiet["p50"], quiet["p99"], 1, 1, 0, 0))
            turn = number * 3 % len(runs)
            for trick, kind, uid in runs[turn:] + runs[:turn]:
                flood = subprocess.Popen(
                    [bench.programs + "/mounts", "-p", str(daemon.pid), "-d", place.keys + ".mounts"]
                    if trick == "mounts" else
                    [bench.programs + "/hostile", "-a", daemon.address, "-m", trick, "-u", str(uid), "-K", "1", "-s",
                     "3600", "-t", str(bench.threads)], stdout=subprocess.DEVNULL)
                try:
                    time.sleep(0.5)
                    began, before = time.monotonic(), os.stat(daemon.log).st_size
                    values = good()
                    grown = others_bytes(daemon.log, before) / (time.monotonic() - began)
                finally:
                    flood.kill()
                    flood.wait()
                found.setdefault((shape, trick, kind), []).append(
                    (values["p50"], values["p99"], values["p50"] / quiet["p50"], values["p99"] / quiet["p99"],
                     grown / 1024, values["busy"]))
                # What it left is looked at by the daemon's timers.
                time.sleep(0.3)
    print(f"a good user, 500 requests a second, while another user floods with {bench.threads} thread(s)")
    print(f"  {'':56}{'p50 us':>9} {'p99 us':>9}  x quiet p50, p99   log KiB/s  refused")
    for (shape, trick, kind), values in found.items():
        middle = [sorted(column)[len(column) // 2] for column in zip(*values)]
        name = f"{shape}, {trick}" + (f" by {kind}" if kind else "")
        print(f"  {name:56}{middle[0]:9.1f} {middle[1]:9.1f}  {middle[2]:8.2f} {middle[3]:8.2f}  {middle[4]:9.1f}"
              f"  {middle[5]:6.0f}")
        if kind and trick != "spin":
            bench.results.must_all(f"a good user's {name}", [
                ("times the quiet p50", middle[2], 2), ("times the quiet p99", middle[3], 3),
                ("KiB/s of log", middle[4], 20)])
    print(flush=True)
    place.stop()


def others_bytes(path, offset):
    """The bytes of the records since the offset that are not about the good user."""
    with open(path, "rb") as file:
        file.seek(offset)
        return sum(len(line) for line in file if b'"uid":%d,' % GOOD not in line)


def reload(bench):
    """A policy of 100,000 keys and 200,000 lines that permit one of them: the start with it, and reloads under load."""
    number = 10_000 if bench.quick else 100_000
    place = bench.place("reload", number)
    text = policy(place.keys, number, ()) + "".join(
        f"permit {uid} key k{index}\n" for uid in (GOOD, HOSTILE) for index in range(number))
    starts, sizes, all_sizes, waits, seconds = [], [], [], [], []
    for _ in range(bench.rounds):
        daemon = place.daemon("keybroker", text=text)
        starts.append(daemon.started)
        sizes.append(daemon.status("VmRSS") / 1024)
        all_sizes.append(daemon.with_children() / 1024)
        # Long enough for a reload to end in it.
        seconds_each = str(max(1 if bench.quick else 3, 3 * daemon.started))
        options = ["-c", "16", "-r", "1000", "-o", "-K", str(number), "-s", seconds_each]
        quiet = load(bench, daemon, *options)
        over, done = threading.Event(), []
        reloader = threading.Thread(target=reload_again, args=(daemon, over, done))
        reloader.start()
        try:
            busy = load(bench, daemon, *options)
        finally:
            over.set()
            reloader.join()
        waits.append((busy["max"] - quiet["max"]) / 1000)
        seconds += done
        peak, resident = daemon.status("VmHWM") / 1024, daemon.status("VmRSS") / 1024
        place.stop()
        subprocess.run(["rm", "-rf", place.path("keybroker") + ".log", place.path("keybroker")], check=True)
    print(f"reload: {number} keys, {2 * number} permits")
    print(f"  started in {min(starts):.2f} to {max(starts):.2f} s, with {max(sizes):.0f} MiB (with its children, "
          f"{max(all_sizes):.0f} MiB of their own); after reloads {resident:.0f} MiB, at most {peak:.0f} MiB")
    print(f"  {len(seconds)} reloads, each {min(seconds, default=0):.2f} to {max(seconds, default=0):.2f} s; the longest "
          f"wait was longer than the longest quiet one by {', '.join(f'{wait:.1f}' for wait in waits)} ms\n", flush=True)
    must = bench.results.must
    must(f"start with {number} keys", sorted(starts)[len(starts) // 2], most=0.5, unit=" s")
    must(f"memory with {number} keys", max(sizes), most=64, unit=" MiB")
    must(f"a reload of {number} keys holds a request up for", max(waits) if seconds else None, most=20, unit=" ms")


def reload_again(daemon, over, done):
    """Asks for a reload, waits for its record, and begins again."""
    with open(daemon.log, "rb") as log:
        log.seek(0, os.SEEK_END)
        rest = b""
        while not over.is_set():
            began = time.monotonic()
            daemon.process.send_signal(signal.SIGHUP)
            while time.monotonic() < began + 60:
                rest = rest[-40:] + log.read()
                if b'"event":"reload"' in rest:
                    rest = b""
                    done.append(time.monotonic() - began)
                    break
                time.sleep(0.005)
            over.wait(0.1)
