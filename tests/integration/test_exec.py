"""exec: what the process shares with init, and what each option changes."""
import json
import os

from lib import kernel
from lib.container import must, wait_for
from lib.testing import bailey_only, cases, namespaces_only


@namespaces_only("the process on the host stands for the one in the guest")
def test_joins_everything(t):
    c = t.container()
    c.config.namespace("cgroup")
    pid = c.sleeping()
    r = c.exec_report()
    for k in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        t.eq(r["ns"][k], kernel.ns_inode(k, pid), f"{k} namespace")
    t.eq(r["root"], "/")
    t.ne(r["pid"], 1)
    t.eq(r["ppid"], 0, "parent is outside")
    t.eq(r["cwd"], "/")


def test_same_confinement(t):
    """Without options exec gets what config.json says for init."""
    c = t.container()
    c.config.process["oomScoreAdj"] = 321
    c.config.process["rlimits"].append({"type": "RLIMIT_CORE", "soft": 0, "hard": 0})
    c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    c.config.env("FROM=config")
    c.sleeping()
    r = c.exec_report()
    t.eq(r["rlimits"]["RLIMIT_NOFILE"], [1024, 1024])
    t.eq(r["rlimits"]["RLIMIT_CORE"], [0, 0])
    t.eq(r["no_new_privs"], 1)
    t.eq(r["oom_score_adj"].strip(), "321")
    t.has(r["env"], "FROM=config")
    t.eq(sorted(r["caps"]["bounding"]),
         ["cap_audit_write", "cap_kill", "cap_net_bind_service"])
    t.eq(r["caps"]["effective"], r["caps"]["bounding"])
    t.eq(r["caps"]["inheritable"], [])


def test_seccomp_applies(t):
    c = t.container()
    c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    c.sleeping()
    t.eq(c.exec_report()["seccomp"], 2)
    t.has(c.exec("/bin/mkdir", "/d").err, "not supported")


def test_cgroup(t):
    c = t.container()
    pid = c.sleeping()
    c.config.args()
    f = os.path.join(t.tmp, "pid")
    must(c.exec("/probe", "sleep", opts=["-d", "--pid-file", f]))
    t.eq(c.cgroup_dir(int(open(f).read())), c.cgroup_dir(pid))


def test_env_and_cwd(t):
    c = t.container()
    c.config.env("A=config", "B=config")
    c.sleeping()
    r = c.exec_report(opts=["--env", "A=option", "--env", "C=", "--cwd", "/tmp"])
    for e in ("B=config", "A=option", "C="):
        t.has(r["env"], e)
    if t.is_bailey:
        t.lacks(r["env"], "A=config", "overridden")
    t.eq(r["cwd"], "/tmp")
    t.fails(c.exec("/probe", opts=["--cwd", "relative"]), code=255)
    t.fails(c.exec("/probe", opts=["--cwd", "/no/such"]), bailey="/no/such")


@cases(uid=("1000", [1000] * 3, [0] * 3), both=("1000:2000", [1000] * 3, [2000] * 3),
       zero=("0:0", [0] * 3, [0] * 3))
def test_user(t, user, uid, gid):
    c = t.container()
    c.sleeping()
    r = c.exec_report(opts=["--user", user])
    t.eq(r["uid"], uid)
    t.eq(r["gid"], gid)
    t.eq(r["caps"]["inheritable"], [])
    if uid[0]:
        t.eq(r["caps"]["effective"], [], "an ordinary user's effective set")


@bailey_only("runc takes some of these for a user")
@cases(name="root", empty="", colon=":", trailing="1:", negative="-1", minus_gid="1:-1",
       huge="4294967296", space=" 1", plus="+1", hex="0x1", three="1:2:3", overflow="99999999999")
def test_bad_user(t, user):
    """Never taken for 0:0."""
    c = t.container()
    c.sleeping()
    r = c.exec("/probe", opts=[f"--user={user}"])
    t.fails(r, code=255, bailey="user")
    t.eq(r.out, "", "nothing ran")


def test_additional_gids(t):
    c = t.container()
    c.sleeping()
    r = c.exec_report(opts=["-g", "3000", "-g", "3001", "-u", "5:6"])
    t.eq(sorted(r["groups"]), [3000, 3001])


def test_caps_option(t):
    c = t.container()
    c.sleeping()
    r = c.exec_report(opts=["--cap", "CAP_SYS_PTRACE"])
    for k in ("effective", "permitted", "bounding"):
        t.has(r["caps"][k], "cap_sys_ptrace", k)
        t.has(r["caps"][k], "cap_kill", k)
    t.eq(r["caps"]["inheritable"], [])
    if t.is_bailey:
        t.fails(c.exec("/probe", opts=["--cap", "CAP_NO_SUCH"]), code=255, bailey="CAP_NO_SUCH")


