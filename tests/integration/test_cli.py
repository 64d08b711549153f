"""The command line: help, version, unknown words, logs, features, spec."""
import json
import os
import re
import subprocess

from lib.container import must
from lib.testing import bailey_only, cases

VERBS = ("create", "start", "run", "exec", "kill", "delete", "state", "list", "ps", "pause",
         "resume", "update", "events", "spec", "features")


def test_version(t):
    r = must(t.runtime("--version"))
    t.true(re.match(r"\w+ version \S+", r.out), r.out)
    t.true("spec: 1." in r.out, r.out)
    t.eq(must(t.runtime("-v")).out, r.out)


def test_help(t):
    r = must(t.runtime("--help"))
    for v in VERBS:
        if t.is_bailey or v != "features":
            t.has(r.out, v)


@cases(**{v: v for v in VERBS})
def test_help_of_verb(t, verb):
    """Exit 0, on stdout: podman probes `VERB --help`."""
    r = must(t.runtime(verb, "--help"))
    t.has(r.out, verb)
    t.eq(r.err, "")


@cases(verb=("nosuchverb",), flag=("--no-such-flag",), verb_flag=("state", "--no-such-flag", "x"),
       needs_argument=("run", "--bundle"), few=("state",), many=("state", "a", "b"),
       bad_bool=("delete", "--force=perhaps", "x"), bad_number=("create", "--preserve-fds", "1x",
                                                               "x"))
def test_misuse(t, *argv):
    r = t.runtime(*argv)
    t.true(r.code != 0 or (not t.is_bailey and argv[0] == "nosuchverb"), str(r))
    if t.is_bailey:
        t.eq(r.out, "", "nothing on stdout")
        t.true(r.err.strip(), "a message on stderr")


