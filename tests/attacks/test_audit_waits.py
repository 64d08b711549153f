"""Nobody waits for ever: for an init that does not answer, a stopped reader, a flooding terminal."""
import os
import select
import signal
import subprocess
import termios
import time

from lib.container import must, wait_for
from lib.terminal import open_pty
from lib.testing import cases, timeout


def test_state_of_a_paused_created_container(t):
    """Each `state` knocks at init, which is frozen and lets nobody in."""
    c = t.container("/bin/true")
    must(c.create())
    must(c.verb("pause", c.id))
    for _ in range(40):
        t.eq(must(c.verb("state", c.id, timeout=5)).json()["status"], "paused")
    must(c.verb("resume", c.id))
    must(c.start())
    c.wait_status("stopped")


def test_state_during_a_long_hook(t):
    """Init is busy with a hook and lets nobody in."""
    c = t.container("/bin/true")
    c.config.hook("startContainer", "/bin/sleep", "2")
    must(c.create())
    p = t.runtime.spawn("start", c.id, stdin=subprocess.DEVNULL)
    for _ in range(40):
        must(c.verb("state", c.id, timeout=1))
    t.eq(p.wait(10), 0, "start")


def _exec_in_terminal(c, *argv):
    m, s = open_pty()
    p = subprocess.Popen(c.runtime.argv("exec", "-t", c.id, *argv), stdin=s, stdout=s, stderr=s,
                         start_new_session=True)
    os.close(s)
    return m, p


@timeout(30)
def test_flood_of_a_background_process(t):
    """exec -t ends when its process does, though another goes on writing to the terminal."""
    c = t.container("/probe", "sleep")
    c.up()
    m, p = _exec_in_terminal(c, "/bin/sh", "-c", "trap '' HUP; yes & sleep 0.2; exit 7")
    end = time.monotonic() + 10
    while p.poll() is None and time.monotonic() < end:
        if select.select([m.fd], [], [], 0.1)[0]:
            try:
                os.read(m.fd, 1 << 16)
            except OSError:
                break
    alive = p.poll() is None and time.monotonic() >= end
    if alive:
        p.kill()
    t.true(not alive, "exec never ends")
    t.eq(p.wait(5), 7)


def test_continued_terminal_is_raw_again(t):
    """A shell takes the terminal back while the runtime is stopped, and sets it to its own mode."""
    c = t.container("/probe", "sleep")
    c.up()
    m, s = open_pty()
    p = subprocess.Popen(c.runtime.argv("exec", "-t", c.id, "/bin/sh", "-c", "echo up; read x"),
                         stdin=s, stdout=s, stderr=s, start_new_session=True)
    m.read_until("up")
    raw, cooked = termios.tcgetattr(s), termios.tcgetattr(s)
    cooked[3] |= termios.ECHO | termios.ICANON
    p.send_signal(signal.SIGSTOP)
    termios.tcsetattr(s, termios.TCSANOW, cooked)
    p.send_signal(signal.SIGCONT)
    wait_for("raw mode", lambda: termios.tcgetattr(s) == raw)
    m.write("\n")
    t.eq(p.wait(10), 0)
    os.close(s)
    m.close()


@cases(**{f"{n}{'_userns' if u else ''}": (n, u) for n in (3, 8, 20) for u in (False, True)})
def test_few_descriptors(t, limit, userns):
    """The payload's limit is not the runtime's: init lives until start, and exec works."""
    c = t.container("/bin/sh", "-c", "ulimit -Hn; ulimit -Sn")
    if userns:
        c.config.userns()
        c.bundle.chown(100000, 100000)
    c.config.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": limit, "soft": limit}]
    t.need(t.is_bailey or not userns, "peers fail")
    t.eq(must(c.run()).out.split(), [str(limit)] * 2)
    c.config.args("/probe", "sleep")
    must(c.create())
    for _ in range(3):
        t.eq(c.status(), "created")
    must(c.start())
    t.eq(c.status(), "running")
    t.eq(must(c.exec("/bin/sh", "-c", "ulimit -Hn")).out.strip(), str(limit))
