"""Where images come from: layouts and archives, by hand and by other tools; platforms."""
import json
import os
import platform
import shutil
import subprocess

from lib.container import must
from lib.images import (CONFIG, INDEX, MANIFEST, TAR, Layout, Store, basic, digest, docker_archive,
                        entry, make_tar, rootfs_tar)
from lib.testing import bailey_only, cases, timeout

NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def tool(t, *argv, **kw):
    if not shutil.which(argv[0]):
        t.skip(f"no {argv[0]} here (tools/deps test)")
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                       check=False, **kw)
    if r.returncode:
        raise AssertionError(f"{argv}: {r.stderr}")
    return r.stdout


@cases(plain="", gzip="+gzip", zstd="+zstd")
@bailey_only("images")
def test_layout(t, compress):
    lay = basic(t, compress=compress, arch=NATIVE, more=[make_tar([entry("two", "layers")])])
    s = Store(t)
    t.eq(must(s.run(lay.source, "/bin/cat", "/two")).out, "layers")
    t.true(must(s.run(lay.source)).json(), "the image's own command")
    s.check()


@bailey_only("images")
def test_oci_archive(t):
    lay = basic(t, ref="v1")
    src = lay.archive(os.path.join(t.tmp, "a.tar"))
    s = Store(t)
    must(s.run(src, "/bin/true"))
    must(s.run(src + ":v1", "/bin/true"))
    t.fails(s.run(src + ":v2", "/bin/true"), "no image is called", '"v1"')


@cases(plain="", gzip="+gzip")
@bailey_only("images")
def test_docker_archive(t, compress):
    lay = basic(t, more=[make_tar([entry("f", "second")])])
    path = os.path.join(t.tmp, "a.tar")
    src = docker_archive(path, lay, tags=["localhost/test:1", "debian:12"], compress=compress)
    s = Store(t)
    for ref in ("", ":localhost/test:1", ":debian:12", ":docker.io/library/debian:12", ":@0"):
        t.eq(must(s.run(src + ref, "/bin/cat", "/f")).out, "second")
    t.fails(s.run(src + ":debian:13"), "no image is called")


@bailey_only("images")
def test_docker_archive_layers_as_links(t):
    """Inside the archive they are followed; outside there is nothing."""
    lay = basic(t)
    s = Store(t)
    name = lay.diff_ids[0].split(":")[1] + "/layer.tar"
    for link in (f"../{name}", f"/{name}"):
        src = docker_archive(os.path.join(t.tmp, "a.tar"), lay, links=[("dir/layer.tar", link)])
        must(s.run(src, "/bin/true"))
    host = t.file("host.tar", "")
    with open(host, "wb") as f:
        f.write(rootfs_tar(t))
    for link in (host, "../../../../../.." + host, "loop.tar"):
        src = docker_archive(os.path.join(t.tmp, "b.tar"), lay, links=[("loop.tar", link)])
        t.fails(s.run(src, "/bin/true"), bailey=[])
    s.check()


@bailey_only("images")
def test_whole_archive_compressed(t):
    lay = basic(t)
    lay.archive(os.path.join(t.tmp, "a.tar"))
    subprocess.run(["gzip", "-1", os.path.join(t.tmp, "a.tar")], check=True)
    t.fails(Store(t).run("oci-archive:" + os.path.join(t.tmp, "a.tar.gz")), "decompress it first")


@bailey_only("images")
def test_references(t):
    lay = basic(t, ref="a")
    lay.image([rootfs_tar(t)], {"Cmd": ["/bin/echo", "b"]}, ref="b")
    s = Store(t)
    t.eq(must(s.run(lay.source + ":b")).out, "b\n")
    t.eq(must(s.run(lay.source + ":@1")).out, "b\n")
    t.fails(s.run(lay.source), "2 images fit", '"a"', '"b"')
    t.fails(s.run(lay.source + ":c"), "no image is called")
    t.fails(s.run(lay.source + ":@2"), "no image at @2")


def multi(t, *platforms, nested=0):
    """A layout whose one image is an index for the platforms ("linux/arm/v7")."""
    lay = Layout(os.path.join(t.tmp, "multi"))
    entries = []
    for p in platforms:
        names = dict(zip(("os", "architecture", "variant"), p.split("/")))
        d = lay.image([rootfs_tar(t)], {"Cmd": ["/bin/echo", p]}, platform=names,
                      top={"variant": names["variant"]} if "variant" in names else None,
                      arch=names["architecture"])
        entries.append(d)
    top = lay.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    for _ in range(nested):
        top = lay.put({"schemaVersion": 2, "manifests": [top]}, INDEX)
    lay.entries = [top]
    lay.write()
    return lay


