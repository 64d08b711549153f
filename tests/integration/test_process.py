"""config.json's process: ids, limits, scheduling, environment, working directory."""
import os
import resource
import threading
import time

from lib import kernel, vm
from lib.container import must
from lib.testing import bailey_only, cases, namespaces_only


def test_user(t):
    c = t.container()
    c.config.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 2000, 70000]}
    r = c.report()
    t.eq((r["uid"], r["gid"]), ([1000] * 3, [1001] * 3))
    t.eq(sorted(r["groups"]), [5, 2000, 70000])


def test_no_groups_of_the_caller(t):
    c = t.container()
    t.eq(c.report(extra_groups=[3, 4, 5])["groups"], [])


@cases(default=(None, 0o22), zero=(0, 0), strict=(0o77, 0o77))
def test_umask(t, value, want):
    c = t.container()
    if value is not None:
        c.config.process["user"]["umask"] = value
    t.eq(c.report(umask=0o13 if value is not None else 0o22)["umask"], want)


@cases(nofile=("RLIMIT_NOFILE", 100, 200), core=("RLIMIT_CORE", 0, 0),
       stack=("RLIMIT_STACK", 1 << 20, 1 << 22), cpu=("RLIMIT_CPU", 1000, 2000),
       fsize=("RLIMIT_FSIZE", 1 << 30, 1 << 31), nproc=("RLIMIT_NPROC", 500, 600),
       as_=("RLIMIT_AS", 1 << 33, 1 << 34), data=("RLIMIT_DATA", 1 << 30, 1 << 30),
       sigpending=("RLIMIT_SIGPENDING", 50, 60), msgqueue=("RLIMIT_MSGQUEUE", 1000, 2000),
       memlock=("RLIMIT_MEMLOCK", 4096, 8192))
def test_rlimit(t, name, soft, hard):
    c = t.container()
    c.config.process["rlimits"] = [{"type": name, "soft": soft, "hard": hard}]
    t.eq(c.report()["rlimits"][name], [soft, hard])
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["rlimits"][name], [soft, hard], "exec")


@bailey_only("texts")
@cases(soft=([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}], "soft: 20"),
       name=([{"type": "RLIMIT_FISH", "soft": 1, "hard": 1}], "RLIMIT_FISH"),
       twice=([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2, "RLIMIT_CORE"),
       negative=([{"type": "RLIMIT_CORE", "soft": -1, "hard": 1}], "soft"))
def test_bad_rlimit(t, rlimits, text):
    c = t.container()
    c.config.process["rlimits"] = rlimits
    t.fails(c.run(), "process.rlimits", code=1, bailey=text)


@namespaces_only("the guest's kernel knows nothing of the caller's limits")
def test_rlimit_above_the_machine(t):
    def may_not_raise():
        kernel.drop_from_bounding(kernel.CAP_SYS_RESOURCE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))

    c = t.container()
    c.config.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 19, "hard": 1 << 19}]
    t.fails(c.run(preexec_fn=may_not_raise), code=1, bailey="RLIMIT_NOFILE")


@cases(off=False, on=True)
def test_no_new_privileges(t, on):
    c = t.container()
    c.config.process["noNewPrivileges"] = on
    t.eq(c.report()["no_new_privs"], int(on))


@cases(high=1000, low=700, zero=0)
def test_oom_score(t, score):
    c = t.container()
    c.config.process["oomScoreAdj"] = score
    t.eq(c.report()["oom_score_adj"].strip(), str(score))
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    t.eq(c.report()["oom_score_adj"].strip(), str(score), "as a user")


@bailey_only("text")
@cases(above=1001, below=-1001)
def test_bad_oom_score(t, score):
    c = t.container()
    c.config.process["oomScoreAdj"] = score
    t.fails(c.run(), "oomScoreAdj", code=1)


@bailey_only("scheduler is newer than runc 1.1")
@cases(batch=({"policy": "SCHED_BATCH", "nice": 5}, 3, 5, 0),
       idle=({"policy": "SCHED_IDLE"}, 5, 0, 0),
       other=({"policy": "SCHED_OTHER", "nice": 11}, 0, 11, 0),
       reset=({"policy": "SCHED_OTHER", "nice": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, 0, 1,
              1))
def test_scheduler(t, scheduler, policy, nice, flags):
    c = t.container()
    c.config.process["scheduler"] = scheduler
    s = c.report()["sched"]
    t.eq((s["policy"], s["flags"]), (policy, flags))
    if policy != 5:
        t.eq(s["nice"], nice)
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["sched"]["policy"], policy, "exec inherits it")


