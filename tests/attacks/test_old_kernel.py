"""Kernels and sandboxes without a system call that the runtime needs: it says so and leaves nothing
behind, or does without it in a way that is as strong. Never a crash, a hang, or a container that
lacks what config.json asks for."""
import errno
import os

from lib.filter import deny
from lib.testing import bailey_only, cases

CALLS = {"pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430,
         "fsconfig": 431, "fsmount": 432, "pidfd_open": 434, "clone3": 435, "close_range": 436,
         "openat2": 437, "faccessat2": 439, "mount_setattr": 442, "pivot_root": 155,
         "memfd_create": 319, "setns": 308, "unshare": 272, "bpf": 321, "seccomp": 317,
         "capset": 126, "prctl": 157, "keyctl": 250, "setgroups": 116, "sethostname": 170,
         "execveat": 322, "mount": 165, "umount2": 166, "mknodat": 259, "fchownat": 260,
         "prlimit64": 302, "socketpair": 53}


def _check(t, nr, why):
    c = t.container("/probe")
    c.config.namespace("cgroup")
    d = t.dir("src")
    c.config.mount("/m", "bind", d, ["rbind", "rro"])
    c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}]}
    r = c.run(timeout=15, preexec_fn=deny(nr, why))
    t.true(r.code >= 0, f"died by a signal: {r}")
    if r.code != 0:
        t.true(r.err.strip(), f"no message: {r}")
        return
    seen = r.json()
    t.eq(seen["pid"], 1)
    t.eq(seen["hostname"], "bailey-test")
    t.eq(seen["seccomp"], 2)
    t.eq(seen["no_new_privs"], 1)
    t.eq(sorted(seen["caps"]["effective"]),
         ["cap_audit_write", "cap_kill", "cap_net_bind_service"])
    t.eq(sorted(seen["fds"]), ["0", "1", "2"])
    t.eq(seen["rlimits"]["RLIMIT_NOFILE"], [1024, 1024])
    t.has(seen["mountinfo"], " /m ro,")
    t.has(seen["mountinfo"], " /proc/sys ro,")
    t.eq(os.listdir(d), [])


@bailey_only("peers fall back in ways of their own")
@cases(**CALLS)
def test_without(t, nr):
    _check(t, nr, errno.ENOSYS)


@bailey_only("peers fall back in ways of their own")
@cases(**CALLS)
def test_forbidden(t, nr):
    _check(t, nr, errno.EPERM)
