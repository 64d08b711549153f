"""Guests that want out: root of the machine, with every capability that there is, against the file
server and the devices. Rings and messages that a kernel would never write are the fuzz targets' part
(tests/fuzz: virtio, virtqueue, fuse, agent)."""
import glob
import os
import re
import subprocess
import time

from lib import reaper, vm
from lib.clock import limit
from lib.container import must
from lib.kernel import process_state
from lib.testing import bailey_only, timeout

MACHINE = bailey_only("isolation level vm")
CAPS = ["CAP_SYS_ADMIN", "CAP_SYS_RAWIO", "CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
        "CAP_CHOWN", "CAP_FOWNER", "CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID", "CAP_NET_ADMIN",
        "CAP_SYS_RESOURCE", "CAP_LINUX_IMMUTABLE", "CAP_SETFCAP", "CAP_KILL"]


def _root_of_the_guest(t):
    c = t.container()
    c.config.caps(**{k: CAPS for k in ("bounding", "effective", "permitted")})
    c.config.process["noNewPrivileges"] = False
    c.config.linux["maskedPaths"] = c.config.linux["readonlyPaths"] = []
    c.config.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    return c


@MACHINE
@timeout(180)
def test_files(t):
    """Read-only mounts made writable, device nodes, symlinks and .. out of a mount, handles, many
    descriptors."""
    ro, rw = t.dir("ro"), t.dir("rw")
    secret = t.file("secret", "of the host\n", 0o600)
    t.file("ro/f", "read\n")
    c = _root_of_the_guest(t)
    c.config.mount("/ro", "bind", ro, ["rbind", "ro"]).mount("/rw", "bind", rw, ["rbind"])
    vm.boot(c, "/probe", "sleep")

    # The guest's mount is the guest's: writable there at will, and still not on the host.
    r = c.exec("/bin/sh", "-c", "mount -o remount,rw,bind /ro; mount -o remount,rw /ro; "
               "touch /ro/x; echo y >/ro/f; rm -f /ro/f; ln /ro/f /ro/g; mkdir /ro/d; "
               "chmod 777 /ro/f; chown 5 /ro/f; mv /ro/f /rw/f; mknod /ro/n c 1 3; truncate -s 0 /ro/f")
    t.eq(os.listdir(ro), ["f"], f"a read-only bind: {r}")
    t.eq(open(ro + "/f").read(), "read\n")
    t.eq(os.stat(ro + "/f").st_mode & 0o777, 0o644)

    # Nodes: of the guest's devices if at all, never the host's.
    c.exec("/bin/sh", "-c", "mknod /rw/kmsg c 1 11; mknod /rw/disk b 8 0; mknod /rw/kvm c 10 232; "
           "mknod /rw/pipe p")
    r = c.exec("/bin/sh", "-c", "head -c 1 /rw/disk; head -c 1 /rw/kvm")
    t.eq(r.out, "", "nothing to read")
    for name in os.listdir(rw):
        s = os.lstat(f"{rw}/{name}")
        t.true(s.st_mode & 0o170000 in (0o010000, 0o020000, 0o060000, 0o100000), name)

    # Links mean what they mean inside.
    for target in (secret, "/proc/1/root" + secret, "../" * 20 + secret.lstrip("/"),
                   "/../.." + secret):
        os.symlink(target, rw + "/link")
        r = c.exec("/bin/cat", "/rw/link", "/rw/link/.")
        t.lacks(r.out, "of the host", target)
        os.unlink(rw + "/link")
    r = c.exec("/bin/sh", "-c", f"cd /rw && cat ../secret ../../secret ../../..{secret}; "
               f"cat /rw/../secret; ls /rw/../..")
    t.lacks(r.out, "of the host")
    # A directory that the host moves away under the guest's feet is no way up.
    os.makedirs(rw + "/a/b")
    vm_shell = c.runtime.spawn("exec", c.id, "/bin/sh", "-c", "cd /rw/a/b; echo in; read x; "
                               "cat ../secret ../../secret ../../../secret; ls ../..",
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)
    t.eq(vm_shell.stdout.readline(), "in\n")
    os.rename(rw + "/a/b", t.tmp + "/b")
    out, _ = vm_shell.communicate("\n", limit(20))
    t.lacks(out, "of the host")
    t.lacks(out, "secret")

    # The file server's descriptors are bounded, and others' come back.
    os.mkdir(rw + "/many")
    for n in range(900):
        t.file(f"rw/many/{n}")
    r = c.exec("/bin/sh", "-c", "for k in 1 2 3 4 5 6; do tail -f /rw/many/* >/dev/null 2>&1 & "
               "all=\"$all $!\"; done; sleep 4; kill $all; wait; echo done", timeout=90)
    t.has(r.out, "done")
    t.eq(must(c.exec("/bin/cat", "/etc/group")).out[:4], "root", "files can be opened again")
    t.true(process_state(c.pid()) in "SR", "the monitor lives")


