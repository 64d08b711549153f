"""Time limits. Under emulation everything takes longer: `--slow N` stretches each of them, never the
times that a test itself is about."""
slow = 1.0


def limit(seconds):
    return seconds * slow


def often(native, emulated):
    """How often to do, or with which values, what is done again and again: less where the machine is
    emulated."""
    return emulated if slow > 2 else native


def moments(t):
    """How often to kill at random what must be whole afterwards: `--full` takes its time, but not
    where the machine is emulated."""
    return often(200 if t.settings.full else 25, 8)
