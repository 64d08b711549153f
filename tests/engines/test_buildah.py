"""buildah end to end, with runc (which proves the script) and with the runtime under test: each RUN is
a container of its own."""
import os

from lib.buildah import Buildah
from lib.container import must
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}
SHARES = "buildah"


@timeout(240)
@cases(**RUNTIMES)
def test_build(t, rt):
    b = Buildah(t, rt)
    t.file("context/data", "copied\n")
    image = must(b.build(
        "COPY data /data\nENV A=b\nWORKDIR /work\nRUN cat /data > made && echo $A $(pwd) >> made\n"
        "USER user\nRUN id -u > /tmp/who; id -g >> /tmp/who\n")).out.strip()
    t.later(b, "rmi", "-f", image)
    n = b.container(image)
    t.eq(must(b.run(n, "/bin/cat", "/work/made", "/tmp/who")).out, "copied\nb /work\n1000\n1000\n")


@timeout(180)
@cases(**RUNTIMES)
def test_failing_run(t, rt):
    b = Buildah(t, rt)
    for code in (1, 9, 127):
        r = b.build(f"RUN exit {code}\n")
        t.eq(r.code, code, "buildah's exit code is the command's")
        t.has(r.err, f"exit status {code}")
    r = b.build('RUN ["/no/such/file"]\n')
    t.ne(r.code, 0)
    t.has(r.err.lower(), "no such file or directory")


@timeout(180)
@cases(**RUNTIMES)
def test_mounts(t, rt):
    """A volume of the command line, and a mount of the one RUN."""
    b = Buildah(t, rt)
    t.dir("volume")
    t.file("volume/in", "from host\n")
    t.file("context/data", "in the context\n")
    image = must(b.build(
        "RUN cat /v/in > /a && ! touch /v/x\n"
        "RUN --mount=type=bind,source=data,target=/m cat /m >> /a\n"
        "RUN --mount=type=tmpfs,target=/t touch /t/x && grep ' /t ' /proc/mounts\n",
        "-v", f"{t.tmp}/volume:/v:ro")).out.strip().splitlines()[-1]
    t.later(b, "rmi", "-f", image)
    n = b.container(image)
    t.eq(must(b.run(n, "/bin/cat", "/a")).out, "from host\nin the context\n")
    t.ne(b.run(n, "/bin/ls", "/v/in").code, 0, "a volume of the build is not in the image")


@timeout(180)
@cases(**RUNTIMES)
def test_run(t, rt):
    b = Buildah(t, rt)
    n = b.container()
    r = must(b.run(n, "/probe", opts=["--user", "1000:2000", "--hostname", "keep", "--env", "A=b",
                                      "--cap-drop", "CAP_CHOWN"])).json()
    t.eq((r["uid"], r["gid"], r["hostname"], r["pid"]), ([1000] * 3, [2000] * 3, "keep", 1))
    t.has(r["env"], "A=b")
    t.lacks(r["caps"]["bounding"], "cap_chown")
    t.eq(r["seccomp"], 2, "seccomp mode")
    for code in (0, 1, 77, 255):
        t.eq(b.run(n, "/probe", "exit", str(code)).code, code)
    t.eq(must(b.run(n, "/bin/cat", input="through\n")).out, "through\n")
    t.eq(must(b.run(n, "/bin/sh", "-c", "touch /kept; echo x > /mnt/f; cat /mnt/f",
                    opts=["--mount", "type=tmpfs,dst=/mnt"])).out, "x\n")
    must(b.run(n, "/bin/sh", "-c", "test -e /kept && ! test -e /mnt/f"))


@timeout(180)
@cases(**RUNTIMES)
def test_network(t, rt):
    """RUN in a network namespace that buildah makes, and in the host's."""
    b = Buildah(t, rt, network="none")
    n = b.container()
    t.ne(must(b.run(n, "/probe")).json()["ns"]["net"], os.readlink("/proc/self/ns/net"))
    b.network = "host"
    t.eq(must(b.run(n, "/probe")).json()["ns"]["net"], os.readlink("/proc/self/ns/net"))
