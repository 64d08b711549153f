"""Bad config.json: exit code 1, a message with the file, the path in it and the value, and nothing
left behind (which the harness checks)."""
import copy
import json
import os

from lib.config import base_config
from lib.testing import bailey_only, cases


def _fails(t, c, *texts):
    for verb in (c.create, c.run):
        r = verb()
        t.fails(r, code=1, bailey=texts)
        t.eq(r.out, "")
    t.eq(os.listdir(t.root) if os.path.isdir(t.root) else [], [], "state directory")


def test_missing_file(t):
    c = t.container()
    c.config = None
    _fails(t, c, "config.json", "no such file")


def test_missing_bundle(t):
    t.fails(t.runtime("create", "--bundle", t.tmp + "/none", t.mark), code=1, bailey=t.tmp)


def test_bundle_is_a_file(t):
    f = t.file("plain")
    t.fails(t.runtime("create", "--bundle", f, t.mark), code=1)


def test_missing_rootfs(t):
    c = t.container()
    c.config["root"]["path"] = "nowhere"
    _fails(t, c, "nowhere")


def test_rootfs_is_a_file(t):
    c = t.container()
    c.config["root"]["path"] = t.file("plain")
    _fails(t, c, "plain")


def test_unreadable_file(t):
    c = t.container()
    c.config = None
    os.mkdir(os.path.join(c.bundle.path, "config.json"))
    _fails(t, c, "config.json")


@cases(empty=b"", brace=b"{", text=b"hello", array=b"[]", number=b"1", null=b"null",
       trailing=b'{"ociVersion":"1.0.2"} x', comma=b'{"a":1,}', nul=b"\0\0\0\0",
       utf8=b'{"ociVersion":"\xff\xfe"}', control=b'{"ociVersion":"a\x01b"}',
       truncated=b'{"ociVersion":"1.0.2","process":{"args":["sh"', bom=b"\xef\xbb\xbf{}",
       deep=b"[" * 100000, deep_object=b'{"a":' * 100000, big_number=b'{"a":1e999999}',
       escape=b'{"\\u12":1}', quotes=b"{'a':1}", empty_object=b"{}")
@bailey_only("runc accepts some of these")
def test_malformed(t, text):
    c = t.container()
    c.config = None
    c.bundle.raw_config(text)
    _fails(t, c, "config.json")


def test_huge_file(t):
    """Tens of megabytes are read or refused, without a crash."""
    c = t.container("/bin/true")
    c.config["annotations"] = {f"key{i}": "v" * 100 for i in range(200000)}
    r = c.run(timeout=50)
    t.true(r.code in (0, 1), str(r))


def test_duplicate_keys(t):
    """The parsers of two programs must not see two different configurations."""
    c = t.container()
    text = json.dumps(base_config("/bin/true"))
    c.config = None
    c.bundle.raw_config(text.replace('"ociVersion"', '"root": {"path": "/"}, "ociVersion"', 1))
    if t.is_bailey:
        _fails(t, c, "config.json", "root")


def _at(config, path, value):
    """Sets config.a.b[0].c; value None removes."""
    keys = [int(k) if k.isdigit() else k for k in path.split(".")]
    for k in keys[:-1]:
        if isinstance(config, dict) and k not in config:
            config[k] = {}
        config = config[k]
    if value is None:
        config.pop(keys[-1], None)
    else:
        config[keys[-1]] = value


