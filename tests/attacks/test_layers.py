"""Hostile layers: none reaches outside of its directory, costs without bound, or is understood in two
ways. Every refusal names the entry."""
import bz2
import hashlib
import lzma
import os
import stat
import subprocess
import threading
import zlib

from lib.layers import (CHAR, DIR, END, FIFO, HARD, SYM, Unpacker, entry, gnu_long, header, octal, padded,
                        pax, record, sha256, squeeze, tar, tree, zstd)
from lib.testing import bailey_only, cases, timeout

WHY = "images are bailey's own"


def outside(t):
    """A file beside the directory to unpack into, and what must still be true of it afterwards."""
    path = t.file("outside", "untouched", 0o600)
    os.utime(path, ns=(10**18, 10**18))
    before = os.lstat(path)

    def check():
        now = os.lstat(path)
        t.eq(open(path).read(), "untouched", "the file outside")
        t.eq((now.st_mode, now.st_uid, now.st_nlink, now.st_mtime_ns),
             (before.st_mode, before.st_uid, before.st_nlink, before.st_mtime_ns))
        t.true(not os.path.lexists(os.path.join(t.tmp, "made")), "something new outside")
    return check


# ---- out of the directory ----

@bailey_only(WHY)
@cases(dotdot=(entry("../outside", data=b"x"), '".."'),
       dotdot_inside=(entry("a/../../outside"), '".."'),
       dotdot_end=(entry("a/..", DIR), '".."'),
       root_symlink=(entry(".", SYM, link="/"), "root"),
       root_symlink_slash=(entry("/", SYM, link="/etc"), "root"),
       root_symlink_dots=(entry("././/", SYM, link=".."), "root"),
       root_file=(entry("."), "root"),
       root_hardlink=(entry("./", HARD, link="a"), "root"),
       link_dotdot=(entry("made", HARD, link="../outside"), '".."'),
       link_absent=(entry("made", HARD, link="/etc/passwd"), "is not there"),
       link_root=(entry("made", HARD, link="/"), "root"),
       link_directory=(entry("d", DIR) + entry("made", HARD, link="d"), "directory"))
def test_outside(t, parts, says):
    check = outside(t)
    Unpacker(t).refused(tar(parts), says=[says, "entry "])
    check()


@bailey_only(WHY)
@cases(absolute="{tmp}", relative="..", chain="up", proc="/proc/self/cwd", magic="/proc/self/root{tmp}")
def test_through_a_symlink(t, target):
    """Files, directories, modes, links and whiteouts by way of a symlink to outside stay inside."""
    check = outside(t)
    target = target.format(tmp=t.tmp)
    for action in (entry("s/outside", data=b"x", mode=0o777), entry("s/made"),
                   entry("s/outside", DIR, mode=0o777), entry("s/outside", CHAR, major=1, minor=3),
                   entry("s/.wh.outside"), entry("s/.wh..wh..opq"), entry("s/made", SYM, link="x"),
                   entry("f") + entry("s/outside", HARD, link="f")):
        for mode in ([], ["--overlay"]):
            u = Unpacker(t, *mode)
            where = u.dir()
            u.call(where, tar(entry("up", SYM, link=".."), entry("s", SYM, link=target)), tar(action))
            u.call(u.dir(), tar(entry("up", SYM, link=".."), entry("s", SYM, link=target), action))
            check()


@bailey_only(WHY)
def test_last_component_is_not_followed(t):
    """chmod, chown, times, xattrs and data never go through a symlink that is in the way."""
    check = outside(t)
    path = os.path.join(t.tmp, "outside")
    for over in (entry("s", data=b"x", mode=0o777, uid=5), entry("s", DIR, mode=0o777), entry("s", FIFO),
                 entry("s", SYM, link=path, uid=7, mtime=9)):
        got = Unpacker(t).apply(tar(entry("s", SYM, link=path), over))
        t.true(os.path.lexists(os.path.join(got, "s")), "made")
        check()