@bailey_only("scheduler is newer than runc 1.1")
@cases(policy={"policy": "SCHED_FISH"}, flag={"policy": "SCHED_OTHER", "flags": ["X"]},
       none={"nice": 1}, prio={"policy": "SCHED_FIFO", "priority": 1000})
def test_bad_scheduler(t, scheduler):
    c = t.container()
    c.config.process["scheduler"] = scheduler
    t.fails(c.run(), "scheduler", code=1)


@bailey_only("ioPriority is newer than runc 1.1")
@cases(be=("IOPRIO_CLASS_BE", 3, 2 << 13 | 3), idle=("IOPRIO_CLASS_IDLE", 0, 3 << 13),
       rt=("IOPRIO_CLASS_RT", 7, 1 << 13 | 7))
def test_io_priority(t, class_, priority, want):
    c = t.container()
    c.config.process["ioPriority"] = {"class": class_, "priority": priority}
    t.eq(c.report()["ioprio"], want)
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["ioprio"], want, "exec inherits it")


@bailey_only("ioPriority is newer than runc 1.1")
@cases(class_=("IOPRIO_CLASS_FISH", 1), high=("IOPRIO_CLASS_BE", 8), low=("IOPRIO_CLASS_BE", -1))
def test_bad_io_priority(t, class_, priority):
    c = t.container()
    c.config.process["ioPriority"] = {"class": class_, "priority": priority}
    t.fails(c.run(), "ioPriority", code=1)


@bailey_only("execCPUAffinity is newer than runc 1.1")
def test_exec_cpu_affinity(t):
    t.need(t.in_machine or len(os.sched_getaffinity(0)) > 1, "one CPU only")
    c, kw = t.container(), {}
    if t.in_machine:
        kw = {"env": vm.configuration(t, vm={"vcpus": 2})}
    c.config.process["execCPUAffinity"] = {"initial": "0-1", "final": "1"}
    c.sleeping(**kw)
    t.eq(c.exec_report()["affinity"], [1])
    c2 = t.container()
    c2.config.process["execCPUAffinity"] = {"final": "no"}
    t.fails(c2.run(), "execCPUAffinity", code=1)


@bailey_only("personality is newer than runc 1.1")
@cases(linux=("LINUX", [], 0), linux32=("LINUX32", [], 8))
def test_personality(t, domain, flags, want):
    c = t.container()
    c.config.linux["personality"] = {"domain": domain, "flags": flags}
    r = c.report()
    t.eq(r["personality"], want)
    t.eq(r["machine"], "i686" if want == 8 else os.uname().machine)
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["personality"], want, "exec")


