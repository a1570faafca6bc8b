"""The servers that are measured: how each is started, asked whether it serves, and ended.

Each has a log of its own on the same file system. They all run at the same time, and idle while another is measured.
Must never end a process that it did not start.
"""
import os, resource, socket, subprocess, sys, time

GOOD, HOSTILE, DAEMON = 61001, 61002, 61000
HERE = os.path.dirname(os.path.abspath(__file__))


def build(folder, sources):
    """Compiles the C programs into the folder."""
    for name, flags in sources.items():
        subprocess.run(
            ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", f"{folder}/{name}", f"{HERE}/{name}.c", *flags],
            check=True)


def write(path, text, mode=0o644):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def make_keys(folder, number):
    """Keys k0, k1, ... of the size of an RSA key in PEM."""
    os.makedirs(folder, exist_ok=True)
    for index in range(len(os.listdir(folder)), number):
        descriptor = os.open(f"{folder}/k{index}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, (f"{index:08d}" * 213).encode())
        os.close(descriptor)


def policy(keys, number, uids=(GOOD,), extra=""):
    lines = [f"key k{index} {keys}/k{index}" for index in range(number)]
    for uid in uids:
        for first in range(0, number, 100):
            lines.append(f"permit {uid} key " + " ".join(f"k{n}" for n in range(first, min(number, first + 100))))
    lines.append(f"limit {GOOD} connections 65536 requests 1000000 watches 65536")
    return "\n".join(lines) + "\n" + extra


class Server:
    """A server that runs. `protocol` and `address` are what `load` wants."""

    def __init__(self, name, protocol, address, command, log, quiet=True):
        self.name, self.protocol, self.address, self.log = name, protocol, address, log
        began = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None)
        self.pid = self.process.pid
        while not self.serves():
            if self.process.poll() is not None or time.monotonic() > began + 60:
                self.stop()
                sys.exit(f"{name} does not serve: {' '.join(command)}")
            time.sleep(0.001)
        self.started = time.monotonic() - began

    def serves(self):
        try:
            if self.protocol == "tcp":
                socket.create_connection(("127.0.0.1", int(self.address)), 1).close()
                return True
            kind = socket.SOCK_SEQPACKET if self.protocol == "kb" else socket.SOCK_STREAM
            with socket.socket(socket.AF_UNIX, kind) as connection:
                connection.settimeout(60)
                connection.connect(self.address)
                if self.protocol == "kb":
                    # Who listens may not serve yet. Whatever the reply is: it comes from the loop.
                    connection.send(b"1L" if "keybroker" in self.name else b"1Gk0")
                    return bool(connection.recv(4096))
            return True
        except OSError:
            return False

    def status(self, field):
        """A number of /proc/PID/status, in KiB for memory."""
        with open(f"/proc/{self.pid}/status") as file:
            return int(next(line.split()[1] for line in file if line.startswith(field + ":")))

    def with_children(self):
        """The memory of the process and its children in KiB; what several share counts once (Pss)."""
        pids = [self.pid]
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    if int(file.read().rsplit(")", 1)[1].split()[1]) == self.pid:
                        pids.append(int(name))
            except OSError:
                pass
        total = 0
        for pid in pids:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Place:
    """A temporary folder with keys, and the servers that use them."""

    def __init__(self, folder, programs, binaries, keys):
        self.folder, self.programs, self.binaries, self.number = folder, programs, binaries, keys
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        self.keys = folder + "/keys"
        make_keys(self.keys, keys)
        self.servers = {}

    def path(self, name):
        return f"{self.folder}/" + "".join(letter for letter in name if letter.isalnum())

    def add(self, server):
        self.servers[server.name] = server
        return server

    def daemon(self, name="keybroker", sync="never", text=None, connections=4096, has_mounts=False):
        """keybrokerd; with connections=None, and without limits in the text, it is as shipped. If it `has_mounts`, it
        has a mount namespace of its own."""
        run, log = self.path(name), self.path(name) + ".log"
        os.makedirs(log)
        os.chown(log, DAEMON, DAEMON)
        write(run + ".policy", text or policy(self.keys, self.number))
        command = [
            self.binaries + "/keybrokerd", "--policy", run + ".policy", "--socket", run + "/s", "--socket-mode", "0666",
            "--socket-group", "0", "--audit", log + "/audit.jsonl", "--audit-sync", sync, "--user", str(DAEMON)]
        if has_mounts:
            command = ["unshare", "--mount", "--propagation", "private", *command]
        if connections:
            # Each connection can need three descriptors.
            most = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500) // 3
            command += ["--max-connections", str(min(connections, most))]
        return self.add(Server(name, "kb", run + "/s", command, log + "/audit.jsonl"))

    def floor(self, name="floor", *options):
        path, log = self.path(name), self.path(name) + ".log"
        return self.add(Server(
            name, "kb", path, [self.programs + "/floor", "-s", path, "-k", self.keys, "-l", log, *options], log))

    def tcp(self, name="tcp", *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        log = self.path(name) + ".log"
        return self.add(Server(
            name, "tcp", port, [self.programs + "/floor", "-T", port, "-k", self.keys, "-l", log, *options], log))

    def s6(self, name="s6"):
        """s6-fdholderd with rules that let anybody have any key: its rules are read for each connection. It
        takes at most 256 connections; others wait in the queue of its socket."""
        path, rules = self.path(name), self.path(name) + ".rules"
        environment = rules + "/uid/default/env"
        os.makedirs(environment)
        write(rules + "/uid/default/allow", "")
        for right in ("STORE", "RETRIEVE"):
            write(f"{environment}/S6_FDHOLDER_{right}_REGEX", "^k")
        server = self.add(Server(
            name, "s6", path,
            ["s6-fdholder-daemon", "-c", "256", "-n", "4000", "-t", "0", "-i", rules, path], None))
        subprocess.run(
            [self.programs + "/s6-client", "-a", path, "-S", self.keys, "-K", str(self.number)], check=True)
        return server

    def stop(self):
        for server in self.servers.values():
            server.stop()
        self.servers = {}


def is_there(program):
    return any(os.access(f"{folder}/{program}", os.X_OK) for folder in os.environ["PATH"].split(":"))


def has_pidfd_info():
    """PIDFD_GET_INFO came with Linux 6.13."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(c for c in minor if c.isdigit()))) >= (6, 13)
