"""Root images: one EROFS file of all layers, which machines boot from (docs/images.md). How they are
made, kept and removed; tests/vm/test_images.py has machines that use them."""
import os
import random
import shutil
import subprocess
import tarfile
import threading
import time

from lib.clock import limit
from lib.container import must
from lib.images import Layout, Store, basic, entry, make_tar, rootfs_tar
from lib.testing import bailey_only, timeout
from lib.vm import with_empty

MAGIC = bytes.fromhex("e2e1f5e0")
# cap_net_bind_service+ep
CAPS = bytes.fromhex("0100000200040000000000000000000000000000")


def tool(t):
    t.need(shutil.which("mkfs.erofs"), "no mkfs.erofs (erofs-utils)")


def layered(t, name="layout", **config):
    """What the upper layers add, change and take away, and every kind of file."""
    second = make_tar([
        entry("srv", uid=1234, gid=1234, mode=0o2750), entry("srv/data", "old", uid=1234, gid=77),
        entry("srv/gone", "x"), entry("opaque"), entry("opaque/below", "x"), entry("dir"),
        entry("dir/x", "x"), entry("mtime", "x", mtime=981173106), entry("suid", "x", mode=0o4755),
        entry("secret", "x", mode=0), entry("empty", ""),
        entry("caps", "x", pax_headers={
            "SCHILY.xattr.security.capability": CAPS.decode("latin-1"),
            "SCHILY.xattr.user.note": "v" * 300}),
        entry("big", bytes(range(256)) * 20000), entry("link-a", "linked"),
        entry("link-b", type_=tarfile.LNKTYPE, link="link-a"),
        entry("sym", type_=tarfile.SYMTYPE, link="srv/data"), entry("fifo", type_=tarfile.FIFOTYPE),
        entry("null", type_=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("n" * 254, "long"), entry("a\nb\xff", "name")])
    third = make_tar([
        entry("./", mode=0o751), entry("srv", uid=1234, gid=1234, mode=0o2750),
        entry("srv/.wh.gone", ""), entry("srv/data", "new"),
        entry("opaque"), entry("opaque/.wh..wh..opq", ""), entry("opaque/above", "y"),
        entry("dir", "a file now")])
    return basic(t, name=name, config=config, more=[second, third])


def root_file(t, s):
    names = s.ls("roots")
    t.eq(len(names), 1)
    return os.path.join(s.path, "roots", names[0])


def is_whole(t, path):
    with open(path, "rb") as f:
        f.seek(1024)
        t.eq(f.read(4), MAGIC, path)


# Of every file below the directory: what it is, and what is in it.
TREE = r"""
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
links = {}
def show(path):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    more = ""
    if stat.S_ISREG(st.st_mode):
        more = hashlib.sha256(open(path, "rb").read()).hexdigest()
        if st.st_nlink > 1:
            more += " " + links.setdefault(st.st_ino, path)
    elif stat.S_ISLNK(st.st_mode):
        more = os.readlink(path)
    elif stat.S_ISCHR(st.st_mode):
        more = str(st.st_rdev)
    xattrs = sorted((n, os.getxattr(path, n, follow_symlinks=False))
                    for n in os.listxattr(path, follow_symlinks=False))
    nlink = 0 if stat.S_ISDIR(st.st_mode) else st.st_nlink
    mtime = int(st.st_mtime) if path != "." else 0
    print(ascii((path, oct(st.st_mode), st.st_uid, st.st_gid, nlink, mtime, more, xattrs)))
show(".")
for d, dirs, files in os.walk("."):
    for n in sorted(dirs + files):
        show(os.path.join(d, n))
"""


def tree(path, mount=None):
    """Lines of all that is below path, where mount, a file, is mounted on it."""
    enter = ["unshare", "-m", "sh", "-c", 'mount -i -t erofs -o ro "$1" "$0" && shift && exec "$@"',
             path, mount] if mount else []
    p = subprocess.run([*enter, "python3", "-c", TREE, path], stdout=subprocess.PIPE, check=True, text=True)
    return sorted(p.stdout.splitlines())


def mounts_files(t, image):
    r = subprocess.run(["unshare", "-m", "mount", "-i", "-t", "erofs", image, t.dir("try")],
                       stderr=subprocess.PIPE, text=True)
    t.need(r.returncode == 0, f"the kernel mounts no EROFS files: {r.stderr.strip()}")


@bailey_only("images")
def test_what_is_in_it(t):
    """The same as in a flat bundle, to the last attribute."""
    tool(t)
    lay, s = layered(t), Store(t)
    must(s("pull", "--rootfs-image", lay.source))
    path = root_file(t, s)
    t.eq(os.stat(path).st_mode & 0o7777, 0o400)
    is_whole(t, path)
    mounts_files(t, path)
    flat = os.path.join(t.tmp, "flat")
    must(s("bundle", "--flat", lay.source, flat))
    got, want = tree(t.dir("mnt"), path), tree(flat + "/rootfs")
    t.true(len(want) > 40, want)
    t.eq([l for l in got if l not in want], [], "in the image alone")
    t.eq([l for l in want if l not in got], [], "in the flat bundle alone")


@bailey_only("images")
def test_one_layer(t):
    """Alone it makes no overlay; marks for layers below are not in the image."""
    tool(t)
    lay, s = Layout(os.path.join(t.tmp, "one")), Store(t)
    lay.image([make_tar([entry("d", mtime=981173106), entry("d/.wh.x", ""), entry("d/.wh.y", ""),
                         entry("d/.wh..wh..opq", ""), entry("d/f", "f"), entry("e"),
                         entry("e/f"), entry("e/f/.wh.x", "")])])
    must(s("pull", "--rootfs-image", lay.source))
    path = root_file(t, s)
    mounts_files(t, path)
    lines = tree(t.dir("mnt"), path)
    t.eq([l.split(",")[0] for l in lines], ["('.'", "('./d'", "('./d/f'", "('./e'", "('./e/f'"])
    t.has(lines[1], "981173106", "looked at, not changed")
    t.true("overlay" not in "".join(lines), lines)


@bailey_only("images")
def test_what_the_tool_would_leave_out(t):
    """An empty lost+found is nothing; anything else of that name is refused, not lost."""
    tool(t)
    s = Store(t)
    for i, (entries, ok) in enumerate((([entry("lost+found")], True),
                                       ([entry("lost+found"), entry("lost+found/x", "x")], False),
                                       ([entry("d"), entry("d/lost+found.txt", "x")], False))):
        lay = Layout(os.path.join(t.tmp, f"l{i}"))
        lay.image([make_tar(entries)])
        r = s("pull", "--rootfs-image", lay.source)
        if ok:
            must(r)
        else:
            t.fails(r, "leaves out", "lost+found")


@bailey_only("images")
def test_kept_as_long_as_the_image(t):
    """Made once; an image whose layers are all below another's does not live on with it."""
    tool(t)
    s = Store(t)
    base = Layout(os.path.join(t.tmp, "base"))
    base.image([rootfs_tar(t)], {"Cmd": ["/bin/true"]})
    upper = basic(t, "upper", more=[make_tar([entry("b", "b")])])
    must(s("pull", "--rootfs-image", base.source))
    first = os.stat(root_file(t, s))
    must(s("pull", "--rootfs-image", base.source))
    again = os.stat(root_file(t, s))
    t.eq((again.st_ino, again.st_mtime_ns), (first.st_ino, first.st_mtime_ns))
    must(s("pull", "--rootfs-image", upper.source))
    t.eq(len(s.ls("roots")), 2)
    must(s("prune"))
    t.eq(len(s.ls("roots")), 2)
    must(s("rmi", base.source))
    t.eq((len(s.ls("roots")), len(s.ls("layers"))), (1, 2))
    t.has(must(s("prune", "--all")).out, "1 root images")
    t.eq((s.ls("roots"), s.ls("layers"), s.ls("locks"), s.ls("tmp")), ([], [], [], []))


def fake_tool(t, script):
    """An environment whose mkfs.erofs is a script of the test's."""
    t.dir("fake")
    path = t.file("fake/mkfs.erofs", "#!/bin/sh\n" + script)
    os.chmod(path, 0o755)
    return {**os.environ, "PATH": os.path.dirname(path) + ":" + os.environ["PATH"]}


@bailey_only("images")
def test_tool_that_fails(t):
    lay, s = layered(t), Store(t)
    must(s("pull", lay.source))
    for script, words in (("echo one; echo two >&2; exit 3", ("exit code 3", "one two")),
                          ("kill -9 $$", ("killed by signal 9",)),
                          (": >$3", ("image: is empty",)), ("exit 0", ("write tmp/",)),
                          ("ln -s /etc/passwd $3", ("write tmp/",)),
                          ("mkdir $3", ("is empty",))):
        r = s("pull", "--rootfs-image", lay.source, env=fake_tool(t, script))
        t.fails(r, "root image: ", *words)
        t.eq((s.ls("roots"), s.ls("tmp")), ([], []), script)


@bailey_only("images")
def test_what_the_tool_is_left_with(t):
    """Layers read-only, one capability, no descriptors, none of the store's secrets in between."""
    lay, s = layered(t), Store(t)
    must(s("pull", lay.source))
    r = s("pull", "--rootfs-image", lay.source, env=fake_tool(t, """
grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status; ls /proc/self/fd | wc -l
touch tree/x 2>&1; cat tree/secret; grep -c . /proc/self/environ
exit 1"""))
    t.fails(r, "NoNewPrivs: 1")
    said = r.err.replace("\t", " ")
    t.has(said, "CapEff: 0000000000000004 CapBnd: 0000000000000004")
    t.has(said, "Read-only file system")
    t.true("Permission denied" not in said, said)


@bailey_only("images")
def test_tool_that_is_missing(t):
    lay, s = layered(t), Store(t)
    tool(t)
    r = s("pull", "--rootfs-image", lay.source,
          preexec_fn=with_empty(os.path.dirname(shutil.which("mkfs.erofs"))))
    t.fails(r, "mkfs.erofs is not installed (Debian: apt install erofs-utils)")
    t.eq((s.ls("roots"), s.ls("tmp")), ([], []))


@timeout(300)
@bailey_only("images")
def test_many_at_once_make_one(t):
    tool(t)
    lay, s = layered(t), Store(t)
    must(s("pull", lay.source))
    count = os.path.join(t.tmp, "count")
    env = fake_tool(t, f"echo x >>{count}; sleep 0.3\nexec {shutil.which('mkfs.erofs')} \"$@\"")
    got = []
    threads = [threading.Thread(target=lambda: got.append(
        s("pull", "--rootfs-image", lay.source, env=env).code)) for _ in range(5)]
    for th in threads:
        th.start()
    for th in threads:
        th.join(limit(60))
    t.eq(got, [0] * 5)
    with open(count, encoding="ascii") as f:
        t.eq(f.read(), "x\n", "made once")
    is_whole(t, root_file(t, s))


@timeout(300)
@bailey_only("images")
def test_killed_at_any_moment(t):
    tool(t)
    lay, s = layered(t), Store(t)
    must(s("pull", lay.source))
    env = fake_tool(t, f"sleep 0.05\n{shutil.which('mkfs.erofs')} \"$@\" || exit\nsleep 0.05")
    rng = random.Random(4)
    for _ in range(12):
        p = s.runtime.spawn("pull", "--store", s.path, "--rootfs-image", lay.source, env=env)
        time.sleep(rng.uniform(0, 0.3))
        p.kill()
        p.wait(limit(10))
        while s.ls("tmp"):  # its child dies with it, which takes a moment
            s.names()
        for name in s.ls("roots"):
            is_whole(t, os.path.join(s.path, "roots", name))
            os.unlink(os.path.join(s.path, "roots", name))
    must(s("pull", "--rootfs-image", lay.source))
    is_whole(t, root_file(t, s))