@bailey_only("images")
def test_platforms(t):
    lay = multi(t, "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/" + NATIVE,
                "linux/s390x")
    s = Store(t)
    t.has(must(s.run(lay.source)).out, "linux/" + NATIVE, "the machine's own")
    for want, got in (("linux/arm/v7", "linux/arm/v7"), ("linux/arm", "linux/arm/v6"),
                      ("linux/arm64", "linux/arm64/v8"), ("linux/s390x", "linux/s390x")):
        t.eq(must(s.run(lay.source, opts=("--platform", want))).out, got + "\n")
    t.fails(s.run(lay.source, opts=("--platform", "linux/mips")), "no image for linux/mips",
            "linux/arm/v7")
    for bad in ("", "linux/", "/amd64", "linux/a/b/c", "linux/$x"):
        t.fails(s.run(lay.source, opts=("--platform", bad)), "must be OS/ARCHITECTURE")


@bailey_only("images")
def test_platform_of_a_single_image(t):
    lay = basic(t, arch="s390x")
    s = Store(t)
    t.fails(s.run(lay.source), "is for linux/s390x", "--platform")
    must(s.run(lay.source, "/bin/true", opts=("--platform", "linux/s390x")))


@bailey_only("images")
def test_nested_indexes_are_bounded(t):
    s = Store(t)
    t.has(must(s.run(multi(t, "linux/" + NATIVE, nested=3).source)).out, NATIVE)
    t.fails(s.run(multi(t, "linux/" + NATIVE, nested=4).source), "nested more than 4 deep")


@timeout(300)
@bailey_only("images")
def test_skopeo(t):
    """Its three formats, and zstd; the layer is one the store never had as gzip."""
    lay = basic(t, ref="x")
    s = Store(t)
    out = os.path.join(t.tmp, "out")
    for dest in (f"oci:{out}:y", f"oci-archive:{out}.tar:y", f"docker-archive:{out}.d.tar:local/y:1"):
        tool(t, "skopeo", "copy", "-q", f"oci:{lay.path}:x", dest)
        must(s.run(dest, "/bin/true"))
    unique = Layout(os.path.join(t.tmp, "unique"))
    unique.image([rootfs_tar(t), make_tar([entry("z", os.urandom(5000))])], ref="x", compress="")
    tool(t, "skopeo", "copy", "-q", "--dest-compress-format", "zstd", f"oci:{unique.path}:x",
         f"oci:{out}.z:z")
    blobs = os.path.join(out + ".z", "blobs/sha256")
    heads = [open(os.path.join(blobs, n), "rb").read(4) for n in os.listdir(blobs)]
    t.true(b"\x28\xb5\x2f\xfd" in heads, "skopeo wrote zstd")
    must(s.run(f"oci:{out}.z:z", "/bin/true"))


@timeout(300)
@bailey_only("images")
def test_umoci(t):
    lay, root = os.path.join(t.tmp, "u"), os.path.join(t.tmp, "uroot")
    tool(t, "umoci", "init", "--layout", lay)
    tool(t, "umoci", "new", "--image", lay + ":1")
    from lib.bundle import make_rootfs
    make_rootfs(root, t.probe_path)
    tool(t, "umoci", "insert", "--image", lay + ":1", root, "/")
    tool(t, "umoci", "config", "--image", lay + ":1", "--config.cmd", "/probe", "--config.user",
         "user", "--config.workingdir", "/tmp")
    s = Store(t)
    r = must(s.run(f"oci:{lay}:1")).json()
    t.eq(r["cwd"], "/tmp")
    t.eq(must(s.run(f"oci:{lay}:1", "/bin/id", "-u")).out.strip(), "1000")


