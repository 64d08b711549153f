"""The whole of the tests in two test hosts at a time: one with every test that boots no virtual
machine, and one with those that do, a machine after the other. Where KVM is nested in an emulator,
one processor that emulates one machine is what works; the other tests use the time meanwhile, three
at a time, for they wait as often as they work. Nothing keeps its time there, and a machine in a
machine stands still now and then: so what fails has a second try."""
import ctypes
import os
import re
import selectors
import signal
import subprocess

PR_SET_PDEATHSIG = 1
# Arguments of tests/testbed/run with an emulator, then those of tests/run.
BOOTS = ((["--name", "testbed", "--cpus", "2", "--memory", "4096"],
          ["--machines", "none", "--jobs", "3", "--again"]),
         (["--name", "testbed-machines", "--cpus", "1", "--memory", "3072"],
          ["--machines", "only", "--jobs", "1", "--again"]))
LAST = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")


def _start(argv):
    def prepare():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
                            preexec_fn=prepare)


def _pass_on(running, counts):
    """Prints their lines as they come, but for the last ones, which become counts[boot]."""
    selector = selectors.DefaultSelector()
    for p in running:
        selector.register(p.stdout, selectors.EVENT_READ, p)
    while selector.get_map():
        for key, _ in selector.select():
            # Unbuffered, so that select() knows of all that waits; they write whole lines.
            line = key.fileobj.readline().decode(errors="replace")
            last = LAST.match(line)
            if last:
                counts[key.data] = [int(n) for n in last.groups()]
            elif line:
                print(line, end="", flush=True)
            else:
                selector.unregister(key.fileobj)


def run(program, common, tests):
    """program: tests/testbed/run; common: arguments of every boot; tests: of every tests/run.
    Returns the exit status, after the line with the sum; an exception (a signal's) ends the boots,
    whose results so far are told all the same."""
    running, counts = [], {}
    try:
        for own, which in BOOTS:
            running.append(_start([program, *common, *own, "--tests", "--", *which, *tests]))
        _pass_on(running, counts)
    finally:
        for p in running:
            p.terminate()  # nothing, for one that has ended
        _pass_on(running, counts)
        status = [p.wait() for p in running]
        # One that died without its last line is a failure.
        total = [sum(n) for n in zip(*(counts.get(p, [0, 1, 0]) for p in running))]
        print("{} passed, {} failed, {} skipped".format(*total), flush=True)
    return max(status)
