"""The runner: a process per test, a few at a time, a time limit for each, one line per result."""
import argparse
import collections
import copy
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

from . import clock, discover, host, images, kernel, leaks, reaper, testing, vm

HERE = os.path.dirname(discover.TESTS)
# Directories that tests and podman make on the way to their own; removed if they were not there.
OWN_CGROUPS = ("/sys/fs/cgroup/bailey-test", "/sys/fs/cgroup/libpod_parent/conmon",
               "/sys/fs/cgroup/libpod_parent")
CHILD = {signal.SIGCHLD}
MAY_SKIP = "SELinux"  # one machine has one of the large security modules


class Outcome:
    def __init__(self, name, status, text="", seconds=0.0, checks=0):
        self.name, self.status, self.text = name, status, text
        self.seconds, self.checks = seconds, checks


# ---------------------------------------------------------------- in the test's process

def _run_unit(case):
    env = dict(os.environ)
    if clock.often(False, True):
        env["BAILEY_TEST_EMULATED"] = "1"
    p = subprocess.run([case.program], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors="replace")
    outcomes, notes, bad = [], [], False
    for line in p.stdout.splitlines():
        m = re.match(r"(ok|not ok) (.*?)(?: # SKIP\s*(.*))?$", line)
        if not m:
            notes.append(line)
            continue
        status = "fail" if m[1] == "not ok" else "skip" if m[3] is not None else "ok"
        bad |= status == "fail"
        outcomes.append({"name": f"{case.name}::{m[2]}", "status": status,
                         "text": m[3] or "" if status == "skip" else "\n".join(notes)})
        notes = []
    if not outcomes or (p.returncode != 0 and not bad):
        outcomes.append({"name": case.name, "status": "fail",
                         "text": "\n".join(notes[-40:] + [f"exit status {p.returncode}"])})
    return outcomes


def _run_python(case, settings, tmp):
    t = testing.Test(case.name, settings.runtime, settings.probe, tmp, settings.is_bailey)
    t.session = settings.tmp
    t.settings = settings
    status, text = "ok", ""
    try:
        case.fn(t, *case.args)
    except testing.Skip as e:
        status, text = "skip", str(e)
    except AssertionError as e:
        tb = traceback.extract_tb(e.__traceback__)
        at = [f for f in tb if "/tests/lib/" not in f.filename] or list(tb)
        status, text = "fail", f"line {at[-1].lineno}: {e}"
    except Exception:  # a broken test is a failed test
        status, text = "fail", traceback.format_exc()
    problems = t.finish(status != "ok")
    if problems:
        if status == "skip":
            text = ""
        text, status = "\n".join([text] * bool(text) + problems), "fail"
    return [{"name": case.name, "status": status, "text": text, "checks": t.checks}]


def _child(case, settings, tmp, out):
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CHILD)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reaper.install()
    log = os.open(os.path.join(settings.tmp, "log." + os.path.basename(tmp)),
                  os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.umask(0o022)
    if case.isolation:
        settings = copy.copy(settings)
        settings.isolation = case.isolation
    if settings.isolation == "vm":
        os.environ["BAILEY_CONFIG"] = settings.vm_config
    elif case.needs_kvm:
        os.environ["BAILEY_CONFIG"] = settings.machine_config
    if case.program:
        os.mkdir(tmp)
        os.chdir(HERE)
        kernel.unshare(kernel.CLONE_NEWNS)  # what a program leaves mounted is gone with it
        outcomes = _run_unit(case)
    else:
        os.mkdir(tmp)
        os.chmod(tmp, 0o755)
        outcomes = _run_python(case, settings, tmp)
    data = json.dumps(outcomes).encode()
    os.write(out, data)


# ---------------------------------------------------------------- in the runner

class Job:
    def __init__(self, case, settings, number):
        self.case, self.settings = case, settings
        self.mark = f"bt{os.getpid()}x{number}z"  # no mark is the beginning of another
        self.tmp = os.path.join(settings.tmp, self.mark)
        # A high number: tests place descriptors of their own at 3 and up.
        low = os.memfd_create("outcome", 0)
        self.out = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 500)
        os.close(low)
        if settings.announce:
            print(f"# start {case.name}")
        self.started = time.monotonic()
        self.limit = (case.timeout or settings.timeout) * settings.slow
        self.timed_out = False
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                _child(case, settings, self.tmp, self.out)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def expired(self):
        return not self.timed_out and time.monotonic() - self.started > self.limit

    def abort(self):
        """Ends the test and all that descends from it: its process is a subreaper, so freeze it
        first, then take everything below."""
        self.timed_out = True
        for p in leaks.descendants(self.pid) + [self.pid]:
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        leaks.remove_cgroups(self.mark)

    def outcomes(self, status):
        seconds = time.monotonic() - self.started
        os.lseek(self.out, 0, 0)
        data = os.read(self.out, 1 << 24)
        os.close(self.out)
        if data and not self.timed_out:
            return [Outcome(seconds=seconds, **o) for o in json.loads(data)]
        log = os.path.join(self.settings.tmp, "log." + self.mark)
        tail = ""
        if os.path.exists(log):
            with open(log, errors="replace") as f:
                tail = f.read()[-3000:]
        why = f"time limit of {self.limit:g} s" if self.timed_out else f"died, status {status:#x}"
        return [Outcome(self.case.name, "fail", f"{why}\n{tail}", seconds)]

    def clean(self):
        for m in sorted(leaks.mounts(self.tmp), reverse=True):
            try:
                kernel.umount(m)
            except OSError:
                pass
        leaks.remove_cgroups(self.mark)
        if not self.settings.keep:
            testing.remove_tree(self.tmp)


