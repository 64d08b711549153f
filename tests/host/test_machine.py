"""vm/'s machine with nothing but a console (tests/machine): Debian's kernels and the one of `make
guest-kernel` boot in it, and every way in which a guest ends is told apart. Beside the full host, the
small one runs it: tests/testbed/mini 'cd /repo && tests/run --build /build host --filter machine'."""
import glob
import os
import re
import shutil
import subprocess

from lib.clock import limit
from lib.testing import bailey_only, cases, timeout

MACHINES = True  # each test boots some
SHUTDOWN, RESET, CRASH, STOPPED, ERROR = 0, 1, 2, 10, 99
DRIVERS = ("virtio_mmio", "virtio_console")
MORE_DRIVERS = (*DRIVERS, "virtio_blk", "virtio_rng", "virtio_balloon")
QUIET = "console=hvc0 panic=-1 quiet pci=off"


def _build(t):
    return os.path.join(os.path.dirname(t.probe_path), "tests/machine")


def _debian(flavour):
    """The newest of Debian's kernels of this flavour: (bzImage, release)."""
    found = [p for p in sorted(glob.glob("/boot/vmlinuz-*"))
             if re.search(rf"-\d+-{flavour}$", p)]
    return (found[-1], os.path.basename(found[-1])[len("vmlinuz-"):]) if found else (None, None)


def _modules(release, drivers):
    """The drivers' files, in the order of their dependencies."""
    out = []
    for name in drivers:
        r = subprocess.run(["modprobe", "-S", release, "--show-depends", name], text=True,
                           stdout=subprocess.PIPE, check=True)
        out += [w[1] for w in map(str.split, r.stdout.splitlines())
                if w[0] == "insmod" and w[1] not in out]
    return out


def _initramfs(t, release, drivers=DRIVERS):
    root = t.dir("initramfs")
    for d in ("dev", "proc", "sys", "modules"):
        t.dir(f"initramfs/{d}")
    shutil.copy(os.path.join(_build(t), "init"), os.path.join(root, "init"))
    os.mknod(f"{root}/dev/console", 0o20600, os.makedev(5, 1))
    for i, path in enumerate(_modules(release, drivers) if release else ()):
        shutil.copy(path, f"{root}/modules/{i:02}-{os.path.basename(path)}")
    image = os.path.join(t.tmp, "initramfs.cpio")
    subprocess.run(f"cd {root} && find . | busybox cpio -o -H newc >{image} 2>/dev/null",
                   shell=True, check=True)
    return image


def _files(t, flavour, drivers=DRIVERS):
    t.need(os.path.exists("/dev/kvm"), "no /dev/kvm")
    kernel, release = _debian(flavour)
    t.need(kernel, f"no kernel of linux-image-{flavour} in /boot")
    return kernel, _initramfs(t, release, drivers)


def _boot(t, kernel, initramfs, end="off", cpus=1, mib=256, cmdline=QUIET, how=()):
    argv = [os.path.join(_build(t), "monitor"), kernel, initramfs, f"{cmdline} init.end={end}",
            str(cpus), str(mib), *how]
    try:
        r = subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=limit(30), check=False)
    except subprocess.TimeoutExpired as e:
        raise AssertionError(f"{cpus} CPUs, {mib} MiB: not over in {e.timeout:g} s: "
                             f"{(e.stdout or b'').decode(errors='replace')[-1500:]}") from None
    return r.returncode, r.stdout


@bailey_only("the machine is bailey's")
@timeout(60)
@cases(amd64="amd64", cloud="cloud-amd64")
def test_boots_and_switches_itself_off(t, flavour):
    status, out = _boot(t, *_files(t, flavour), cpus=2)
    t.eq(status, SHUTDOWN, out)
    t.has(out, "init: 2 of 2 CPUs in 1 package,")
    t.has(out, "clock kvm-clock, the year is plausible")
    t.has(out, "init: slept as long as asked")
    own = int(re.search(r"monitor (\d+) KiB", out)[1])
    t.eq(own < 1024, True, f"{own} KiB of memory are the monitor's own: few")


