"""The cases about memory: what a connection and a watch cost, and whether requests leave anything behind.

Each number is that of a server which was started for it: memory that was used before would hide the cost.
"""
import subprocess

from cases import run
from servers import GOOD, has_pidfd_info, is_there

KINDS = {"0": "idle connection", "G": "connection after a request", "W": "watch"}


def connections(bench):
    number = 500 if bench.quick else 3000
    print(f"resident memory for each of {number} connections (s6: 200), in bytes")
    floor = ["-i"] if has_pidfd_info() else []
    for request, kind in KINDS.items():
        place = bench.place(f"memory-{request}", 10)
        servers = [place.daemon()]
        if request != "W":
            servers.append(place.floor("floor", *floor))
            servers.append(place.tcp())
            if is_there("s6-fdholder-daemon"):
                servers.append(place.s6())
        line = []
        for server in servers:
            # It takes no more than 256 connections.
            many = 200 if server.protocol == "s6" else number
            hold(bench, server, request, 20, lambda: None)
            before = server.status("VmRSS")
            after = hold(bench, server, request, many, lambda: server.status("VmRSS"))
            line.append(f"{server.name} {(after - before) * 1024 / many:.0f}")
        print(f"  {kind:28}" + ", ".join(line), flush=True)
        place.stop()
    print()


def hold(bench, server, request, number, look):
    holder = subprocess.Popen(
        [bench.programs + "/load", "-k", server.protocol, "-a", server.address, "-u", str(GOOD), "-c", str(number), "-H",
         request], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "ready\n":
            raise SystemExit(f"{server.name} did not take {number} connections")
        return look()
    finally:
        holder.stdin.close()
        holder.wait()


def flat(bench):
    """Memory after a million requests, against that after the first hundred thousand."""
    first, rest = (10_000, 50_000) if bench.quick else (100_000, 1_000_000)
    place = bench.place("flat", 10)
    daemon = place.daemon()

    def ask(number):
        for shape in (["-c", "64", "-o"], ["-c", "64"]):
            run([bench.programs + "/load", "-k", "kb", "-a", daemon.address, "-u", str(GOOD), "-K", "10", "-n",
                 str(number // 2), *shape])

    ask(first)
    before = daemon.status("VmRSS")
    ask(rest)
    after = daemon.status("VmRSS")
    print(f"memory: {before} KiB after {first} requests, {after} KiB after {rest} more\n", flush=True)
    bench.results.must(f"memory grows within {rest} requests by", after - before, most=256, unit=" KiB")
    place.stop()
