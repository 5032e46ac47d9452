#!/usr/bin/env python3
"""Writes python.golden: which file Python's rotating handlers put each line into.

Run it with any Python from 3.11 on, in this folder:  python3 python_golden.py > python.golden
Each line is a JSON object: the handler's arguments, the zone, the moments at which lines `0`, `1`, ... are
written (seconds since the epoch) or the lines themselves, and the files with their lines at the end.
"""

import json
import logging
import logging.handlers
import os
import tempfile
import time
from datetime import time as clock

BASE = 1795296991  # 2026-11-21 21:36:31 UTC, a Saturday
HOUR, DAY = 3600, 86400

SIZED = [
    (dict(maxBytes=20, backupCount=3), ["a" * 9] * 9),
    (dict(maxBytes=20, backupCount=3), ["a" * 8, "b" * 9, "c" * 9, "d", "e", "f" * 15, "g" * 18]),
    (dict(maxBytes=20, backupCount=1), [str(n) * 6 for n in range(8)]),
    (dict(maxBytes=0, backupCount=3), ["a" * 50] * 3),
    (dict(maxBytes=20, backupCount=0), ["a" * 15] * 3),
]
# The last Sunday of March 2026 and of October 2026 are where Berlin changes its clocks.
SPRING, AUTUMN = 1774656000, 1792800000
TIMED = [
    (dict(when="S", interval=1), "UTC", [BASE + n for n in (0, 0, 1, 2, 2, 5, 9)]),
    (dict(when="s", interval=10, backupCount=2), "UTC", [BASE + 7 * n for n in range(12)]),
    (dict(when="M", interval=1), "UTC", [BASE + 40 * n for n in range(8)]),
    (dict(when="H", interval=1, backupCount=3), "UTC", [BASE + 1900 * n for n in range(16)]),
    (dict(when="h", interval=6), "Asia/Kolkata", [BASE + 2 * HOUR * n for n in range(12)]),
    (dict(when="D", interval=1, backupCount=2), "UTC", [BASE + 9 * HOUR * n for n in range(16)]),
    (dict(when="midnight"), "UTC", [BASE + 5 * HOUR * n for n in range(16)]),
    (dict(when="midnight", backupCount=2), "America/New_York", [BASE + 5 * HOUR * n for n in range(20)]),
    (dict(when="midnight", utc=True), "America/New_York", [BASE + 5 * HOUR * n for n in range(16)]),
    (dict(when="midnight", atTime="03:30"), "Europe/Berlin", [BASE + 3 * HOUR * n for n in range(20)]),
    (dict(when="midnight"), "Europe/Berlin", [SPRING + 5 * HOUR * n for n in range(20)]),
    (dict(when="midnight"), "Europe/Berlin", [AUTUMN + 5 * HOUR * n for n in range(20)]),
    (dict(when="W0"), "UTC", [BASE + 11 * HOUR * n for n in range(40)]),
    (dict(when="W6"), "Europe/Berlin", [BASE + 11 * HOUR * n for n in range(40)]),
    (dict(when="W2", atTime="12:00"), "UTC", [BASE + 11 * HOUR * n for n in range(40)]),
    (dict(when="midnight"), "UTC", [BASE, BASE + 10 * DAY, BASE + 10 * DAY + HOUR, BASE + 12 * DAY]),
    (dict(when="H", interval=1), "UTC", [BASE, BASE + 10 * HOUR + 5, BASE + 11 * HOUR]),
]


def play(make, lines, moments):
    with tempfile.TemporaryDirectory() as folder:
        real = time.time
        if moments:
            time.time = lambda: moments[0]
        handler = make(os.path.join(folder, "log"))
        for at, line in enumerate(lines):
            if moments:
                time.time = lambda: moments[at]
            handler.emit(logging.makeLogRecord({"msg": line}))
        time.time = real
        handler.close()
        return {name: open(os.path.join(folder, name)).read().splitlines() for name in sorted(os.listdir(folder))}


for arguments, lines in SIZED:
    make = lambda path: logging.handlers.RotatingFileHandler(path, **arguments)
    print(json.dumps({"arguments": arguments, "lines": lines, "files": play(make, lines, [])}))
for arguments, zone, moments in TIMED:
    os.environ["TZ"] = zone
    time.tzset()
    real = dict(arguments)
    if "atTime" in real:
        real["atTime"] = clock.fromisoformat(real["atTime"])
    make = lambda path: logging.handlers.TimedRotatingFileHandler(path, delay=True, **real)
    lines = [str(n) for n in range(len(moments))]
    print(json.dumps({"arguments": arguments, "zone": zone, "moments": moments, "lines": lines,
                      "files": play(make, lines, moments)}))