@bailey_only("the machine is bailey's")
@timeout(150)
def test_ends_are_told_apart(t):
    kernel, initramfs = _files(t, "cloud-amd64")
    for end, cmdline, want, text in (
            ("reboot", "", RESET, "reset itself"),
            ("reboot", "reboot=a", RESET, "reset itself"),
            ("panic", "reboot=a", RESET, "Attempted to kill init"),
            ("panic", "reboot=t", CRASH, "triple fault")):
        status, out = _boot(t, kernel, initramfs, end, cmdline=f"{QUIET} {cmdline}")
        t.eq(status, want, out)
        t.has(out, text)


@bailey_only("the machine is bailey's")
@timeout(60)
def test_stops_from_outside(t):
    """While every processor of the guest is busy."""
    status, out = _boot(t, *_files(t, "cloud-amd64"), "spin", cpus=3, how=("stop",))
    t.eq(status, STOPPED, out)


@bailey_only("the machine is bailey's")
@timeout(60)
def test_memory_above_4_gib(t):
    status, out = _boot(t, *_files(t, "cloud-amd64"), cpus=8, mib=6144)
    t.eq(status, SHUTDOWN, out)
    t.has(out, "init: 8 of 8 CPUs in 1 package, 59")


@bailey_only("the machine is bailey's")
@timeout(90)
def test_more_devices(t):
    """Disk, entropy and balloon; memory that the guest frees is the host's again."""
    disk = t.file("disk", "\0" * (1 << 20) + "hello from the disk".ljust(1 << 20, "\0"))
    status, out = _boot(t, *_files(t, "cloud-amd64", MORE_DRIVERS), "memory", cpus=2,
                        how=("disk", disk))
    t.eq(status, SHUTDOWN, out)
    t.has(out, "init: 32 random bytes")
    t.has(out, "init: the disk says hello from the disk")
    t.has(out, "init: its serial is a-serial, it is read-only")
    ready, end = (int(m) for m in re.findall(r"memory: guest (\d+) KiB", out))
    t.eq(end < ready + (50 << 10), True, f"{ready} KiB, after 100 MiB came and went {end} KiB")


@bailey_only("the machine is bailey's")
@timeout(60)
def test_own_kernel_by_pvh(t):
    kernel = os.path.join(os.path.dirname(t.probe_path), "guest/vmlinux")
    t.need(os.path.exists("/dev/kvm"), "no /dev/kvm")
    t.need(os.path.exists(kernel), "no guest/vmlinux beside the program (make guest-kernel)")
    status, out = _boot(t, kernel, _initramfs(t, None), cpus=2, mib=64)
    t.eq(status, SHUTDOWN, out)
    t.has(out, "init: 2 of 2 CPUs in 1 package,")


@bailey_only("the machine is bailey's")
@timeout(60)
def test_log_before_the_console(t):
    """A kernel that fails before its console driver is loaded says why on the serial port."""
    kernel, _ = _files(t, "cloud-amd64")
    status, out = _boot(t, kernel, "-", cmdline=f"earlycon=uart8250,io,0x3f8 {QUIET}",
                        how=("serial",))
    t.eq(status, RESET, out)
    t.has(out, "Unable to mount root fs")


@bailey_only("the machine is bailey's")
def test_errors_say_why(t):
    t.need(os.path.exists("/dev/kvm"), "no /dev/kvm")
    monitor = os.path.join(_build(t), "monitor")
    status, out = _boot(t, monitor, "-")
    t.eq(status, ERROR)
    t.has(out, "no x86-64 kernel")
    status, out = _boot(t, monitor, "-", cpus=33)
    t.eq(status, ERROR)
    t.has(out, "33 vCPUs (1 to 32 are possible)")
    status, out = _boot(t, monitor, "-", mib=3)
    t.eq(status, ERROR)
    t.has(out, "no multiple of 2 MiB")
