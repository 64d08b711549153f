"""run --network at level vm: the namespace is made as for any container, and the guest has what is in it."""
import os
import shutil
import subprocess

from lib.container import must, wait_for
from lib.net import Net, addresses, bridges_call, claims, elements, links, ping, say, sh, wait
from lib.testing import bailey_only, cases, timeout

OURS = bailey_only("run --network, isolation level vm")
BOOT = 60


def machine(n, *opts, argv=("/probe", "answer", "8000")):
    c = n.t.container()
    c.config.args(*argv)
    c.config.caps(**{k: ["CAP_NET_RAW", "CAP_KILL"] for k in ("bounding", "effective", "permitted")})
    must(c.run("--detach", "--isolation=vm", *opts, timeout=BOOT))
    return c


def inside(c, *argv):
    return must(c.exec(*argv)).out.replace("::ffff:", "")


def talk(t, c, n, own4, own6):
    """From the machine to the host, to the outside and back in by its ports: TCP, UDP, both families."""
    for kind in ("tcp", "udp"):
        wait(lambda: say(None, kind, own4, 8000, 5).endswith(" hello"), f"{kind} from the host", 20)
        t.true(say(None, kind, own6, 8000).endswith(" hello"), f"{kind} from the host, IPv6")
        t.eq(inside(c, "/probe", "say", kind, "192.0.2.2", "80"), "192.0.2.1 hello", f"{kind} to the outside")
        t.eq(inside(c, "/probe", "say", kind, "2001:db8::2", "80"), "2001:db8::1 hello", f"{kind} outside, IPv6")
        t.eq(say(n.outside, kind, "192.0.2.1", 8080), "192.0.2.2 hello", f"{kind} published, from outside")
        t.eq(say(n.outside, kind, "2001:db8::1", 8080), "2001:db8::2 hello", f"{kind} published, IPv6")
        for host in ("127.0.0.1", "::1", "192.0.2.1"):
            t.true(say(None, kind, host, 8080).endswith(" hello"), f"{kind} published, from the host by {host}")
        t.true(inside(c, "/probe", "say", kind, "192.0.2.1", "8080").endswith(" hello"), f"{kind} to its own port")
    for host in (own4, own6):
        t.true(ping(None, host), f"ping {host}")
    for opts in (("192.0.2.2",), ("-6", "2001:db8::2")):
        t.has(inside(c, "/bin/busybox", "ping", "-c", "1", "-W", "10", *opts), "1 packets received")


@OURS
@timeout(180)
def test_bridge(t):
    """Addresses, names, traffic of all kinds; a container at level namespace as neighbour; what changes later."""
    n = Net(t, outside=True)
    bridges_call(0)
    n.echo(n.outside, 80)
    c = machine(n, "--network", "bridge", "-p", "8080:8000", "-p", "8080:8000/udp", "--dns", "192.0.2.53",
                "--hostname", "web", "--mac", "02:00:5e:10:00:01")
    pid = c.pid()
    own4, own6 = addresses(pid)
    seen = inside(c, "/bin/busybox", "ip", "addr", "show", "eth0")
    for text in (f"{own4}/20", f"{own6}/64", "02:00:5e:10:00:01", "UP"):
        t.has(seen, text)
    t.has(inside(c, "/bin/busybox", "cat", "/etc/resolv.conf", "/etc/hosts"), "192.0.2.53", f"{own4}\tweb")
    t.eq(inside(c, "/bin/busybox", "hostname"), "web\n")
    talk(t, c, n, own4, own6)
    b = n.container("--isolation=namespace", "--network", "bridge")
    t.eq(say(b.pid(), "tcp", own4, 8000), f"{addresses(b.pid())[0]} hello", "from a neighbour")
    n.echo(b.pid(), 81)
    t.eq(inside(c, "/probe", "say", "tcp", addresses(b.pid())[0], "81"), f"{own4} hello", "to a neighbour")
    follows(c, pid, own4)
    must(c.delete("--force"))
    must(b.delete("--force"))
    t.eq((claims(), elements()), ([], 0))
    wait(lambda: links() == ["bailey0", "lo", "up0"], "end of the links")


