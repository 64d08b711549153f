"""run --network: real traffic in throwaway namespaces, seen by ip, bridge, nft and conntrack."""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from lib import clock, host, kernel
from lib.container import kill_pid, must
from lib.net import Net, addresses, bridges_call, claims, elements, end, links, observe, ping, say, sh, wait
from lib.testing import bailey_only, cases, timeout
from lib.trace import kills, strace

WHY = "peers make no networks"


def tools(t, *names):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin:/usr/lib/openvswitch-switch"
    for n in names:
        t.need(shutil.which(n, path=path), f"no {n} here (tools/deps test)")


@bailey_only(WHY)
@timeout(180)
def test_bridge(t):
    """Container to container, to the host, and to the outside: TCP, UDP, ICMP, both families."""
    tools(t, "ip", "nft", "conntrack")
    n = Net(t, outside=True)
    a, b = n.container("--network", "bridge"), n.container("--network", "bridge")
    pid_a, pid_b = a.pid(), b.pid()
    (a4, a6), (b4, b6) = addresses(pid_a), addresses(pid_b)
    gateway4, gateway6 = addresses(None, "bailey0")
    n.echo(pid_a, 80)
    n.echo(n.outside, 80)
    n.echo(None, 81)
    for kind in ("tcp", "udp"):
        t.eq(say(pid_b, kind, a4, 80), f"{b4} hello", f"{kind} from b to a")
        t.eq(say(pid_b, kind, a6, 80), f"{b6} hello", f"{kind} from b to a, IPv6")
        t.true(say(None, kind, a4, 80).endswith(" hello"), f"{kind} from the host to a")
        t.true(say(None, kind, a6, 80).endswith(" hello"), f"{kind} from the host to a, IPv6")
        t.eq(say(pid_a, kind, gateway4, 81), f"{a4} hello", f"{kind} from a to the host")
        t.eq(say(pid_a, kind, gateway6, 81), f"{a6} hello", f"{kind} from a to the host, IPv6")
        t.eq(say(pid_a, kind, "192.0.2.2", 80), "192.0.2.1 hello", f"{kind} to the outside, masqueraded")
        t.eq(say(pid_a, kind, "2001:db8::2", 80), "2001:db8::1 hello", f"{kind} to the outside, IPv6")
    for host in (b4, b6, "192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"):
        t.true(ping(pid_a, host), f"ping from a to {host}")
    t.has(sh("conntrack -L -p udp 2>/dev/null"), "dst=192.0.2.1", "the outside's answers come to the host")
    eth0 = observe("ip -j -d link show eth0", pid_a)[0]
    t.eq((eth0["linkinfo"]["info_kind"], eth0["mtu"]), ("veth", 1500))
    ports = [p["ifname"] for p in observe("bridge -j link") if p.get("master") == "bailey0"]
    t.eq(len(ports), 2, f"ports of the bridge: {ports}")
    for dst in ("-4", "-6"):
        t.eq([r["dst"] for r in observe(f"ip -j {dst} route show default", pid_a)], ["default"])


@bailey_only(WHY)
@timeout(180)
def test_published(t):
    """From outside, from the host by each of its addresses, from a neighbour, from itself."""
    tools(t, "ip", "nft", "conntrack")
    n = Net(t, outside=True)
    bridges_call(0)
    a = n.container("--network", "bridge", "-p", "8080:80", "-p", "8080:80/udp", "-p", "127.0.0.1:9:80",
                    "-p", "[2001:db8::1]:9:80", "-p", "[::1]:10:80", "-p", "[::1]:10:80/udp")
    b = n.container("--network", "bridge")
    pid_a, pid_b = a.pid(), b.pid()
    n.echo(pid_a, 80)
    t.eq(elements(), 8)
    for kind in ("tcp", "udp"):
        t.eq(say(n.outside, kind, "192.0.2.1", 8080), "192.0.2.2 hello", f"{kind} from outside")
        t.eq(say(n.outside, kind, "2001:db8::1", 8080), "2001:db8::2 hello", f"{kind} from outside, IPv6")
        t.true(say(None, kind, "::1", 10).endswith(" hello"), f"{kind}: ::1 alone")
        for host in ("127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"):
            t.true(say(None, kind, host, 8080).endswith(" hello"), f"{kind} from the host by {host}")
        for who, pid in (("neighbour", pid_b), ("itself", pid_a)):
            for host in ("192.0.2.1", "2001:db8::1"):
                t.true(say(pid, kind, host, 8080).endswith(" hello"), f"{kind} from {who} by {host}")
    t.true(say(None, "tcp", "127.0.0.1", 9).endswith(" hello"), "one address alone: loopback")
    t.has(say(n.outside, "tcp", "192.0.2.1", 9, 2), "failed", "not another")
    for host in ("2001:db8::1", "fd00::1"):
        t.has(say(n.outside, "tcp", host, 10, 2), "failed", "::1 from outside")
    t.eq(say(n.outside, "tcp", "2001:db8::1", 9), "2001:db8::2 hello", "one address alone: IPv6")


