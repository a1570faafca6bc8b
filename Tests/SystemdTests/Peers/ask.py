"""Asks the broker as rudely as can be: ask.py COUNT PACKET

Calls itself what would be a field of the journal, sends PACKET (with Python's escapes) COUNT times on one connection,
and prints how often each status came.
"""
import collections, socket, sys

# As much as the kernel keeps of it.
with open("/proc/self/comm", "w") as comm:
    comm.write("x\nKEY=forged")
packet = sys.argv[2].encode().decode("unicode_escape").encode("latin-1")
broker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
broker.settimeout(20)
broker.connect("/run/keybroker/broker.sock")
came = collections.Counter()
for _ in range(int(sys.argv[1])):
    broker.send(packet)
    came[broker.recv(4096)[1:2].decode()] += 1
print(*sorted(came.items()))
