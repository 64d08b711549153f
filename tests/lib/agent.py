"""A seccomp agent: receives notify descriptors and answers each call with one errno."""
import array
import fcntl
import json
import os
import socket
import struct
import threading

from .terminal import receive_fds

SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101


class Agent:
    """mode: "answer" with errno, "refuse" (close at once), "hang" (take and say nothing)."""

    def __init__(self, path, errno=95, mode="answer"):
        self.errno, self.mode = errno, mode
        self.states, self.calls, self.held = [], [], []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fd = os.open(os.path.dirname(path), os.O_PATH)
        self.sock.bind(f"/proc/self/fd/{fd}/{os.path.basename(path)}")
        os.close(fd)
        self.sock.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            if self.mode == "refuse":
                conn.close()
                continue
            data, fds = receive_fds(conn)
            if data:
                self.states.append((json.loads(data), len(fds)))
            self.held.append((conn, fds))
            if self.mode == "answer":
                for fd in fds:
                    threading.Thread(target=self._answer, args=(fd,), daemon=True).start()

    def _answer(self, fd):
        while True:
            req = array.array("B", bytes(80))
            try:
                fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, req, True)
            except OSError:
                os.close(fd)
                return
            id_, pid, _, nr = struct.unpack_from("QIIi", req.tobytes())
            self.calls.append((pid, nr))
            try:
                fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND,
                            array.array("B", struct.pack("QqiI", id_, 0, -self.errno, 0)), True)
            except OSError:
                pass

    def close(self):
        self.sock.close()
        for conn, _ in self.held:
            conn.close()


def libseccomp_nr(name):
    """x86-64 numbers of the few calls that tests name."""
    return {"mkdir": 83, "getpid": 39, "sethostname": 170, "umask": 95, "personality": 135,
            "lseek": 8, "kill": 62, "mkdirat": 258}[name]