@bailey_only(WHY)
@timeout(120)
def test_published_on_loopback6(t):
    """By ::1 on each kind of network; where the kernel cannot, the port is refused, and others' answer at once."""
    tools(t, "ip", "nft")
    n = Net(t)
    filters = bridges_call(0)
    for network in ("bridge", "ptp"):
        a = n.container("--network", network, "-p", "8080:80", "-p", "8080:80/udp", "-p", "[::1]:9:80")
        n.echo(a.pid(), 80)
        for kind, port in (("tcp", 8080), ("udp", 8080), ("tcp", 9)):
            t.true(say(None, kind, "::1", port).endswith(" hello"), f"{network}: {kind} by ::1, port {port}")
        must(a.delete("--force"))
    if not filters:  # no br_netfilter here
        return
    bridges_call(1)
    c = t.container("/probe", "sleep")
    t.fails(c.run("--detach", "--network", "bridge", "-p", "[::1]:9:80"), "bridge-nf-call-ip6tables", "127.0.0.1")
    a = n.container("--network", "bridge", "-p", "8080:80")
    n.echo(a.pid(), 80)
    t.has(say(None, "tcp", "::1", 8080, 5), "refused")
    t.true(say(None, "tcp", "127.0.0.1", 8080).endswith(" hello"), "by 127.0.0.1 as ever")


@bailey_only(WHY)
@timeout(120)
def test_host_loopback_is_protected(t):
    """route_localnet must not open what listens on 127.0.0.1 to those on the bridge."""
    tools(t, "ip", "nft")
    n = Net(t)
    a = n.container("--network", "bridge")
    pid = a.pid()
    k = socket.socket()
    k.bind(("127.0.0.1", 7777))
    k.listen()
    t.later(k.close)
    gateway = observe("ip -j route show default", pid)[0]["gateway"]
    sh("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet;"
       f"ip addr flush dev lo; ip route add 127.0.0.1 via {gateway} src {addresses(pid)[0]};"
       "ip route del local 127.0.0.0/8 dev lo table local 2>/dev/null || true", pid)
    t.has(say(pid, "tcp", "127.0.0.1", 7777, 2), "failed", "the host's loopback from a container")


@bailey_only(WHY)
@timeout(120)
def test_nothing_left(t):
    tools(t, "ip", "nft", "conntrack")
    n = Net(t)
    before = links()
    a = n.container("--network", "bridge", "-p", "8080:80", "-p", "8081:81/udp")
    b = n.container("--network", "ptp", "-p", "8082:80")
    t.eq((len(claims()), elements()), (2 + 2 + 2 + 1, 6))
    must(a.delete("--force"))
    os.kill(b.pid(), 9)  # the namespace goes before
    b.wait_status("stopped")
    wait(lambda: [l for l in links() if l.startswith("bv")] == [], "end of the namespace")
    t.has(sh("nft list tables"), "inet bailey", "the other still needs the rules")
    must(b.delete())
    t.eq((claims(), elements()), ([], 0))
    t.lacks(sh("nft list tables"), "bailey", "the last one takes the rules along")
    t.eq(sorted(set(links()) - set(before)), ["bailey0"], "links")
    must(t.runtime("network", "rm", "bridge"))
    t.eq(links(), before, "links after network rm")


STEPS = ("sendto", "symlinkat", "renameat", "setns", "socket", "unlinkat", "connect", "bind")


@bailey_only(WHY)
@cases(**{s: (s,) for s in STEPS})
@timeout(300)
def test_killed_at(t, call):
    """SIGKILL at each call of a kind that a run makes; delete --force takes all of it back."""
    tools(t, "strace", "nft")
    n = Net(t)
    warm = n.container("--network", "bridge", "-p", "9000:80")
    must(warm.delete("--force"))
    before = links()
    c = t.container("/probe", "sleep")
    c._write()
    for when in kills(t, call, 80, "run", "--bundle", c.bundle.path, "--detach", "--network", "bridge",
                      "-p", "8080:80", "-p", "8080:80/udp", c.id):
        must(c.delete("--force"))
        wait(lambda: links() == before, f"end of the links {when}")
        t.eq((claims(), elements()), ([], 0), when)
        t.eq(os.path.exists(os.path.join(t.root, c.id)), False, "state")


@bailey_only(WHY)
@timeout(120)
def test_killed_delete(t):
    tools(t, "strace", "nft")
    n = Net(t)
    c = t.container("/probe", "sleep")
    n.run(c, "--network", "bridge", "-p", "8080:80/udp")
    for when in kills(t, "sendto,unlinkat", 30, "delete", "--force", c.id):
        must(c.delete("--force"))
        t.eq((claims(), elements(), links()), ([], 0, ["bailey0", "lo"]), when)
        n.run(c, "--network", "bridge", "-p", "8080:80/udp")


