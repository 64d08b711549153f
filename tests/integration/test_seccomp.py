"""linux.seccomp: actions, arguments, architectures, listener."""
import os
import time

from lib.agent import Agent, libseccomp_nr
from lib.container import must
from lib.testing import bailey_only, cases, namespaces_only


def _profile(*rules, default="SCMP_ACT_ALLOW", **more):
    return {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": list(rules), **more}


def _rule(*names, action="SCMP_ACT_ERRNO", **more):
    return {"names": list(names), "action": action, **more}


def _syscall(c, name, *args):
    return c.probe("syscall", libseccomp_nr(name), *args)


def test_none(t):
    t.eq(t.container().report()["seccomp"], 0)


def test_filter_mode(t):
    c = t.container()
    c.config.linux["seccomp"] = _profile()
    t.eq(c.report()["seccomp"], 2)


@cases(default=(None, "EPERM"), given=(95, "EOPNOTSUPP"), enosys=(38, "ENOSYS"))
def test_errno(t, ret, want):
    c = t.container()
    rule = _rule("sethostname")
    if ret is not None:
        rule["errnoRet"] = ret
    c.config.linux["seccomp"] = _profile(rule)
    t.exited(_syscall(c, "sethostname", "@x", 1), want)
    c.config.args("/probe", "sleep")
    c.up()
    t.exited(c.exec_probe("syscall", libseccomp_nr("sethostname"), "@x", 1), want)


@cases(process="SCMP_ACT_KILL_PROCESS", thread="SCMP_ACT_KILL_THREAD", kill="SCMP_ACT_KILL",
       trap="SCMP_ACT_TRAP")
def test_kill(t, action):
    c = t.container("/probe", "syscall", str(libseccomp_nr("sethostname")), "@x", "1")
    c.config.linux["seccomp"] = _profile(_rule("sethostname", action=action))
    t.eq(c.run().code, 128 + 31)


def test_log_allows(t):
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("umask", action="SCMP_ACT_LOG"))
    t.exited(_syscall(c, "umask", 0o22))


@cases(eq=("SCMP_CMP_EQ", 7, None, [7], [6, 8]), ne=("SCMP_CMP_NE", 7, None, [6], [7]),
       lt=("SCMP_CMP_LT", 7, None, [6], [7]), le=("SCMP_CMP_LE", 7, None, [7], [8]),
       gt=("SCMP_CMP_GT", 7, None, [8], [7]), ge=("SCMP_CMP_GE", 7, None, [7], [6]),
       masked=("SCMP_CMP_MASKED_EQ", 0x0f, 0x05, [0x15, 0x05], [0x16]),
       wide=("SCMP_CMP_GT", 1 << 32, None, [1 << 33], [7]))
def test_arguments(t, op, value, two, hit, miss):
    """The rule's arguments: lseek(fd, offset) with the offset compared."""
    arg = {"index": 1, "value": value, "op": op}
    if two is not None:
        arg["valueTwo"] = two
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("lseek", args=[arg], errnoRet=95))
    for v in hit:
        t.exited(_syscall(c, "lseek", 99, v, 0), "EOPNOTSUPP")
    for v in miss:
        t.exited(_syscall(c, "lseek", 99, v, 0), "EBADF")


def test_two_arguments_are_a_conjunction(t):
    args = [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"},
            {"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}]
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("lseek", args=args, errnoRet=95))
    t.exited(_syscall(c, "lseek", 99, 7, 1), "EOPNOTSUPP")
    t.exited(_syscall(c, "lseek", 99, 7, 0), "EBADF")


ENOUGH = ["read", "write", "close", "fstat", "mmap", "mprotect", "munmap", "brk", "rt_sigaction",
          "rt_sigprocmask", "ioctl", "readlink", "readlinkat", "arch_prctl", "set_tid_address",
          "set_robust_list", "rseq", "prlimit64", "getrandom", "newfstatat", "exit", "exit_group",
          "execve", "futex", "uname", "capget", "capset", "prctl", "getpid", "openat", "sendmsg",
          "sendto", "recvfrom", "getdents64", "fcntl", "lseek", "epoll_pwait", "setgid",
          "setgroups", "setuid", "close_range", "getppid", "sched_yield", "tgkill", "nanosleep",
          "chdir", "fchdir", "getcwd", "stat", "lstat", "statfs", "fstatfs", "setresuid",
          "setresgid", "umask", "access", "faccessat2", "gettid", "epoll_ctl", "madvise",
          "rt_sigreturn", "sigaltstack", "clone", "wait4", "getuid", "getgid"]


def test_allow_list(t):
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule(*ENOUGH, action="SCMP_ACT_ALLOW"),
                                         default="SCMP_ACT_ERRNO", defaultErrnoRet=95)
    t.exited(_syscall(c, "getpid"))
    t.exited(_syscall(c, "mkdir", "@/x", 0o755), "EOPNOTSUPP")


def test_newer_than_the_profile(t):
    """A call that the profile's author cannot have known says ENOSYS, so that libcs fall back."""
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule(*ENOUGH, action="SCMP_ACT_ALLOW"),
                                         default="SCMP_ACT_ERRNO")
    t.exited(c.probe("syscall", 600), "ENOSYS")
    t.exited(_syscall(c, "mkdir", "@/x", 0o755), "EPERM")


