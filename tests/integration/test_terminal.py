"""Terminals: console socket, foreground, size, controlling terminal, exec -t."""
import fcntl
import json
import os
import subprocess
import termios
import time

from lib import reaper
from lib.container import must
from lib.terminal import open_pty
from lib.testing import bailey_only, cases


def _terminal(t, *argv, size=None):
    c = t.container(*argv)
    c.config.process["terminal"] = True
    if size:
        c.config.process["consoleSize"] = {"width": size[0], "height": size[1]}
    return c


def _detached(t, c):
    s = t.console_socket()
    must(c.create("--console-socket", s.path))
    master = s.receive()
    t.later(master.close)
    return master


def test_console_socket(t):
    c = _terminal(t, "/bin/sh", "-c", "tty; stty size; read x; echo got-$x", size=(101, 41))
    m = _detached(t, c)
    must(c.start())
    t.has(m.read_until("41 101"), "/dev/")
    m.write("hello\n")
    m.read_until("got-hello")
    c.wait_status("stopped")


def test_facts(t):
    c = _terminal(t, "/probe", size=(90, 30))
    m = _detached(t, c)
    must(c.start())
    r = json.loads(m.read_all())
    t.eq(r["tty"], [True] * 3)
    t.eq(r["winsize"], [90, 30])
    if t.is_bailey:  # runc leaves it to who holds the master
        t.eq(r["onlcr"], False, "ONLCR")
    t.eq((r["sid"], r["tty_sid"], r["tty_pgrp"]), (1, 1, 1), "controlling terminal")
    t.eq(sorted(r["fds"]), ["0", "1", "2"])
    t.eq({r["fds"][k] for k in "012"} <= {"/dev/pts/0", "/dev/console"}, True, r["fds"])


def test_dev_console(t):
    """/dev/console is the terminal, of the container's devpts."""
    c = _terminal(t, "/probe", "console")
    m = _detached(t, c)
    must(c.start())
    r = json.loads(m.read_all())
    t.eq(r["console"]["rdev"], r["stdin"]["rdev"])
    t.eq(r["console"]["major"], 136)
    t.eq((r["stdin"]["uid"], r["stdin"]["gid"]), (0, 5))


def test_owned_by_the_user(t):
    """The user may reopen the terminal."""
    c = _terminal(t, "/bin/sh", "-c", "echo re-opened > /dev/stdout; id -u")
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    m = _detached(t, c)
    must(c.start())
    t.eq(m.read_all().split(), ["re-opened", "1000"])


def test_resize(t):
    c = _terminal(t, "/probe", "winch", "2", size=(80, 24))
    m = _detached(t, c)
    must(c.start())
    m.read_until("80x24")
    m.resize(120, 50)
    m.read_until("120x50")
    m.resize(10, 5)
    m.read_until("10x5")


def test_hangup(t):
    """The last master closed: the session leader gets SIGHUP."""
    c = _terminal(t, "/bin/sh", "-c", "trap 'exit 5' HUP; echo up; while :; do sleep 0.02; done")
    m = _detached(t, c)
    pid = c.pid()
    must(c.start())
    m.read_until("up")
    m.close()
    t.eq(reaper.wait(pid), 5)


def test_no_console_socket(t):
    c = _terminal(t, "/bin/true")
    t.fails(c.create(), code=1, bailey="console-socket")


def test_console_socket_without_terminal(t):
    c = t.container("/bin/true")
    s = t.console_socket()
    t.fails(c.create("--console-socket", s.path), code=1, bailey="terminal")


@cases(missing="nosuch", file="plain")
def test_bad_console_socket(t, name):
    c = _terminal(t, "/bin/true")
    t.file("plain")
    t.fails(c.create("--console-socket", os.path.join(t.tmp, name)), code=1, bailey=name)


def _foreground(c, *args, columns=77, rows=22, **kw):
    m, s = open_pty(columns, rows)
    c.bundle.write_config()
    c.made = True
    p = subprocess.Popen(c.runtime.argv(*args), stdin=s, stdout=s, stderr=s,
                         start_new_session=True, **kw)
    os.close(s)
    return m, p


