"""buildah with bailey called as bailey-vm: each RUN in a virtual machine of its own."""
import platform

from lib import vm
from lib.buildah import Buildah
from lib.container import must
from lib.testing import bailey_only, timeout

MACHINES = True  # each test boots some


@timeout(600)
@bailey_only("isolation level vm")
def test_build_and_run(t):
    b = Buildah(t, vm.program(t))
    t.file("context/data", "copied\n")
    image = must(b.build(
        "COPY data /data\nWORKDIR /work\nRUN cat /data >made && cat /proc/version >>made && "
        "chown 1000:1000 made && mknod /fifo p\nUSER user\n"
        "RUN --mount=type=bind,source=data,target=/m id -u >/tmp/who && cat /m >>/tmp/who\n")
    ).out.strip().splitlines()[-1]
    t.later(b, "rmi", "-f", image)
    n = b.container(image)
    r = must(b.run(n, "/bin/sh", "-c", "cat /work/made /tmp/who; stat -c '%u %F' /work/made /fifo"))
    lines = r.out.splitlines()
    t.eq(lines[0], "copied")
    t.lacks(lines[1], platform.version(), "RUN in a machine")
    t.eq(lines[2:], ["1000", "copied", "1000 regular file", "0 fifo"])
    t.eq(b.run(n, "/bin/sh", "-c", "exit 77").code, 77)
    t.eq(must(b.run(n, "/bin/cat", input="through\n")).out, "through\n")
    r = b.build("RUN exit 9\n")
    t.eq(r.code, 9, "buildah's exit code is the command's")
    b.network = "host"
    r = b.build("RUN true\n")
    t.ne(r.code, 0, "the host's network")
    t.has(r.err, '"network" is missing')