@namespaces_only("it is that of the machine's memory, on the host")
@bailey_only("memoryPolicy is newer than runc 1.1")
def test_memory_policy(t):
    c = t.container()
    c.config.linux["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    m = c.report()["mempolicy"]
    t.eq((m["mode"] & 0xff, m["nodes"]), (3, 1))
    c.config.linux["memoryPolicy"] = {"mode": "MPOL_FISH", "nodes": "0"}
    t.fails(c.run(), "memoryPolicy", code=1)


# ---- environment and working directory

def test_env_is_exactly_the_config(t):
    c = t.container()
    c.config.process["env"] = ["PATH=/bin", "A=1", "EMPTY=", "B=a=b c"]
    env = c.report()["env"]
    t.eq([e for e in env if not e.startswith("HOME=")], ["PATH=/bin", "A=1", "EMPTY=", "B=a=b c"])


@bailey_only("others keep both, or sort")
def test_last_setting_counts(t):
    """Where the first was; and an image may have very many."""
    c = t.container()
    c.config.process["env"] = ["PATH=/bin", "A=1", "AB=2", "A=3", "B=4", "A=", "AB=5=6"]
    t.eq([e for e in c.report()["env"] if not e.startswith("HOME=")], ["PATH=/bin", "A=", "AB=5=6", "B=4"])
    many = [f"A{i % 30000}={i}" for i in range(60000)]
    c.config.process["env"] = ["PATH=/bin", *many]
    t.eq([e for e in c.report()["env"] if not e.startswith("HOME=")], ["PATH=/bin", *many[30000:]])


@cases(root=(0, "/root"), user=(1000, "/home/user"), unknown=(4242, "/"))
def test_home_default(t, uid, home):
    c = t.container()
    c.config.process["user"] = {"uid": uid, "gid": 0}
    t.has(c.report()["env"], "HOME=" + home)
    c.config.env("HOME=/mine")
    t.eq([e for e in c.report()["env"] if e.startswith("HOME=")], ["HOME=/mine"])


def test_home_without_passwd(t):
    c = t.container()
    os.unlink(c.bundle.at("etc/passwd"))
    t.has(c.report()["env"], "HOME=/")


def test_exec_home(t):
    c = t.container()
    c.sleeping()
    t.has(c.exec_report(opts=["--user", "1000"])["env"], "HOME=/home/user")


def test_cwd(t):
    c = t.container()
    c.config.process["cwd"] = "/tmp"
    t.eq(c.report()["cwd"], "/tmp")


def test_cwd_is_made(t):
    c = t.container()
    c.config.process["cwd"] = "/new/deep/dir"
    t.eq(c.report()["cwd"], "/new/deep/dir")
    t.true(os.path.isdir(c.bundle.at("new/deep/dir")), "made in the rootfs")


def test_cwd_of_the_user_alone(t):
    """Only the user may enter it: chdir happens with the user's ids at the latest."""
    c = t.container()
    os.mkdir(c.bundle.at("private"))
    os.chown(c.bundle.at("private"), 1000, 1000)
    os.chmod(c.bundle.at("private"), 0o700)
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    c.config.process["cwd"] = "/private"
    c.config.caps()
    t.eq(c.report()["cwd"], "/private")


@cases(file="/etc/passwd", relative="tmp", empty="")
def test_bad_cwd(t, cwd):
    c = t.container()
    c.config.process["cwd"] = cwd
    t.fails(c.run(), code=None, bailey="cwd" if cwd != "/etc/passwd" else cwd)


@cases(nul="A=\0b", no_equal="JUSTNAME")
def test_odd_env(t, entry):
    c = t.container()
    c.config.env(entry)
    if "\0" in entry:
        t.fails(c.run(), code=1, bailey="NUL")
    else:
        r = c.run()
        t.true(r.code == 0 or "env" in r.err, str(r))


def test_inherited_environment_is_dropped(t):
    c = t.container()
    r = c.report(env={"PATH": os.environ["PATH"], "SECRET": "x", "NOTIFY_X": "y"})
    t.eq([e for e in r["env"] if "SECRET" in e or "NOTIFY_X" in e], [])


# ---- time

def _offset(t, now, key, want):
    have = time.clock_gettime({"monotonic": time.CLOCK_MONOTONIC,
                               "boottime": time.CLOCK_BOOTTIME}[key])
    t.true(abs(now[key] - have - want) < 5, f"{key}: {now[key]} against {have} on the host")


@namespaces_only("the machine's clocks begin with it")
@bailey_only("time namespaces are newer than runc 1.1")
def test_time_offsets(t):
    c = t.container()
    c.config.namespace("time")
    c.config.linux["timeOffsets"] = {"monotonic": {"secs": 86400, "nanosecs": 5},
                                     "boottime": {"secs": -500}}
    if time.clock_gettime(time.CLOCK_BOOTTIME) < 600:
        c.config.linux["timeOffsets"]["boottime"]["secs"] = 500
    back = c.config.linux["timeOffsets"]["boottime"]["secs"]
    r = c.report()
    _offset(t, r, "monotonic", 86400)
    _offset(t, r, "boottime", back)
    t.ne(r["ns"]["time"], kernel.ns_inode("time"))
    c.config.args("/probe", "sleep")
    c.up()
    r = c.exec_report()
    _offset(t, r, "monotonic", 86400)


@bailey_only("time namespaces are newer than runc 1.1")
def test_time_offsets_need_a_namespace(t):
    c = t.container()
    c.config.linux["timeOffsets"] = {"monotonic": {"secs": 1}}
    t.fails(c.run(), "timeOffsets", code=1)


def test_runs_from_a_thread(t):
    """The caller's signal mask and threads do not matter."""
    c, got = t.container(), []
    th = threading.Thread(target=lambda: got.append(c.run()))
    th.start()
    th.join(30)
    t.eq(must(got[0]).json()["pid"], 1)
