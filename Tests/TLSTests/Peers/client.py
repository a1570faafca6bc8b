"""TLS clients, led step by step: client.py CAFILE

Reads a step a line from standard input and prints its result as one JSON object a line. Each client has a
name. It is a tool of the tests: it does what no decent client does.

  tcp NAME ADDRESS          connects (HOST:PORT or unix:PATH), and no more
  tls NAME ADDRESS          connects and shakes hands, the certificate verified
  send NAME TEXT            sends the text (with Python's escapes)
  flood NAME COUNT TEXT     sends the text COUNT times, reading nothing, until it is all gone or refused
  drip NAME TEXT            sends the text every 50 ms until the server closes; says how long after connecting that was
  receive NAME              one response: status, headers, body
  count NAME COUNT          takes COUNT responses; says how many had status 200
  end NAME                  waits for the end; whether the server said goodbye (close_notify), and what came
  close NAME
"""
import json, socket, ssl, sys, time

context = ssl.create_default_context(cafile=sys.argv[1])
clients = {}


class Client:
    def __init__(self, address):
        self.began = time.monotonic()
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(20)
            self.socket.connect(address[5:])
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=20)
        self.rest = b""

    def shake_hands(self):
        self.socket = context.wrap_socket(
            self.socket, server_hostname="localhost", suppress_ragged_eofs=False)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("it ended, and said so")
        self.rest += data

    def response(self):
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        length = int(headers["content-length"])
        while len(self.rest) < length:
            self.more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return {"status": int(lines[0].split()[1]), "headers": headers, "body": body.decode()}


def text(words):
    return " ".join(words).encode().decode("unicode_escape").encode("latin-1")


def step(verb, name, *words):
    if verb == "tcp" or verb == "tls":
        clients[name] = Client(words[0])
        if verb == "tls":
            clients[name].shake_hands()
        return {"version": clients[name].socket.version() if verb == "tls" else None}
    client = clients[name]
    if verb == "send":
        client.socket.sendall(text(words))
    elif verb == "flood":
        data = text(words[1:])
        client.socket.settimeout(1)
        sent = 0
        try:
            for sent in range(int(words[0])):
                client.socket.sendall(data)
        except (OSError, ssl.SSLError) as error:
            return {"stuck": isinstance(error, TimeoutError), "sent": sent}
        finally:
            client.socket.settimeout(20)
        return {"stuck": False, "sent": sent + 1}
    elif verb == "drip":
        data, start = text(words), client.began
        client.socket.settimeout(0.05)
        while time.monotonic() - start < 20:
            try:
                client.socket.sendall(data)
                if not client.socket.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        return {"seconds": time.monotonic() - start}
    elif verb == "receive":
        return client.response()
    elif verb == "count":
        return {"ok": [client.response()["status"] for _ in range(int(words[0]))].count(200)}
    elif verb == "end":
        try:
            while True:
                client.more()
        except EOFError:
            return {"goodbye": True, "data": client.rest.decode("latin-1")}
        except OSError as error:
            return {"goodbye": False, "data": client.rest.decode("latin-1"), "error": type(error).__name__}
    elif verb == "close":
        client.socket.close()
    return {}


for line in sys.stdin:
    try:
        result = step(*line.rstrip("\n").split(" "))
    except Exception as error:
        result = {"error": type(error).__name__ + ": " + str(error)}
    print(json.dumps(result), flush=True)