def test_foreground(t):
    c = _terminal(t, "/bin/sh", "-c", "stty size; read x; echo got-$x; exit 8")
    m, p = _foreground(c, "run", "-b", c.bundle.path, c.id)
    m.read_until("22 77")
    m.write("typed\n")
    m.read_until("got-typed")
    t.eq(p.wait(10), 8)
    m.close()


def test_foreground_resize(t):
    c = _terminal(t, "/probe", "winch", "9")
    m, p = _foreground(c, "run", "-b", c.bundle.path, c.id)
    m.read_until("77x22")
    time.sleep(0.1)
    m.resize(55, 11)
    os.kill(p.pid, 28)  # the pty is not the runtime's controlling terminal here
    m.read_until("55x11")
    must(c.kill())
    t.eq(p.wait(10), 137)
    m.close()


def test_foreground_control_c(t):
    """Raw mode: the key goes through to the container's terminal."""
    c = _terminal(t, "/bin/sh", "-c", "trap 'echo interrupted; exit 6' INT; echo up; "
                  "while :; do sleep 0.05; done")
    m, p = _foreground(c, "run", "-b", c.bundle.path, c.id)
    m.read_until("up")
    m.write("\x03")
    m.read_until("interrupted")
    t.eq(p.wait(10), 6)
    m.close()


def test_foreground_restores_the_terminal(t):
    c = _terminal(t, "/bin/true")
    m, s = open_pty()
    before = termios.tcgetattr(s)
    c.bundle.write_config()
    p = subprocess.Popen(c.runtime.argv("run", "-b", c.bundle.path, c.id), stdin=s, stdout=s,
                         stderr=s, start_new_session=True)
    t.eq(p.wait(10), 0)
    t.eq(termios.tcgetattr(s), before, "terminal settings")
    os.close(s)
    m.close()


def test_foreground_much_output(t):
    c = _terminal(t, "/bin/sh", "-c", "seq 1 20000")
    m, p = _foreground(c, "run", "-b", c.bundle.path, c.id)
    out = m.read_all(20).split()
    t.eq((len(out), out[-1]), (20000, "20000"), "nothing is lost")
    t.eq(p.wait(10), 0)


def test_exec_terminal(t):
    c = t.container()
    c.sleeping()
    m, p = _foreground(c, "exec", "-t", c.id, "/bin/sh", "-c", "tty; stty size; read x; exit $x")
    m.read_until("/dev/pts/")
    if t.is_bailey:  # runc sets the size some time after the start
        m.read_until("22 77")
    m.write("9\n")
    t.eq(p.wait(10), 9)
    m.close()


def test_exec_console_socket(t):
    c = t.container()
    c.sleeping()
    s = t.console_socket()
    must(c.exec("/bin/sh", "-c", "tty; read x; echo got-$x",
                opts=["-t", "-d", "--console-socket", s.path]))
    m = s.receive()
    m.read_until("/dev/pts/0")
    m.write("it\n")
    m.read_until("got-it")
    m.close()


def test_exec_own_terminal_per_process(t):
    c = _terminal(t, "/probe", "sleep")
    m0 = _detached(t, c)
    must(c.start())
    s = t.console_socket()
    must(c.exec("/bin/tty", opts=["-t", "-d", "--console-socket", s.path]))
    m = s.receive()
    t.eq(m.read_all().strip(), "/dev/pts/1")
    t.true(m0.fd >= 0, "the first is open")


@bailey_only("the peers fail or hang")
def test_stdin_is_no_terminal(t):
    """A terminal for the container while the caller's stdin is a pipe: through /dev/tty."""
    c = _terminal(t, "/bin/sh", "-c", "tty; stty size")
    m, s = open_pty(66, 11)
    c.bundle.write_config()
    c.made = True

    def own():
        os.setsid()
        fcntl.ioctl(s, termios.TIOCSCTTY, 0)
    p = subprocess.Popen(c.runtime.argv("run", "-b", c.bundle.path, c.id),
                         stdin=subprocess.DEVNULL, stdout=s, stderr=s, preexec_fn=own)
    os.close(s)
    m.read_until("11 66", 15)
    t.eq(p.wait(10), 0)
    m.close()


def test_output_before_the_end_arrives(t):
    c = _terminal(t, "/bin/echo", "last words")
    for _ in range(5):
        m = _detached(t, c)
        must(c.start())
        t.has(m.read_all(), "last words")
        must(c.delete("--force"))