def test_no_new_privs_option(t):
    c = t.container()
    c.config.process["noNewPrivileges"] = False
    c.sleeping()
    t.eq(c.exec_report()["no_new_privs"], 0)
    t.eq(c.exec_report(opts=["--no-new-privs"])["no_new_privs"], 1)


def _process(**changes):
    p = {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["/probe"],
         "env": ["PATH=/bin", "X=process"], "cwd": "/tmp"}
    p.update(changes)
    return p


def test_process_file(t):
    c = t.container()
    c.config.env("FROM=config")
    c.sleeping()
    f = t.file("process.json", json.dumps(_process(
        user={"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o27},
        rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}],
        capabilities={"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]},
        oomScoreAdj=77, noNewPrivileges=True)))
    r = must(c.verb("exec", "--process", f, c.id)).json()
    t.eq((r["uid"][0], r["gid"][0], r["groups"], r["cwd"]), (7, 8, [9], "/tmp"))
    if t.is_bailey:
        t.eq(r["umask"], 0o27)
        t.eq(r["oom_score_adj"].strip(), "77")
    t.eq(r["rlimits"]["RLIMIT_CORE"], [1, 2])
    t.eq(r["caps"]["bounding"], ["cap_chown"])
    t.eq(r["no_new_privs"], 1)
    t.lacks(r["env"], "FROM=config", "the process file is the whole environment")


@cases(missing=None, syntax="{", kind="[]", noargs="{}", emptyargs={"args": []},
       badargs={"args": "x"}, cwd={"cwd": "rel"}, nocwd={"cwd": None}, uid={"user": {"uid": -1}},
       rlimit={"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]})
def test_bad_process_file(t, what):
    c = t.container()
    c.sleeping()
    f = os.path.join(t.tmp, "process.json")
    if what is not None:
        if isinstance(what, dict):
            p = _process()
            p.update(what)
            what = json.dumps({k: v for k, v in p.items() if v is not None})
        t.file("process.json", what)
    r = c.verb("exec", "--process", f, c.id)
    t.fails(r, bailey="process.json")
    t.eq(r.out, "")


def test_no_command(t):
    c = t.container()
    c.sleeping()
    t.fails(c.verb("exec", c.id))


def test_detach(t):
    c = t.container()
    c.sleeping()
    must(c.exec("/probe", "count", "/tmp/n", opts=["--detach"]))
    wait_for("the detached process", lambda: os.path.exists(c.bundle.at("tmp/n")))


def test_ends_with_the_container(t):
    c = t.container()
    c.sleeping()
    p = c.runtime.spawn("exec", c.id, "/probe", "count", "/tmp/n")
    wait_for("exec", lambda: os.path.exists(c.bundle.at("tmp/n")))
    must(c.kill())
    t.eq(p.wait(10), 137)


def test_exec_into_created(t):
    c = t.container("/probe", "sleep")
    must(c.create())
    t.eq(c.exec_report()["hostname"], "bailey-test")


@namespaces_only("--cgroup names one of the guest's")
@bailey_only("cgroup below the container's is handled otherwise")
def test_sub_cgroup(t):
    c = t.container()
    pid = c.sleeping()
    top = c.cgroup_dir(pid)
    os.mkdir(top + "/sub")
    f = os.path.join(t.tmp, "pid")
    must(c.exec("/probe", "sleep", opts=["-d", "--pid-file", f, "--cgroup", "sub"]))
    t.eq(c.cgroup_dir(int(open(f).read())), top + "/sub")
    t.fails(c.exec("/probe", opts=["--cgroup", "nosuch"]), code=255, bailey="nosuch")


def test_options_end_at_the_container(t):
    c = t.container()
    c.sleeping()
    t.eq(must(c.exec("/bin/echo", "-t", "--user", "1")).out, "-t --user 1\n")
    t.eq(must(c.verb("exec", c.id, "/bin/echo", "--help")).out, "--help\n")


def test_paused_refuses(t):
    c = t.container()
    c.sleeping()
    must(c.verb("pause", c.id))
    t.fails(c.exec("/bin/true"), code=255, bailey="paused")
    p = c.runtime.spawn("exec", "--ignore-paused", c.id, "/probe", "exit", "6") \
        if t.is_bailey else None
    must(c.verb("resume", c.id))
    if p:
        t.eq(p.wait(10), 6, "exec --ignore-paused goes on after resume")
