"""The test's process is a subreaper, as conmon and containerd's shim are: it must collect what it
adopts, because a PID namespace does not end while a zombie of it is left. Children that a test
started itself (subprocess) stay theirs to wait for."""
import os
import signal
import subprocess
import time

from . import clock, kernel

_own = set()
_spawning = 0
reaped = {}  # pid -> wait status of adopted processes


class _Popen(subprocess.Popen):
    """Registers its child before the reaper can see it."""

    def __init__(self, *args, **kw):
        global _spawning
        _spawning += 1
        try:
            super().__init__(*args, **kw)
            _own.add(self.pid)
        finally:
            _spawning -= 1
        collect()


def collect(*_):
    """Reaps dead children that were adopted."""
    if _spawning:
        return
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as f:
            children = [int(c) for c in f.read().split()]
    except OSError:
        return
    for pid in children:
        if pid in _own or kernel.process_state(pid) != "Z":
            continue
        try:
            got, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if got:
            reaped[got] = status


def install():
    kernel.set_subreaper()
    subprocess.Popen = _Popen
    signal.signal(signal.SIGCHLD, collect)


def wait(pid, timeout=10):
    """Exit code of an adopted process: the code, or minus the signal."""
    end = time.monotonic() + clock.limit(timeout)
    while pid not in reaped:
        collect()
        if time.monotonic() > end:
            raise AssertionError(f"process {pid} did not become this process's zombie")
        time.sleep(0.003)
    return os.waitstatus_to_exitcode(reaped[pid])