@timeout(300)
@bailey_only("images")
def test_buildah_and_podman(t):
    lay = basic(t, ref="x")
    roots = ["--root", t.dir("c/root"), "--runroot", t.dir("c/run"), "--storage-driver", "vfs"]
    s = Store(t)
    name = tool(t, "buildah", *roots, "from", f"oci:{lay.path}:x").strip()
    tool(t, "buildah", *roots, "config", "--cmd", "/bin/echo built", "--env", "A=b", name)
    for dest in (f"oci:{t.tmp}/b:1", f"docker-archive:{t.tmp}/b.tar:local/b:1"):
        tool(t, "buildah", *roots, "commit", "-q", name, dest)
        t.eq(must(s.run(dest)).out, "built\n")
    tool(t, "buildah", *roots, "commit", "-q", name, "local/b:1")
    for fmt, kind in (("oci-archive", "oci-archive"), ("docker-archive", "docker-archive")):
        path = os.path.join(t.tmp, fmt)
        tool(t, "podman", *roots, "save", "-q", "--format", fmt, "-o", path, "local/b:1")
        t.eq(must(s.run(f"{kind}:{path}")).out, "built\n")
    shutil.rmtree(os.path.join(t.tmp, "c"), ignore_errors=True)


@cases(empty="", no_kind="/some/path", unknown="docker://debian", nothing="oci:",
       missing="oci:/nonexistent", dir_as_archive="oci-archive:/tmp", store="store:nothing")
@bailey_only("images")
def test_bad_source(t, source):
    t.fails(Store(t).run(source), bailey=[])


# ---- hostile documents ----

def refused(t, lay, *texts):
    s = Store(t)
    t.fails(s("pull", lay.source), *texts)
    t.eq(s.ls("layers"), [])
    t.eq(s.ls("tmp"), [])


@cases(both_in_manifest=({"manifests": []}, "an index at once"),
       schema1=({"fsLayers": []}, "index and as a manifest"),
       version=({"schemaVersion": 1}, "must be 2"),
       other_type=({"mediaType": INDEX}, ".mediaType"),
       artifact=({"config": {"mediaType": "application/x", "digest": "sha256:" + "0" * 64,
                             "size": 2}}, "not the configuration"),
       negative=({"layers": [{"mediaType": TAR, "digest": "sha256:" + "0" * 64, "size": -1}]},
                 "out of range"),
       huge=({"layers": [{"mediaType": TAR, "digest": "sha256:" + "0" * 64, "size": 2 ** 63}]},
             "out of range"),
       overflow=({"layers": [{"mediaType": TAR, "digest": "sha256:" + "0" * 64,
                              "size": 2 ** 63 - 1}] * 3}, "diff_ids"),
       layer_type=({"layers": [{"mediaType": "application/x", "digest": "sha256:" + "0" * 64,
                                "size": 1}]}, "not one of a layer"),
       too_many=({"layers": [{"mediaType": TAR, "digest": "sha256:" + "0" * 64,
                              "size": 1}] * 501}, "more than 500"),
       no_config=({"config": None}, "config"), layers_no_array=({"layers": {}}, "layers"),
       huge_config=({"config": {"mediaType": CONFIG, "digest": "sha256:" + "0" * 64,
                                "size": 1 << 40}}, "more than"))
@bailey_only("images")
def test_manifest_refused(t, members, text):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([make_tar([entry("f", "x")])], manifest=members)
    refused(t, lay, text)


@cases(up="sha256:../../../../../../etc/passwd", short="sha256:abc", alg="md5:" + "0" * 32,
       upper="sha256:" + "A" * 64, nul="sha256:" + "0" * 63 + "\0", none="0" * 64,
       slash="sha256:" + "/" * 64, long="sha256:" + "0" * 65, empty="")
@bailey_only("images")
def test_digest_refused(t, d):
    """CVE-2024-3727: a digest is a file's name only after its form was checked."""
    for place in ("layer", "config", "index", "diff_id"):
        lay = Layout(os.path.join(t.tmp, place))
        top, m = {}, {}
        if place == "layer":
            m = {"layers": [{"mediaType": TAR, "digest": d, "size": 1}]}
        elif place == "config":
            m = {"config": {"mediaType": CONFIG, "digest": d, "size": 1}}
        elif place == "diff_id":
            top = {"rootfs": {"type": "layers", "diff_ids": [d]}}
        lay.image([make_tar([entry("f", "x")])], manifest=m, top=top)
        if place == "index":
            lay.entries = [{"mediaType": MANIFEST, "digest": d, "size": 1}]
            lay.write()
        refused(t, lay, "digest" if "\0" not in d else "")


