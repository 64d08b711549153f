"""Reads the lines of tests/run as they come, to tell what was running when no more came."""
import re

RESULT = re.compile(r"^(ok|FAIL|skip) +[0-9.]+s (.*?)(?:  # .*)?$")
START = re.compile(r"^# start (.*)$")
AGAIN = re.compile(r"^# again: (.*)$")
LAST = re.compile(r"^\d+ passed, \d+ failed, \d+ skipped$")


class Follower:
    def __init__(self):
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.running, self.done = [], []
        self.suspects = set()  # that ran when a machine failed
        self.last = None

    def line(self, text):
        start = START.match(text)
        if start:
            self.running.append(start[1])
            return
        again = AGAIN.match(text)
        if again:
            self.running = [n for n in self.running if n != again[1]]
        done = RESULT.match(text)
        if done:
            self.counts[done[1]] += 1
            # A unit program has several results, named PROGRAM::TEST; it is over when the next
            # one starts.
            over = [n for n in self.running if n == done[2] or done[2].startswith(n + "::")]
            self.running = [n for n in self.running if n not in over]
            self.done += over
        if LAST.match(text):
            self.last = text  # kept: it is to be the very last
        else:
            print(text, flush=True)

    def again(self, why):
        """The machine failed and another goes on with what is not done; a test in whose time that
        happens twice has failed."""
        for name in self.running:
            if name in self.suspects:
                print(f"FAIL   0.000s {name}\n        {why}, twice", flush=True)
                self.counts["FAIL"] += 1
                self.done.append(name)
        self.suspects.update(self.running)
        self.running, self.last = [], None

    def failed(self, why):
        """The run did not come to its end: what ran is named and counted as failed."""
        for name in self.running or ["testbed"]:
            print(f"FAIL   0.000s {name}\n        {why}", flush=True)
        self.counts["FAIL"] += len(self.running or [1])
        self.last = self.sum()
        return 1

    def sum(self):
        return "{ok} passed, {FAIL} failed, {skip} skipped".format(**self.counts)

    def finish(self, status):
        if not self.last:
            return self.failed(f"tests/run exited {status} without its last line")
        self.last = self.sum()  # of all machines
        return 1 if self.counts["FAIL"] else status
