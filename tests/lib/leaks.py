"""What a test left behind. Every container process is a descendant of the test's process, which is
a subreaper; cgroups, mounts and state carry the test's own names."""
import os
import time

from . import clock, kernel


def descendants(pid):
    """All living or dead descendants' pids."""
    found, queue = [], [pid]
    while queue:
        p = queue.pop()
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/children") as f:
                    kids = [int(k) for k in f.read().split()]
                found += kids
                queue += kids
        except OSError:
            pass
    return found


def reap():
    """Collects the dead children of this process that nobody waits for."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def _describe(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f"{pid} ({f.read().replace(chr(0), ' ').strip()})"
    except OSError:
        return str(pid)


def processes(grace=2.0):
    """Descendants that are still alive after the grace time."""
    end = time.monotonic() + clock.limit(grace)
    while True:
        reap()
        alive = [p for p in descendants(os.getpid())
                 if kernel.process_state(p) not in (None, "Z", "X")]
        if not alive or time.monotonic() > end:
            return [_describe(p) for p in alive]
        time.sleep(0.01)


def _children(cgroup):
    """Most cgroups have none but some seventy files; the count of links says so without a look."""
    try:
        if os.stat(cgroup).st_nlink == 2:
            return []
        return [e.path for e in os.scandir(cgroup) if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def cgroups(mark):
    """Directories of the cgroup tree whose name holds the mark, children of those left out."""
    found, queue = [], ["/sys/fs/cgroup"]
    while queue:
        for d in _children(queue.pop()):
            (found if mark in os.path.basename(d) else queue).append(d)
    return found


def remove_cgroups(mark):
    for top in cgroups(mark):
        for d, _, _ in os.walk(top, topdown=False):
            try:
                if os.path.exists(d + "/cgroup.kill"):
                    with open(d + "/cgroup.kill", "w") as f:
                        f.write("1")
                for _ in range(200):
                    try:
                        os.rmdir(d)
                        break
                    except OSError:
                        time.sleep(0.01)
            except OSError:
                pass


def mounts(prefix):
    with open("/proc/self/mountinfo") as f:
        return [m["target"] for m in kernel.parse_mountinfo(f.read())
                if m["target"] == prefix or m["target"].startswith(prefix + "/")]


def state_entries(root):
    """Entries of a runtime's --root that stand for a container."""
    try:
        return sorted(os.listdir(root))
    except FileNotFoundError:
        return []
