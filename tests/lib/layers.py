"""Layers of images: tar streams made byte by byte, the program that applies them (tests/unpack), trees
as comparable values, and image layouts made by hand."""
import errno
import gzip
import hashlib
import json
import os
import stat
import struct
import subprocess
import tempfile

from . import clock
from .container import Result

FILE, HARD, SYM, CHAR, BLOCK, DIR, FIFO = "0", "1", "2", "3", "4", "5", "6"


def octal(n, width):
    return b"%0*o\0" % (width - 1, n)


def base256(n, width):
    return bytes([0x80 | (n >> 8 * (width - 1))]) + (n & (1 << 8 * (width - 1)) - 1).to_bytes(
        width - 1, "big")


def padded(data):
    return data + b"\0" * (-len(data) % 512)


def raw(s):
    return s if isinstance(s, bytes) else os.fsencode(s)


def header(name, kind=FILE, size=0, mode=0o644, uid=0, gid=0, mtime=1, link="", major=0, minor=0,
           magic=b"ustar\x0000", prefix="", fields=None, checksum=None):
    """One 512-byte header; fields: {offset: bytes} written over it before the checksum."""
    h = bytearray(512)

    def put(at, data):
        h[at:at + len(data)] = data
    put(0, raw(name)[:100])
    put(100, octal(mode, 8))
    put(108, octal(uid, 8) if uid < 1 << 21 else base256(uid, 8))
    put(116, octal(gid, 8) if gid < 1 << 21 else base256(gid, 8))
    put(124, octal(size, 12) if size < 1 << 33 else base256(size, 12))
    put(136, octal(mtime, 12))
    put(156, raw(kind))
    put(157, raw(link)[:100])
    put(257, magic)
    put(329, octal(major, 8))
    put(337, octal(minor, 8))
    put(345, raw(prefix)[:155])
    for at, data in (fields or {}).items():
        put(at, data)
    put(148, b" " * 8)
    put(148, b"%06o\0 " % (sum(h) if checksum is None else checksum))
    assert len(h) == 512
    return bytes(h)


def record(key, value):
    body = b" " + raw(key) + b"=" + raw(value) + b"\n"
    n = len(body)
    while len(str(n).encode() + body) != n:
        n = len(str(n).encode() + body)
    return str(n).encode() + body


def pax(records, kind="x"):
    """records: {key: value} or, to repeat keys, a list of pairs; or the body itself."""
    if not isinstance(records, bytes):
        pairs = records.items() if isinstance(records, dict) else records
        records = b"".join(record(k, v) for k, v in pairs)
    return header("PaxHeaders/x", kind, len(records)) + padded(records)


def entry(name, kind=FILE, data=b"", records=None, **kw):
    kw.setdefault("mode", 0o755 if kind == DIR else 0o644)
    head = pax(records) if records else b""
    return head + header(name, kind, kw.pop("size", len(data)), **kw) + padded(data)


def gnu_long(name, kind="L"):
    data = raw(name) + b"\0"
    return header("././@LongLink", kind, len(data), magic=b"ustar  \0") + padded(data)


END = b"\0" * 1024


def tar(*parts, end=END):
    return b"".join(parts) + end


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def squeeze(data, how):
    return {"none": lambda d: d, "gzip": lambda d: gzip.compress(d, 1, mtime=0), "zstd": zstd}[how](data)


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Unpacker:
    """tests/unpack/layer.c on directories of a test."""

    def __init__(self, t, *options, argv0=()):
        self.t, self.options, self.argv0 = t, options, list(argv0)
        self.program = os.path.join(os.path.dirname(t.probe_path), "layer")

    def dir(self):
        """A new one."""
        path = tempfile.mkdtemp(prefix="tree-", dir=self.t.tmp)
        os.chmod(path, 0o755)
        return path

    def call(self, where, *layers, timeout=60):
        """layers: bytes of the tar, or (blob, digest, diffID)."""
        argv = [*self.argv0, self.program, *self.options, where]
        for n, l in enumerate(layers):
            blob, digest, diff_id = l if isinstance(l, tuple) else (l, sha256(l), sha256(l))
            if not isinstance(blob, str):
                path = os.path.join(self.t.tmp, f"blob{n}")
                with open(path, "wb") as f:
                    f.write(blob)
                blob = path
            argv += [blob, digest, diff_id]
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=clock.limit(timeout))
        return Result(argv, p.returncode, p.stdout.decode(errors="replace"),
                      p.stderr.decode(errors="replace"))

    def apply(self, *layers, where=None):
        """Has to succeed; returns the directory. self.result: the last layer's."""
        where = where or self.dir()
        r = self.t.ok(self.call(where, *layers))
        self.result = json.loads(r.out.splitlines()[-1])
        return where

    def refused(self, *layers, says=(), where=None):
        """Has to fail by itself, not by a signal, with the texts."""
        r = self.call(where or self.dir(), *layers)
        self.t.eq(r.code, 1, f"exit code: {r}")
        for text in [says] if isinstance(says, str) else says:
            self.t.has(r.err, text, "message")
        return r


