"""System calls that Python 3.11 does not wrap, and facts about the machine."""
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
CGROUP2_SUPER_MAGIC = 0x63677270
TMPFS_MAGIC = 0x01021994
NSFS_TYPES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def _check(ret, what):
    if ret < 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{what}: {os.strerror(err)}")
    return ret


def _bytes(s):
    return None if s is None else os.fsencode(s)


def unshare(flags):
    _check(libc.unshare(flags), "unshare")


def mount(source, target, fstype=None, flags=0, data=None):
    _check(libc.mount(_bytes(source), _bytes(target), _bytes(fstype), ctypes.c_ulong(flags),
                      _bytes(data)), f"mount {target}")


def umount(target, flags=MNT_DETACH):
    _check(libc.umount2(_bytes(target), flags), f"umount {target}")


def set_subreaper():
    _check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


class _Statfs(ctypes.Structure):
    _fields_ = [("f_type", ctypes.c_long), ("rest", ctypes.c_long * 31)]


def fs_type(path):
    buf = _Statfs()
    _check(libc.statfs(_bytes(path), ctypes.byref(buf)), f"statfs {path}")
    return buf.f_type


def is_cgroup_v2():
    try:
        return fs_type("/sys/fs/cgroup") == CGROUP2_SUPER_MAGIC
    except OSError:
        return False


def ns_inode(kind, pid="self"):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def release():
    """(6, 18) of 6.18.44."""
    return tuple(int("".join(c for c in p if c.isdigit()) or 0)
                 for p in os.uname().release.split("-")[0].split(".")[:2])


def start_time(pid):
    """Field 22 of /proc/PID/stat, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return int(f.read().rpartition(")")[2].split()[19])
    except OSError:
        return None


def process_state(pid):
    """"R", "S", "Z" …, or None."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def effective_caps():
    with open("/proc/self/status") as f:
        return next(int(l.split()[1], 16) for l in f if l.startswith("CapEff:"))


CAP_SYS_RESOURCE = 24


def has_cap(n):
    return bool(effective_caps() >> n & 1)


def drop_from_bounding(n):
    """For a process about to execute something: root gets the capability back there otherwise."""
    _check(libc.prctl(PR_CAPBSET_DROP, n, 0, 0, 0), "prctl")


def parse_mountinfo(text):
    """List of dicts: id, parent, root, target, options, propagation, type, source, super."""
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        l, r = left.split(" "), right.split(" ")
        mounts.append({
            "id": int(l[0]), "parent": int(l[1]), "dev": l[2], "root": l[3],
            "target": l[4].encode().decode("unicode_escape"), "options": l[5].split(","),
            "propagation": [o.split(":")[0] for o in l[6:] if o],
            "type": r[0], "source": r[1], "super": r[2].split(",") if len(r) > 2 else []})
    return mounts