def follows(c, pid, own4):
    """Link, address and route: as they change in the namespace, they change in the guest."""
    def ip(*argv):
        return c.exec("/bin/busybox", "ip", *argv).out

    def is_up():
        return int(inside(c, "/bin/cat", "/sys/class/net/eth0/flags"), 16) & 1 == 1
    sh("ip addr add 10.99.0.1/24 dev eth0; ip route add 198.51.100.0/24 via 10.99.0.9;"
       "ip -6 addr add fd99::1/64 dev eth0 nodad; ip -6 route add fd98::/64 via fd99::9", pid)
    wait_for("the addresses", lambda: "10.99.0.1/24" in ip("addr") and "fd99::1/64" in ip("addr"), 20)
    wait_for("the route", lambda: "198.51.100.0/24 via 10.99.0.9" in ip("route"), 20)
    wait_for("the route of IPv6", lambda: "fd98::/64 via fd99::9" in ip("-6", "route"), 20)
    sh("ip link set eth0 mtu 1300", pid)
    wait_for("the MTU", lambda: "mtu 1300" in ip("link", "show", "eth0"), 20)
    sh("ip route del 198.51.100.0/24; ip addr del 10.99.0.1/24 dev eth0", pid)
    wait_for("their end", lambda: "10.99.0.1" not in ip("addr") and "198.51.100" not in ip("route"), 20)
    sh("ip link set eth0 down", pid)
    wait_for("the link's end", lambda: not is_up(), 20)
    sh("ip link set eth0 up", pid)
    wait_for("the link", is_up, 20)
    wait(lambda: say(None, "tcp", own4, 8000, 5).endswith(" hello"), "traffic again", 30)


@OURS
@timeout(180)
def test_ptp_and_named(t):
    """A cable of its own, whose gateway is on the link; and a network's file, MTU and fixed address."""
    n = Net(t, outside=True)
    bridges_call(0)
    n.echo(n.outside, 80)
    a = machine(n, "--network", "ptp", "-p", "8080:8000", "-p", "8080:8000/udp")
    talk(t, a, n, *addresses(a.pid()))
    must(a.delete("--force"))
    must(t.runtime("network", "create", "--subnet", "10.9.0.0/24", "--subnet6", "fd09::/64", "--mtu", "1400",
                   "--isolated", "lab"))
    b = machine(n, "--network", "lab", "-p", "8080:8000", "-p", "8080:8000/udp", "--ip", "10.9.0.77")
    t.eq(addresses(b.pid())[0], "10.9.0.77")
    t.has(inside(b, "/bin/busybox", "ip", "addr", "show", "eth0"), "10.9.0.77/24", "mtu 1400")
    talk(t, b, n, *addresses(b.pid()))
    os.kill(b.pid(), 9)
    b.wait_status("stopped")
    must(b.delete())
    t.eq((claims(), elements()), ([], 0))


@OURS
@cases(macvlan=("macvlan:up0",), ipvlan=("ipvlan:up0",), pasta=("pasta",))
@timeout(120)
def test_other_kinds(t, network):
    """An interface beside one of the host's, and user-mode networking."""
    n = Net(t, outside=True)
    if ":" in network:
        probe = subprocess.run(["ip", "link", "add", "link", "up0", "name", "try0", "type", network.split(":")[0]],
                               stderr=subprocess.DEVNULL)
        t.need(probe.returncode == 0, f"this kernel has no {network.split(':')[0]}")
        sh("ip link del try0")
    else:
        t.need(shutil.which("pasta"), "no pasta here")
    n.echo(n.outside, 80)
    own = ("--ip", "192.0.2.77/24", "--gateway", "192.0.2.2") if network != "pasta" else ()
    c = machine(n, "--network", network, *own)
    for kind in ("tcp", "udp"):
        t.eq(inside(c, "/probe", "say", kind, "192.0.2.2", "80"),
             ("192.0.2.77" if own else "192.0.2.1") + " hello", f"{kind} to the outside")
    if own:
        t.eq(say(n.outside, "tcp", "192.0.2.77", 8000), "192.0.2.2 hello", "from the outside")
    must(c.delete("--force"))
    t.eq(links(), ["lo", "up0"])
