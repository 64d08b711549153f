"""Names in the image that lead through the runtime's own descriptors: as program, interpreter and
hook (CVE-2024-21626, the variants after the working directory)."""
import os
import shutil

from lib.container import must
from lib.testing import cases

N = range(3, 24)


def _host_program(t):
    """A program that only the host has, beside the bundle: ends with the code it is told."""
    p = os.path.join(t.tmp, "hostprog")
    shutil.copyfile(t.probe_path, p)
    os.chmod(p, 0o755)
    return p


def _names(host):
    """Paths through descriptor n to a program of the host's."""
    for n in N:
        for up in ("/..", "/../..", "/../../..", "/../../../..", "/../../../../..", ""):
            yield f"/proc/self/fd/{n}{up}{host}"


def _link(path, target):
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


@cases(link=("link",), script=("script",))
def test_program_through_a_descriptor(t, how):
    c = t.container("/probe", "sleep")
    c.up()
    host = _host_program(t)
    for name in _names(host):
        if how == "link":
            _link(c.bundle.at("bin/evil"), name)
            r = c.exec("/bin/evil", "exit", "77")
        else:
            c.bundle.put("bin/evil", f"#!{name} exit\n", 0o755)
            r = c.exec("/bin/evil")
        t.true(r.code in (126, 127), f"{name}: {r}")


def test_entry_point_through_a_descriptor(t):
    """The image's own choice of program, by create and start."""
    host = _host_program(t)
    for n in N:
        c = t.container("/bin/evil", "exit", "77")
        _link(c.bundle.at("bin/evil"), f"/proc/self/fd/{n}/../../../../../..{host}")
        r = c.run()
        t.true(r.code in (126, 127), f"{n}: {r}")
        must(c.delete("--force"))


def test_hook_through_a_descriptor(t):
    """startContainer hooks are found in the image."""
    host = _host_program(t)
    for n in N:
        c = t.container("/bin/true")
        c.config.hook("startContainer", "/bin/evil", "exit", "0")
        _link(c.bundle.at("bin/evil"), f"/proc/self/fd/{n}/../../../../../..{host}")
        t.ne(c.run().code, 0, f"{n}: the host's program ran as a hook")
        must(c.delete("--force"))


def test_hooks_get_no_preserved_descriptor(t):
    """--preserve-fds is for the payload."""
    r, w = os.pipe()
    t.later(os.close, r)
    t.later(os.close, w)
    os.dup2(w, 3)
    os.set_inheritable(3, True)
    t.later(os.close, 3)
    out = t.file("fds", "", 0o666)
    c = t.container("/bin/true")
    for kind in ("createRuntime", "createContainer"):
        c.config.hook(kind, "/bin/sh", "-c", f"ls /proc/$$/fd >> {out}")
    must(c.run("--preserve-fds", "1", close_fds=False))
    with open(out) as f:
        seen = set(f.read().split())
    t.lacks(seen, "3", "descriptors of hooks")