def xattrs(path):
    try:
        return {n: os.getxattr(path, n, follow_symlinks=False)
                for n in os.listxattr(path, follow_symlinks=False) if n != "security.selinux"}
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
        return {}


def tree(top, times=True, xattr=True, ghosts=False):
    """{path: facts} of all below top and of itself, ".". ghosts: names that are listed and not there
    are passed over, as overlayfs has them for whiteouts in directories that hide nothing."""
    out, groups = {}, {}
    for here, dirs, files in os.walk(top):
        for name in ([""] if here == top else []) + dirs + files:
            path = os.path.join(here, name) if name else top
            rel = os.path.relpath(path, top)
            if ghosts and not os.path.lexists(path):
                continue
            s = os.lstat(path)
            fact = {"type": stat.S_IFMT(s.st_mode), "mode": oct(stat.S_IMODE(s.st_mode)),
                    "owner": (s.st_uid, s.st_gid)}
            if times:
                fact["mtime"] = s.st_mtime_ns
            if xattr:
                fact["xattrs"] = xattrs(path)
            if stat.S_ISREG(s.st_mode):
                with open(path, "rb") as f:
                    fact["data"] = (s.st_size, hashlib.sha256(f.read()).hexdigest())
            elif stat.S_ISLNK(s.st_mode):
                fact["link"] = os.readlink(path)
            elif stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
                fact["device"] = (os.major(s.st_rdev), os.minor(s.st_rdev))
            if s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode):
                groups.setdefault(s.st_ino, []).append(rel)
            out[rel] = fact
    for group in groups.values():
        for rel in group:
            out[rel]["links"] = sorted(group)
    return out


def differences(got, want):
    """Sentences, at most ten."""
    out = [f"{p}: missing" for p in sorted(set(want) - set(got))]
    out += [f"{p}: not wanted" for p in sorted(set(got) - set(want))]
    for p in sorted(set(got) & set(want)):
        out += [f"{p}: {k} is {got[p].get(k)!r}, wanted {want[p].get(k)!r}"
                for k in sorted(set(got[p]) | set(want[p])) if got[p].get(k) != want[p].get(k)]
    return out[:10]


def same_trees(t, got, want, what, **kw):
    t.eq(differences(tree(got, **kw), tree(want, **kw)), [], what)


def layout(path, layers, tag="latest"):
    """An OCI layout of one image; layers: (blob, compression, tar)."""
    blobs = os.path.join(path, "blobs", "sha256")
    os.makedirs(blobs)

    def put(data, media_type):
        digest = sha256(data)
        with open(os.path.join(blobs, digest[7:]), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def document(value, media_type):
        return put(json.dumps(value).encode(), media_type)
    kind = "application/vnd.oci.image.layer.v1.tar"
    listed = [put(b, kind + {"none": "", "gzip": "+gzip", "zstd": "+zstd"}[c]) for b, c, _ in layers]
    config = document({"architecture": "amd64", "os": "linux", "config": {},
                       "rootfs": {"type": "layers", "diff_ids": [sha256(d) for _, _, d in layers]}},
                      "application/vnd.oci.image.config.v1+json")
    manifest = document({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                         "config": config, "layers": listed},
                        "application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                        ("index.json", {"schemaVersion": 2, "manifests": [manifest]})):
        with open(os.path.join(path, name), "w") as f:
            json.dump(value, f)


def read_layout(path):
    """[(path of the blob, digest, diffID)] of a layout's only image."""
    def blob(d):
        return os.path.join(path, "blobs", *d["digest"].split(":"))

    def document(d):
        with open(blob(d)) as f:
            return json.load(f)
    with open(os.path.join(path, "index.json")) as f:
        manifest = document(json.load(f)["manifests"][0])
    ids = document(manifest["config"])["rootfs"]["diff_ids"]
    return [(blob(d), d["digest"], i) for d, i in zip(manifest["layers"], ids)]


def capability(permitted, root=None):
    """security.capability, effective; root: revision 3."""
    magic = 0x02000001 if root is None else 0x03000001
    low, high = permitted & 0xffffffff, permitted >> 32
    data = struct.pack("<IIIII", magic, low, 0, high, 0)
    return data if root is None else data + struct.pack("<I", root)
