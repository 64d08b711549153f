"""Profiles of AppArmor for tests."""
import shutil
import subprocess

from .clock import limit

# For level namespace the payload's paths, for level vm the monitor's.
PROFILE = """profile %s flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  mount,
  umount,
  signal,
  ptrace,
  unix,
  deny /secret r,
  deny /rootfs/secret r,
}
"""


def enabled():
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as f:
            return f.read().strip() == "Y"
    except OSError:
        return False


def label(pid):
    """A process's, as the kernel says it: "name (mode)" or "unconfined"."""
    with open(f"/proc/{pid}/attr/apparmor/current", encoding="ascii") as f:
        return f.read().rstrip("\n\0")


def load_profile(t):
    """Loads a profile of the test's own that hides /secret; its name."""
    t.need(enabled(), "AppArmor is not enabled on this machine")
    t.need(shutil.which("apparmor_parser"), "apparmor_parser is not installed")
    name = f"bailey-test-{t.mark}"
    path = t.file("profile", PROFILE % name)

    def parser(option):
        subprocess.run(["apparmor_parser", option, "-K", path], check=True, capture_output=True,
                       timeout=limit(20))
    parser("-a")
    t.later(parser, "-R")
    return name