@bailey_only(WHY)
def test_hardlink_through_a_symlink(t):
    check = outside(t)
    Unpacker(t).refused(tar(entry("s", SYM, link=t.tmp), entry("made", HARD, link="s/outside")),
                        says=["through a symlink", "entry 2"])
    Unpacker(t).refused(tar(entry("d", DIR), entry("d/f"), entry("s", SYM, link="d"),
                            entry("l", HARD, link="s/f")), says="through a symlink")
    path = os.path.join(t.tmp, "outside")
    got = Unpacker(t).apply(tar(entry("s", SYM, link=path), entry("l", HARD, link="s"),
                                entry("l", data=b"x", mode=0o777)))
    t.eq(tree(got)["l"]["data"][0], 1, "the link to a symlink was replaced")
    check()


@bailey_only(WHY)
def test_hardlink_to_what_is_below(t):
    """As an overlay's layer nothing but the layer is there; a whiteout is no target."""
    Unpacker(t, "--overlay").refused(tar(entry("l", HARD, link="bin/sh")), says="in this layer")
    Unpacker(t, "--overlay").refused(tar(entry(".wh.x"), entry("l", HARD, link="x")), says="in this layer")


@bailey_only(WHY)
@timeout(60)
def test_race(t):
    """Somebody swaps a directory for a symlink to outside while files are being made in it."""
    check = outside(t)
    u = Unpacker(t)
    where = u.dir()
    parts = [entry("d", DIR)] + [entry(f"d/{n}/outside", data=b"x", mode=0o777) for n in range(1500)]
    stop = threading.Event()

    def swap():
        d, hidden = os.path.join(where, "d"), os.path.join(where, "hidden")
        while not stop.is_set():
            try:
                os.rename(d, hidden)
                os.symlink(t.tmp, d)
                os.unlink(d)
                os.rename(hidden, d)
            except OSError:
                pass
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        u.call(where, tar(*parts))
    finally:
        stop.set()
        thread.join()
    check()
    t.true(not os.path.exists(os.path.join(t.tmp, "1")), "a directory outside")


# ---- names, types, attributes ----

@bailey_only(WHY)
@cases(
    component=(gnu_long("n" * 256) + entry("x"), "255"),
    path=(gnu_long("n/" * 2100) + entry("x"), "extended header"),
    pax_path=(entry("x", records={"path": "n/" * 2100}), "4095"),
    pax_link=(entry("x", SYM, records={"linkpath": "n" * 4096}), "4095"),
    pax_nul=(entry("x", records={"path": "a\0b"}), "NUL"),
    long_nul=(header("L", "L", 4) + padded(b"a\0b\0") + entry("x"), "NUL"),
    empty=(entry(""), "no name"),
    empty_link=(entry("x", SYM, link=""), "without target"),
    two_names=(gnu_long("a") + entry("x", records={"path": "b"}), "another"),
    two_long=(gnu_long("a") + gnu_long("b") + entry("x"), "two long names"),
    two_pax=(pax({"path": "a"}) + entry("x", records={"path": "b"}), "two pax headers"),
    pax_global_path=(pax({"path": "a"}, "g") + entry("x"), "global"),
    file_slash=(entry("x/"), "slash"),
    xattr_no_namespace=(entry("x", records={"SCHILY.xattr.note": "1"}), "NAMESPACE"),
    xattr_empty=(entry("x", records={"SCHILY.xattr.": "1"}), "NAMESPACE"),
    xattr_unknown=(entry("x", records={"SCHILY.xattr.foo.bar": "1"}), "no say"),
    xattr_long=(entry("x", records={"SCHILY.xattr.user." + "n" * 251: "1"}), "255"),
    xattr_big=(entry("x", records={"SCHILY.xattr.user.n": "1" * 65537}), "65536"),
    xattr_nul=(pax(record(b"SCHILY.xattr.user.a\0b", b"1")) + entry("x"), "malformed"),
    xattr_percent=(entry("x", records={"LIBARCHIVE.xattr.user.%00": "AA"}), "percent"),
    xattr_base64=(entry("x", records={"LIBARCHIVE.xattr.user.x": "A*"}), "base64"),
    overlay_redirect=(entry("x", DIR, records={"SCHILY.xattr.trusted.overlay.redirect": "/etc"}), "no say"),
    overlay_metacopy=(entry("x", records={"SCHILY.xattr.user.overlay.metacopy": ""}), "no say"),
    capability=(entry("x", records={"SCHILY.xattr.security.capability": b"\1\0\0\2"}), "capability"),
    whiteout_device=(entry("x", CHAR, major=0, minor=0), "0:0"),
    device_number=(entry("x", CHAR, major=4096, minor=0), "out of range"),
    bare_whiteout=(entry(".wh."), "names nothing"),
    bare_whiteout_below=(entry("d", DIR) + entry("d/.wh."), "names nothing"),
    whiteout_dot=(entry(".wh.."), "no file's name"),
    whiteout_dotdot=(entry("d/.wh..."), "no file's name"),
    whiteout_aufs=(entry(".wh..wh.plnk"), "reserved"),
    whiteout_parent=(entry(".wh.d/x"), "reserved"),
    whiteout_directory=(entry(".wh.d", DIR), "empty file"),
    whiteout_data=(entry(".wh.d", data=b"x"), "empty file"),
    whiteout_target=(entry(".wh.d") + entry("x", HARD, link=".wh.d"), "reserved"),
    parent_file=(entry("f") + entry("f/x"), "not a directory"),
    parent_dangling=(entry("s", SYM, link="gone") + entry("s/x"), "not a directory"),
    parent_loop=(entry("s", SYM, link="s") + entry("s/x"), "symbolic links"),
    type_unknown=(entry("x", "Z"), "type 0x5a"),
    type_volume=(entry("x", "M"), "type 0x4d"),
)
def test_refused(t, parts, says):
    for mode in ([], ["--overlay"]):
        Unpacker(t, *mode).refused(tar(parts), says=[says, "entry "])


