"""Containers of images in machines: over virtio-fs, and with their root on a disk (--rootfs-image).
Many assertions for each boot."""
import json
import os
import shutil
import signal
import tarfile
import time

from lib import vm
from lib.clock import limit
from lib.container import must, wait_for
from lib.images import Store, basic, entry, make_tar
from lib.testing import bailey_only, timeout

MACHINE = bailey_only("isolation level vm")
# What a file system image has to carry over from the layers.
OLD = 981173106  # 2001-02-03
CAPS = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep


def image(t, config=None):
    """Three layers: what the upper ones add, change and take away."""
    second = make_tar([
        entry("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:1234:1234::/srv:/bin/sh\n"),
        entry("etc/group", "root:x:0:\nweb:x:1234:\nextra:x:77:web\n"),
        entry("srv", uid=1234, gid=1234, mode=0o2750), entry("srv/data", "old", uid=1234, gid=1234),
        entry("srv/old", "gone later"), entry("opaque"), entry("opaque/below", "x"),
        entry("mtime", "x", mtime=OLD), entry("suid", "x", mode=0o4755),
        entry("caps", "x", pax_headers={"SCHILY.xattr.security.capability":
                                        CAPS.decode("latin-1")}),
        entry("big", bytes(range(256)) * 20000), entry("link-a", "linked"),
        entry("link-b", type_=tarfile.LNKTYPE, link="link-a"),
        entry("sym", type_=tarfile.SYMTYPE, link="srv/data"),
        entry("fifo", type_=tarfile.FIFOTYPE)])
    third = make_tar([
        entry("./", mode=0o751, mtime=OLD), entry("srv", uid=1234, gid=1234, mode=0o2750),
        entry("srv/.wh.old", ""), entry("srv/data", "new", uid=1234),
        entry("opaque"), entry("opaque/.wh..wh..opq", ""), entry("opaque/above", "y")])
    return basic(t, config={"User": "web", "Env": ["A=image"], "WorkingDir": "/srv",
                            "Volumes": {"/srv/volume": {}}, **(config or {})}, more=[second, third])


# The same must come of it over virtio-fs and from the disk.
FACTS = """
echo id $(id -u) $(id -g) $(id -G) $A $(pwd)
echo data $(cat /srv/data) $(cat /sym) $(ls /srv | tr '\\n' ' ') / $(ls /opaque)
stat -c 'stat %n %F %a %u %g %h %Y' / /srv /mtime /suid /link-a /fifo
echo big $(md5sum </big)
[ $(stat -c %i /link-a) = $(stat -c %i /link-b) ] && echo one inode
"""
BIG = "dcf6a99f83b3a50b2ff3ecc6490d966f"


def facts(t, out):
    """Checks what FACTS has printed."""
    lines = out.splitlines()
    t.has(lines, "id 1234 1234 1234 77 image /srv")
    t.has(lines, "data new new data volume / above")
    t.has(lines, f"stat /mtime regular file 644 0 0 1 {OLD}")
    t.has(lines, "stat /suid regular file 4755 0 0 1 0")
    t.true(any(l.startswith("stat /link-a regular file 644 0 0 2") for l in lines), out)
    t.true(any(l.startswith("stat /fifo fifo") for l in lines), out)
    t.true(any(l.startswith("stat /srv directory 2750 1234 1234") for l in lines), out)
    t.true(any(l.startswith("stat / directory 751 0 0") for l in lines), out)
    t.has(lines, "one inode")
    t.has(lines, f"big {BIG} -")


def start(t, s, lay, *opts, command=("/bin/sleep", "1000")):
    """A detached container of the image; its id."""
    s.n += 1
    c = f"{t.mark}-i{s.n}"
    must(s.runtime("run", "--store", s.path, "--isolation=vm", "-d", "--image", lay.source, *opts,
                   c, *command, timeout=120))
    t.later(lambda: s.runtime("delete", "--force", c))
    return c


def inside(s, c, script, user=None, **kw):
    opts = ["--user", user] if user else []
    return s.runtime("exec", *opts, c, "/bin/sh", "-c", script, timeout=60, **kw)


