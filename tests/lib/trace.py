"""A verb of bailey's under strace, that makes what is rare happen where it is told to."""
import os
import subprocess

# LeakSanitizer, in builds with it, cannot work in a process that is traced.
TRACED = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def strace(t, *options_and_verb, out="/dev/null"):
    """The verb of bailey's under strace; what stands before "--" is strace's."""
    at = options_and_verb.index("--")
    return subprocess.Popen(["strace", "-qq", "-o", out, *options_and_verb[:at],
                             *t.runtime.argv(*options_and_verb[at + 1:])],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=TRACED)


def kills(t, calls, most, *verb, children=False):
    """Runs the verb with SIGKILL at its first call of that kind, at its second, until there is none left.
    With children, each of these at its own."""
    for when in range(1, most):
        code = strace(t, *["-f"] * children, "-e", f"trace={calls}",
                      "-e", f"inject={calls}:signal=KILL:when={when}", "--", *verb).wait(timeout=60)
        yield f"after SIGKILL at {calls} {when}"
        if code == 0:
            return
    t.true(False, f"more than {most} of {calls}")
