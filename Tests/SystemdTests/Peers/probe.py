"""probe.py: what a broker that was taken over would try, from where it runs.

Prints a line for each attempt: "done", or the name of the error that stopped it, and what it was. Attempts that would
change the process itself are made last: where it could execute something, the lines after that are missing. Nothing is
changed for good where they succeed.
"""

import ctypes
import errno
import mmap
import os
import platform
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
# By number, as glibc has no name for some: x86-64, and the numbers of the newer architectures.
CALLS = {
    "ptrace": 101 if X86 else 117,
    "process_vm_readv": 310 if X86 else 270,
    "open_by_handle_at": 304 if X86 else 265,
    "mount": 165 if X86 else 40,
    "unshare": 272 if X86 else 97,
    "setuid": 105 if X86 else 146,
    "bpf": 321 if X86 else 280,
    "init_module": 175 if X86 else 105,
    "keyctl": 250 if X86 else 219,
    "personality": 135 if X86 else 92,
    "settimeofday": 164 if X86 else 170,
    "chroot": 161 if X86 else 51,
    "io_uring_setup": 425,
}


def call(name, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(CALLS[name], *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def write_to(path):
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def create(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)


def read(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.read(descriptor, 1)
    finally:
        os.close(descriptor)


def listing(path):
    if not os.listdir(path):
        raise OSError(errno.ENOENT, "empty")


def open_socket(family, kind):
    socket.socket(family, kind).close()


def writable_and_executable():
    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def execute(path):
    # In its own stead: where that succeeds there is no report.
    os.execv(path, [path])


def execute_copy(descriptor):
    with open("/bin/true", "rb") as program:
        os.write(descriptor, program.read())
    # Open for writing it could not be executed.
    path = f"/proc/self/fd/{os.open(f'/proc/self/fd/{descriptor}', os.O_RDONLY)}"
    os.close(descriptor)
    execute(path)


ATTEMPTS = {
    # What it may, so that the rest means something.
    "read the key": lambda: read("/etc/ssl/private/web.pem"),
    "write to its log": lambda: write_to("/var/log/keybroker/audit.jsonl"),
    "read its callers' units": lambda: read("/proc/1/cgroup"),
    # Files.
    "write to the policy": lambda: write_to("/etc/keybroker/keybroker.policy"),
    "add a policy": lambda: create("/etc/keybroker/policy.d/evil.policy"),
    "chmod the policy": lambda: os.chmod("/etc/keybroker/keybroker.policy", 0o644),
    "write to the key": lambda: write_to("/etc/ssl/private/web.pem"),
    "remove the key": lambda: os.rename("/etc/ssl/private/web.pem", "/etc/ssl/private/web.pem"),
    "create in /etc": lambda: create("/etc/keybroker-probe"),
    "replace itself": lambda: write_to("/usr/sbin/keybrokerd"),
    "put up another socket": lambda: create("/run/keybroker/probe"),
    "write to a cgroup": lambda: write_to("/sys/fs/cgroup/cgroup.procs"),
    "set a kernel parameter": lambda: write_to("/proc/sys/kernel/core_pattern"),
    "make a file set-id": lambda: os.chmod("/var/log/keybroker/audit.jsonl", 0o4640),
    "see /home": lambda: read("/home/probe"),
    "see /root": lambda: read(os.path.join("/root", ".probe")),
    "see the machine's /tmp": lambda: read("/tmp/probe"),
    "read the kernel's log": lambda: read("/dev/kmsg"),
    "read another's memory": lambda: read("/proc/1/mem"),
    # Processes.
    "make its one child": fork,
    "signal PID 1": lambda: os.kill(1, 0),
    "ptrace PID 1": lambda: call("ptrace", 0x4206, 1, 0, 0),  # PTRACE_SEIZE, which does not stop it
    "read PID 1's memory": lambda: call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
    "make memory to write and execute": writable_and_executable,
    "change the execution domain": lambda: call("personality", 0x0400000),
    # The kernel.
    "leave the mount namespace": lambda: call("open_by_handle_at", -100, 0, 0),
    "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, 0),
    "load a BPF program": lambda: call("bpf", 5, 0, 0),
    "load a module": lambda: call("init_module", 0, 0, b""),
    "make an io_uring": lambda: call("io_uring_setup", 0, 0),
    "set the clock": lambda: call("settimeofday", 0, 0),
    "chroot": lambda: call("chroot", b"/"),
    "become root": lambda: call("setuid", 0),
    # The network.
    "open an IPv4 socket": lambda: open_socket(socket.AF_INET, socket.SOCK_STREAM),
    "open an IPv6 socket": lambda: open_socket(socket.AF_INET6, socket.SOCK_DGRAM),
    "open a packet socket": lambda: open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": lambda: open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "open a vsock": lambda: open_socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    # Which would change what it is.
    "make a user namespace": lambda: call("unshare", 0x10000000),
    "make a mount namespace": lambda: call("unshare", 0x00020000),
    # Other programs.
    "execute a shell": lambda: execute("/bin/sh"),
    "execute systemctl": lambda: execute("/usr/bin/systemctl"),
    "execute what it wrote": lambda: execute_copy(os.open("/var/log/keybroker/probe", os.O_RDWR | os.O_CREAT, 0o700)),
    "execute what lies nowhere": lambda: execute_copy(os.memfd_create("probe", 0)),
}

for name, attempt in ATTEMPTS.items():
    if name.startswith("execute") and "--no-exec" in sys.argv:
        continue
    try:
        attempt()
        result = "done"
    except OSError as error:
        result = errno.errorcode.get(error.errno, str(error))
    print(result, name, flush=True)
