#!/usr/bin/env python3
"""Writes python.golden: what Python's own logging makes of each format, for one fixed record.

Run it with any Python from 3.11 on, in this folder:  python3 python_golden.py > python.golden
Each line is a JSON array: style, format, datefmt, utc offset in seconds, Python's text (null: refused).
"""

import json
import logging
import os
import sys
import time

LINE = (
    '{"dst_host": "192.0.2.1", "dst_port": 21, "local_time": "2026-11-21 21:36:31.007389", '
    '"local_time_adjusted": "%s", "logdata": {"PASSWORD": "100%% \\u00e9", "USERNAME": "admin"}, '
    '"logtype": 2000, "node_id": "opencanary-1", "src_host": "192.0.2.7", "src_port": 42350, '
    '"utc_time": "2026-11-21 21:36:31.007389"}'
)
ZONES = {0: ("UTC0", "2026-11-21 21:36:31.007389"), -18000: ("XST5", "2026-11-21 16:36:31.007389")}
CREATED = 1795296991.007389

CASES = [
    ("%", "", ""),
    ("%", "opencanaryd[%(process)-5s:%(thread)d]: %(name)s %(levelname)-5s %(message)s", ""),
    ("%", "%(asctime)s %(message)s", ""),
    ("%", "%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"),
    ("%", "%(asctime)s", "%c|%x|%X|%r|%D|%F|%T|%R|%e|%j|%U|%W|%u|%w|%V|%G|%g|%y|%C|%h|%B|%A|%a|%p|%I|%n|%t|%%"),
    ("%", "%(asctime)s", "%f %H.%f"),
    ("%", "%(asctime)-30s|%(asctime)30s|%(asctime).10s|", ""),
    ("%", "%(created)s %(created)d %(created)f %(created).3f %(created)20.1f %(created)-20.2f| %(created)020.2f %(created).0f", ""),
    ("%", "%(msecs)d %(msecs)03d %(msecs)s %(msecs)f %(msecs).1f %(msecs)+d %(msecs)3d", ""),
    ("%", "%(levelno)d %(levelno)s %(levelno)5d| %(levelno)-5d| %(levelno)05d %(levelno)+d %(levelno) d %(levelno).4d", ""),
    ("%", "%(levelno)x %(levelno)X %(levelno)#x %(levelno)o %(levelno)#o %(levelno)#06x %(levelno)f %(levelno).2f %(levelno)i %(levelno)u", ""),
    ("%", "%(levelname)s %(levelname)10s| %(levelname)-10s| %(levelname).4s %(levelname)010s", ""),
    ("%", "%(name)-20s|%(name)20s|%(name)5s", ""),
    ("%", "%(processName)s %(threadName)s %(process)d %(thread)d %(process)ld", ""),
    ("%", "%% 100%% %(message).20s", ""),
    ("%", "%(nosuch)s", ""),
    ("%", "%(message)d", ""),
    ("%", "%(created)x", ""),
    ("%", "%(message", ""),
    ("%", "plain", ""),
    ("%", "%(message)s 100%", ""),
    ("%", "%(message)s %y", ""),
    ("{", "{asctime} {levelname} {name}: {message}", ""),
    ("{", "{levelname:<10}|{levelname:>10}|{levelname:^10}|{levelname:*^11}|{levelname:.3}|{levelname:10.3s}|{levelname:10}", ""),
    ("{", "{levelno:d} {levelno:5} {levelno:<5}| {levelno:05d} {levelno:+d} {levelno:#x} {levelno:o} {levelno:X} {levelno:.2f}", ""),
    ("{", "{msecs:03.0f} {msecs:f} {msecs} {created:.3f} {created}", ""),
    ("{", "{{{levelno}}}", ""),
    ("{", "{levelno:s}", ""),
    ("{", "{msecs:d}", ""),
    ("{", "{message:d}", ""),
    ("{", "{nosuch}", ""),
    ("{", "{message", ""),
    ("{", "plain", ""),
    ("$", "$asctime ${levelname} $$ $message", ""),
    ("$", "$nosuch", ""),
    ("$", "plain", ""),
]


def text(style, fmt, datefmt, offset):
    os.environ["TZ"], adjusted = ZONES[offset]
    time.tzset()
    record = logging.makeLogRecord({
        "name": "opencanary-1", "msg": LINE % adjusted, "levelno": 30, "levelname": "WARNING",
        "created": CREATED, "msecs": 7.0, "process": 4242, "thread": 4242,
        "processName": "MainProcess", "threadName": "MainThread",
    })
    try:
        return logging.Formatter(fmt or None, datefmt or None, style).format(record)
    except Exception:
        return None


for style, fmt, datefmt in CASES:
    for offset in ZONES:
        json.dump([style, fmt, datefmt, offset, text(style, fmt, datefmt, offset)], sys.stdout)
        print()