@bailey_only(WHY)
@cases(
    negative_size=(header("x", fields={124: b"\xff" * 12}), "size"),
    negative_size_octal=(header("x", fields={124: b"-0000000001\0"}), "size"),
    huge_size=(header("x", fields={124: b"\x80" + b"\xff" * 11}), "size"),
    rubbish_size=(header("x", fields={124: b"0000000x000\0"}), "size"),
    pax_size=(entry("x", records={"size": "9223372036854775808"}), "range"),
    pax_size_negative=(entry("x", records={"size": "-1"}), "range"),
    pax_size_blank=(entry("x", records={"size": " 1"}), "range"),
    uid_wraps=(entry("x", records={"uid": "4294967296"}), "range"),
    uid_minus_one=(entry("x", records={"uid": "4294967295"}), "range"),
    uid_base256=(header("x", fields={108: b"\x80\0\0\1\0\0\0\0"}), "uid"),
    gid_negative=(header("x", fields={116: b"\xff" * 8}), "gid"),
    mtime=(entry("x", records={"mtime": "1e9"}), "time"),
    checksum=(header("x", checksum=1), "checksum"),
    lone_zeros=(entry("x") + b"\0" * 512 + entry("y"), "zeros"),
    link_with_data=(entry("x") + entry("y", HARD, link="x", data=b"z"), "data"),
    directory_with_data=(entry("x", DIR, data=b"z"), "data"),
    cut_data=(header("x", size=5000), "middle"),
    cut_header=(entry("x") + b"y" * 100, "middle"),
    pax_without_entry=(pax({"path": "x"}), "without an entry"),
    pax_too_large=(header("x", "x", 1 << 21) + b"\0" * (1 << 21), "more than 1048576"),
    pax_huge=(header("x", "x", 1 << 40), "more than 1048576"),
    global_too_large=(b"".join(pax({f"k{n}": "v" * 400000}, "g") for n in range(3)), "1 MiB"),
    record_length=(pax(b"99 path=x\n") + entry("x"), "malformed"),
    record_short=(pax(b"5 path=x\n") + entry("x"), "malformed"),
    record_overflow=(pax(b"18446744073709551626 path=x\n") + entry("x"), "malformed"),
    record_no_newline=(pax(b"9 path=xy") + entry("x"), "malformed"),
    record_zero=(pax(b"0 path=x\n") + entry("x"), "malformed"),
    record_no_key=(pax(b"5 =x\n") + entry("x"), "malformed"),
)
def test_malformed(t, parts, says):
    end = b"" if says == "middle" else END
    Unpacker(t).refused(tar(parts, end=end), says=[says, "entry "])


def sparse(pieces, size, stored=b"", **more):
    records = [("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", str(len(pieces))),
               ("GNU.sparse.map", ",".join(f"{o},{n}" for o, n in pieces))]
    return entry("x", data=stored, records=records + list(more.items()))