def _debian_kernel(t):
    found = sorted(glob.glob("/boot/vmlinuz-*cloud-amd64"))
    t.need(found, "no kernel of linux-image-cloud-amd64 in /boot, which has /dev/mem")
    return found[-1]


# Offsets of virtio-mmio's registers.
SELECT, SIZE, READY, NOTIFY, STATUS, DESC = 0x30, 0x38, 0x44, 0x50, 0x70, 0x80
BEYOND = 0x7FFFFFFF0000


def _writes(base):
    """Resets a device and gives it a queue where there is no memory; sizes and numbers that are
    none; bells for queues that it has not."""
    yield base + STATUS, 0
    for status in (1, 3, 11):
        yield base + STATUS, status
    for queue in (0, 1, 2, 0xFFFF):
        yield base + SELECT, queue
        for size in (0, 3, 0xFFFFFFFF, 128):
            yield base + SIZE, size
        for at in (DESC, DESC + 0x10, DESC + 0x20):
            yield base + at, BEYOND & 0xFFFFFFFF
            yield base + at + 4, BEYOND >> 32
        yield base + READY, 1
    yield base + STATUS, 15
    for queue in (0, 1, 2, 63, 0xFFFFFFFF):
        yield base + NOTIFY, queue
    for offset in range(0, 0x110, 4):
        yield base + offset, 0xFFFFFFFF


@MACHINE
@timeout(180)
def test_registers(t):
    """Every device's registers, written with nonsense through /dev/mem by root of the guest. The
    monitor refuses it or ends the machine by itself: no signal, and nothing is left."""
    kernel = _debian_kernel(t)
    c = _root_of_the_guest(t)
    c.config.linux["devices"] = []
    c.config["vm"] = {"kernel": {"path": kernel, "parameters": ["iomem=relaxed"]}}
    c.config.mount("/t", "tmpfs", "tmpfs")  # stays when the file server's device is gone
    pid = vm.boot(c, "/probe", "sleep")
    must(c.exec("/bin/busybox", "mknod", "/dev/mem", "c", "1", "1"))
    iomem = must(c.exec("/bin/cat", "/proc/iomem")).out
    bases = sorted({int(a, 16) for a in re.findall(r"^\s*([0-9a-f]+)-[0-9a-f]+ : LNRO0005", iomem,
                                                   re.M)})
    t.true(len(bases) >= 3, f"virtio-mmio devices in /proc/iomem: {iomem}")
    must(c.exec("/bin/sh", "-c", "cp /bin/busybox /t/; cat >/t/attack", input="".join(
        f"/t/busybox devmem {at:#x} 32 {value:#x}\n" for base in bases[::-1]
        for at, value in _writes(base))))
    read = c.exec("/bin/busybox", "devmem", f"{bases[0]:#x}", "32")
    t.eq(read.out.strip(), "0x74726976", f"the magic number: the attack reaches the device ({read})")
    # The console goes with the rest, so nobody may hear its end.
    attack = c.runtime.spawn("exec", c.id, "/t/busybox", "sh", "/t/attack", stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while attack.poll() is None and time.monotonic() < end and process_state(pid) in ("S", "R"):
        time.sleep(0.05)
    if process_state(pid) not in ("S", "R", "D"):
        t.true(reaper.wait(pid) >= 0, f"the monitor ended by itself: {reaper.wait(pid)}")
    must(c.delete("--force"))
    attack.wait(limit(15))
