"""Makes one TLS handshake after the other until its input ends: handshakes.py HOST:PORT TRUSTED

Prints "started" after the first one, and at the end one JSON object: how many there were, how many failed and why, and
how many different certificates were seen. A handshake fails if certificate and key do not match.
"""
import hashlib, json, select, socket, ssl, sys

host, port = sys.argv[1].split(":")
context = ssl.create_default_context(cafile=sys.argv[2])
made, failures, certificates = 0, [], set()
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        with socket.create_connection((host, int(port)), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                certificates.add(hashlib.sha256(stream.getpeercert(True)).hexdigest())
    except OSError as error:
        failures.append(str(error))
    made += 1
    if made == 1:
        print("started", flush=True)
print(json.dumps({"made": made, "failed": len(failures), "why": failures[:3], "certificates": len(certificates)}))
