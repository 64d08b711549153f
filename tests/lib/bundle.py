"""A bundle in a directory: a rootfs of static busybox and the probe, and a config.json."""
import os
import shutil

from .config import base_config

APPLETS = ("sh", "cat", "ls", "id", "sleep", "true", "false", "echo", "mkdir", "mount", "umount",
           "ps", "kill", "touch", "ln", "rm", "stat", "head", "grep", "env", "test", "wc", "tail",
           "mv", "cp", "chmod", "chown", "hostname", "seq", "tr", "tty", "stty", "usleep", "dd",
           "setsid", "mktemp", "mknod", "readlink", "date", "nc", "ip", "find", "sort", "yes",
           "httpd", "wget", "top", "pwd", "sync", "su")
PASSWD = """root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
"""
GROUP = "root:x:0:\nuser:x:1000:\nextra:x:2000:user\nnobody:x:65534:\n"


def make_rootfs(path, probe, busybox="/bin/busybox"):
    for d in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/user", "usr/bin", "var/run",
              "mnt"):
        os.makedirs(os.path.join(path, d), exist_ok=True)
    os.chmod(os.path.join(path, "tmp"), 0o1777)
    shutil.copyfile(busybox, os.path.join(path, "bin/busybox"))
    shutil.copyfile(probe, os.path.join(path, "probe"))
    os.chmod(os.path.join(path, "bin/busybox"), 0o755)
    os.chmod(os.path.join(path, "probe"), 0o755)
    for a in APPLETS:
        os.symlink("busybox", os.path.join(path, "bin", a))
    for name, text in (("passwd", PASSWD), ("group", GROUP)):
        with open(os.path.join(path, "etc", name), "w") as f:
            f.write(text)
    os.chmod(path, 0o755)


class Bundle:
    def __init__(self, path, probe):
        self.path = str(path)
        self.rootfs = os.path.join(self.path, "rootfs")
        self.config = base_config()
        os.makedirs(self.rootfs)
        os.chmod(self.path, 0o755)
        make_rootfs(self.rootfs, probe)

    def at(self, inside):
        """The host's path of a path inside."""
        return os.path.join(self.rootfs, inside.lstrip("/"))

    def put(self, inside, text, mode=0o644):
        p = self.at(inside)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        with open(p, "w" if isinstance(text, str) else "wb") as f:
            f.write(text)
        os.chmod(p, mode)
        return p

    def chown(self, uid, gid):
        """Gives the whole rootfs to an id, for user namespaces."""
        for top, dirs, files in os.walk(self.rootfs):
            for n in ["."] + dirs + files:
                os.lchown(os.path.join(top, n), uid, gid)

    def write_config(self):
        self.config.write(os.path.join(self.path, "config.json"))

    def raw_config(self, text):
        with open(os.path.join(self.path, "config.json"), "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
