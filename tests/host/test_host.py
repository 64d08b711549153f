"""The machine is a full host, as the testbed's is: what the other tests then need not skip. With
`tests/run --full` or by name."""
import ctypes
import fcntl
import mmap
import os
import signal
import struct
import subprocess
import time

from lib import kernel
from lib.clock import limit
from lib.container import wait_for


def test_controllers(t):
    t.eq(kernel.fs_type("/sys/fs/cgroup"), kernel.CGROUP2_SUPER_MAGIC, "/sys/fs/cgroup")
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = set(f.read().split())
    t.eq({"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} - have, set(), "missing controllers")


def test_capabilities(t):
    with open("/proc/sys/kernel/cap_last_cap") as f:
        t.eq(kernel.effective_caps(), (2 << int(f.read())) - 1, "effective capabilities")


def test_systemd(t):
    with open("/proc/1/comm") as f:
        t.eq(f.read().strip(), "systemd")
    r = subprocess.run(["systemctl", "list-units", "--failed", "--no-legend", "--plain"],
                       capture_output=True, text=True, timeout=limit(20), check=True)
    t.eq(r.stdout, "", "failed units")


def test_apparmor(t):
    with open("/sys/module/apparmor/parameters/enabled") as f:
        t.eq(f.read().strip(), "Y")


def test_criu(t):
    """Dumps a process and brings it back to life."""
    p = subprocess.Popen(["setsid", "sleep", "1000"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    t.later(p.wait)
    t.later(p.kill)
    with open(f"/proc/{p.pid}/comm") as f:
        wait_for("sleep", lambda: f.seek(0) == 0 and f.read() == "sleep\n")
    images = t.dir("images")
    for verb, *args in (("check",), ("dump", "-t", str(p.pid), "-D", images, "--shell-job"),
                        ("restore", "-D", images, "--shell-job", "--restore-detached")):
        r = subprocess.run(["criu", verb, *args], capture_output=True, text=True,
                           timeout=limit(30), check=False)
        t.eq(r.returncode, 0, f"criu {verb}: {r.stdout}{r.stderr}")
        if verb == "dump":
            t.eq(p.wait(limit(10)), -signal.SIGKILL, "after the dump")
    with open(f"/proc/{p.pid}/comm") as f:
        t.eq(f.read(), "sleep\n", "restored")
    os.kill(p.pid, signal.SIGKILL)


KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE = 0xAE00, 0xAE01, 0xAE04
KVM_CREATE_VCPU, KVM_RUN, KVM_SET_TSS_ADDR = 0xAE41, 0xAE80, 0xAE47
KVM_SET_USER_MEMORY_REGION, KVM_GET_SREGS, KVM_SET_SREGS = 0x4020AE46, 0x8138AE83, 0x4138AE84
KVM_SET_REGS = 0x4090AE82
KVM_EXIT_IO, KVM_EXIT_HLT = 2, 5


def test_kvm(t):
    """A virtual processor writes a byte to a port, in real mode, and halts."""
    dev = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    t.eq(fcntl.ioctl(dev, KVM_GET_API_VERSION, 0), 12, "API version")
    vm = fcntl.ioctl(dev, KVM_CREATE_VM, 0)
    memory = mmap.mmap(-1, 4096)
    memory[:6] = b"\xb0\x42\xe6\x10\xf4\xf4"  # mov al, 0x42; out 0x10, al; hlt
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, KVM_SET_TSS_ADDR, 1 << 30)  # Intel's need; anywhere unused
    fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack("IIQQQ", 0, 0, 0x1000, 4096, address))
    cpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    state = mmap.mmap(cpu, fcntl.ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0))
    sregs = bytearray(0x138)
    fcntl.ioctl(cpu, KVM_GET_SREGS, sregs)
    struct.pack_into("QIH", sregs, 0, 0, 0xFFFF, 0)  # cs: base, limit, selector
    fcntl.ioctl(cpu, KVM_SET_SREGS, sregs)
    regs = bytearray(0x90)
    struct.pack_into("QQ", regs, 16 * 8, 0x1000, 2)  # rip, rflags
    fcntl.ioctl(cpu, KVM_SET_REGS, regs)
    fcntl.ioctl(cpu, KVM_RUN, 0)
    t.eq(struct.unpack_from("I", state, 8)[0], KVM_EXIT_IO, "exit reason")
    offset = struct.unpack_from("Q", state, 40)[0]
    t.eq((struct.unpack_from("H", state, 34)[0], state[offset]), (0x10, 0x42), "port and byte")
    fcntl.ioctl(cpu, KVM_RUN, 0)
    t.eq(struct.unpack_from("I", state, 8)[0], KVM_EXIT_HLT, "exit reason")
    for fd in (cpu, vm, dev):
        os.close(fd)


def test_clock_goes(t):
    """An emulated machine whose clock stands or jumps makes nonsense of every time-out."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.5)
    t.true(0.4 < time.monotonic() - steady < limit(2), "half a second, steady")
    t.true(0.4 < time.time() - wall < limit(2), "half a second, by the calendar")