class Report:
    def __init__(self, full=False):
        self.all, self.full = [], full

    def add(self, o):
        if o.status == "skip" and self.full and not re.search(MAY_SKIP, o.text):
            o.status, o.text = "fail", f"skipped on a full host: {o.text}"
        self.all.append(o)
        word = {"ok": "ok  ", "fail": "FAIL", "skip": "skip"}[o.status]
        note = f"  # {o.text}" if o.status == "skip" else ""
        print(f"{word} {o.seconds:7.3f}s {o.name}{note}")
        if o.status == "fail":
            print("\n".join("        " + l for l in o.text.rstrip().splitlines()))
        sys.stdout.flush()

    def finish(self, seconds):
        by = {s: [o for o in self.all if o.status == s] for s in ("ok", "fail", "skip")}
        if by["skip"]:
            print("skipped:")
            for o in by["skip"]:
                print(f"    {o.name}: {o.text}")
        if by["fail"]:
            print("failed:")
            for o in by["fail"]:
                print(f"    {o.name}")
        checks = sum(o.checks for o in self.all)
        print(f"{checks} checks by the container tests in {seconds:.1f} s")
        print(f"{len(by['ok'])} passed, {len(by['fail'])} failed, {len(by['skip'])} skipped")
        sys.stdout.flush()
        return 1 if by["fail"] or not self.all else 0


def _loop(cases, settings, report):
    running = {}
    signal.pthread_sigmask(signal.SIG_BLOCK, CHILD)
    try:
        _run_all(_longest_chain_first(cases), running, settings, report)
    finally:
        for job in running.values():
            job.abort()
            os.waitpid(job.pid, 0)
            job.clean()


def _next(queue, running):
    """Unit test programs run one at a time: some have a directory of a fixed name. Tests with
    machines too: where KVM is nested in an emulator, two would starve each other. And those that
    would wait for a store that they share."""
    programs = any(j.case.program for j in running.values())
    machines = any(j.case.machines for j in running.values())
    shared = {j.case.shares for j in running.values()} - {None}
    for i, case in enumerate(queue):
        if not (case.program and programs or case.machines and machines or case.shares in shared):
            return queue.pop(i)
    return None


def _longest_chain_first(cases):
    """Those that run one after the other begin at once, beside all that can run at any time."""
    length = collections.Counter(c.shares for c in cases if c.shares)
    return sorted(cases, key=lambda c: -length[c.shares])


def _put_off(case, outcomes):
    """It failed, and is run once more when all others are done."""
    case.again = True
    for o in outcomes:
        if o.status == "fail":
            print(f"# again: {o.name}\n" + "\n".join("#   " + l for l in o.text.splitlines()))
    sys.stdout.flush()


def _run_all(queue, running, settings, report):
    number, no_kvm = 0, vm.missing()
    while queue or running:
        while queue and len(running) < settings.jobs:
            case = _next(queue, running)
            if case is None:
                break
            if case.bailey_only and not settings.is_bailey:
                report.add(Outcome(case.name, "skip", f"bailey only: {case.bailey_only}"))
                continue
            if case.namespaces_only and (case.isolation or settings.isolation) == "vm":
                report.add(Outcome(case.name, "skip", f"namespaces only: {case.namespaces_only}"))
                continue
            if case.needs_kvm and no_kvm:
                report.add(Outcome(case.name, "skip", no_kvm))
                continue
            number += 1
            job = Job(case, settings, number)
            running[job.pid] = job
        for job in running.values():
            if job.expired():
                job.abort()
        pid, status = os.waitpid(-1, os.WNOHANG) if running else (0, 0)
        if pid == 0:
            signal.sigtimedwait(CHILD, 0.5)  # it is blocked; a limit may have passed meanwhile
            continue
        job = running.pop(pid, None)
        if job:
            outcomes = job.outcomes(status)
            if settings.again and not job.case.again and any(o.status == "fail" for o in outcomes):
                _put_off(job.case, outcomes)
                queue.append(job.case)
                outcomes = []
            for o in outcomes:
                report.add(o)
            job.clean()


