"""Capability sets x {root, ordinary user, user namespace} x {run, exec}."""
import json
import os
import shutil
import subprocess

from lib import kernel
from lib.container import must
from lib.testing import bailey_only, cases

SETS = ("effective", "permitted", "inheritable", "bounding", "ambient")
A = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_SETGID"]
LOW = sorted(c.lower() for c in A)


def _reports(t, user=None, userns=False, nnp=True, **sets):
    """What init and an exec'd process have."""
    c = t.container()
    if userns:
        c.config.userns()
        c.bundle.chown(100000, 100000)
    c.config.caps(**sets)
    c.config.process["noNewPrivileges"] = nnp
    if user:
        c.config.process["user"] = {"uid": user, "gid": user}
    first = c.report()["caps"]
    c.config.args("/probe", "sleep")
    c.up()
    return first, c.exec_report()["caps"]


@cases(root=(None, False), userns_root=(None, True))
def test_root(t, user, userns):
    for caps in _reports(t, user, userns, bounding=A, effective=A, permitted=A):
        t.eq(sorted(caps["bounding"]), LOW, "bounding")
        t.eq(sorted(caps["effective"]), LOW, "effective")
        t.eq(sorted(caps["permitted"]), LOW, "permitted")
        t.eq(caps["inheritable"], [], "inheritable")
        t.eq(caps["ambient"], [], "ambient")


@cases(host=False, userns=True)
def test_ordinary_user(t, userns):
    """Without ambient ones execve leaves a user nothing but the bounding set."""
    for caps in _reports(t, 1000, userns, bounding=A, effective=A, permitted=A):
        t.eq(sorted(caps["bounding"]), LOW)
        for k in ("effective", "permitted", "inheritable", "ambient"):
            t.eq(caps[k], [], k)


@cases(host=False, userns=True)
def test_ambient_user(t, userns):
    amb = ["CAP_NET_RAW"]
    for caps in _reports(t, 1000, userns, bounding=A, effective=A, permitted=A, inheritable=amb,
                         ambient=amb):
        for k in ("effective", "permitted", "inheritable", "ambient"):
            t.eq(caps[k], ["cap_net_raw"], k)
        t.eq(sorted(caps["bounding"]), LOW)


@cases(root=None, user=1000)
def test_none(t, user):
    for caps in _reports(t, user, bounding=[], effective=[], permitted=[]):
        for k in SETS:
            t.eq(caps[k], [], k)


def test_absent_object(t):
    c = t.container()
    del c.config.process["capabilities"]
    caps = c.report()["caps"]
    for k in ("effective", "permitted", "inheritable", "ambient"):
        t.eq(caps[k], [], k)


def test_bounding_is_the_limit(t):
    """A set-id program gets no more than the bounding set."""
    c = t.container("/suid")
    shutil.copy(t.probe_path, c.bundle.at("suid"))
    os.chmod(c.bundle.at("suid"), 0o4755)
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    c.config.process["noNewPrivileges"] = False
    c.config.caps(bounding=["CAP_KILL"])
    r = c.report()
    t.eq(r["uid"], [1000, 0, 0])
    t.eq(r["caps"]["permitted"], ["cap_kill"])
    c.config.process["noNewPrivileges"] = True
    r = c.report()
    t.eq(r["uid"], [1000] * 3, "no_new_privs")
    t.eq(r["caps"]["permitted"], [])


def test_effect(t):
    """The kernel agrees: chown needs CAP_CHOWN."""
    c = t.container()
    c.config.caps(bounding=["CAP_CHOWN"], effective=["CAP_CHOWN"], permitted=["CAP_CHOWN"])
    t.exited(c.probe("chown", "/tmp", 1, 1))
    c.config.caps()
    t.exited(c.probe("chown", "/tmp", 2, 2), "EPERM")


def _own_names(t):
    out = subprocess.run([t.probe_path], capture_output=True, check=True).stdout
    return [n.upper() for n in json.loads(out)["caps"]["effective"]]


def test_all(t):
    """Everything that the machine has."""
    names = _own_names(t)
    c = t.container()
    c.config.caps(bounding=names, effective=names, permitted=names)
    t.eq(len(c.report()["caps"]["effective"]), bin(kernel.effective_caps()).count("1"))


@bailey_only("runc warns and goes on")
@cases(unknown="CAP_NO_SUCH", number="12", empty="")
def test_unknown_name(t, name):
    c = t.container()
    c.config.caps(bounding=[name], effective=[name], permitted=[name])
    r = c.run()
    t.true(r.code != 0 or name in r.err, f"not silent: {r}")


@bailey_only("runc leaves it to the kernel")
def test_ambient_beyond_permitted(t):
    """Left out, and said so."""
    c = t.container()
    c.config.caps(bounding=A, permitted=["CAP_CHOWN"], effective=["CAP_CHOWN"],
                  inheritable=["CAP_NET_RAW"], ambient=["CAP_NET_RAW"])
    r = must(c.run())
    t.has(r.err, "CAP_NET_RAW")
    t.eq(r.json()["caps"]["ambient"], [])


def test_securebits_and_keyring(t):
    r = t.container().report()
    t.eq(r["securebits"], 0)
    t.has(r["session_keyring"] or "", "keyring")
