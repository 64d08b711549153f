"""config.json from an image's configuration: image-spec conversion.md, each MUST and SHOULD."""
import os
import tarfile

from lib.container import must
from lib.images import Layout, Store, basic, entry, make_tar, rootfs_tar
from lib.testing import bailey_only, cases

PASSWD = """root:x:0:0:root:/root:/bin/sh
app:x:1001:2001:app:/home/app:/bin/sh
broken:x:nonsense:1:::
4000:x:1234:1234:a user called by a number:/:/bin/sh
"""
GROUP = "root:x:0:\nprimary:x:2001:\nextra:x:3001:app,other\nmore:x:3002:app\nbad:x:z:app\n"


def _image(t, config, top):
    lay = Layout(os.path.join(t.tmp, "layout"))
    lay.image([make_tar([entry("etc/passwd", PASSWD), entry("etc/group", GROUP)])],
              {"Cmd": ["/probe"], **(config or {})}, top=top)
    return lay


def config_of(t, config=None, *opts, top=None):
    return Store(t).config(_image(t, config, top).source, *opts)


def fails(t, config, *texts, opts=(), top=None):
    lay = _image(t, config, top)
    path = os.path.join(t.tmp, "refused")
    t.fails(Store(t)("bundle", "--flat", *opts, lay.source, path), *texts)
    t.true(not os.path.exists(path), "nothing is left of the bundle")


@bailey_only("images")
def test_verbatim(t):
    env = ["PATH=/only/this", "HOME=/image/home", "EMPTY=", "TWO=a=b"]
    c = config_of(t, {"WorkingDir": "/srv/work", "Env": env, "Entrypoint": ["/probe", "one"],
                      "Cmd": ["two", "three"]})
    t.eq(c["process"]["cwd"], "/srv/work")
    t.eq(c["process"]["env"], env, "verbatim, with nothing that it names added or changed")
    t.eq(c["process"]["args"], ["/probe", "one", "two", "three"])


@bailey_only("images")
def test_defaults_only_where_the_image_is_silent(t):
    c = config_of(t, {"Env": ["A=b"]})
    t.eq(c["process"]["env"][0], "A=b")
    t.true(any(e.startswith("PATH=") for e in c["process"]["env"]), str(c["process"]["env"]))
    t.true(not any(e.startswith("HOME=") for e in c["process"]["env"]), "HOME is not ours")
    t.eq(c["process"]["cwd"], "/")
    t.eq(c["process"]["args"], ["/probe"])
    t.eq(c["root"]["readonly"], False)


@cases(cmd=({"Cmd": ["/probe", "x"]}, ["/probe", "x"]),
       entrypoint=({"Entrypoint": ["/probe", "y"], "Cmd": None}, ["/probe", "y"]))
@bailey_only("images")
def test_one_of_entrypoint_and_cmd(t, config, args):
    t.eq(config_of(t, config)["process"]["args"], args)


@bailey_only("images")
def test_no_command(t):
    fails(t, {"Cmd": None}, "no command")


@bailey_only("images")
def test_annotations(t):
    c = config_of(t, {"StopSignal": "SIGRTMIN+3", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                      "Labels": {"own": "label", "org.opencontainers.image.author": "by label"}},
                  top={"author": "by field", "created": "2020-01-02T03:04:05Z", "variant": "v2",
                       "os.version": "1.2", "os.features": ["f1", "f2"]})
    image = "org.opencontainers.image."
    t.eq(c["annotations"], {
        "own": "label", image + "author": "by label", image + "os": "linux",
        image + "architecture": "amd64", image + "variant": "v2", image + "os.version": "1.2",
        image + "os.features": "f1,f2", image + "created": "2020-01-02T03:04:05Z",
        image + "stopSignal": "SIGRTMIN+3", image + "exposedPorts": "80/tcp,53/udp"})


@bailey_only("images")
def test_label_wins_over_exposed_ports(t):
    key = "org.opencontainers.image.exposedPorts"
    c = config_of(t, {"ExposedPorts": {"80/tcp": {}}, "Labels": {key: "mine"}})
    t.eq(c["annotations"][key], "mine")


@bailey_only("images")
def test_labels_give_no_orders(t):
    """A label would otherwise set properties of the container's systemd unit."""
    lay = basic(t, config={"Labels": {"org.systemd.property.TimeoutStopUSec": "uint64 1", "a": "b"}})
    path = os.path.join(t.tmp, "b")
    r = must(Store(t)("bundle", "--flat", lay.source, path))
    t.has(r.err, "org.systemd.property.TimeoutStopUSec")
    text = open(os.path.join(path, "config.json")).read()
    t.lacks(text, "systemd.property")
    t.has(text, '"a": "b"')