@cases(text="text", json="json")
def test_error_log(t, fmt):
    """--log gets exactly one line, errors only; stderr gets the message as well."""
    log = os.path.join(t.tmp, "log")
    r = t.runtime.path, t.runtime("--log", log, "--log-format", fmt, "state", t.mark)
    t.eq(r[1].code, 1)
    t.has(r[1].err, "does not exist")
    text = open(log).read()
    t.eq(text.count("\n"), 1, text)
    if fmt == "json":
        e = json.loads(text)
        t.eq(e["level"], "error")
        t.has(e["msg"], "does not exist")
        t.true(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", e["time"]), e["time"])


def test_log_is_empty_on_success(t):
    log = os.path.join(t.tmp, "log")
    c = t.container("/bin/true")
    t.runtime.globals = ["--log", log, "--log-format", "json"]
    must(c.run())
    text = open(log).read() if os.path.exists(log) else ""
    if t.is_bailey:
        t.eq(text, "")


def test_errors_of_init_are_logged(t):
    """What fails inside the container reaches the engine's log with its text."""
    log = os.path.join(t.tmp, "log")
    c = t.container("/no/such/command")
    t.runtime.globals = ["--log", log, "--log-format", "json"]
    t.fails(c.create())
    lines = open(log).read().splitlines()
    t.has(json.loads(lines[-1])["msg"].lower(), "no such file or directory")
    if t.is_bailey:
        t.eq(len(lines), 1)


def test_messages_are_one_line(t):
    c = t.container("no\nsuch\x1b[31m")
    r = t.fails(c.run())
    if t.is_bailey:
        t.eq(r.err.count("\n"), 1, r.err)
        t.lacks(r.err, "\x1b", "no control characters")


@bailey_only("runc 1.1.5 has it, crun's differs")
def test_features(t):
    r = must(t.runtime("features"))
    t.eq(r.err, "", "CRI-O reads both streams")
    f = r.json()
    t.true(f["ociVersionMin"] and f["ociVersionMax"], "versions")
    t.eq(sorted(f["hooks"]), sorted(["prestart", "createRuntime", "createContainer",
                                     "startContainer", "poststart", "poststop"]))
    for o in ("ro", "rro", "idmap", "ridmap", "tmpcopyup", "nosymfollow", "lazytime", "silent"):
        t.has(f["mountOptions"], o)
    linux = f["linux"]
    for n in ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"):
        t.has(linux["namespaces"], n)
    t.has(linux["capabilities"], "CAP_SYS_ADMIN")
    t.true(linux["seccomp"]["enabled"], "seccomp")
    t.has(linux["seccomp"]["actions"], "SCMP_ACT_NOTIFY")
    t.has(linux["seccomp"]["archs"], "SCMP_ARCH_X86_64")
    t.true(linux["cgroup"]["v2"], "cgroup v2")
    t.true(linux["mountExtensions"]["idmap"]["enabled"], "idmap")


def test_features_work_without_privilege(t):
    rt = t.as_user()
    must(rt("features"))


def test_spec(t):
    d = t.dir("b")
    must(t.runtime("spec", "--bundle", d))
    with open(d + "/config.json") as f:
        spec = json.load(f)
    t.eq(spec["process"]["args"], ["sh"])
    t.eq(spec["root"]["path"], "rootfs")
    t.ne(t.runtime("spec", "--bundle", d).code, 0, "does not overwrite")


def test_spec_runs(t):
    """The default configuration works as it is."""
    c = t.container()
    must(t.runtime("spec", "--bundle", c.bundle.path))
    path = os.path.join(c.bundle.path, "config.json")
    with open(path) as f:
        spec = json.load(f)
    spec["process"]["args"] = ["/probe"]
    spec["process"]["terminal"] = False
    spec["linux"]["cgroupsPath"] = f"/bailey-test/{c.id}"
    c.bundle.raw_config(json.dumps(spec))
    c.config = None
    r = c.report()
    t.eq(r["pid"], 1)
    t.eq(r["no_new_privs"], 1)


def test_spec_rootless(t):
    d = t.dir("b", 0o777)
    rt = t.as_user()
    must(rt("spec", "--rootless", "--bundle", d))
    with open(d + "/config.json") as f:
        spec = json.load(f)
    t.has([n["type"] for n in spec["linux"]["namespaces"]], "user")
    t.eq(spec["linux"]["uidMappings"][0]["hostID"], rt.user[0])


def test_bundle_is_the_current_directory(t):
    c = t.container("/bin/true")
    c.bundle.write_config()
    must(t.runtime("run", c.id, cwd=c.bundle.path))


def test_relative_root(t):
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    d = t.dir("w")
    t.runtime.root = "state"
    must(t.runtime("create", "-b", c.bundle.path, c.id, cwd=d))
    t.true(os.path.isdir(f"{d}/state/{c.id}"), "below the caller's directory")
    must(t.runtime("delete", "-f", c.id, cwd=d))


def test_root_is_private(t):
    c = t.container("/probe", "sleep")
    c.up()
    t.eq(os.stat(t.root).st_mode & 0o077 in (0, 0o11), True, oct(os.stat(t.root).st_mode))


@bailey_only("texts")
@cases(manager=("--cgroup-manager", "x", "list"),
       format=("--log-format", "xml", "list"), rootless=("--rootless", "maybe", "list"),
       log=("--log", "/no/such/dir/log", "list"), root=("--root", "", "list"))
def test_bad_global(t, *argv):
    t.fails(t.runtime(*argv), code=1)


def test_output_to_a_full_disk(t):
    """A lost answer is a failure, not success."""
    t.need(t.is_bailey, "peers do not check")
    with open("/dev/full", "w") as full:
        p = subprocess.run(t.runtime.argv("features"), stdout=full, stderr=subprocess.PIPE,
                           check=False)
    t.ne(p.returncode, 0, "exit code")


def test_closed_standard_descriptors(t):
    """Without 0, 1 and 2 nothing of the runtime's own may end up there."""
    c = t.container("/bin/sh", "-c", "ls -l /proc/self/fd > /fds")
    c.bundle.write_config()
    c.made = True
    subprocess.run(["/bin/sh", "-c", 'exec 0<&- 1>&- 2>&-; exec "$@"', "sh",
                    *c.runtime.argv("run", "-b", c.bundle.path, c.id)], check=False, timeout=20)
    if os.path.exists(c.bundle.at("fds")):
        for line in open(c.bundle.at("fds")):
            if "->" in line:
                t.lacks(line, "memfd", "descriptor")
                t.lacks(line, "/sys/fs", "descriptor")
                t.lacks(line, t.root, "descriptor")
