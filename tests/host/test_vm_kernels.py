"""Virtual machines boot the kernels that people have: Debian's -amd64 and -cloud-amd64, unmodified,
with their modules, and what make guest-kernel builds, both as ELF file and as bzImage."""
import glob
import os
import subprocess

from lib.container import must
from lib.testing import bailey_only, cases, timeout

MACHINES = True  # each test boots some
GUEST = "/usr/local/lib/bailey/guest"
SECTION = bailey_only("the vm section of config.json and the isolation level vm")
# Of the distribution's: what the first process of the machine has loaded.
MODULES = ("virtio_mmio", "virtio_console", "virtiofs", "virtio_net", "overlay")


def _boot(t, kernel, *argv, initrd=None):
    c = t.container(*argv)
    c.config["vm"] = {"kernel": {"path": kernel}}
    if initrd:
        c.config["vm"]["kernel"]["initrd"] = initrd
    return must(c.run("--isolation=vm", timeout=120)).out


def _distribution(t, flavour):
    names = [n for n in glob.glob("/boot/vmlinuz-*-amd64")
             if n.endswith(f"-{flavour}") and ("cloud" in n) == ("cloud" in flavour)]
    t.need(names, f"no /boot/vmlinuz-*-{flavour}")
    return sorted(names)[-1]


def _release(kernel):
    return os.path.basename(kernel).split("-", 1)[1]


@SECTION
@timeout(150)
@cases(amd64=("amd64",), cloud=("cloud-amd64",))
def test_distribution(t, flavour):
    kernel = _distribution(t, flavour)
    release, _, modules = _boot(t, kernel, "sh", "-c", "cat /proc/sys/kernel/osrelease; echo; "
                                "cat /proc/modules").partition("\n\n")
    t.eq(release.strip(), _release(kernel), "the guest's kernel")
    for name in MODULES:
        t.has("\n" + modules, f"\n{name} ", "/proc/modules")


@SECTION
@timeout(150)
@cases(vmlinux=("vmlinux",), bzImage=("bzImage",))
def test_guest_kernel(t, name):
    t.need(os.path.exists(f"{GUEST}/{name}"), "no guest kernel in " + GUEST)
    with open(f"{GUEST}/release") as f:
        release = f.read().strip()
    t.eq(_boot(t, f"{GUEST}/{name}", "cat", "/proc/sys/kernel/osrelease").strip(), release,
         "the guest's kernel")


@SECTION
@timeout(150)
def test_found_without_configuration(t):
    """The guest kernel comes before the distribution's."""
    t.need(os.path.exists(f"{GUEST}/vmlinux"), "no guest kernel in " + GUEST)
    c = t.container("cat", "/proc/sys/kernel/osrelease")
    t.has(must(c.run("--isolation=vm", timeout=120)).out, "-bailey", "the guest's kernel")


@SECTION
@timeout(150)
def test_initrd_in_front(t):
    """What it brings is there, but /init stays the agent."""
    t.need(os.path.exists(f"{GUEST}/vmlinux"), "no guest kernel in " + GUEST)
    where = t.dir("initrd")
    for name, text in (("init", "#!/none"), ("other", "x")):
        with open(os.path.join(where, name), "w") as f:
            f.write(text)
    archive = t.file("archive")
    with open(archive, "wb") as f:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], input=b"init\nother\n", stdout=f,
                       cwd=where, check=True, stderr=subprocess.DEVNULL)
    t.eq(_boot(t, f"{GUEST}/vmlinux", "echo", "up", initrd=archive), "up\n", "output")


@SECTION
def test_refused(t):
    for kernel, texts in (
            ("/none", ("/none",)),
            (t.file("text", "no kernel"), ("neither a bzImage nor an ELF vmlinux",)),
            ("/bin/busybox", ("is it a vmlinux?",))):
        c = t.container("true")
        c.config["vm"] = {"kernel": {"path": kernel}}
        t.fails(c.create("--isolation=vm"), *texts)