@MACHINE
@timeout(240)
def test_over_virtiofs(t):
    """run --image, writable; bundle, then with a read-only root."""
    lay, s = image(t), Store(t)
    c = start(t, s, lay)
    facts(t, must(inside(s, c, FACTS)).out)
    must(inside(s, c, "echo w >/srv/volume/f && echo w >/srv/f && echo w >>/srv/data"))
    upper = os.path.join(s.path, "bundles", next(
        n for n in s.ls("bundles") if not n.endswith(".lock")), "upper")
    t.true(os.path.exists(f"{upper}/srv/f"), "what it writes is in the bundle")
    t.true(not os.path.exists(f"{upper}/srv/volume/f"), "but for the volume")
    t.fails(inside(s, c, "echo x >/etc/x"), code=1)
    must(s.runtime("delete", "--force", c))
    t.eq(s.ls("bundles"), [], "the bundle goes with the container")

    d = os.path.join(t.tmp, "made")
    must(s("bundle", lay.source, d))
    t.later(lambda: s("bundle", "--delete", d))
    with open(d + "/config.json", encoding="utf-8") as f:
        config = json.load(f)
    config["root"]["readonly"] = True
    config["process"]["args"] = ["/bin/sh", "-c", FACTS + "echo x >/srv/f || echo read-only\n"
                                 "echo x >/srv/volume/f && echo volume"]
    with open(d + "/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    r = must(s.runtime("run", "--isolation=vm", "-b", d, f"{t.mark}-b", timeout=120))
    facts(t, r.out)
    t.has(r.out.splitlines(), "read-only")
    t.has(r.out.splitlines(), "volume")
    t.true(not os.path.exists(d + "/rootfs/srv/f"), "nothing was written")


def _tool(t):
    t.need(shutil.which("mkfs.erofs"), "no mkfs.erofs (erofs-utils)")


def _refused(t, s, lay):
    def run(what, *opts):
        return s.run(lay.source, "/bin/true", opts=[*opts, "--rootfs-image=" + what])
    t.fails(run("memory", "--isolation=namespace"), "--rootfs-image: needs isolation level vm")
    t.fails(run("disk", "--isolation=vm"), "must be memory, scratch or scratch:SIZE")
    t.fails(run("scratch:1m", "--isolation=vm"), "the scratch disk must have 16 MiB")
    t.fails(run("scratch:x", "--isolation=vm"), "scratch:SIZE")
    c = t.container("/bin/true")
    t.fails(c.run("--isolation=vm", "--rootfs-image=memory"), "not a bundle that was made of an")
    c = t.container("/bin/true")
    c.config.setdefault("annotations", {})["org.bailey.rootfs-image"] = "memory"
    t.fails(c.run("--isolation=namespace"), "org.bailey.rootfs-image", "needs isolation level vm")
    flat = os.path.join(t.tmp, "flat")
    must(s("bundle", "--flat", lay.source, flat))
    t.fails(s.runtime("run", "--isolation=vm", "-b", flat, "--rootfs-image=memory", t.mark + "-f"),
            "is flat")
    changed = os.path.join(t.tmp, "changed")
    must(s("bundle", lay.source, changed))
    with open(changed + "/rootfs/more", "w", encoding="utf-8"):
        pass
    t.fails(s.runtime("run", "--isolation=vm", "-b", changed, "--rootfs-image=memory",
                      t.mark + "-c"), "its root filesystem was changed", "/more")
    must(s("bundle", "--delete", changed))
    t.eq((s.ls("roots"), s.ls("tmp"), s.ls("bundles")), ([], [], []), "nothing is left")


@MACHINE
@timeout(300)
def test_root_in_memory(t):
    """One read-only disk of all layers, written to in the guest's memory."""
    _tool(t)
    lay, s = image(t), Store(t)
    _refused(t, s, lay)
    shared = t.dir("shared")
    c = start(t, s, lay, "--rootfs-image=memory")
    facts(t, must(inside(s, c, FACTS)).out)
    roots = s.ls("roots")
    t.eq(len(roots), 1)
    made = os.stat(os.path.join(s.path, "roots", roots[0]))
    t.eq(made.st_mode & 0o777, 0o400)
    r = must(inside(s, c, "grep ' / ' /proc/mounts; cat /sys/block/*/ro /sys/block/*/serial", "0"))
    t.has(r.out, " / overlay rw")
    t.has(r.out, "1\n")
    t.has(r.out, "bailey-root")
    must(inside(s, c, "rm /big", "0"))
    must(inside(s, c, "echo w >/srv/f && echo w >>/srv/data"))
    t.eq(must(inside(s, c, "cat /srv/f /srv/data; [ -e /big ] || echo gone")).out,
         "w\nneww\ngone\n")
    bundle = os.path.join(s.path, "bundles", next(
        n for n in s.ls("bundles") if not n.endswith(".lock")))
    t.eq(os.listdir(bundle + "/upper"), [], "nothing is written on the host")
    pid = s.runtime("state", c).json()["pid"]
    t.eq(sorted(os.listdir(f"/proc/{pid}/root")), ["m"], "nor does the monitor see the layers")
    must(s.runtime("delete", "--force", c))
    t.eq(s.ls("bundles"), [])

    # A bundle with the annotation, a bind mount, and a read-only root.
    d = os.path.join(t.tmp, "made")
    must(s("bundle", lay.source, d))
    t.later(lambda: s("bundle", "--delete", d))
    with open(d + "/config.json", encoding="utf-8") as f:
        config = json.load(f)
    config.setdefault("annotations", {})["org.bailey.rootfs-image"] = "memory"
    config["root"]["readonly"] = True
    config["mounts"].append({"destination": "/new/place", "type": "bind", "source": shared,
                             "options": ["rbind", "rw"]})
    config["process"]["args"] = ["/bin/sh", "-c", FACTS + "echo x >/srv/f || echo read-only\n"
                                 "echo shared >/new/place/f"]
    os.chmod(shared, 0o777)
    with open(d + "/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    r = must(s.runtime("run", "--isolation=vm", "-b", d, f"{t.mark}-b", timeout=120))
    facts(t, r.out)
    t.has(r.out.splitlines(), "read-only")
    with open(shared + "/f", encoding="utf-8") as f:
        t.eq(f.read(), "shared\n")
    again = os.stat(os.path.join(s.path, "roots", roots[0]))
    t.eq((again.st_ino, again.st_mtime_ns), (made.st_ino, made.st_mtime_ns), "made once")
    must(s("bundle", "--delete", d))
    must(s("rmi", lay.source))
    t.eq((s.ls("roots"), s.ls("layers"), s.ls("tmp"), s.ls("locks")), ([], [], [], []))


@MACHINE
@timeout(300)
def test_root_with_scratch_disk(t):
    """More than the memory has can be written, and less than without bounds; the disk goes with the
    machine, its blocks with the files."""
    _tool(t)
    t.need(shutil.which("mke2fs"), "no mke2fs (e2fsprogs)")
    lay, s = image(t, {"User": "0"}), Store(t)
    c = start(t, s, lay, "--rootfs-image=scratch:200m")
    must(inside(s, c, "echo w >/f && grep ' / overlay rw' /proc/mounts"))
    pid = s.runtime("state", c).json()["pid"]

    def disk():
        """Bytes that the unlinked file takes on the host."""
        fds = f"/proc/{pid}/fd"
        found = [f"{fds}/{n}" for n in os.listdir(fds)
                 if "/scratch (deleted)" in os.readlink(f"{fds}/{n}")]
        t.eq(len(found), 1)
        t.eq(os.stat(found[0]).st_size, 200 << 20)
        return os.stat(found[0]).st_blocks * 512
    t.true(disk() < 20 << 20, "sparse")
    full = inside(s, c, "dd if=/dev/zero of=/fill bs=1M count=300 2>&1; sync; stat -c %s /fill")
    t.has(full.out, "No space left")
    size = int(full.out.splitlines()[-1])
    t.true(150 << 20 < size < 200 << 20, size)
    t.true(disk() > 140 << 20, "what was written is on the host's disk")
    must(inside(s, c, "rm /fill; sync"))
    wait_for("the blocks", lambda: disk() < 40 << 20, 20)
    os.kill(pid, signal.SIGKILL)
    must(s.runtime("delete", "--force", c))
    t.eq(s.ls("bundles"), [])
    _killed_while_made(t, s, lay)
    s.check()


def _killed_while_made(t, s, lay):
    """The image's making, killed at several moments: nothing half made is taken for whole."""
    for n in range(6):
        for f in s.ls("roots"):
            os.unlink(os.path.join(s.path, "roots", f))
        s.n += 1
        p = s.runtime.spawn("run", "--store", s.path, "--isolation=vm", "--image", lay.source,
                            "--rootfs-image=memory", f"{t.mark}-i{s.n}", "/bin/true")
        time.sleep(0.02 + 0.05 * n)
        p.send_signal(signal.SIGKILL)
        p.wait(limit(10))
        s.runtime("delete", "--force", f"{t.mark}-i{s.n}")
        s.names()  # opens the store
        wait_for("no work in progress", lambda: s.names() is not None and not s.ls("tmp"), 10)
    for f in s.ls("roots"):
        with open(os.path.join(s.path, "roots", f), "rb") as image_file:
            t.eq(image_file.read()[1024:1028], bytes.fromhex("e2e1f5e0"), "EROFS' magic number")
