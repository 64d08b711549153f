"""Layers become trees: what GNU tar, bsdtar, umoci and skopeo wrote, against what bsdtar and umoci
make of it; the meaning of whiteouts; owners in user namespaces."""
import os
import random
import stat
import subprocess
import sys

from lib import clock
from lib.layers import (BLOCK, CHAR, DIR, END, FIFO, HARD, SYM, Unpacker, base256, capability, differences,
                        entry, gnu_long, header, layout, padded, pax, read_layout, record, same_trees,
                        sha256, squeeze, tar, tree, zstd)
from lib.testing import bailey_only, cases, timeout

WHY = "images are bailey's own"


def run(*argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **kw)
    assert p.returncode == 0, f"{argv}: {p.stdout}"
    return p.stdout


def set_time(path, ns, follow=True):
    os.utime(path, ns=(ns, ns), follow_symlinks=follow)


def source_tree(t, xattrs=True):
    """Everything that a layer can hold, but sockets."""
    top = t.dir("source")

    def at(*p):
        return os.path.join(top, *p)

    def put(path, data=b"", mode=0o644, owner=(0, 0)):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        os.chown(path, *owner)
        os.chmod(path, mode)
    put(at("bin", "tool"), b"#!/bin/sh\n" * 9000, 0o755)
    put(at("bin", "su"), b"x" * 513, 0o4755, (0, 42))
    put(at("bin", "wall"), b"x" * 512, 0o2711, (1, 1))
    os.link(at("bin", "tool"), at("bin", "tool2"))
    os.makedirs(at("a", "b", "c"))
    os.link(at("bin", "tool"), at("a", "b", "c", "tool3"))
    put(at("etc", "big-ids"), b"ids", 0o600, (1234567, 2000000))
    put(at("etc", "empty"))
    put(at("etc", "ümlaut \t\"quoted\""), "ü".encode(), 0o444)
    put(at("d" * 90, "e" * 90, "f" * 200), b"long name")
    os.symlink("g" * 300, at("long-target"))
    os.symlink("tool", at("bin", "link"))
    os.link(at("bin", "link"), at("bin", "link2"), follow_symlinks=False)
    os.symlink("/no/such/file", at("dangling"))
    os.symlink("../../../../etc/passwd", at("outside"))
    os.lchown(at("dangling"), 7, 8)
    os.mkfifo(at("fifo"), 0o620)
    os.mknod(at("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(at("disk"), stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    for path, mode in (("tmp", 0o1777), ("locked", 0o000), ("group", 0o2770), ("empty", 0o755)):
        os.makedirs(at(path), exist_ok=True)
        os.chmod(at(path), mode)
    with open(at("sparse"), "wb") as f:
        for n in range(40):
            f.seek(n << 16)
            f.write(b"data %d" % n)
        f.truncate(50 << 16)
    with open(at("hole"), "wb") as f:
        f.truncate(1 << 20)
    if xattrs:
        os.setxattr(at("bin", "tool"), "user.note", b"some\0binary\n=\xff")
        os.setxattr(at("etc"), "user.empty", b"")
        os.setxattr(at("bin", "wall"), "trusted.x", b"y")
        os.setxattr(at("bin", "wall"), "security.capability", capability(1 << 10))
    ns = 1_500_000_000_123_456_789
    for here, dirs, files in os.walk(top, topdown=False):
        for name in dirs + files:
            ns += 1_000_000_007
            set_time(os.path.join(here, name), ns, follow=False)
    set_time(top, 1_400_000_000_000_000_001)
    return top


GNU = ["tar", "--numeric-owner", "--sort=name"]
POSIX = GNU + ["--format=posix", "--xattrs", "--xattrs-include=*"]
BSD = ["bsdtar", "--numeric-owner"]
LONG = ["--exclude=" + "d" * 90, "--exclude=./long-target", "--exclude=./etc/big-ids", "--exclude=./etc/empty"]


@bailey_only(WHY)
@timeout(120)
@cases(gnu=(GNU + ["--format=gnu"],),
       gnu_sparse=(GNU + ["--format=gnu", "--sparse"],),
       posix=(POSIX,),
       posix_sparse_0_0=(POSIX + ["--sparse", "--sparse-version=0.0"],),
       posix_sparse_0_1=(POSIX + ["--sparse", "--sparse-version=0.1"],),
       posix_sparse_1_0=(POSIX + ["--sparse", "--sparse-version=1.0"],),
       ustar=(GNU + ["--format=ustar"] + LONG,),
       bsd_pax=(BSD + ["--format=pax"],),
       bsd_gnu=(BSD + ["--format=gnutar"],),
       bsd_ustar=(BSD + ["--format=ustar"] + LONG,))
def test_producers(t, writer):
    """What is written comes back: like bsdtar's result, and where the format can, like the source."""
    src, file = source_tree(t), os.path.join(t.tmp, "layer.tar")
    run(*writer, "-cf", file, "-C", src, ".")
    with open(file, "rb") as f:
        plain = f.read()
    oracle = t.dir("oracle")
    run("bsdtar", "--numeric-owner", "-xpf", file, "-C", oracle)
    # It sets no time on where it unpacks to.
    root_time = os.stat(src).st_mtime_ns if {"--format=posix", "--format=pax"} & set(writer) else \
        os.stat(src).st_mtime_ns // 10**9 * 10**9
    set_time(oracle, root_time)
    u = Unpacker(t)
    for how in ("none", "gzip", "zstd"):
        blob = squeeze(plain, how)
        got = u.apply((blob, sha256(blob), sha256(plain)))
        t.eq(u.result["compression"], how)
        same_trees(t, got, oracle, f"bsdtar's tree ({how})")
    if "--format=posix" in writer or "--format=pax" in writer:
        same_trees(t, got, src, "the source")
    if "--sparse" in writer or "--format=pax" in writer:
        t.true(os.stat(os.path.join(got, "sparse")).st_blocks * 512 <= 40 * 16384, "holes are kept")
        t.eq(os.stat(os.path.join(got, "hole")).st_blocks, 0, "blocks of a hole")
    over = Unpacker(t, "--overlay").apply(plain)
    same_trees(t, over, got, "as an overlay's layer")


@bailey_only(WHY)
@timeout(120)
def test_umoci_and_skopeo(t):
    """An image by umoci, recompressed by skopeo, against umoci's bundle."""
    src, image = source_tree(t, xattrs=False), os.path.join(t.tmp, "image")
    os.setxattr(os.path.join(src, "bin", "tool"), "user.note", b"text")
    run("umoci", "init", "--layout", image)
    run("umoci", "new", "--image", image + ":x")
    run("umoci", "insert", "--image", image + ":x", src, "/opt")
    more = t.dir("more")
    for name in ("new", "link"):
        with open(os.path.join(more, name), "w") as f:
            f.write(name)
    run("umoci", "insert", "--image", image + ":x", more, "/opt/bin")
    run("umoci", "insert", "--image", image + ":x", "--whiteout", "/opt/etc/empty")
    run("umoci", "insert", "--image", image + ":x", "--opaque", more, "/opt/a")
    run("umoci", "gc", "--layout", image)
    bundle = os.path.join(t.tmp, "bundle")
    run("umoci", "unpack", "--image", image + ":x", bundle)
    got = Unpacker(t).apply(*read_layout(image))
    # umoci gives directories that no entry names the time of its run.
    named = {p for p in tree(got) if p.startswith("opt/") and p not in ("opt/bin", "opt/a", "opt/etc")}
    want = {p: f for p, f in tree(os.path.join(bundle, "rootfs")).items() if p in named}
    t.eq(differences({p: f for p, f in tree(got).items() if p in named}, want), [], "umoci's tree")
    t.eq(set(tree(got)), set(tree(os.path.join(bundle, "rootfs"))), "umoci's names")
    t.eq(sorted(os.listdir(os.path.join(got, "opt/a"))), ["link", "new"], "opaque")
    for how in ("zstd", "gzip"):
        copy = os.path.join(t.tmp, "copy-" + how)
        run("skopeo", "copy", "--insecure-policy", "--dest-compress", "--dest-compress-format", how,
            f"oci:{image}:x", f"oci:{copy}:x")
        u = Unpacker(t)
        again = u.apply(*read_layout(copy))
        if how == "zstd":
            t.eq(u.result["compression"], "zstd")
        set_time(again, os.stat(got).st_mtime_ns)  # no layer names the root
        same_trees(t, again, got, "skopeo's copy in " + how)


def random_layers(rng, n_layers, again=False):
    """Layers that replace, remove and hide each other's files. again: a name may come twice, and
    whiteouts of what the layer itself brings."""
    layers = []
    for n in range(n_layers):
        parts, dirs, used = [], [""], set()
        for k in range(14):
            where = rng.choice(dirs)
            base = rng.choice("abc")
            name, what = where + base, rng.random()
            if name in used and not again:
                continue
            used.add(name)
            stamp = dict(mtime=1000 * n + k, uid=k)
            if what < 0.7 and name + "/" in dirs:
                dirs = [d for d in dirs if not d.startswith(name + "/")]
            if what < 0.35:
                parts.append(entry(name, DIR, mode=0o700 + k, **stamp))
                dirs.append(name + "/")
            elif what < 0.6:
                parts.append(entry(name, data=b"%d %d" % (n, k), **stamp))
            elif what < 0.7:
                parts.append(entry(name, SYM, link="b", **stamp))
            elif what < 0.9 and n:
                parts.append(entry(f"{where}.wh.{base}"))
            elif n and again:
                parts.append(entry(where + ".wh..wh..opq"))
        layers.append(tar(*parts))
    return layers


@bailey_only(WHY)
@timeout(120)
def test_random_layers_like_umoci(t):
    """Flat, against umoci."""
    rng = random.Random(20)
    for n in range(10):
        layers = random_layers(rng, 4)
        image, bundle = os.path.join(t.tmp, f"image{n}"), os.path.join(t.tmp, f"bundle{n}")
        layout(image, [(squeeze(l, "gzip"), "gzip", l) for l in layers])
        run("umoci", "unpack", "--image", image + ":latest", bundle)
        got = Unpacker(t).apply(*read_layout(image))
        # umoci gives directories that no entry names the time of its run.
        same_trees(t, got, os.path.join(bundle, "rootfs"), f"round {n}", times=False)


@bailey_only(WHY)
@timeout(120)
def test_random_layers_both_ways(t):
    """What overlayfs shows is what the flat tree holds."""
    rng = random.Random(30)
    for n in range(clock.often(40, 10)):
        layers = random_layers(rng, 3, again=True)
        flat, merged = visible(t, *layers)
        t.eq(merged, flat, f"round {n}")


# ---- what tar can say ----

@bailey_only(WHY)
def test_names(t):
    u = Unpacker(t)
    long = "/".join(["n" * 100] * 9)
    got = u.apply(tar(entry("/absolute"), entry("./dot/./file"), entry("dir//double///", DIR),
                      entry("name", prefix="pre/fix"), gnu_long(long), entry("short", magic=b"ustar  \0"),
                      entry("x", records={"path": "pax/ü"}), entry("old/", "\0", mode=0o700),
                      entry("old/file", "\0", magic=b"\0" * 8, data=b"v7"), entry("cont", "7", data=b"7")))
    for name in ("absolute", "dot/file", "dir/double", "pre/fix/name", long, "pax/ü", "old/file", "cont"):
        t.true(os.path.lexists(os.path.join(got, name)), name)
    t.eq(open(os.path.join(got, "old/file")).read(), "v7")


@bailey_only(WHY)
def test_numbers(t):
    big = 3_000_000_000
    got = Unpacker(t).apply(tar(
        entry("base256", uid=big, gid=big + 1, fields={136: b"\xff" * 11 + b"\xfe"}),
        entry("pax", uid=1, records={"uid": "4294967294", "gid": "7", "mtime": "-1.5",
                                     "comment": "ignored", "vendor.x": "\0"}),
        entry("size", data=b"12345", size=0, records={"size": "5"}),
        pax({"mtime": "77.123456789999", "uid": "5"}, "g"),
        entry("global", uid=1, mtime=1), entry("both", records={"uid": "6"})))
    f = tree(got)
    t.eq((f["base256"]["owner"], f["base256"]["mtime"]), ((big, big + 1), -2_000_000_000))
    t.eq((f["pax"]["owner"], f["pax"]["mtime"]), ((4294967294, 7), -1_500_000_000))
    t.eq(f["size"]["data"][0], 5)
    t.eq((f["global"]["owner"], f["global"]["mtime"]), ((5, 0), 77_123_456_789))
    t.eq(f["both"]["owner"], (6, 0))


@bailey_only(WHY)
def test_xattr_notations(t):
    got = Unpacker(t).apply(tar(
        entry("f", records=[("SCHILY.xattr.user.bin", b"\0\n="), ("LIBARCHIVE.xattr.user.a%20b", "AP8"),
                            ("LIBARCHIVE.xattr.user.bin", "AAo9"), ("SCHILY.xattr.user.none", "")]),
        entry("l", SYM, link="f", records={"SCHILY.xattr.trusted.l": "1"}),
        pax({"SCHILY.xattr.user.g": "all"}, "g"),
        entry("g1"), entry("g2", records={"SCHILY.xattr.user.g": "own"})))
    f = tree(got)
    t.eq(f["f"]["xattrs"], {"user.bin": b"\0\n=", "user.a b": b"\0\xff", "user.none": b""})
    t.eq(f["l"]["xattrs"], {"trusted.l": b"1"})
    t.eq((f["g1"]["xattrs"], f["g2"]["xattrs"]), ({"user.g": b"all"}, {"user.g": b"own"}))


@bailey_only(WHY)
def test_left_out(t):
    """Labels and ACLs are not the layer's to set, and are counted."""
    u = Unpacker(t)
    got = u.apply(tar(entry("f", records={"SCHILY.xattr.security.selinux": "x",
                                          "SCHILY.xattr.system.posix_acl_access": "x",
                                          "SCHILY.acl.access": "user::rw-"})))
    t.eq((u.result["skipped"], tree(got)["f"]["xattrs"]), (3, {}))


@bailey_only(WHY)
def test_directories_as_they_were(t):
    """Times of directories that a later layer only works in stay; attributes of named ones are the
    later layer's alone."""
    below = tar(entry("d", DIR, mtime=100, mode=0o751), entry("d/old"),
                entry("e", DIR, mtime=100, records={"SCHILY.xattr.user.old": "1"}), entry("e/kept"))
    above = tar(entry("d/new"), entry("d/.wh.old"),
                entry("e", DIR, mtime=200, mode=0o500, records={"SCHILY.xattr.user.new": "1"}))
    f = tree(Unpacker(t).apply(below, above))
    t.eq((f["d"]["mtime"], f["d"]["mode"], sorted(f)),
         (100_000_000_000, "0o751", [".", "d", "d/new", "e", "e/kept"]))
    t.eq((f["e"]["mtime"], f["e"]["mode"], f["e"]["xattrs"]), (200_000_000_000, "0o500", {"user.new": b"1"}))


@bailey_only(WHY)
def test_replacing(t):
    """What exists goes, unless both are directories; nothing is written through it."""
    below = tar(entry("file", data=b"old"), entry("link", HARD, link="file"), entry("dir", DIR),
                entry("dir/x", data=b"x"), entry("sym", SYM, link="dir"), entry("keep", DIR),
                entry("keep/x", data=b"x"), entry("fifo", FIFO))
    above = tar(entry("file", data=b"new"), entry("dir", data=b"a file"), entry("sym", DIR),
                entry("sym/y"), entry("keep", DIR), entry("fifo", SYM, link="keep"))
    got = Unpacker(t).apply(below, above)
    f = tree(got)
    t.eq(open(os.path.join(got, "link")).read(), "old", "the other name of a replaced file")
    t.eq(open(os.path.join(got, "file")).read(), "new")
    t.eq(sorted(f), [".", "dir", "fifo", "file", "keep", "keep/x", "link", "sym", "sym/y"])
    t.true(stat.S_ISREG(f["dir"]["type"]) and stat.S_ISDIR(f["sym"]["type"]), "types")
    again = Unpacker(t).apply(tar(entry("a", data=b"1"), entry("a", DIR), entry("a/b"), entry("a", data=b"2"),
                                  entry("b", HARD, link="a"), entry("a", HARD, link="b")))
    t.eq(tree(again)["a"].get("links"), ["a", "b"], "a link onto itself changes nothing")


@bailey_only(WHY)
def test_through_symlinks_inside(t):
    """A parent that is a symlink is followed as the container would: inside."""
    got = Unpacker(t).apply(tar(entry("usr/lib", DIR, mtime=5), entry("lib", SYM, link="/usr/lib"),
                                entry("lib/x"), entry("lib/sub", DIR, mode=0o711, mtime=6),
                                entry("lib", SYM, link="elsewhere")))
    f = tree(got)
    t.true("usr/lib/x" in f and f["lib"]["link"] == "elsewhere", str(sorted(f)))
    t.eq((f["usr/lib/sub"]["mode"], f["usr/lib/sub"]["mtime"], f["usr/lib"]["mtime"]),
         ("0o711", 6_000_000_000, 5_000_000_000))


# ---- compression ----

@bailey_only(WHY)
def test_streams(t):
    """Members, frames, padding; empty ones among them."""
    plain = tar(entry("f", data=b"0123456789" * 5000))
    cut = [plain[:700], b"", plain[700:20000], plain[20000:]]
    skip = b"\x50\x2a\x4d\x18\x05\0\0\0hello" + b"\x5f\x2a\x4d\x18\0\0\0\0"
    streams = {
        "members": b"".join(squeeze(c, "gzip") for c in cut),
        "padding": squeeze(plain, "gzip") + b"\0" * 100_000,
        "frames": skip.join(zstd(c) for c in cut) + skip,
        "skippable first": skip + zstd(plain),
    }
    want = None
    for what, blob in streams.items():
        got = Unpacker(t).apply((blob, sha256(blob), sha256(plain)))
        want = want or got
        same_trees(t, got, want, what, times=False)
    t.eq(open(os.path.join(want, "f")).read(), "0123456789" * 5000)


@bailey_only(WHY)
def test_ends_of_archives(t):
    """An archive may lack its end, be empty, or have padding and more behind its end."""
    u = Unpacker(t)
    for stream in (b"", END, tar(entry("f"), end=b""), tar(entry("f")) + b"\0" * 20000,
                   tar(entry("f")) + b"rubbish" * 999):
        for how in ("none", "gzip"):
            blob = squeeze(stream, how)
            u.apply((blob, sha256(blob), sha256(stream)))
    t.eq(u.result["entries"], 1)


# ---- whiteouts ----

BELOW = (entry("d", DIR, mode=0o700), entry("d/a", data=b"lower"), entry("d/b"), entry("d/s", DIR),
         entry("d/s/x"), entry("f"), entry("g"))


def visible(t, *layers):
    """The names that a container sees: flat, and through an overlay mount."""
    flat = Unpacker(t).apply(*layers)
    u = Unpacker(t, "--overlay")
    dirs = []
    for l in layers:
        dirs.insert(0, u.apply(l))
        if u.result["opaqueRoot"]:
            dirs = dirs[:1]
    merged = u.dir()
    lower = ":".join(dirs + [u.dir()])  # a single one is no overlay
    run("mount", "-t", "overlay", "-o", "ro,lowerdir=" + lower, "overlay", merged)
    seen = [{p: f.get("data") or f["type"] for p, f in tree(top, ghosts=True).items()}
            for top in (flat, merged)]
    run("umount", merged)
    return seen


@bailey_only(WHY)
@cases(
    file=([entry("d", DIR), entry("d/.wh.a")], "d d/b d/s d/s/x f g"),
    directory=([entry(".wh.d")], "f g"),
    absent=([entry(".wh.nothing")], "d d/a d/b d/s d/s/x f g"),
    opaque_first=([entry("d", DIR), entry("d/.wh..wh..opq"), entry("d/n")], "d d/n f g"),
    opaque_last=([entry("d", DIR), entry("d/n"), entry("d/s", DIR), entry("d/s/y"),
                  entry("d/.wh..wh..opq")], "d d/n d/s d/s/y f g"),
    opaque_root=([entry("n"), entry(".wh..wh..opq")], "n"),
    own_file_stays=([entry("d/a", data=b"new"), entry("d/.wh.a")], "d d/a d/b d/s d/s/x f g"),
    own_file_after=([entry("d/.wh.a"), entry("d/a", data=b"new")], "d d/a d/b d/s d/s/x f g"),
    renewed_after=([entry(".wh.d"), entry("d", DIR), entry("d/n")], "d d/n f g"),
    renewed_before=([entry("d", DIR), entry("d/n"), entry(".wh.d")], "d d/n f g"),
    renewed_implied=([entry(".wh.d"), entry("d/n")], "d d/n f g"),
    implied_before=([entry("d/n"), entry(".wh.d")], "d d/n f g"),
    file_then_directory=([entry("d", data=b"x"), entry("d", DIR), entry("d/n")], "d d/n f g"),
    twice=([entry(".wh.f"), entry(".wh.f")], "d d/a d/b d/s d/s/x g"),
    directory_by_file=([entry("d")], "d f g"),
)
def test_whiteouts(t, layer, want):
    """Both modes show the same."""
    flat, merged = visible(t, tar(*BELOW), tar(*layer))
    t.eq(" ".join(sorted(set(flat) - {"."})), want, "flat")
    t.eq(merged, flat, "overlay")


@bailey_only(WHY)
def test_overlay_marks(t):
    for options, name in (([], "trusted.overlay.opaque"), (["--userxattr"], "user.overlay.opaque")):
        got = Unpacker(t, "--overlay", *options).apply(tar(entry("d/.wh..wh..opq"), entry(".wh.f")))
        f = tree(got)
        t.eq(f["d"]["xattrs"], {name: b"y"})
        t.eq((f["f"]["type"], f["f"]["device"]), (stat.S_IFCHR, (0, 0)))


# ---- owners ----

IDS = tar(entry("d", DIR, uid=0, gid=5), entry("d/f", uid=1000, gid=1),
          entry("d/implied/f"), entry("cap", records={"SCHILY.xattr.security.capability": capability(1 << 10)}))


@bailey_only(WHY)
def test_mapped_owners(t):
    got = Unpacker(t, "--map", "0:100000:1000", "--map", "1000:5000:1").apply(IDS)
    f = tree(got)
    t.eq((f["d"]["owner"], f["d/f"]["owner"], f["d/implied"]["owner"]),
         ((100000, 100005), (5000, 100001), (100000, 100000)))
    t.eq(f["cap"]["xattrs"], {"security.capability": capability(1 << 10, 100000)}, "the mapped root's")


@bailey_only(WHY)
def test_unmapped_owner(t):
    r = Unpacker(t, "--map", "0:100000:1000").refused(IDS, says=["user 1000", "/etc/subuid", '"d/f"', "entry 2"])
    t.lacks(r.err, "cap")
    Unpacker(t, "--map", "0:0:1", "--map", "1000:0:1").refused(IDS, says=["group 5", "/etc/subgid"])


# Becomes root of a user namespace whose ids 0 to 1999 are the host's from 100000 on, and runs its words.
MAPPED = """
import ctypes, os, sys
r, w = os.pipe()
pid = os.getpid()
if os.fork() == 0:
    os.read(r, 1)
    for kind in "ug":
        with open(f"/proc/{pid}/{kind}id_map", "w") as f:
            f.write("0 100000 2000")
    os._exit(0)
assert ctypes.CDLL(None).unshare(0x10000000) == 0
os.write(w, b"x")
os.wait()
os.setgroups([])
os.setresgid(0, 0, 0)
os.setresuid(0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@bailey_only(WHY)
def test_in_a_user_namespace(t):
    """Unprivileged with mapped ids: owners, whiteouts, capabilities; devices are left out."""
    layer = tar(*BELOW, entry("d/f", uid=1000, gid=1), entry("null", CHAR, major=1, minor=3), entry(".wh.h"),
                entry("s/.wh..wh..opq"), entry("fifo", FIFO, uid=3, mode=0o604),
                entry("cap", records={"SCHILY.xattr.security.capability": capability(1 << 10)}))
    u = Unpacker(t, "--overlay", "--userxattr", "--userns", "--map", "0:0:2000",
                 argv0=[sys.executable, "-c", MAPPED])
    where = u.dir()
    os.chown(where, 100000, 100000)
    os.chmod(t.tmp, 0o755)
    u.apply(layer, where=where)
    f = tree(where)
    t.eq((f["d/f"]["owner"], f["fifo"]["owner"], f["fifo"]["mode"]), ((101000, 100001), (100003, 100000), "0o604"))
    t.eq((f["h"]["device"], f["null"]["device"]), ((0, 0), (0, 0)), "whiteouts")
    t.eq(f["s"]["xattrs"], {"user.overlay.opaque": b"y"})
    t.eq(f["cap"]["xattrs"], {"security.capability": capability(1 << 10, 100000)})
    t.eq(u.result["skipped"], 1, "devices left out")


@bailey_only(WHY)
def test_remove(t):
    """Trees deeper than paths are long, with descriptors for few of their levels."""
    top = t.dir("deep")
    fd = os.open(top, os.O_RDONLY)
    for n in range(3000):
        os.mkdir("n" * 10, dir_fd=fd)
        with open(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd), "w") as f:
            f.write("x")
        down = os.open("n" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = down
    os.close(fd)
    os.symlink("/etc", os.path.join(top, "link"))
    u = Unpacker(t, "--remove", argv0=["prlimit", "--nofile=100"])
    t.ok(u.call(top))
    t.true(not os.path.exists(top) and os.path.exists("/etc/passwd"), "gone, and nothing else")
    t.ok(u.call(top))
