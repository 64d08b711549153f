"""One virtual machine: QEMU with the test host's image, never changed by a run, and the host's
directories in it. Its end is this process's end, however that comes about."""
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
# The console speaks into a file; what it says is shown when something went wrong.
CMDLINE = ("console=ttyS0 root=/dev/vda rw apparmor=1 security=apparmor mitigations=off panic=-1 "
           "oops=panic systemd.show_status=0 loglevel=5")


class Failure(Exception):
    """The machine did not do what was asked; the text says why."""


def hardware_kvm():
    """KVM runs an unmodified kernel: the processor has virtualization, and this user may use it."""
    with open("/proc/cpuinfo") as f:
        if not re.search(r"^flags\s*:.*\b(vmx|svm)\b", f.read(), re.M):
            return False
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def accelerator(choice):
    if choice == "kvm" or (choice == "auto" and hardware_kvm()):
        return "kvm", ["-accel", "kvm", "-cpu", "host"]
    # An AMD processor with SVM and nested paging: kvm-amd works in the guest.
    return "tcg", ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "EPYC,+svm,+npt"]


class Machine:
    """accel: "auto", "kvm" or "tcg". shares: tag -> (directory, writable). With terminal, the
    guest's /dev/hvc0 is this process's stdin and stdout; else what the guest writes to its port is
    read with read_line()."""

    def __init__(self, image, shares, console, accel="auto", cpus=2, memory=4096, terminal=False,
                 append=""):
        self.console = console
        self.kind, args = accelerator(accel)
        self.output, self._theirs = None, None
        self._buffer = b""
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
                "-machine", "q35,sata=off,hpet=off", *args, "-smp", str(cpus), "-m", str(memory),
                "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initramfs.gz",
                "-append", f"{CMDLINE} {append}".strip(), "-nic", "none",
                # Writes go to an unlinked file, and nobody needs them to survive.
                "-drive", f"file={image}/root.ext4,format=raw,if=virtio,snapshot=on,cache=unsafe",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                "-serial", f"file:{console}"]
        for tag, (path, writable) in shares.items():
            path = path.replace(",", ",,")
            argv += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap"
                     + ("" if writable else ",readonly=on"),
                     "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        if terminal:
            argv += ["-chardev", "stdio,id=terminal,signal=off",
                     "-device", "virtconsole,chardev=terminal"]
        else:
            self.output, self._theirs = socket.socketpair()
            argv += ["-chardev", f"socket,id=output,fd={self._theirs.fileno()}",
                     "-device", "virtserialport,chardev=output,name=testbed.output"]
        self.argv, self.terminal = argv, terminal
        self.process = None

    def prepare(self, parent):
        """In the child, before QEMU: it ends with this program, however that comes about."""
        # A terminal's Ctrl-C is for this program, which then ends the machine.
        if not self.terminal:
            os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    def start(self):
        if not shutil.which(self.argv[0]):
            raise Failure(f"{self.argv[0]} is missing (tools/deps testbed)")
        parent = os.getpid()
        self.process = subprocess.Popen(
            self.argv, stdin=None if self.terminal else subprocess.DEVNULL,
            stdout=None if self.terminal else sys.stderr, preexec_fn=lambda: self.prepare(parent),
            stderr=open(self.console + ".qemu", "w"),
            pass_fds=() if self.terminal else (self._theirs.fileno(),))
        if self._theirs:
            self._theirs.close()

    def read_line(self, seconds):
        """The next line without its end, None when the machine ended; TimeoutError."""
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.output], [], [], left)[0]:
                raise TimeoutError
            try:
                data = self.output.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                last, self._buffer = self._buffer, b""
                return last.decode(errors="replace") if last else None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def wait(self, seconds):
        """Until the machine has switched itself off."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the machine did not switch off in {seconds:g} s") from None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def last_words(self, lines=30):
        """The end of the console, and QEMU's own complaints."""
        text = []
        for path in (self.console, self.console + ".qemu"):
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    text += [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\x00-\x08]", "", l.rstrip())
                             for l in f if "TCG doesn't support requested feature" not in l][-lines:]
        return "\n".join(l for l in text if l)