# path in config.json -> bad value; the message must hold the last name of the path
BAD = {
    "no_version": ("ociVersion", None), "version": ("ociVersion", "2.0.0"),
    "version_text": ("ociVersion", "one"), "version_type": ("ociVersion", 1),
    "no_root": ("root", None), "root_type": ("root", []), "no_root_path": ("root.path", None),
    "readonly_type": ("root.readonly", "yes"),
    "args_type": ("process.args", "sh"), "args_element": ("process.args", ["sh", 1]),
    "args_empty": ("process.args", []), "no_cwd": ("process.cwd", None),
    "cwd_relative": ("process.cwd", "tmp"), "env_element": ("process.env", [1]),
    "terminal_type": ("process.terminal", 1), "uid_negative": ("process.user.uid", -1),
    "uid_big": ("process.user.uid", 1 << 32), "uid_text": ("process.user.uid", "root"),
    "uid_fraction": ("process.user.uid", 1.5), "gid_big": ("process.user.gid", 1 << 40),
    "umask_big": ("process.user.umask", 0o10000), "groups_type": ("process.user.additionalGids", 5),
    "mounts_type": ("mounts", {}), "destination": ("mounts.0.destination", None),
    "options_type": ("mounts.0.options", "ro"),
    "namespace_type": ("linux.namespaces.0.type", "nte"),
    "namespace_none": ("linux.namespaces.0.type", None),
    "propagation": ("linux.rootfsPropagation", "sideways"),
    "masked_relative": ("linux.maskedPaths", ["proc/x"]),
    "readonly_relative": ("linux.readonlyPaths", ["proc/x"]),
    "masked_type": ("linux.maskedPaths", "/x"), "sysctl_type": ("linux.sysctl", {"a": 1}),
    "device_access": ("linux.resources.devices", [{"allow": True, "access": "xyz"}]),
    "device_type": ("linux.resources.devices", [{"allow": True, "type": "z"}]),
    "pids_text": ("linux.resources.pids", {"limit": "many"}),
    "memory_type": ("linux.resources.memory", []),
    "cap_name": ("process.capabilities.bounding", [1]),
    "rlimit_name": ("process.rlimits.0.type", "RLIMIT_FISH"),
    "rlimit_none": ("process.rlimits.0.soft", None),
    "hostname_type": ("hostname", 5), "annotations_value": ("annotations", {"a": 1}),
    "hooks_type": ("hooks", []), "hook_path": ("hooks", {"poststop": [{"args": ["x"]}]}),
    "personality": ("linux.personality", {"domain": "WINDOWS"}),
    "time_offset": ("linux.timeOffsets", {"monotonic": {"secs": "x"}}),
    "nanosecs": ("linux.timeOffsets", {"monotonic": {"secs": 1, "nanosecs": 1 << 33}}),
    "console_size": ("process.consoleSize", {"width": -1, "height": 1}),
    "oom": ("process.oomScoreAdj", 1e3 + 0.5),
}


@bailey_only("runc accepts or ignores some of these")
@cases(**BAD)
def test_value(t, path, value):
    c = t.container("/bin/true")
    _at(c.config, path, copy.deepcopy(value))
    words = [k for k in path.split(".") if not k.isdigit()]
    _fails(t, c, "config.json", "." + words[0])


def test_unknown_properties_are_ignored(t):
    """As the specification demands."""
    c = t.container("/bin/true")
    c.config["x-vendor"] = {"deep": [1, {"a": None}]}
    c.config.process["unknown"] = 1
    c.config.linux["fancy"] = "x"
    t.ok(c.run())


@bailey_only("runc 1.1 ignores some")
@cases(selinux=("process.selinuxLabel", "a:b:c:d"), apparmor=("process.apparmorProfile", "nope"),
       mountlabel=("linux.mountLabel", "a:b:c:d"),
       rdt=("linux.intelRdt", {"closID": "x", "l3CacheSchema": "L3:0=f"}))
def test_what_the_machine_lacks(t, path, value):
    """Known properties that cannot be honoured are refused, never ignored in silence."""
    c = t.container("/bin/true")
    _at(c.config, path, value)
    r = c.run()
    if r.code == 0:
        t.skip(f"this machine has {path}")
    _fails(t, c, path.rpartition(".")[2])


@bailey_only("the vm section is newer than the peers")
def test_foreign_platform(t):
    c = t.container("/bin/true")
    del c.config["linux"]
    c.config["windows"] = {"layerFolders": ["x"]}
    r = c.run()
    t.true(r.code in (0, 1), str(r))