@cases(none=("", 0, 0, None), number=("7", 7, 0, None), numbers=("7:8", 7, 8, None),
       number_known=("1001", 1001, 2001, None), name=("app", 1001, 2001, [3001, 3002]),
       name_gid=("app:9", 1001, 9, None), name_group=("app:extra", 1001, 3001, None),
       uid_group=("5:extra", 5, 3001, None), digits_are_a_number=("4000", 4000, 0, None),
       last=("4294967294:4294967294", 4294967294, 4294967294, None))
@bailey_only("images")
def test_user(t, user, uid, gid, groups):
    u = config_of(t, {"User": user})["process"]["user"]
    t.eq((u["uid"], u["gid"], u.get("additionalGids")), (uid, gid, groups))


@cases(unknown=("nobody-here", "not in the image's /etc/passwd"),
       group=("app:no-such", "not in the image's /etc/group"),
       wraps=("4294967296", "no user ID"), minus_one=("4294967295", "no user ID"),
       huge=("99999999999999999999", "no user ID"), gid_wraps=("0:4294967296", "no group ID"),
       negative=("-1", "not in the image's /etc/passwd"), empty_group=("app:", "user"),
       empty_user=(":1", "user"), plus=("+5", "not in the image's"),
       no_numbers=("broken", "no valid numbers"), group_number=("app:bad", "no valid number"))
@bailey_only("images")
def test_user_refused(t, user, text):
    """CVE-2024-40635: a number that wraps around is neither 0 nor a name."""
    fails(t, {"User": user}, text)


@cases(absolute="/", relative="../../../../../..")
@bailey_only("images")
def test_passwd_is_the_images_own(t, prefix):
    """A symlink leads to the image's file, never to the host's."""
    secret = t.file("host-passwd", "app:x:666:666::/:/bin/sh\n")
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([rootfs_tar(t), make_tar([
        entry("etc/passwd", type_=tarfile.SYMTYPE, link=prefix.rstrip("/") + secret)])],
        {"Cmd": ["/probe"], "User": "app"})
    t.fails(Store(t)("bundle", "--flat", lay.source, os.path.join(t.tmp, "b")),
            "not in the image's")


@bailey_only("images")
def test_passwd_that_blocks(t):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([rootfs_tar(t), make_tar([entry("etc/passwd", type_=tarfile.FIFOTYPE)])],
              {"Cmd": ["/probe"], "User": "app"})
    t.fails(Store(t)("bundle", "--flat", lay.source, os.path.join(t.tmp, "b")),
            "not a regular file")


@bailey_only("images")
def test_volumes(t):
    """Out of the root filesystem, with what the image has there."""
    data = make_tar([entry("data"), entry("data/seed", "from the image", uid=5, mode=0o640)])
    lay = basic(t, config={"Volumes": {"/data": {}}}, more=[data])
    s = Store(t)
    c = s.config(lay.source)
    m = [m for m in c["mounts"] if m["destination"] == "/data"]
    t.eq(len(m), 1)
    t.eq(m[0]["type"], "tmpfs")
    r = must(s.run(lay.source, "/bin/sh", "-c",
                   "cat /data/seed; stat -c ' %u %a' /data/seed; echo x >/data/y; grep /data "
                   "/proc/mounts"))
    t.has(r.out, "from the image 5 640")
    t.has(r.out, "tmpfs /data")


@cases(root="/", proc="/proc/x", dev="/dev", sys="/sys/../sys", relative="data")
@bailey_only("images")
def test_volume_refused(t, path):
    fails(t, {"Volumes": {path: {}}}, "volume")


@bailey_only("images")
def test_relative_working_dir(t):
    fails(t, {"WorkingDir": "relative"}, "working directory", "absolute")


@bailey_only("images")
def test_options_come_before_the_image(t):
    lay = basic(t, config={"Env": ["A=image", "B=image", "C=image"], "Entrypoint": ["/e"],
                           "User": "7", "WorkingDir": "/w"})
    s = Store(t)
    p = s.config(lay.source, "-e", "A=own", "-e", "C", "--user", "user", "--cwd", "/tmp",
                 "--entrypoint", "/probe", "--hostname", "h")
    t.eq(p["hostname"], "h")
    p = p["process"]
    t.eq([e for e in p["env"] if e[1] == "="], ["B=image", "A=own"])
    t.eq((p["args"], p["cwd"], p["user"]["uid"]), (["/probe"], "/tmp", 1000))
    r = must(s.run(lay.source, opts=("--entrypoint", "/bin/echo", "--entrypoint", "two words")))
    t.eq(r.out, "two words\n", "without the image's command")


@bailey_only("images")
def test_what_the_container_sees(t):
    lay = basic(t, config={"Env": ["HOME=/image/home", "X=y"], "WorkingDir": "/made/for/it",
                           "Cmd": ["/bin/sh", "-c", "echo $HOME $X; pwd; id -u; id -G"],
                           "User": "user"})
    r = must(Store(t).run(lay.source))
    t.eq(r.out.split("\n")[:4], ["/image/home y", "/made/for/it", "1000", "1000 2000"])
