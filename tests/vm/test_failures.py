"""Machines that fail: each with an error within the time that it may take, the guest's last words,
and nothing left."""
import os
import signal
import subprocess
import time

from lib import leaks, reaper, vm
from lib.clock import limit
from lib.container import kill_pid, must, wait_gone
from lib.testing import bailey_only, timeout

MACHINE = bailey_only("isolation level vm")


def _with_kernel(t, path, **vm_settings):
    """A container whose machine runs that kernel, by configuration file."""
    c = t.container("/bin/true")
    return c, vm.configuration(t, vm={"kernel": path, **vm_settings})


def _fails_soon(t, c, env, *texts, seconds=20):
    for verb in (c.create, c.run):
        start = time.monotonic()
        t.fails(verb("--isolation=vm", env=env, timeout=60), *texts, code=1)
        t.true(time.monotonic() - start < limit(seconds), f"within {seconds} s")
    t.fails(c.verb("state", c.id), "does not exist", code=1)


@MACHINE
def test_no_kernel(t):
    c, env = _with_kernel(t, "/no/such/vmlinuz")
    _fails_soon(t, c, env, "/no/such/vmlinuz", "no such file")


@MACHINE
@timeout(120)
def test_silent(t):
    """A kernel that says nothing: given up after the time that the configuration grants."""
    c, env = _with_kernel(t, vm.toy_kernel(t, vm.SILENT), patience=1)
    _fails_soon(t, c, env, "silent for 1 seconds", "agent has not spoken")


@MACHINE
@timeout(120)
def test_crash(t):
    """A triple fault."""
    c, env = _with_kernel(t, vm.toy_kernel(t, vm.CRASH))
    _fails_soon(t, c, env, "the machine has ended")


@MACHINE
@timeout(120)
def test_panic(t):
    """What the kernel has said is in the error."""
    c = t.container("/bin/true")
    env = vm.configuration(t, vm={"parameters": ["rdinit=/none", "init=/none", "root=/dev/none"]})
    r = t.fails(c.create("--isolation=vm", env=env, timeout=60), "the machine has ended",
                "the guest's kernel:", "Kernel panic", code=1)
    t.lacks(r.err, "\n\n")
    t.fails(c.verb("state", c.id), "does not exist", code=1)


@MACHINE
@timeout(120)
def test_memory_too_small_for_the_kernel(t):
    """The least that bailey lets through boots; less is refused with the number (test_choice)."""
    c = t.container("/bin/echo", "up")
    env = vm.configuration(t, vm={"memory": 128 << 20})
    t.eq(must(c.run("--isolation=vm", env=env, timeout=60)).out, "up\n")
    env = vm.configuration(t, vm={"memory": 64 << 20})
    t.fails(c.run("--isolation=vm", env=env), "bailey.json", "67108864", "at least 134217728",
            code=1)


@MACHINE
@timeout(120)
def test_errors_of_the_container_keep_their_codes(t):
    """The machine is there, the program is not: the words and codes of the other level."""
    c = t.container("/no/such")
    t.fails(c.create("--isolation=vm", timeout=60), "/no/such", "no such file", code=127)
    t.fails(c.verb("state", c.id), "does not exist", code=1)
    c.config.args("/etc/passwd")
    t.fails(c.run("--isolation=vm", timeout=60), "permission denied", code=126)
    c.config.args("/bin/true")
    c.config.mount("/m", "nosuchfs", "x")
    t.fails(c.create("--isolation=vm", timeout=60), "mounts[", "nosuchfs", code=1)


@MACHINE
@timeout(120)
def test_killed_before_start(t):
    """The monitor of a created container: stopped, start says so, delete leaves nothing."""
    c = t.container("/bin/true")
    must(c.create("--isolation=vm", timeout=60))
    pid = c.pid()
    kill_pid(pid, signal.SIGKILL)
    wait_gone(pid)
    t.eq(reaper.wait(pid), -signal.SIGKILL)
    t.eq(c.status(), "stopped")
    t.fails(c.start(), code=1, bailey="stopped")
    must(c.delete())


@MACHINE
@timeout(120)
def test_killed_while_it_boots(t):
    """The runtime's create says that the machine is gone, and nothing is left."""
    env = vm.configuration(t, vm={"kernel": vm.toy_kernel(t, vm.SILENT), "patience": 60})
    c = t.container("/bin/true")
    c.bundle.write_config()
    c.made = True
    f = os.path.join(t.tmp, "err")
    with open(f, "w") as err:
        p = c.runtime.spawn("create", "--isolation=vm", "--bundle", c.bundle.path, c.id, env=env,
                            stderr=err)
        monitor = _child_with_threads(p.pid)
        os.kill(monitor, signal.SIGKILL)
        t.eq(p.wait(limit(15)), 1)
    t.ne(open(f).read(), "", "a reason")
    t.fails(c.verb("state", c.id), "does not exist", code=1)


@MACHINE
@timeout(180)
def test_runtime_killed_during_create(t):
    """At moments from the first steps to the end: `delete --force` finds all that there is, taps in a
    network namespace that stays among it."""
    ns = t.mark
    must_run("ip", "netns", "add", ns)
    t.later(must_run, "ip", "netns", "del", ns)
    must_run("ip", "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "far")
    must_run("ip", "-n", ns, "link", "set", "eth0", "up")
    c = t.container("/probe", "sleep")
    c.config["root"]["readonly"] = True  # with the process that seals it
    c.config.namespace("network", f"/run/netns/{ns}")
    c.bundle.write_config()
    start = time.monotonic()
    must(c.create("--isolation=vm", timeout=60))
    whole = time.monotonic() - start
    must(c.delete("--force"))
    for part in (0.02, 0.05, 0.08, 0.12, 0.2, 0.4, 0.7, 0.9, 0.97, 1.0, 1.03):
        p = c.runtime.spawn("create", "--isolation=vm", "--bundle", c.bundle.path, c.id,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
        time.sleep(whole * part)
        p.kill()
        p.wait()
        must(c.delete("--force"))
        t.eq(t._left_behind(), [], f"killed after {part} of {whole:.1f} s")
        t.true("vm-" not in must_run("ip", "-n", ns, "link"), "no tap is left")
    must(c.create("--isolation=vm", timeout=60))
    must(c.delete("--force"))


def must_run(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def _child_with_threads(pid, seconds=20):
    """The monitor, once its vCPUs run: a descendant with several threads."""
    end = time.monotonic() + limit(seconds)
    while time.monotonic() < end:
        for p in leaks.descendants(pid):
            try:
                if len(os.listdir(f"/proc/{p}/task")) >= 3:
                    return p
            except OSError:
                pass
        time.sleep(0.02)
    raise AssertionError("no monitor")
