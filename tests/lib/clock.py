"""Time limits. Under emulation everything takes longer: `--slow N` stretches each of them, never the
times that a test itself is about."""
slow = 1.0


def limit(seconds):
    return seconds * slow


def moments(t):
    """How often to kill at random what must be whole afterwards: `--full` takes its time, but not
    where the machine is emulated."""
    return 8 if slow > 2 else 200 if t.settings.full else 25
