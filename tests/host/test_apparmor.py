"""process.apparmorProfile and exec --apparmor, where the machine has AppArmor."""
from lib.apparmor import enabled, load_profile
from lib.container import must
from lib.testing import bailey_only


def test_profile(t):
    name = load_profile(t)
    c = t.container()
    c.bundle.put("secret", "x\n")
    c.config.process["apparmorProfile"] = name
    r = c.sh("cat /proc/self/attr/apparmor/current; cat /secret")
    t.eq(r.out, f"{name} (enforce)\n")
    t.has(r.err.lower(), "permission denied")


def test_exec(t):
    name = load_profile(t)
    c = t.container()
    c.bundle.put("secret", "x\n")
    c.config.process["apparmorProfile"] = name
    c.config.args("/probe", "sleep")
    c.up()
    own = ("/bin/cat", "/proc/self/attr/apparmor/current")
    t.eq(must(c.exec(*own)).out, f"{name} (enforce)\n", "exec has init's profile")
    t.ne(c.exec("/bin/cat", "/secret").code, 0)


@bailey_only("runc's exec keeps the container's profile when the option is refused")
def test_exec_with_a_profile(t):
    name = load_profile(t)
    c = t.container("/probe", "sleep")
    c.bundle.put("secret", "x\n")
    c.up()
    t.eq(must(c.exec("/bin/cat", "/secret")).out, "x\n")
    own = ("/bin/cat", "/proc/self/attr/apparmor/current")
    t.eq(must(c.exec(*own)).out, "unconfined\n")
    t.eq(must(c.exec(*own, opts=["--apparmor", name])).out, f"{name} (enforce)\n")
    t.ne(c.exec("/bin/cat", "/secret", opts=["--apparmor", name]).code, 0)


def test_unknown_profile(t):
    load_profile(t)
    c = t.container("/bin/true")
    c.config.process["apparmorProfile"] = "no-such-profile"
    t.fails(c.run(), "apparmor", code=1, bailey="no-such-profile")


def test_unconfined(t):
    t.need(enabled(), "AppArmor is not enabled on this machine")
    c = t.container()
    c.config.process["apparmorProfile"] = "unconfined"
    t.eq(c.sh("cat /proc/self/attr/apparmor/current").out, "unconfined\n")
