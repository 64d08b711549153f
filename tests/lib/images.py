"""Images made by hand, so that a test decides about every byte: an OCI layout, or archives of one."""
import functools
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

from .bundle import make_rootfs

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
REF = "org.opencontainers.image.ref.name"


@functools.lru_cache
def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


PACK = {"": lambda d: d, "+zstd": zstd,
        "+gzip": functools.lru_cache(lambda d: gzip.compress(d, 1, mtime=0))}


def entry(name, data=None, type_=None, mode=None, uid=0, gid=0, link="", **more):
    """One entry of a tar: a file where there is data, else a directory or what type_ says."""
    t = tarfile.TarInfo(name)
    t.type = type_ or (tarfile.DIRTYPE if data is None else tarfile.REGTYPE)
    t.mode = mode if mode is not None else 0o755 if t.isdir() else 0o644
    t.uid, t.gid, t.linkname = uid, gid, link
    for k, v in more.items():
        setattr(t, k, v)
    if isinstance(data, str):
        data = data.encode()
    t.size = len(data or b"")
    return t, data


def make_tar(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


_rootfs = {}


def rootfs_tar(t):
    """The test bundles' rootfs as a layer, every file root's."""
    if t.probe_path not in _rootfs:
        _rootfs[t.probe_path] = _rootfs_of(t.probe_path, os.path.join(t.tmp, "rootfs-for-layer"))
    return _rootfs[t.probe_path]


def _rootfs_of(probe, path):
    make_rootfs(path, probe)
    out = io.BytesIO()

    def owned(info):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(path, "./", filter=owned)
    return out.getvalue()


def prepare(probe, tmp):
    """Packs that layer once, before the tests' processes are forked."""
    _rootfs[probe] = _rootfs_of(probe, os.path.join(tmp, "rootfs-for-layer"))
    for data in (_rootfs[probe], PACK["+gzip"](_rootfs[probe])):
        digest(data)


class Layout:
    """An image layout in a directory. put() keeps a blob, image() makes manifest and configuration,
    write() the index."""

    def __init__(self, path):
        self.path = str(path)
        os.makedirs(os.path.join(self.path, "blobs", "sha256"), exist_ok=True)
        self.text("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
        self.entries = []

    def at(self, name):
        return os.path.join(self.path, name)

    def text(self, name, data):
        with open(self.at(name), "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())

    def blob_path(self, d):
        return self.at("blobs/sha256/" + d.split(":")[1])

    def put(self, data, media_type):
        """The descriptor of a blob."""
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        d = digest(data)
        with open(self.blob_path(d), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": d, "size": len(data)}

    def layers(self, tars, compress="+gzip"):
        return ([self.put(PACK[compress](d), TAR + compress) for d in tars],
                [digest(d) for d in tars])

    def image(self, tars, config=None, compress="+gzip", ref=None, platform=None, manifest=None,
              top=None, arch="amd64"):
        """Adds an image; config: of `config`, top: further members of the whole configuration."""
        layers, diff_ids = self.layers(tars, compress)
        whole = {"architecture": arch, "os": "linux", "config": config or {},
                 "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        whole.update(top or {})
        m = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.put(whole, CONFIG),
             "layers": layers}
        m.update(manifest or {})
        d = self.put(m, MANIFEST)
        if platform:
            d["platform"] = platform
        if ref:
            d["annotations"] = {REF: ref}
        self.entries.append(d)
        self.manifest, self.config, self.diff_ids = m, whole, diff_ids
        self.write()
        return d

    def write(self, **more):
        self.text("index.json", json.dumps(
            {"schemaVersion": 2, "manifests": self.entries, **more}))
        return self

    @property
    def source(self):
        return "oci:" + self.path

    def archive(self, path):
        with tarfile.open(path, "w") as tar:
            for name in ("oci-layout", "index.json", "blobs"):
                tar.add(self.at(name), name)
        return "oci-archive:" + path


def basic(t, name="layout", config=None, **kw):
    """A layout of one image that runs: the test rootfs, the probe as its command."""
    lay = Layout(os.path.join(t.tmp, name))
    config = {"Cmd": ["/probe"], **(config or {})}
    lay.image([rootfs_tar(t)] + kw.pop("more", []), config, **kw)
    return lay


def docker_archive(path, lay, tags=("localhost/test:1",), links=(), compress=""):
    """What docker save writes of the layout's last image. links: (name, target) further symlinks."""
    with tarfile.open(path, "w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        config = json.dumps(lay.config).encode()
        cname = hashlib.sha256(config).hexdigest() + ".json"
        add(cname, config)
        names = []
        for d, layer in zip(lay.diff_ids, lay.manifest["layers"]):
            with open(lay.blob_path(layer["digest"]), "rb") as f:
                data = f.read()
            if layer["mediaType"].endswith("+gzip"):
                data = gzip.decompress(data)
            names.append(d.split(":")[1] + "/layer.tar")
            add(names[-1], PACK[compress](data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
            names = [name if i == 0 else n for i, n in enumerate(names)]
        add("manifest.json", json.dumps(
            [{"Config": cname, "RepoTags": list(tags), "Layers": names}]).encode())
    return "docker-archive:" + path


class Store:
    """A store of the test's own; verbs with it."""

    def __init__(self, t, runtime=None, name="store"):
        self.t = t
        self.runtime = runtime or t.runtime
        home = os.path.dirname(self.runtime.root) if self.runtime.user else t.tmp
        self.path = os.path.join(home, name)
        self.n = 0

    def __call__(self, verb, *args, **kw):
        return self.runtime(verb, "--store", self.path, *args, **kw)

    def run(self, source, *args, opts=(), **kw):
        """`run --image` of a container with an ID of the test's."""
        self.n += 1
        return self.runtime("run", "--store", self.path, "--image", source, *opts,
                            f"{self.t.mark}-i{self.n}", *args, **kw)

    def config(self, source, *opts, name="bundle"):
        """config.json of a flat bundle."""
        self.n += 1
        path = os.path.join(os.path.dirname(self.path), f"{name}{self.n}")
        r = self("bundle", "--flat", *opts, source, path)
        if r.code != 0:
            raise AssertionError(str(r))
        with open(os.path.join(path, "config.json")) as f:
            return json.load(f)

    def names(self):
        r = self("images", "--format", "json")
        if r.code != 0:
            raise AssertionError(str(r))
        return r.json()

    def ls(self, part):
        try:
            return sorted(os.listdir(os.path.join(self.path, part)))
        except FileNotFoundError:
            return []

    def check(self):
        """Whole: nothing half made, and every name's layers are there."""
        t = self.t
        images = self.names()  # a verb that opens the store sweeps what was left
        t.eq(self.ls("tmp"), [], "work in progress")
        t.eq(self.ls("bundles"), [], "bundles left")
        for im in images:
            t.ok(self.run("store:" + im["id"], "/bin/true"))
