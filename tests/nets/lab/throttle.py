#!/usr/bin/python3
"""Lets a process run for a part of the time only, as a quota of its processor would.

    throttle.py PID PERCENT PERIOD_MS      until TERM; the process runs freely then
"""

import os
import signal
import sys
import time


def main():
    pid, percent, period_ms = (int(word) for word in sys.argv[1:])
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    runs_s = period_ms * percent / 100000
    while not over:
        os.kill(pid, signal.SIGCONT)
        time.sleep(runs_s)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(period_ms / 1000 - runs_s)
    os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main()
