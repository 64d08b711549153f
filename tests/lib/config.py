"""A default config.json, written out here so that no runtime's own `spec` verb is relied on."""
import copy
import json

CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
NAMESPACES = ["pid", "network", "ipc", "uts", "mount"]

_BASE = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["/probe"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {k: CAPS for k in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "bailey-test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": t} for t in NAMESPACES],
        "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                        "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                          "/proc/sysrq-trigger"],
    },
}


class Config(dict):
    """config.json with the few edits that tests make all the time."""

    @property
    def process(self):
        return self["process"]

    @property
    def linux(self):
        return self["linux"]

    def args(self, *argv):
        self["process"]["args"] = list(argv)
        return self

    def env(self, *entries):
        self["process"]["env"] += list(entries)
        return self

    def mount(self, destination, type_=None, source=None, options=(), **more):
        m = {"destination": destination, **more}
        if type_:
            m["type"] = type_
        if source:
            m["source"] = str(source)
        if options:
            m["options"] = list(options)
        self["mounts"].append(m)
        return self

    def drop_mount(self, destination):
        self["mounts"] = [m for m in self["mounts"] if m["destination"] != destination]
        return self

    def find_mount(self, destination):
        return next(m for m in self["mounts"] if m["destination"] == destination)

    def namespaces(self, *types):
        """Exactly these; an entry is a type or (type, path)."""
        self["linux"]["namespaces"] = [
            {"type": t} if isinstance(t, str) else {"type": t[0], "path": t[1]} for t in types]
        return self

    def namespace(self, type_, path=None):
        """Adds one, or replaces the one of that type."""
        self.without_namespace(type_)
        self["linux"]["namespaces"].append({"type": type_, **({"path": path} if path else {})})
        return self

    def without_namespace(self, type_):
        self["linux"]["namespaces"] = [
            n for n in self["linux"]["namespaces"] if n["type"] != type_]
        return self

    def userns(self, host=100000, size=65536):
        """A user namespace of its own with one range."""
        self.namespace("user")
        m = [{"containerID": 0, "hostID": host, "size": size}]
        self["linux"]["uidMappings"] = m
        self["linux"]["gidMappings"] = copy.deepcopy(m)
        return self

    def caps(self, **sets):
        """caps(bounding=[…], …): exactly these sets."""
        self["process"]["capabilities"] = {k: list(v) for k, v in sets.items()}
        return self

    def hook(self, kind, path, *args, env=None, timeout=None):
        h = {"path": str(path), "args": [str(path)] + [str(a) for a in args]}
        if env is not None:
            h["env"] = env
        if timeout is not None:
            h["timeout"] = timeout
        self.setdefault("hooks", {}).setdefault(kind, []).append(h)
        return self

    def rootless(self, uid, gid, subuid=None):
        """What `spec --rootless` gives: uid and gid as root, or with (start, size) a range too."""
        self.namespace("user").without_namespace("network")
        self.linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        self.linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
        if subuid:
            for k in ("uidMappings", "gidMappings"):
                self.linux[k].append(
                    {"containerID": 1, "hostID": subuid[0], "size": subuid[1]})
        else:
            pts = self.find_mount("/dev/pts")
            pts["options"] = [o for o in pts["options"] if not o.startswith("gid=")]
        self.drop_mount("/sys").mount("/sys", "none", "/sys",
                                      ["rbind", "nosuid", "noexec", "nodev", "ro"])
        self.linux.pop("resources", None)
        return self

    def write(self, path):
        with open(path, "w") as f:
            json.dump(self, f)


def base_config(*argv):
    c = Config(copy.deepcopy(_BASE))
    if argv:
        c.args(*argv)
    return c
