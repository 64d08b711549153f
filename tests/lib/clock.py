"""Time limits. Under emulation everything takes longer: `--slow N` stretches each of them, never the
times that a test itself is about."""
slow = 1.0


def limit(seconds):
    return seconds * slow