@bailey_only("images")
def test_media_type_of_the_descriptor(t):
    """CVE-2021-41190: what is called a manifest is not read as an index."""
    lay = basic(t)
    d = lay.entries[0]
    ix = lay.put({"schemaVersion": 2, "manifests": [d]}, INDEX)
    lay.entries = [dict(ix, mediaType=MANIFEST)]
    lay.write()
    refused(t, lay, "referred to as")
    lay.entries = [dict(d, mediaType=INDEX)]
    lay.write()
    refused(t, lay, "referred to as")


@cases(symlink_blob="blob", symlink_dir="dir", index="index.json", marker="oci-layout")
@bailey_only("images")
def test_symlink_in_a_layout(t, which):
    """GHSA-r3h2-rgqf-9hv9: a blob is no way to the host's files."""
    lay = basic(t)
    path = {"blob": lay.blob_path(lay.manifest["layers"][0]["digest"]),
            "dir": lay.at("blobs/sha256")}.get(which) or lay.at(which)
    os.rename(path, path + ".moved")
    os.symlink(path + ".moved", path)
    refused(t, lay, "symbolic link")


@bailey_only("images")
def test_fifo_in_a_layout(t):
    lay = basic(t)
    path = lay.blob_path(lay.manifest["layers"][0]["digest"])
    os.unlink(path)
    os.mkfifo(path)
    refused(t, lay, "not a regular file")


@cases(longer=b"more", shorter=None)
@bailey_only("images")
def test_blob_of_another_size(t, tail):
    lay = basic(t)
    with open(lay.blob_path(lay.manifest["layers"][0]["digest"]), "r+b") as f:
        if tail:
            f.seek(0, 2)
            f.write(tail)
        else:
            f.truncate(100)
    refused(t, lay, "its descriptor says")


@cases(layer="layer", config="config", manifest="manifest")
@bailey_only("images")
def test_corrupt(t, which):
    """Found, and named with both digests."""
    lay = basic(t)
    d = {"layer": lay.manifest["layers"][0], "config": lay.manifest["config"],
         "manifest": lay.entries[0]}[which]["digest"]
    with open(lay.blob_path(d), "r+b") as f:
        f.seek(60)
        b = f.read(1)
        f.seek(60)
        f.write(bytes([b[0] ^ 1]))
    refused(t, lay, d)


@bailey_only("images")
def test_wrong_diff_id(t):
    lay = Layout(os.path.join(t.tmp, "l"))
    wrong = digest(b"something else")
    lay.image([make_tar([entry("f", "x")])], top={"rootfs": {"type": "layers",
                                                             "diff_ids": [wrong]}})
    refused(t, lay, wrong)


@cases(rootfs_type=({"rootfs": {"type": "other", "diff_ids": []}}, "must be \"layers\""),
       no_rootfs=({"rootfs": None}, "rootfs"), no_os=({"os": ""}, "os"),
       fewer=({"rootfs": {"type": "layers", "diff_ids": []}}, "diff_ids"),
       escape=({"os": "linux\x1b[2J"}, "must be a word"), long=({"variant": "v" * 65}, "must be a word"),
       env=({"config": {"Env": [1]}}, "Env"), volumes=({"config": {"Volumes": ["/a"]}}, "Volumes"))
@bailey_only("images")
def test_config_refused(t, top, text):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([make_tar([entry("f", "x")])], top=top)
    refused(t, lay, text)


@cases(deep=b'{"a":' * 100 + b"1" + b"}" * 100, big=b'{"schemaVersion": 2, "manifests": []' +
       b" " * (5 << 20) + b"}", text=b"no json", twice=b'{"schemaVersion":2,"schemaVersion":2}',
       empty=b"")
@bailey_only("images")
def test_index_refused(t, text):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.text("index.json", text)
    refused(t, lay, "index.json")


@bailey_only("images")
def test_unknown_entries_and_members_are_passed_over(t):
    lay = basic(t, manifest={"annotations": {"a": "b"}, "unknown": {"x": [1]}})
    lay.entries.insert(0, {"mediaType": "application/xml", "digest": digest(b""), "size": 0})
    lay.write(unknown=1)
    must(Store(t).run(lay.source, "/bin/true"))


@bailey_only("images")
def test_version_of_the_layout(t):
    lay = basic(t)
    lay.text("oci-layout", json.dumps({"imageLayoutVersion": "2.0.0"}))
    refused(t, lay, "imageLayoutVersion")
    os.unlink(lay.at("oci-layout"))
    refused(t, lay, "oci-layout")
