"""A host of a test's own, as far as networks go: a network namespace, with nothing of bailey's in /run and
/etc, and maybe an outside that is reached over a cable. Traffic is made by Python in whichever namespace."""
import json
import os
import subprocess
import sys
import time

from . import clock, kernel
from .container import must

ECHO = r"""
import socket, selectors, sys
ports = [int(p) for p in sys.argv[1:]]
s = selectors.DefaultSelector()
for port in ports:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        k = socket.socket(socket.AF_INET6, kind)
        k.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        k.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            k.listen(64)
        s.register(k, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in s.select():
        k = key.fileobj
        if k.type == socket.SOCK_DGRAM:
            data, who = k.recvfrom(65536)
            k.sendto((who[0] + " ").encode() + data, who)
        else:
            c, who = k.accept()
            c.settimeout(10)
            try:
                c.sendall((who[0] + " ").encode() + c.recv(65536))
            except OSError:
                pass
            c.close()
"""
SAY = r"""
import socket, sys
kind, host, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.settimeout(seconds)
try:
    if len(sys.argv) > 5:
        s.bind(("", int(sys.argv[5])))
    s.connect((host, port))
    s.sendall(b"hello")
    print(s.recv(65536).decode(), end="")
except OSError as e:
    print("failed:", e, end="")
"""


class Net:
    """self.pid None: the test's own namespace, which is the host."""

    def __init__(self, t, outside=False):
        self.t = t
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_PRIVATE | kernel.MS_REC)
        kernel.mount("tmpfs", "/run", "tmpfs")
        up, work = t.dir("etc-upper"), t.dir("etc-work")
        kernel.mount("overlay", "/etc", "overlay", 0, f"lowerdir=/etc,upperdir={up},workdir={work}")
        sh("ip link set lo up")
        self.outside = None
        if outside:
            self.outside = self.namespace()
            sh(f"ip link add up0 type veth peer name eth0 netns {self.outside}")
            sh("ip addr add 192.0.2.1/24 dev up0; ip addr add 2001:db8::1/64 dev up0 nodad; ip link set up0 up")
            sh("ip addr add 192.0.2.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 nodad;"
               "ip link set eth0 up; ip link set lo up", self.outside)
            sh("ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2")
            with open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as f:
                f.write("1")

    def namespace(self):
        """A process with an empty network namespace: its pid."""
        p = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        self.t.later(end, p)
        own = kernel.ns_inode("net")
        wait(lambda: kernel.ns_inode("net", p.pid) != own, "the namespace")
        return p.pid

    def run(self, c, *opts, argv=("/probe", "sleep"), **kw):
        c.config.args(*argv)
        must(c.run("--detach", *opts, **kw))
        return c

    def container(self, *opts, **kw):
        return self.run(self.t.container(), *opts, **kw)

    def echo(self, pid, *ports):
        p = subprocess.Popen([*inside(pid), sys.executable, "-c", ECHO, *map(str, ports)],
                             stdout=subprocess.PIPE)
        self.t.later(end, p)
        self.t.eq(p.stdout.readline(), b"ready\n", "the echo server")
        return p


def end(p):
    p.kill()
    p.wait()
    if p.stdout:
        p.stdout.close()


def inside(pid):
    return [] if pid is None else ["nsenter", "-t", str(pid), "-n", "--"]


def sh(script, pid=None):
    r = subprocess.run([*inside(pid), "sh", "-ec", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=clock.limit(30))
    if r.returncode:
        raise AssertionError(f"{script}: {r.stderr}")
    return r.stdout


def observe(command, pid=None):
    """The JSON that an observer prints."""
    return json.loads(sh(command, pid) or "[]")


def say(pid, kind, host, port, seconds=10, source=None):
    """What the echo server answers to hello: "ADDRESS hello", ADDRESS being whom it sees."""
    argv = [*inside(pid), sys.executable, "-c", SAY, kind, host, str(port), str(seconds)]
    out = subprocess.run(argv + ([str(source)] if source else []), stdout=subprocess.PIPE, text=True,
                         timeout=clock.limit(60)).stdout
    return out.replace("::ffff:", "")


def ping(pid, host):
    return subprocess.run([*inside(pid), "busybox", "ping", "-c", "1", "-W", "5", host],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=clock.limit(30)).returncode == 0


def addresses(pid, name="eth0"):
    """(IPv4, IPv6) of global scope."""
    found = {"inet": None, "inet6": None}
    for link in observe(f"ip -j addr show dev {name}", pid):
        for a in link["addr_info"]:
            if a["scope"] == "global":
                found[a["family"]] = a["local"]
    return found["inet"], found["inet6"]


def bridges_call(value):
    """Whether bridged packets pass ip6tables' hooks in this namespace; false: there is no br_netfilter."""
    path = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
    if not os.path.exists(path):
        return False
    with open(path, "w", encoding="ascii") as f:
        f.write(str(value))
    return True


def elements():
    """How many published ports the rules know."""
    out = subprocess.run(["nft", "-j", "list", "table", "inet", "bailey"], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True).stdout
    maps = [o["map"] for o in json.loads(out or '{"nftables": []}')["nftables"] if "map" in o]
    return sum(len(m.get("elem", [])) for m in maps)


def claims():
    """Names of all addresses and ports that are taken."""
    found = []
    for top, _, names in os.walk("/run/bailey-net"):
        found += [os.path.join(top, n) for n in names if os.path.islink(os.path.join(top, n))
                  and not n.startswith(".")]
    for top, dirs, _ in os.walk("/run/bailey-net"):
        found += [os.path.join(top, n) for n in dirs if os.path.islink(os.path.join(top, n))]
    return sorted(set(found))


def links():
    return sorted(l["ifname"] for l in observe("ip -j link"))


def wait(ready, what, seconds=10):
    end_ = time.monotonic() + clock.limit(seconds)
    while not ready():
        if time.monotonic() > end_:
            raise AssertionError(f"no {what} after {seconds} s")
        time.sleep(0.01)