def sparse_1_0(text, size=100, stored=b""):
    return entry("x", data=padded(text) + stored, records={
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x",
        "GNU.sparse.realsize": str(size)})


def old_gnu(pieces, size, stored=b"", extended=b"\0", rest=b""):
    fields = {386: b"".join(octal(o, 12) + octal(n, 12) for o, n in pieces), 482: extended,
              483: octal(size, 12)}
    return header("x", "S", len(stored), magic=b"ustar  \0", fields=fields) + rest + padded(stored)


@bailey_only(WHY)
@cases(
    overlap=(sparse([(0, 4), (2, 4)], 100, b"12345678"), "overlaps"),
    backwards=(sparse([(50, 4), (0, 4)], 100, b"12345678"), "overlaps"),
    beyond=(sparse([(98, 4)], 100, b"1234"), "overlaps"),
    wraps=(sparse([(2**64 - 2, 4)], 100, b"1234"), "overlaps"),
    sums_wrap=(sparse([(0, 2**63 - 1), (2**63 - 1, 0)], 2**63 - 1, b"1234"), "archive"),
    less=(sparse([(0, 2)], 100, b"1234"), "archive"),
    more=(sparse([(0, 8)], 100, b"1234"), "archive"),
    number=(entry("x", records={"GNU.sparse.size": "1", "GNU.sparse.numblocks": "2",
                                "GNU.sparse.map": "0,0"}), "map"),
    not_a_file=(entry("x", DIR, records={"GNU.sparse.size": "1"}), "data"),
    no_map=(entry("x", records={"GNU.sparse.size": "1"}), "map"),
    blocks=(entry("x", records={"GNU.sparse.size": "1", "GNU.sparse.numblocks": "9999999"}), "range"),
    cut_1_0=(sparse_1_0(b"3\n0\n1\n"), "sparse"),
    long_1_0=(sparse_1_0(b"9" * 30 + b"\n"), "sparse"),
    many_1_0=(sparse_1_0(b"262145\n"), "262144"),
    old_overlap=(old_gnu([(0, 4), (2, 4)], 100, b"12345678"), "overlaps"),
    old_endless=(old_gnu([(0, 0)] * 4, 100, extended=b"\1", rest=(b"\0" * 504 + b"\1" + b"\0" * 7) * 4), "empty"),
    old_negative=(header("x", "S", fields={386: b"\xff" * 12 + octal(1, 12), 483: octal(9, 12)}), "number"),
)
def test_sparse(t, parts, says):
    Unpacker(t).refused(tar(parts), says=[says, "entry 1"])


@bailey_only(WHY)
def test_messages_are_one_line(t):
    """A hostile name neither breaks the line nor the terminal."""
    r = Unpacker(t).refused(tar(entry("a\n\x1b[31mb/../x")), says='".."')
    t.eq((r.err.count("\n"), "\x1b" in r.err), (1, False))


# ---- bombs and corruption ----