def test_foreign_architecture_is_refused(t):
    """int 0x80 and x32 do not slip by: only listed architectures are allowed."""
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule(*ENOUGH, action="SCMP_ACT_ALLOW"),
                                         default="SCMP_ACT_KILL_PROCESS")
    c.config.args("/probe", "syscall", str(0x40000000 | 39))
    t.eq(c.run().code, 128 + 31, "x32's getpid")


@cases(user=1000, root=0)
def test_without_no_new_privs(t, uid):
    """The filter is loaded while there still is CAP_SYS_ADMIN, though the payload has none."""
    c = t.container()
    c.config.process["noNewPrivileges"] = False
    c.config.process["user"] = {"uid": uid, "gid": uid}
    c.config.caps()
    c.config.linux["seccomp"] = _profile(_rule("sethostname", errnoRet=95))
    r = c.report()
    t.eq((r["seccomp"], r["no_new_privs"]), (2, 0))


@cases(tsync="SECCOMP_FILTER_FLAG_TSYNC", log="SECCOMP_FILTER_FLAG_LOG",
       spec="SECCOMP_FILTER_FLAG_SPEC_ALLOW")
def test_flags(t, flag):
    t.need(t.is_bailey, "runc 1.1 knows no flags")
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("sethostname", errnoRet=95), flags=[flag])
    t.exited(_syscall(c, "sethostname", "@x", 1), "EOPNOTSUPP")


@bailey_only("texts")
@cases(action=(_profile(default="SCMP_ACT_FISH"), "SCMP_ACT_FISH"),
       rule=(_profile(_rule("read", action="X")), "syscalls[0].action"),
       op=(_profile(_rule("read", args=[{"index": 0, "value": 1, "op": "Y"}])), "args[0].op"),
       index=(_profile(_rule("read", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
              "index"),
       arch=({**_profile(), "architectures": ["SCMP_ARCH_FISH"]}, "SCMP_ARCH_FISH"),
       flag=(_profile(flags=["SECCOMP_FISH"]), "SECCOMP_FISH"),
       no_default=({"syscalls": []}, "defaultAction"),
       no_names=(_profile({"names": [], "action": "SCMP_ACT_ERRNO"}), "names"),
       errno=(_profile(_rule("read", errnoRet=5000)), "errnoRet"))
def test_bad_profile(t, profile, text):
    c = t.container()
    c.config.linux["seccomp"] = profile
    t.fails(c.run(), "seccomp", code=1, bailey=text)


def test_unknown_syscall_is_skipped(t):
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("no_such_call", "sethostname", errnoRet=95))
    t.exited(_syscall(c, "sethostname", "@x", 1), "EOPNOTSUPP")


# ---- notify

LISTENER = "a listener of the host cannot answer for another kernel: refused"

def _listening(t, agent_path, **more):
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("sethostname", action="SCMP_ACT_NOTIFY"),
                                         listenerPath=agent_path, listenerMetadata="meta=1",
                                         **more)
    return c


@namespaces_only(LISTENER)
def test_notify(t):
    path = os.path.join(t.tmp, "agent")
    agent = Agent(path)
    t.later(agent.close)
    c = _listening(t, path)
    t.exited(_syscall(c, "sethostname", "@x", 1), "EOPNOTSUPP")
    (state, fds), = agent.states
    t.eq(fds, 1)
    t.eq(state["metadata"], "meta=1")
    t.eq(state["fds"], ["seccompFd"])
    t.eq(state["state"]["id"], c.id)
    t.true(state["pid"] > 0, "pid")
    t.eq([nr for _, nr in agent.calls], [libseccomp_nr("sethostname")])
    c.config.args("/probe", "sleep")
    c.up()
    t.exited(c.exec_probe("syscall", libseccomp_nr("sethostname"), "@x", 1), "EOPNOTSUPP")
    t.eq(len(agent.states), 3, "one descriptor per process: run, create, exec")


def test_notify_no_agent(t):
    c = _listening(t, os.path.join(t.tmp, "nobody"))
    t.fails(c.run(), code=1, bailey=("listenerPath", "nobody"))
    c = t.container()
    c.config.linux["seccomp"] = _profile(_rule("sethostname", action="SCMP_ACT_NOTIFY"))
    t.fails(c.run(), code=1, bailey="listenerPath")


@namespaces_only(LISTENER)
@bailey_only("runc waits or goes on")
def test_notify_agent_refuses(t):
    """An agent that closes at once: its calls fail, nothing hangs, nothing is left behind."""
    path = os.path.join(t.tmp, "agent")
    agent = Agent(path, mode="refuse")
    t.later(agent.close)
    start = time.monotonic()
    c = _listening(t, path)
    c.config.args("/probe", "syscall", str(libseccomp_nr("sethostname")), "@x", "1")
    r = c.run(timeout=20)
    t.true(r.code != 0 or r.json()["errno"] == "ENOSYS", str(r))
    t.true(time.monotonic() - start < 15, "no hang")


@namespaces_only(LISTENER)
def test_notify_agent_hangs(t):
    """The payload waits in its call; delete --force still ends it."""
    path = os.path.join(t.tmp, "agent")
    agent = Agent(path, mode="hang")
    t.later(agent.close)
    c = _listening(t, path)
    c.config.args("/probe", "syscall", str(libseccomp_nr("sethostname")), "@x", "1")
    must(c.create())
    must(c.start())
    time.sleep(0.1)
    t.eq(c.status(), "running")
    must(c.delete("--force"))
