"""Ends of terminals: a pty for a command in the foreground, a console socket for a detached one."""
import array
import fcntl
import os
import select
import socket
import struct
import termios
import time

from . import clock


def set_size(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def get_size(fd):
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return columns, rows


class Master:
    """The master end of a terminal: read until a text or the end, write, resize."""

    def __init__(self, fd):
        self.fd = fd
        self.seen = b""

    def _read(self, timeout):
        if not select.select([self.fd], [], [], max(timeout, 0))[0]:
            return None
        try:
            return os.read(self.fd, 65536)
        except OSError:  # EIO: the last slave was closed
            return b""

    def read_until(self, text, timeout=10):
        """All that was seen up to and with text; fails on time-out or end."""
        text = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + clock.limit(timeout)
        while text not in self.seen:
            data = self._read(end - time.monotonic())
            if not data:
                why = "time-out" if data is None else "end of terminal"
                raise AssertionError(f"{why} while waiting for {text!r}; seen {self.seen!r}")
            self.seen += data
        head, _, self.seen = self.seen.partition(text)
        return (head + text).decode(errors="replace")

    def read_all(self, timeout=10):
        end = time.monotonic() + clock.limit(timeout)
        while True:
            data = self._read(end - time.monotonic())
            if data is None:
                raise AssertionError(f"terminal did not end; seen {self.seen!r}")
            if not data:
                out, self.seen = self.seen, b""
                return out.decode(errors="replace")
            self.seen += data

    def write(self, text):
        os.write(self.fd, text.encode())

    def resize(self, columns, rows):
        set_size(self.fd, columns, rows)

    def size(self):
        return get_size(self.fd)

    def onlcr(self):
        return bool(termios.tcgetattr(self.fd)[1] & termios.ONLCR)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_pty(columns=80, rows=24):
    """(Master, slave fd)."""
    m, s = os.openpty()
    set_size(m, columns, rows)
    return Master(m), s


class ConsoleSocket:
    """Listens where a runtime sends the terminal's master (--console-socket)."""

    def __init__(self, path):
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # sun_path is short: bind from within the directory.
        fd = os.open(os.path.dirname(path), os.O_PATH)
        try:
            self.sock.bind(f"/proc/self/fd/{fd}/{os.path.basename(path)}")
        finally:
            os.close(fd)
        os.chmod(path, 0o666)
        self.sock.listen(4)

    def receive(self, timeout=10):
        """Master, or raises."""
        self.sock.settimeout(clock.limit(timeout))
        conn, _ = self.sock.accept()
        with conn:
            conn.settimeout(clock.limit(timeout))
            name, fds = receive_fds(conn)
        if len(fds) != 1:
            raise AssertionError(f"console socket got {len(fds)} descriptors with {name!r}")
        return Master(fds[0])

    def close(self):
        self.sock.close()


def receive_fds(conn, most=8):
    """(data, [fd…]) of one message."""
    data, anc, _, _ = conn.recvmsg(65536, socket.CMSG_LEN(most * 4))
    fds = array.array("i")
    for level, kind, body in anc:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(body[:len(body) - len(body) % 4])
    return data, list(fds)