@bailey_only(WHY)
@timeout(120)
def test_bombs(t):
    # A MiB once and again: compressing so much takes longer than finding out.
    z = zlib.compressobj(9, wbits=31)
    first, more = (z.compress(bytes(1 << 20)) + z.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    zeros = first + 399 * more
    Unpacker(t).refused((zeros, sha256(zeros), sha256(b"")), says=["200 times", "bomb"])
    blob = zstd(header("x", size=320 << 20)) + 320 * zstd(bytes(1 << 20))
    Unpacker(t, "--ratio", "100").refused((blob, sha256(blob), sha256(b"")), says=["100 times", "bomb"])


@bailey_only(WHY)
def test_limits(t):
    many = tar(*(entry(f"f{n}") for n in range(50)))
    Unpacker(t, "--entries", "49").refused(many, says=["49 entries", "f49"])
    Unpacker(t, "--entries", "50").apply(many)
    Unpacker(t, "--entries", "20").refused(tar(entry("d/" * 30 + "x")), says="20 entries")
    small = squeeze(many, "gzip")
    Unpacker(t, "--bytes", "4096").refused(many, says=[f"{len(many)} bytes exceed", "4096 bytes"])
    Unpacker(t, "--bytes", "4096").refused((small, sha256(small), sha256(many)), says=["inflated", "4096 bytes"])
    long_names = tar(gnu_long("/".join(["n" * 250] * 15)) + entry("x", DIR), entry("y"))
    Unpacker(t, "--entries", "100").refused(long_names, says="6400 bytes of directories' names")
    Unpacker(t, "--entries", "1000").apply(long_names)
    holes = tar(sparse([], 10**12), sparse([], 10**12))
    Unpacker(t).refused(holes, says=["exceed", "bytes"])
    Unpacker(t, "--bytes", str(10**12)).refused(tar(sparse([], 10**12)), holes, says="exceed")


@bailey_only(WHY)
def test_digests(t):
    """Blob and DiffID are always checked, also where it first looks like something else."""
    plain = tar(entry("f", data=b"x" * 9000))
    u = Unpacker(t)
    for how in ("none", "gzip", "zstd"):
        blob = squeeze(plain, how)
        good, wrong = sha256(blob), sha256(b"")
        u.refused((blob, wrong, sha256(plain)), says=["digest", good, wrong])
        u.refused((blob, good, wrong), says=["DiffID", sha256(plain), wrong])
        u.refused((blob, "-", wrong), says=["DiffID"])
        damaged = bytearray(blob)
        damaged[len(blob) // 2] ^= 0x55
        u.refused((bytes(damaged), good, sha256(plain)), says=["digest", good, sha256(bytes(damaged))])
    cut = squeeze(plain, "gzip")[:-9]
    u.refused((cut, sha256(cut), sha256(plain)), says="cut off")
    cut = zstd(plain)[:-3]
    u.refused((cut, sha256(cut), sha256(plain)), says="cut off")
    sha512 = "sha512:" + hashlib.sha512(plain).hexdigest()
    u.apply((plain, sha512, sha512))
    u.refused((plain, sha512[:-1] + "x", sha512), says="digest")


@bailey_only(WHY)
def test_compressions(t):
    u = Unpacker(t)
    for says, compress in (("bzip2", bz2.compress), ("xz", lzma.compress)):
        blob = compress(tar(entry("f")))
        u.refused((blob, sha256(blob), sha256(b"")), says=says)
    good = squeeze(tar(entry("f")), "gzip")
    for blob, says in ((good + b"junk", "after the last member"), (good + b"\0\0\0x", "after padding"),
                       (b"\x1f\x8b\x07" + good[3:], "gzip"), (good + good[:5], "cut off"),
                       (zstd(b"x") + b"junk", "zstd"), (b"rubbish" * 100, "checksum")):
        u.refused((blob, sha256(blob), sha256(b"")), says=says)


@bailey_only(WHY)
def test_zstd_window(t):
    """A frame may ask for a window of terabytes."""
    blob = b"\x28\xb5\x2f\xfd\x00\xf8" + b"\x01\0\0"
    Unpacker(t).refused((blob, sha256(blob), sha256(b"")), says="zstd")


@bailey_only(WHY)
@timeout(120)
def test_repeated_whiteouts(t):
    """Each looks through all that the layer itself has brought; saying it again costs nothing more."""
    files = b"".join(entry(f"d/{n}") for n in range(8000))
    for name in ("d/.wh..wh..opq", ".wh.d"):
        u = Unpacker(t)
        where = u.dir()
        t.ok(u.call(where, tar(entry("d/below")), tar(files, entry(name) * 8000), timeout=20))
        t.eq(len(os.listdir(os.path.join(where, "d"))), 8000)


@bailey_only(WHY)
@timeout(60)
def test_depth(t):
    """Directories as deep as a name can say, made, replaced and pruned, with few descriptors."""
    deep = "/".join("d" * 2040)
    file = gnu_long(deep + "/f") + entry("x")
    u = Unpacker(t, argv0=["prlimit", "--nofile=200"])
    for layers in ([tar(gnu_long(deep) + entry("x", DIR), file), tar(entry("d"))], [tar(file), tar(entry("d"))],
                   [tar(file), tar(entry(".wh..wh..opq"))]):
        where = u.dir()
        # Python's own removal does not get that far.
        t.later(subprocess.run, [u.program, "--remove", where])
        r = u.call(where, *layers)
        if r.code:
            t.has(r.err, "too many open files", "pruning needs a descriptor per level")
        else:
            t.true(stat.S_ISREG(os.lstat(os.path.join(where, "d")).st_mode), "replaced")
    t.eq(r.code, 1, "the last one's code")
