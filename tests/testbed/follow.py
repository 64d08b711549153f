"""Reads the lines of tests/run as they come, to tell what was running when no more came."""
import re

RESULT = re.compile(r"^(ok|FAIL|skip) +[0-9.]+s (.*?)(?:  # .*)?$")
START = re.compile(r"^# start (.*)$")
LAST = re.compile(r"^\d+ passed, \d+ failed, \d+ skipped$")


class Follower:
    def __init__(self):
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.running = []
        self.last = None

    def line(self, text):
        start = START.match(text)
        if start:
            self.running.append(start[1])
            return
        done = RESULT.match(text)
        if done:
            self.counts[done[1]] += 1
            # A unit program has several results, named PROGRAM::TEST; it is over when the next
            # one starts.
            self.running = [n for n in self.running if n != done[2]
                            and not done[2].startswith(n + "::")]
        if LAST.match(text):
            self.last = text  # kept: it is to be the very last
        else:
            print(text, flush=True)

    def failed(self, why):
        """The run did not come to its end: what ran is named and counted as failed."""
        for name in self.running or ["testbed"]:
            print(f"FAIL   0.000s {name}\n        {why}", flush=True)
        failed = self.counts["FAIL"] + len(self.running or [1])
        self.last = f"{self.counts['ok']} passed, {failed} failed, {self.counts['skip']} skipped"
        return 1

    def finish(self, status):
        if not self.last:
            return self.failed(f"tests/run exited {status} without its last line")
        return status
