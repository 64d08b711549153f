"""Machines as tests need them: none at all, one that says nothing, one that breaks; what a machine's
container says about itself."""
import json
import os
import re
import stat
import struct

from . import clock, kernel

NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
         "tty": (5, 0)}


def missing():
    """Why no unmodified kernel runs in a machine here; None: it does. Without the processor's help
    there is a /dev/kvm now and then (of PVM), for guests that know of it."""
    if not os.path.exists("/dev/kvm"):
        return "no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission on /dev/kvm"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        if not re.search(r"^flags\s*:.*\b(vmx|svm)\b", f.read(), re.M):
            return "/dev/kvm without the processor's virtualization (vmx or svm)"
    return None


def program(t):
    """The runtime under test by the name bailey-vm, for engines that take a path alone."""
    t.need(missing() is None, missing())
    link = os.path.join(t.tmp, "bailey-vm")
    os.symlink(t.runtime.path, link)
    return link


def without_kvm(fn):
    """A test of the group vm that boots nothing: it runs on every machine."""
    fn.without_kvm = True
    return fn


def dev_without_kvm(t, kvm_mode=None):
    """For preexec_fn: a /dev in which there is no kvm, or one of that mode."""
    d = t.dir("dev")
    for name, number in NODES.items():
        os.mknod(f"{d}/{name}", 0o666 | stat.S_IFCHR, os.makedev(*number))
        os.chmod(f"{d}/{name}", 0o666)
    if kvm_mode is not None:
        os.mknod(f"{d}/kvm", kvm_mode | stat.S_IFCHR, os.makedev(10, 232))
        os.chmod(f"{d}/kvm", kvm_mode)
    for name, to in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                     ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(to, f"{d}/{name}")

    def enter():
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(d, "/dev", None, kernel.MS_BIND)
    return enter


def with_empty(directory):
    """For preexec_fn: a mount namespace in which the directory is empty."""
    def enter():
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("tmpfs", directory, "tmpfs")
    return enter


def configuration(t, **settings):
    """bailey's configuration file with the caller's own settings and these; the environment that
    names it."""
    own, all_ = os.environ.get("BAILEY_CONFIG"), {}
    if own:
        with open(own, encoding="utf-8") as f:
            all_ = json.load(f)
    vm = {**all_.get("vm", {}), **settings.pop("vm", {})}
    path = t.file("bailey.json", json.dumps({**all_, **settings, **({"vm": vm} if vm else {})}))
    return {**os.environ, "BAILEY_CONFIG": path}


# hlt; jmp back
SILENT = b"\xf4\xeb\xfd"
# ud2 without an interrupt table: a triple fault
CRASH = b"\x0f\x0b"


def toy_kernel(t, code):
    """An ELF file for PVH that says it is Linux and does nothing but `code`, at 1 MiB."""
    entry, head = 0x100000, 64 + 2 * 56
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)
    text = code.ljust(16, b"\xf4") + b"Linux version 6.1.0-toy (nobody) \0"
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, entry, 64, 0, 0, 64,
                      56, 2, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 4, 4, head, 0, 0, len(note), len(note), 4)
    at = head + len(note)
    elf += struct.pack("<IIQQQQQQ", 1, 7, at, entry, entry, len(text), len(text), 1)
    path = os.path.join(t.tmp, "toy-kernel")
    with open(path, "wb") as f:
        f.write((elf + note + text).ljust(1 << 16, b"\0"))
    return path


def boot(c, *argv, opts=(), **kw):
    """Created and started in a machine; returns the monitor's pid."""
    return c.up(*argv, opts=["--isolation=vm", *opts], timeout=60, **kw)


def number(text, pattern):
    m = re.search(pattern, text)
    if not m:
        raise AssertionError(f"nothing like {pattern} in {text!r}")
    return int(m[1])


def patient(seconds):
    return clock.limit(seconds)
