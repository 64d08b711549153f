"""A mount namespace in which the machine looks like a cgroup v2 host with a test user. Whatever is
mounted here is gone with the last process in it; the machine's own hierarchies stay as they are."""
import os
import sys

from . import kernel

MARK = "BAILEY_TEST_HOST"
TEST_USER, TEST_UID = "bailey-test", 64321
SUBID = (700000, 65536)
SINGLE_UID = 64322  # has no passwd or subuid entry


def enter():
    """Re-executes the program in the private namespace; returns in there."""
    if os.environ.get(MARK) == str(os.getpid()):
        return
    if os.geteuid() != 0:
        sys.exit("tests/run: needs root (it makes containers, cgroups and mounts)")
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    if not kernel.is_cgroup_v2():
        kernel.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    os.environ[MARK] = str(os.getpid())
    os.execv(sys.executable, [sys.executable] + sys.argv)


def _overlay_file(path, extra, tmp):
    with open(path) as f:
        text = f.read()
    if text and not text.endswith("\n"):
        text += "\n"
    copy = os.path.join(tmp, os.path.basename(path))
    with open(copy, "w") as f:
        f.write(text + extra + "\n")
    os.chmod(copy, 0o644)
    kernel.mount(copy, path, None, kernel.MS_BIND)


def add_test_user(tmp):
    """Bind-mounts copies of passwd, group, subuid and subgid that know the test user."""
    sub = f"{TEST_USER}:{SUBID[0]}:{SUBID[1]}"
    for path, extra in (
            ("/etc/passwd", f"{TEST_USER}:x:{TEST_UID}:{TEST_UID}::/nonexistent:/bin/sh"),
            ("/etc/group", f"{TEST_USER}:x:{TEST_UID}:"),
            ("/etc/subuid", sub), ("/etc/subgid", sub)):
        if os.path.exists(path):
            _overlay_file(path, extra, tmp)