def _arguments():
    p = argparse.ArgumentParser(prog="tests/run", description=__doc__)
    p.add_argument("groups", nargs="*", metavar="GROUP", help="of: " + ", ".join(discover.GROUPS))
    p.add_argument("--build", default=os.path.join(HERE, "build"), help="where bailey, probe and "
                   "unit tests were built (default: build)")
    p.add_argument("--runtime", default=os.environ.get("RUNTIME"),
                   help="the runtime under test (default: BUILD/bailey); also a peer")
    p.add_argument("--isolation", choices=("namespace", "vm"), default="namespace",
                   help="the level that containers get (default: namespace); vm needs /dev/kvm; the "
                   "group vm has a selection of the integration tests at that level")
    p.add_argument("--fast", action="store_true", help="without the engines")
    p.add_argument("--filter", action="append", default=[], metavar="REGEX",
                   help="only tests whose name matches one of these")
    p.add_argument("--machines", choices=("none", "only"), help="without the tests that boot "
                   "virtual machines, or those alone (default: all)")
    p.add_argument("--again", action="store_true", help="where nothing keeps its time: what fails "
                   "is run once more at the end, and fails if it fails then; both are told")
    p.add_argument("--except", metavar="FILE", dest="without", help="without the tests that it "
                   "names, one a line")
    p.add_argument("--jobs", type=int, default=2, help="tests at a time (default: 2)")
    p.add_argument("--timeout", type=float, default=60, help="seconds per test (default: 60)")
    p.add_argument("--slow", type=float, default=1, help="multiplies every time limit")
    p.add_argument("--full", action="store_true", help="the machine has everything: a skipped "
                   "test is a failed one, but for SELinux, and the group host is added")
    p.add_argument("--announce", action="store_true", help="a line when a test starts")
    p.add_argument("--keep", action="store_true", help="keep the tests' directories")
    p.add_argument("--list", action="store_true", help="print the names and end")
    a = p.parse_args()
    for g in a.groups:
        if g not in discover.GROUPS:
            p.error(f"no group {g!r} (one of {', '.join(discover.GROUPS)})")
    if not a.groups:
        a.groups = [g for g in discover.GROUPS if not (a.fast and g == "engines")
                    and (a.full or g != "host")]
    return a


def _find_runtime(a):
    a.build = os.path.abspath(a.build)
    a.probe = os.path.join(a.build, "probe")
    a.runtime = a.runtime or os.path.join(a.build, "bailey")
    if "/" not in a.runtime:
        a.runtime = shutil.which(a.runtime) or a.runtime
    a.runtime = os.path.abspath(a.runtime)
    for what in (a.runtime, a.probe, "/bin/busybox"):
        if not os.access(what, os.X_OK):
            sys.exit(f"tests/run: {what} is missing or not executable (make; apt-get install "
                     "busybox-static)")
    v = subprocess.run([a.runtime, "--version"], stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, check=False).stdout
    a.version = v.splitlines()[0] if v else "?"
    a.is_bailey = a.version.startswith("bailey")


def _configuration(a):
    """bailey's configuration files for tests with machines: a.vm_config makes level vm the default,
    so that tests call it as they always do. One vCPU is the least for an emulated host; what the
    caller has in his own file (a kernel, say) stays."""
    own, settings = os.environ.get("BAILEY_CONFIG"), {}
    if own:
        with open(own, encoding="utf-8") as f:
            settings = json.load(f)
    settings["vm"] = {"vcpus": 1, "patience": int(60 * a.slow), **settings.get("vm", {})}
    a.machine_config, a.vm_config = (os.path.join(a.tmp, n) for n in ("machine.json", "vm.json"))
    for path, more in ((a.machine_config, {}), (a.vm_config, {"isolation": "vm"})):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({**settings, **more}, f)
        os.chmod(path, 0o644)


def _named_in(path):
    if not path:
        return []
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def main():
    a = _arguments()
    if a.list:
        for c in discover.all_tests(os.path.abspath(a.build), a.groups):
            print(c.name)
        return 0
    _find_runtime(a)
    clock.slow = a.slow
    host.enter()
    cases = discover.all_tests(a.build, a.groups)
    for c in cases:
        c.needs_kvm |= a.isolation == "vm" and c.group == "integration"
        c.machines |= c.needs_kvm
    known = set(_named_in(a.without))
    cases = [c for c in cases if c.name not in known
             and (not a.filter or any(re.search(f, c.name) for f in a.filter))
             and a.machines in (None, "only" if c.machines else "none")]
    # Engines make names of images from it, in which "-_" is not allowed.
    a.tmp = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"bailey-{os.urandom(5).hex()}")
    os.mkdir(a.tmp)
    os.chmod(a.tmp, 0o755)
    _configuration(a)
    cgroups = [d for d in OWN_CGROUPS if not os.path.isdir(d)]
    os.makedirs(OWN_CGROUPS[0], exist_ok=True)
    print(f"# {a.version}: {a.runtime}; {len(cases)} tests, {a.jobs} at a time")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like control-C: tidily
    report, start = Report(a.full), time.monotonic()
    try:
        host.add_test_user(a.tmp)
        if any("images" in c.name for c in cases):
            images.prepare(a.probe, a.tmp)
        _loop(cases, a, report)
    except KeyboardInterrupt:
        report.add(Outcome("interrupted", "fail", "the rest was not run"))
    finally:
        if not a.keep:
            testing.remove_tree(a.tmp)
        for d in cgroups:
            try:
                os.rmdir(d)
            except OSError:
                pass
    return report.finish(time.monotonic() - start)
