"""Network namespaces and mounts that nobody else sees, and that end with this process.

All of it is made by system calls on this process alone: no names in the system, no ip command, no
iptables. Each node has a namespace with one device, a TUN, whose packets a program of ours reads and
writes (switch.py); so have the clients, which are this process. The namespaces have no names: they
are gone with the last process in them, the devices and mounts with them, however this process ends.

Sources: namespaces(7), user_namespaces(7), the kernel's Documentation/networking/tuntap.rst, netdevice(7).
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct

from processes import Failure

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
SIOCSIFMTU = 0x8922
SIOCSIFTXQLEN = 0x8943
IFF_UP = 0x1
MTU_BYTES = 1500
# A switch that is scheduled late must not lose what waits: that would be a fault nobody asked for.
QUEUE_PACKETS = 10_000

NETWORK = "10.77.0."
DEVICE = b"chaos"

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def address(host):
    """The address of a host, 1 to 254, in a namespace of `attach`."""
    return f"{NETWORK}{host}"


def enter():
    """Moves this process into namespaces of its own; None if it is there, else why it is not."""
    # A process that is half in is of no use, so a child tries first.
    reason, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _enter()
            os.close(_tun(DEVICE))
            os.write(told, b"+")
        except OSError as error:
            os.write(told, str(error).encode()[:500] or b"?")
        finally:
            os._exit(0)
    os.close(told)
    os.waitpid(child, 0)
    with os.fdopen(reason, "rb") as file:
        why = file.read().decode(errors="replace")
    if why != "+":
        return why or "the attempt failed without a word"
    _enter()
    return None


def _enter():
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", CLONE_NEWNET | CLONE_NEWNS)
    except PermissionError:
        # Everybody may be root in a user namespace of his own, where the system has them.
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {user} 1")
        _write("/proc/self/gid_map", f"0 {group} 1")
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class Attachment:
    """A namespace with its device: what processes in it need, and what the switch needs."""

    def __init__(self, namespace, device):
        self.namespace = namespace
        self.device = device


def attach(host, here=False):
    """Makes a namespace with a device that has the host's address; or, `here`, the device in the
    namespace of this process. To be called on the main thread."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if here:
        return Attachment(home, _device(host))
    try:
        _call("unshare", CLONE_NEWNET)
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        device = _device(host)
    finally:
        _call("setns", home, CLONE_NEWNET)
        os.close(home)
    return Attachment(namespace, device)


def _tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name, IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(device)
        raise
    return device


def _device(host):
    device = _tun(DEVICE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:

        def configure(name, request, form, *values):
            fcntl.ioctl(control, request, struct.pack(f"16s{form}", name, *values))

        def internet(text):
            return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))

        configure(b"lo", SIOCSIFFLAGS, "H22x", IFF_UP)
        configure(DEVICE, SIOCSIFADDR, "16s8x", internet(address(host)))
        configure(DEVICE, SIOCSIFNETMASK, "16s8x", internet("255.255.255.0"))
        configure(DEVICE, SIOCSIFMTU, "i20x", MTU_BYTES)
        configure(DEVICE, SIOCSIFTXQLEN, "i20x", QUEUE_PACKETS)
        configure(DEVICE, SIOCSIFFLAGS, "H22x", IFF_UP)
    return device


def before_exec(attachment=None):
    """What a new process does before it becomes another program: it ends when this one does, however
    that ends, and lives in that namespace. For `subprocess`, on the main thread."""
    namespace = None if attachment is None else attachment.namespace

    def run():
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if namespace is not None:
            _call("setns", namespace, CLONE_NEWNET)

    return run


def mount_memory(folder, size_bytes):
    """Mounts a small file system in memory, for this process and its children."""
    try:
        options = f"size={size_bytes},mode=700".encode()
        _call("mount", b"chaos", os.fsencode(folder), b"tmpfs", 0, options)
    except OSError as error:
        raise Failure(f"no tmpfs could be mounted: {error}") from error


def unmount(folder):
    _call("umount2", os.fsencode(folder), 0)
