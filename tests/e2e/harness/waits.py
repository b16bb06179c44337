"""Deadlines. Every wait in the suite is for a condition and ends by one of these."""

import os
import time

# Under valgrind or a sanitizer everything takes longer; the runner sets the factor.
SCALE = float(os.environ.get("WARREN_TIME_SCALE", "1"))
# They are guards: no test says by them how fast anything is, and so they hold on a machine that has
# thirty other things to do.
SOON = 60.0 * SCALE   # what should come at once
LONG = 180.0 * SCALE  # what takes real work


class Deadline:
    def __init__(self, seconds=None):
        self.seconds = SOON if seconds is None else seconds
        self.start = time.monotonic()

    def left(self):
        return self.start + self.seconds - time.monotonic()

    def passed(self):
        return self.left() <= 0

    def elapsed(self):
        return time.monotonic() - self.start


def wait_until(condition, what, seconds=None, interval=0.02):
    """The first true value that `condition()` gives; fails by name when the time is over."""
    deadline = Deadline(seconds)
    while True:
        value = condition()
        if value:
            return value
        if deadline.passed():
            raise AssertionError("waited %.1f s in vain: %s" % (deadline.seconds, what))
        time.sleep(min(interval, max(deadline.left(), 0.001)))