@bailey_only(WHY)
@timeout(400)
def test_many_at_once(t):
    tools(t, "ip")
    Net(t)
    first = t.container("/probe", "sleep", cgroups_path=False)
    first._write()
    names = [f"{t.mark}-x{i}" for i in range(clock.often(200, 40))]
    procs = [t.runtime.spawn("run", "--bundle", first.bundle.path, "--detach", "--network", "bridge", n,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
             for n in names]
    for n in names:
        t.later(t.runtime, "delete", "--force", n)
    for p in procs:
        t.eq(p.wait(timeout=300), 0, "run")
    users = must(t.runtime("network", "inspect", "bridge")).json()["addresses"]
    t.eq(len(users), 2 * len(names))
    t.eq(len({u["address"] for u in users}), len(users), "different addresses")
    t.eq(sorted(u["container"] for u in users), sorted(names * 2), "two each")


@bailey_only(WHY)
@timeout(300)
def test_rules_come_and_go(t):
    """Whoever comes while the last one goes has its rules: many at once, each in its own time."""
    tools(t, "nft")
    n = Net(t)
    stop = time.monotonic() + 2
    turns, all_ = [0, 0, 0], [t.container() for _ in range(3)]

    def turn(who):
        c = all_[who]
        while time.monotonic() < stop or turns[who] < 5:
            n.run(c, "--network", "bridge", "-p", f"{9000 + who}:80")
            rules = sh("nft list table inet bailey")
            for needed in (f"tcp . {9000 + who} :", "masquerade", "chain guard"):
                if needed not in rules:
                    failed.append((who, turns[who], needed, rules))
            must(c.delete("--force"))
            turns[who] += 1
    failed = []
    threads = [threading.Thread(target=turn, args=(i,)) for i in range(3)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    t.eq(failed, [])
    t.true(min(turns) >= 5, f"rounds of each: {turns}")
    t.lacks(sh("nft list tables"), "bailey")


@bailey_only(WHY)
@timeout(120)
def test_rules_between_look_and_removal(t):
    """One comes when the last one's delete has seen that nobody is left, and has not removed the table yet."""
    tools(t, "strace", "nft")
    n = Net(t)
    c, out = t.container(), os.path.join(t.tmp, "trace")

    def delete(*inject):
        return strace(t, "-e", "trace=sendto", *inject, "--", "delete", "--force", c.id, out=out)
    n.run(c, "--network", "bridge", "-p", "8080:80")
    t.eq(delete().wait(timeout=60), 0)
    with open(out, encoding="utf-8") as f:
        last = len([line for line in f if line.startswith("sendto")])
    n.run(c, "--network", "bridge", "-p", "8080:80")
    p = delete("-e", f"inject=sendto:delay_enter=3000000:when={last}")
    t.later(end, p)
    wait(lambda: claims() == [], "the address's return")
    n.container("--network", "bridge", "-p", "8081:80")
    t.eq(p.wait(timeout=60), 0)
    t.eq(elements(), 2)
    t.has(sh("nft list table inet bailey"), "masquerade", "chain guard")


@bailey_only(WHY)
@timeout(120)
def test_dead_owner(t):
    """An address whose container's directory was removed by hand is given out again."""
    n = Net(t)
    a = n.container("--network", "bridge", "--ip", "10.200.0.77")
    os.kill(a.pid(), 9)
    a.wait_status("stopped")
    b = t.container("/probe", "sleep")
    t.fails(b.run("--detach", "--network", "bridge", "--ip", "10.200.0.77"), "taken by", a.id)
    os.rename(os.path.join(t.root, a.id), os.path.join(t.tmp, "gone"))
    n.run(b, "--network", "bridge", "--ip", "10.200.0.77")
    t.eq(addresses(b.pid())[0], "10.200.0.77")
    os.rename(os.path.join(t.tmp, "gone"), os.path.join(t.root, a.id))
    must(a.delete("--force"))
    t.eq(len(claims()), 2, "the former owner's end takes nothing from the new one")


@bailey_only(WHY)
@timeout(120)
def test_deleted_from_elsewhere(t):
    """By somebody in another network namespace: the addresses and ports are free again."""
    tools(t, "nft")
    n = Net(t)
    a = n.container("--network", "bridge", "-p", "8080:80")
    other = n.namespace()
    t.eq((len(claims()), elements()), (3, 2))
    r = subprocess.run(["nsenter", "-t", str(other), "-n", *t.runtime.argv("delete", "--force", a.id)],
                       stderr=subprocess.PIPE, text=True, timeout=60)
    t.eq(r.returncode, 0)
    t.has(r.stderr, "another network namespace")
    t.eq(claims(), [])
    must(t.runtime("network", "reload"))
    t.eq(elements(), 0)


@bailey_only(WHY)
@timeout(120)
def test_reload(t):
    tools(t, "nft")
    n = Net(t, outside=True)
    a = n.container("--network", "bridge", "-p", "8080:80")
    n.echo(a.pid(), 80)
    for flush in ("nft flush ruleset", "nft flush table inet bailey", "nft delete map inet bailey ports4 || true"):
        sh(flush)
        t.eq(must(t.runtime("network", "reload")).out, "1 ports\n")
        t.eq(say(n.outside, "tcp", "192.0.2.1", 8080), "192.0.2.2 hello", f"after {flush}")
        t.eq(elements(), 2)
    must(a.delete("--force"))
    t.eq(elements(), 0)


@bailey_only(WHY)
@timeout(120)
def test_udp_flow_moves_on(t):
    """A sender that never pauses reaches the new container, not the old one's address."""
    tools(t, "conntrack")
    n = Net(t, outside=True)
    a = n.container("--network", "bridge", "-p", "53:53/udp")
    n.echo(a.pid(), 53)
    t.eq(say(n.outside, "udp", "192.0.2.1", 53, source=4444), "192.0.2.2 hello")
    t.has(sh("conntrack -L -p udp --orig-port-dst 53 2>/dev/null"), "dport=53", "the flow")
    must(a.delete("--force"))
    t.eq(sh("conntrack -L -p udp --orig-port-dst 53 2>/dev/null"), "", "the flow is forgotten")
    t.has(say(n.outside, "udp", "192.0.2.1", 53, 1, source=4444), "failed", "nobody there")
    b = n.container("--network", "bridge", "-p", "53:53/udp")
    n.echo(b.pid(), 53)
    t.eq(say(n.outside, "udp", "192.0.2.1", 53, source=4444), "192.0.2.2 hello", "the new one")


@bailey_only(WHY)
@timeout(120)
def test_options(t):
    n = Net(t)
    c = t.container()
    opts = ("--network", "bridge", "--ip", "10.200.0.9", "--mac", "02:00:5e:10:00:01", "--dns", "192.0.2.53",
            "--dns", "2001:db8::53", "--add-host", "db:10.9.9.9", "--add-host", "six:2001:db8::9",
            "--hostname", "web")
    out = must(c.sh("cat /etc/resolv.conf /etc/hosts /etc/hostname; hostname; cat /sys/class/net/eth0/address;"
                    "echo x >> /etc/hosts || echo read-only", *opts)).out
    for line in ("nameserver 192.0.2.53\nnameserver 2001:db8::53\n", "10.9.9.9\tdb\n", "2001:db8::9\tsix\n",
                 "10.200.0.9\tweb\n", "web\nweb\n", "02:00:5e:10:00:01\n", "read-only\n"):
        t.has(out, line)
    t.eq(claims(), [], "after run has deleted it")


@bailey_only(WHY)
def test_resolv_conf_of_the_host(t):
    Net(t)
    c = t.container()
    for text, want in (
            ("nameserver 192.0.2.1\nsearch example.org\n", "nameserver 192.0.2.1\nsearch example.org\n"),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.2\n", "nameserver 192.0.2.2\n"),
            ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.3\nsearch real\n")):
        os.makedirs("/run/systemd/resolve", exist_ok=True)
        with open("/run/systemd/resolve/resolv.conf", "w") as f:
            f.write("nameserver 192.0.2.3\nsearch real\n")
        if os.path.lexists("/etc/resolv.conf"):
            os.unlink("/etc/resolv.conf")
        with open("/etc/resolv.conf", "w") as f:
            f.write(text)
        t.eq(must(c.sh("cat /etc/resolv.conf", "--network", "none")).out, want)


@bailey_only(WHY)
@timeout(120)
def test_refused(t):
    n = Net(t)
    a = n.container("--network", "bridge", "--ip", "10.200.0.5", "-p", "8080:80")
    c = t.container("/probe", "sleep")
    k = socket.socket()
    k.bind(("0.0.0.0", 8888))
    k.listen()
    t.later(k.close)
    for opts, text in (
            (("--ip", "10.200.0.6"), "needs --network"),
            (("--network", "bridge", "--ip", "10.200.0.5"), f"taken by {t.root}/{a.id}"),
            (("--network", "bridge", "--ip", "10.200.0.1"), "not an address for containers"),
            (("--network", "bridge", "--ip", "192.0.2.1"), "not an address for containers"),
            (("--network", "bridge", "-p", "8080:80"), "taken by"),
            (("--network", "bridge", "-p", "8888:80"), "listens there"),
            (("--network", "bridge", "-p", "198.51.100.9:8081:80"), "no such address"),
            (("--network", "bridge", "-p", "0:80"), "not a port"),
            (("--network", "bridge", "-p", "80"), "one port only"),
            (("--network", "bridge", "-p", "80:80/icmp"), "unknown protocol"),
            (("--network", "bridge", "--mac", "01:00:5e:10:00:01"), "of a group"),
            (("--network", "none", "-p", "80:80"), "publishes no ports"),
            (("--network", "nosuch"), "does not exist"),
            (("--network", "macvlan"), "needs :interface"),
            (("--network", "bridge:x"), "must be none, host"),
            (("--network", "none", "--dns", "x"), "must be an ip address"),
            (("--network", "none", "--add-host", "x"), "must be name:address")):
        t.fails(c.run("--detach", *opts), text)
        t.eq((len(claims()), elements(), len(links())), (3, 2, 3), f"after {opts}")


@bailey_only(WHY)
@timeout(120)
def test_kinds_without_links(t):
    n = Net(t)
    own, other = kernel.ns_inode("net"), n.namespace()
    c = t.container()
    t.eq(must(c.sh("readlink /proc/self/ns/net", "--network", "host")).out.strip(), own)
    t.eq(must(c.sh("readlink /proc/self/ns/net", "--network", f"ns:/proc/{other}/ns/net")).out.strip(),
         kernel.ns_inode("net", other))
    t.eq(must(c.sh("ls /sys/class/net", "--network", "none")).out, "lo\n")
    t.eq(links(), ["lo"])


@bailey_only(WHY)
@timeout(120)
def test_ptp(t):
    tools(t, "nft")
    n = Net(t, outside=True)
    a = n.container("--network", "ptp", "-p", "8080:80")
    b = n.container("--network", "bridge")
    (a4, a6) = addresses(a.pid())
    n.echo(a.pid(), 80)
    n.echo(n.outside, 80)
    for kind in ("tcp", "udp"):
        t.eq(say(b.pid(), kind, a4, 80).split()[1:], ["hello"], "from another network")
        t.eq(say(b.pid(), kind, a6, 80).split()[1:], ["hello"], "from another network, IPv6")
        t.eq(say(a.pid(), kind, "192.0.2.2", 80), "192.0.2.1 hello", "to the outside")
        t.eq(say(a.pid(), kind, "2001:db8::2", 80), "2001:db8::1 hello", "to the outside, IPv6")
    for host in ("127.0.0.1", "192.0.2.1"):
        t.true(say(None, "tcp", host, 8080).endswith(" hello"), f"from the host by {host}")
    t.eq(say(n.outside, "tcp", "192.0.2.1", 8080), "192.0.2.2 hello", "from outside")
    t.eq([x["prefixlen"] for x in observe("ip -j -4 addr show eth0", a.pid())[0]["addr_info"]], [32])


@bailey_only(WHY)
@cases(macvlan=("macvlan",), ipvlan=("ipvlan",))
@timeout(120)
def test_sub_interface(t, kind):
    n = Net(t, outside=True)
    probe = subprocess.run(["ip", "link", "add", "link", "up0", "name", "try0", "type", kind],
                           stderr=subprocess.DEVNULL)
    t.need(probe.returncode == 0, f"this kernel has no {kind}")
    sh("ip link del try0")
    a = n.container("--network", f"{kind}:up0", "--ip", "192.0.2.77/24", "--gateway", "192.0.2.2",
                    "--ip6", "2001:db8::77/64")
    pid = a.pid()
    n.echo(n.outside, 80)
    t.eq(say(pid, "tcp", "192.0.2.2", 80), "192.0.2.77 hello", "with its own address")
    t.eq(say(pid, "udp", "2001:db8::2", 80), "2001:db8::77 hello", "with its own address, IPv6")
    t.eq(observe("ip -j -d link show eth0", pid)[0]["linkinfo"]["info_kind"], kind)
    t.eq(observe("ip -j route show default", pid)[0]["gateway"], "192.0.2.2")
    must(a.delete("--force"))
    t.eq(links(), ["lo", "up0"])
    t.fails(t.container("/probe").run("--network", f"{kind}:nosuch"), "nosuch")


@bailey_only(WHY)
@timeout(120)
def test_named(t):
    tools(t, "nft")
    n = Net(t)
    net = t.runtime
    must(net("network", "create", "--subnet", "10.9.0.0/24", "--subnet6", "fd09::/64", "--mtu", "1400",
             "--isolated", "web"))
    must(net("network", "create", "--subnet", "10.10.0.0/24", "--isolated", "db"))
    t.fails(net("network", "create", "web"), "exists already")
    t.fails(net("network", "create", "--subnet", "10.9.0.0/33", "bad"), "no ip address")
    t.fails(net("network", "create", "macvlan"), "meaning of its own")
    t.fails(net("network", "create", "../x"), "network name")
    t.has(must(net("network", "ls")).out, "10.9.0.0/24")
    a, b = n.container("--network", "web", "-p", "8080:80"), n.container("--network", "web")
    c = n.container("--network", "db")
    d = n.container("--network", "bridge")
    n.echo(a.pid(), 80)
    a4, a6 = addresses(a.pid())
    t.eq((a4, a6), ("10.9.0.2", "fd09::2"))
    t.eq(observe("ip -j link show eth0", a.pid())[0]["mtu"], 1400)
    t.eq(say(b.pid(), "tcp", a4, 80), "10.9.0.3 hello", "within")
    t.true(say(b.pid(), "tcp", "10.9.0.1", 8080).endswith(" hello"), "within, by the published port")
    for who in (c, d):
        t.has(say(who.pid(), "tcp", a4, 80, 2), "failed", "isolated from the others")
    inspect = must(net("network", "inspect", "web")).json()
    t.eq(inspect["network"]["isolated"], True)
    t.eq({u["container"] for u in inspect["addresses"]}, {a.id, b.id})
    t.fails(net("network", "rm", "web"), "in use")
    for x in (a, b, c, d):
        must(x.delete("--force"))
    must(net("network", "rm", "web"))
    must(net("network", "rm", "db"))
    t.eq(links(), ["bailey0", "lo"])
    t.fails(net("network", "inspect", "web"), "does not exist")


@cases(removed=None, changed="--isolated")
@bailey_only(WHY)
def test_removed_before_it_is_taken(t, again):
    """rm looks when the container has read the network's file, and has no address in it yet."""
    tools(t, "strace")
    n = Net(t)
    must(t.runtime("network", "create", "--subnet", "10.9.0.0/24", "web"))
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    out = os.path.join(t.tmp, "trace")
    p = strace(t, "-e", "trace=symlinkat", "-e", f"inject=symlinkat:delay_enter={clock.often(2, 6)}000000:when=1", "--", "run",
               "--detach", "--network", "web", "--bundle", c.bundle.path, c.id, out=out)
    t.later(end, p)
    wait(lambda: os.path.exists(os.path.join(t.root, c.id, "network.json")), "the network's choice")
    must(t.runtime("network", "rm", "web"))
    if again:
        must(t.runtime("network", "create", "--subnet", "10.9.0.0/24", again, "web"))
    t.eq(p.wait(timeout=60), 1, "exit code")
    with open(out, encoding="utf-8") as f:
        t.has(f.read(), '"10.9.0.2"', "the claim was what it waited for")
    t.eq(claims(), [])
    t.eq(links(), ["lo"])


def bridges_have_vlans():
    made = subprocess.run(["ip", "link", "add", "try0", "type", "bridge", "vlan_filtering", "1"],
                          stderr=subprocess.DEVNULL)
    if made.returncode == 0:
        sh("ip link del try0")
    return made.returncode == 0


@bailey_only(WHY)
@timeout(120)
def test_vlan(t):
    """Containers are in their network's VLAN, untagged; a trunk carries its frames with the tag."""
    tools(t, "ip", "bridge", "nft")
    n = Net(t, outside=True)
    net = t.runtime
    if not bridges_have_vlans():
        must(net("network", "create", "--vlan", "10", "lab"))
        before = links()
        t.fails(t.container("/probe", "sleep").run("--detach", "--network", "lab"), "CONFIG_BRIDGE_VLAN_FILTERING")
        t.need(links() != before or claims(), "this kernel's bridges have no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)")
    for bad, text in ((("--vlan", "0"), "--vlan"), (("--vlan", "4095"), "--vlan")):
        t.fails(net("network", "create", *bad, "bad"), text)
    must(net("network", "create", "--subnet", "10.9.0.0/24", "--subnet6", "fd09::/64", "--vlan", "10",
             "--interface", "br-lab", "lab"))
    t.fails(net("network", "create", "--interface", "br-lab", "--vlan", "11", "other"), '"br-lab" is network "lab"')
    t.eq(must(net("network", "inspect", "lab")).json()["network"]["vlan"], 10)
    a, b = n.container("--network", "lab", "-p", "8080:80"), n.container("--network", "lab")
    pid_a, pid_b = a.pid(), b.pid()
    untagged = [{"vlan": 10, "flags": ["PVID", "Egress Untagged"]}]
    vlans = {v["ifname"]: v["vlans"] for v in observe("bridge -j vlan show")}
    ports = [p["ifname"] for p in observe("bridge -j link") if p.get("master") == "br-lab"]
    t.eq((len(ports), vlans), (2, {p: untagged for p in [*ports, "br-lab"]}))
    n.echo(pid_a, 80)
    n.echo(n.outside, 80)
    for kind in ("tcp", "udp"):
        t.eq(say(pid_b, kind, "10.9.0.2", 80), "10.9.0.3 hello", f"{kind} within")
        t.eq(say(pid_b, kind, "fd09::2", 80), "fd09::3 hello", f"{kind} within, IPv6")
        t.eq(say(pid_a, kind, "192.0.2.2", 80), "192.0.2.1 hello", f"{kind} to the outside")
    t.eq(say(n.outside, "tcp", "192.0.2.1", 8080), "192.0.2.2 hello", "published")
    cable = n.namespace()
    sh(f"ip link add cable0 type veth peer name eth0 netns {cable}; ip link set cable0 master br-lab up")
    sh("ip addr add 10.9.0.99/24 dev eth0; ip link set eth0 up", cable)
    t.eq(ping(cable, "10.9.0.2"), False, "a port without a VLAN reaches nobody")
    sh("bridge vlan add vid 20 pvid untagged dev cable0")
    t.eq(ping(cable, "10.9.0.2"), False, "another VLAN")
    sh("bridge vlan del vid 20 dev cable0; bridge vlan add vid 10 pvid untagged dev cable0")
    t.true(ping(cable, "10.9.0.2"), "the same VLAN")
    sh("bridge vlan del vid 10 dev cable0; bridge vlan add vid 10 dev cable0")
    t.eq(ping(cable, "10.9.0.2"), False, "a trunk has it by its tag alone")
    sh("ip addr flush dev eth0; ip link add link eth0 name tagged type vlan id 10;"
       "ip addr add 10.9.0.99/24 dev tagged; ip link set tagged up", cable)
    t.true(ping(cable, "10.9.0.2"), "by the tag")
    must(a.delete("--force"))
    t.fails(t.container("/probe").run("--network", "plain"), "does not exist")
    with open("/etc/bailey/networks/lab.json", encoding="utf-8") as f:
        lab = json.load(f)
    del lab["vlan"]
    with open("/etc/bailey/networks/lab.json", "w", encoding="utf-8") as f:
        json.dump(lab, f)
    t.fails(t.container("/probe").run("--network", "lab"), "was made with a VLAN")
    must(b.delete("--force"))
    must(net("network", "rm", "lab"))
    t.lacks(" ".join(links()), "br-lab")


def openvswitch(t, kind):
    """A switch of the test's own, with a bridge br0: "system" in the kernel, "netdev" in a process."""
    tools(t, "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool")
    if kind == "system":
        subprocess.run(["modprobe", "-q", "openvswitch"], check=False)
        t.need(os.path.exists("/sys/module/openvswitch"), "this kernel has no openvswitch")
    os.environ["PATH"] += ":/usr/sbin:/sbin:/usr/lib/openvswitch-switch"
    run = os.environ["OVS_RUNDIR"] = "/run/openvswitch"
    sh(f"mkdir -p {run}; ovsdb-tool create {run}/conf.db /usr/share/openvswitch/vswitch.ovsschema")
    for argv in ((f"ovsdb-server {run}/conf.db --remote=punix:{run}/db.sock"), "ovs-vswitchd"):
        p = subprocess.Popen([*argv.split(), "-vconsole:off"], stdout=subprocess.DEVNULL)
        t.later(end, p)
        if argv != "ovs-vswitchd":
            wait(lambda: os.path.exists(f"{run}/db.sock"), "Open vSwitch's database", 30)
            sh("ovs-vsctl --no-wait init")
    sh(f"ovs-vsctl --timeout=60 add-br br0 -- set bridge br0 datapath_type={kind}; ip link set br0 up")


def switch_ports():
    return sh("ovs-vsctl list-ports br0").split()


@bailey_only(WHY)
@cases(system=("system",), netdev=("netdev",))
@timeout(180)
def test_openvswitch(t, kind):
    """A bridge of Open vSwitch's: its ports, their tags, and traffic on it."""
    tools(t, "ip")
    n = Net(t)
    net = t.runtime
    tools(t, "ovs-vsctl")
    must(net("network", "create", "--openvswitch", "--interface", "br0", "--subnet", "10.12.0.0/24", "down"))
    t.fails(t.container("/probe").run("--network", "down"), "ovs-vsctl", "database connection failed")
    must(net("network", "rm", "down"))
    openvswitch(t, kind)
    for opts, text in (
            (("--openvswitch", "--subnet", "10.9.0.0/24"), ".interface"),
            (("--openvswitch", "--interface", "br0"), "needs .subnet"),
            (("--openvswitch", "--interface", "br0", "--subnet", "10.9.0.0/24", "--isolated"), ".isolated"),
            (("--openvswitch", "--interface", "-x", "--subnet", "10.9.0.0/24"), '.interface: "-x"')):
        t.fails(net("network", "create", *opts, "bad"), text)
    for name, vlan, top in (("red", "7", "9"), ("blue", "8", "10")):
        must(net("network", "create", "--openvswitch", "--interface", "br0", "--vlan", vlan, "--subnet",
                 f"10.{top}.0.0/24", "--subnet6", f"fd{top}::/64", "--gateway", f"10.{top}.0.254", name))
    must(net("network", "create", "--openvswitch", "--interface", "nobr", "--subnet", "10.11.0.0/24", "none-such"))
    a, b, c = n.container("--network", "red"), n.container("--network", "red"), n.container("--network", "blue")
    ports = switch_ports()
    t.eq(len(ports), 3)
    rows = json.loads(sh("ovs-vsctl --format=json --columns=name,tag,external_ids list Port"))["data"]
    t.eq(sorted((tag, dict(ids[1])["bailey"]) for name, tag, ids in rows if name in ports),
         sorted([(7, a.id), (7, b.id), (8, c.id)]), "tag and owner of each port")
    t.eq(addresses(a.pid()), ("10.9.0.2", "fd9::2"))
    t.eq([r["gateway"] for r in observe("ip -j route show default", a.pid())], ["10.9.0.254"])
    t.eq(observe("ip -j -6 route show default", a.pid()), [], "a gateway that nobody has named")
    t.true(ping(b.pid(), "10.9.0.2"), "within the VLAN")
    t.true(ping(b.pid(), "fd9::2"), "within the VLAN, IPv6")
    if kind == "system":  # the other does not finish the checksums that a cable leaves open
        n.echo(a.pid(), 80)
        for proto in ("tcp", "udp"):
            t.eq(say(b.pid(), proto, "10.9.0.2", 80), "10.9.0.3 hello", f"{proto} within the VLAN")
            t.eq(say(b.pid(), proto, "fd9::2", 80), "fd9::3 hello", f"{proto} within the VLAN, IPv6")
    sh("ip addr add 10.9.0.50/24 dev eth0", c.pid())
    t.eq(ping(c.pid(), "10.9.0.2"), False, "from another VLAN")
    x = t.container("/probe", "sleep")
    t.fails(x.run("--detach", "--network", "red", "-p", "8080:80"), "publishes no ports")
    t.fails(x.run("--detach", "--network", "none-such"), 'no bridge "nobr"', "ovs-vsctl add-br nobr")
    t.fails(x.run("--detach", "--network", "red", env={**os.environ, "PATH": "/nonexistent"}), 'no program "ovs-vsctl"')
    t.eq((len(switch_ports()), len(claims())), (3, 6), "after refusals")
    os.kill(b.pid(), 9)  # the interface goes, its record stays
    b.wait_status("stopped")
    t.eq(len(switch_ports()), 3)
    must(b.delete())
    must(a.delete("--force"))
    other = n.namespace()
    subprocess.run(["nsenter", "-t", str(other), "-n", *t.runtime.argv("delete", "--force", c.id)], check=True,
                   timeout=60)
    t.eq((switch_ports(), claims()), ([], []))
    must(net("network", "rm", "red"))
    t.has(sh("ovs-vsctl list-br"), "br0", "the administrator's bridge stays")


@bailey_only(WHY)
@timeout(300)
def test_openvswitch_killed(t):
    """SIGKILL around the calls of ovs-vsctl: delete --force leaves no port."""
    tools(t, "strace")
    Net(t)
    openvswitch(t, "netdev")
    must(t.runtime("network", "create", "--openvswitch", "--interface", "br0", "--subnet", "10.9.0.0/24", "red"))
    before = links()
    c = t.container("/probe", "sleep")
    c._write()
    for call in ("wait4", "execve", "clone,fork,vfork"):
        for when in kills(t, call, 9, "run", "--bundle", c.bundle.path, "--detach", "--network", "red", c.id):
            must(c.delete("--force"))
            wait(lambda: links() == before, f"end of the links {when}")
            t.eq((switch_ports(), claims()), ([], []), when)


@bailey_only(WHY)
@timeout(120)
def test_subnet_of_its_own(t):
    """The default network's subnet is one that no route of the host has."""
    n = Net(t)
    sh("ip link add x type bridge; ip addr add 10.200.0.1/22 dev x; ip link set x up; ip route add 10.200.16.0/20 dev x")
    a = n.container("--network", "bridge")
    t.eq(addresses(a.pid())[0], "10.200.32.2")


@bailey_only(WHY)
def test_nothing_without_it(t):
    """A container of an engine's makes no network, and loads nothing for it."""
    tools(t, "strace")
    Net(t)
    c = t.container("/probe", "exit", "0")
    c._write()
    out = os.path.join(t.tmp, "trace")
    t.eq(strace(t, "-f", "-e", "trace=open,openat,socket", "--", "run", "--bundle", c.bundle.path, c.id,
                out=out).wait(timeout=60), 0)
    with open(out) as f:
        trace = f.read()
    t.has(trace, "config.json")
    for word in ("libmnl", "bailey-net", "AF_NETLINK"):
        t.lacks(trace, word)


@bailey_only(WHY)
@cases(root=(False,), user=(True,))
@timeout(120)
def test_pasta(t, rootless):
    tools(t, "pasta")
    n = Net(t, outside=True)
    t.need(os.path.exists("/dev/net/tun"), "no /dev/net/tun")
    if rootless and os.stat("/dev/net/tun").st_mode & 0o6 != 0o6:  # as distributions have it, but not this machine
        node = os.path.join(t.tmp, "tun")
        os.mknod(node, 0o020666, os.stat("/dev/net/tun").st_rdev)
        os.chmod(node, 0o666)
        kernel.mount(node, "/dev/net/tun", None, kernel.MS_BIND)
    uid = host.SINGLE_UID
    a = t.container("/probe", "sleep", cgroups_path=not rootless, runtime=t.as_user(uid) if rootless else None)
    if rootless:
        a.config.rootless(uid, uid)
        a.bundle.chown(uid, uid)
        os.chown(a.bundle.path, uid, uid)
    r = a.run("--detach", "--network", "pasta", "-p", "8080:80")
    t.ok(r)
    pid = a.pid()
    n.echo(pid, 80)
    n.echo(n.outside, 81)
    t.true(say(n.outside, "tcp", "192.0.2.1", 8080).endswith(" hello"), "from outside")
    t.eq(say(pid, "tcp", "192.0.2.2", 81), "192.0.2.1 hello", "to the outside")
    with open(os.path.join(a.runtime.root, a.id, "pasta.pid")) as f:
        pasta = int(f.read())
    must(a.delete("--force"))
    t.true(kernel.process_state(pasta) in (None, "Z", "X"), "pasta has ended")


@bailey_only(WHY)
def test_pasta_of_another(t):
    """The number in the container's file is another's by now."""
    tools(t, "pasta")
    n = Net(t, outside=True)
    t.need(os.path.exists("/dev/net/tun"), "no /dev/net/tun")
    a, b = n.container("--network", "pasta"), n.container("--network", "pasta")
    files = [os.path.join(t.root, c.id, "pasta.pid") for c in (a, b)]
    pids = []
    for path in files:
        with open(path, encoding="ascii") as f:
            pids.append(int(f.read()))
    with open(files[0], "w", encoding="ascii") as f:
        f.write(str(pids[1]))
    must(a.delete("--force"))
    t.true(kernel.process_state(pids[1]) in ("S", "R"), "the other's lives")
    kill_pid(pids[0], signal.SIGKILL)
    must(b.delete("--force"))
    t.true(kernel.process_state(pids[1]) in (None, "Z", "X"), "its own container's end is its end")
