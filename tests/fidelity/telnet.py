#!/usr/bin/env python3
"""Plays the same conversations at BusyBox's telnetd and at ours, and compares what comes back.

    telnet.py --ours HOST:PORT [--busybox PROGRAM]

Ours is a running sensor with `telnet.product` busybox. The genuine one is started here, on a free
loopback port: `busybox telnetd` in front of `busybox login`, as root, from --busybox, the path, or
Debian's busybox-static (unpacked into a temporary folder). Compared are the bytes of every answer,
how the connection ends, and how long a wrong password takes. Exit status: 0 when everything is equal
but for what EXPECTED names, 1 when something differs, 2 when the genuine server cannot be had.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import peer

# What is typed before the prompt is thrown away when login starts, unless login was quicker.
RACES = {"typed ahead"}

# Probe to reason: what may differ. A difference that no longer shows is a failure too.
EXPECTED = {
    "typed ahead": "login throws away what is typed before its prompt; ours reads it, so that no try is lost",
    "typed during the wait": "the genuine terminal echoes it and then throws it away; ours reads it after the wait",
    "LF in a segment of its own": "there it is a second line; ours goes by the stream, not by segments",
    "Are you there, within a line": "there the answer overtakes the echo of what came in the same segment",
    "terminal type": "its telnetd takes the unasked-for answer for typed text; ours records it",
    "environment": "its telnetd takes the unasked-for answer for typed text; ours records it",
    "end of record": "its telnetd takes the byte behind it for an option",
    "NUL within a name": "login's fgets loses the line's end and hangs up; ours asks for the password",
    "a name of 300": "login's buffer is full and it hangs up; ours asks for the password and reports both",
    "^V, and a control character": "the next character taken literally is not played",
    "^R": "the line's reprint is not played",
}

QUIET = 0.5  # seconds without a byte until an answer counts as whole
LONG = 6.0  # patience for the refusal of a password
NAME = b"nobody-here\r\n"
REFUSED = [NAME, (b"wrong\r\n", LONG)]

PROBES = {
    "greeting": [],
    "a refusal": REFUSED,
    "three refusals": REFUSED * 3,
    "LF": [b"nobody-here\n", (b"x\n", LONG)],
    "CR NUL": [b"nobody-here\r\0", (b"x\r\0", LONG)],
    "CR": [b"nobody-here\r", (b"x\r", LONG)],
    "an empty password": [NAME, (b"\r\n", LONG)],
    "empty names": [b"\r\n"] * 11,
    "blanks around a name": [b"  nobody-here x \r\n", (b" p q \r\n", LONG)],
    "byte by byte": [b"a", b"b", b"\r"],
    "DEL": [b"bax\x7fb\r\n", (b"zz\x7f\x7f\x7fy\r\n", LONG)],
    "DEL beyond the start": [b"ab\x7f\x7f\x7fcd\r\n"],
    "backspace": [b"abc\x08d\r\n"],
    "^U": [b"abc\x15de\r\n"],
    "^W": [b"ab cd\x17e\r\n"],
    "^W behind a blank": [b"ab cd \x17e\r\n"],
    "^C": [b"ab", b"\x03"],
    "^backslash": [b"ab", b"\x1c"],
    "^Z": [b"ab", b"\x1a", b"c\r\n"],
    "^D": [b"\x04"],
    "control characters": [b"a\x01b\x1b[Ac\r\n"],
    "a name in UTF-8": [b"j\xc3\xbcrgen\r\n"],
    "a literal 255": [b"a\xff\xffb\r\n"],
    "Are you there": [b"\xff\xf6", b"\xff\xf6"],
    "interrupt, break, erase": [b"ab\xff\xf4c\r\n"],
    "break": [b"ab\xff\xf3c\r\n"],
    "erase character": [b"ab\xff\xf7c\r\n"],
    "erase line": [b"ab\xff\xf8c\r\n"],
    "NOP, data mark, go ahead": [b"a\xff\xf1b\xff\xf2c\xff\xf9d\r\n"],
    "options as a client answers them": [
        b"\xff\xfc\x01\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0\xff\xfd\x01\xff\xfd\x03", b"a\r\n"],
    "options that nobody asked for": [b"\xff\xfb\x18\xff\xfb\x20\xff\xfb\x27\xff\xfd\x05\xff\xfd\x00", b"a\r\n"],
    "no echo": [b"\xff\xfe\x01abc\r\n"],
    "HTTP": [b"GET / HTTP/1.0\r\n"],
    "typed ahead": [(NAME + b"wrong\r\n", LONG)],
    "typed during the wait": [NAME, (b"x\r\n", 0.3), (b"other\r\n", LONG)],
    "LF in a segment of its own": [b"nobody-here\r", b"\n", b"\n"],
    "Are you there, within a line": [b"a\xff\xf6b\r\n"],
    "terminal type": [b"\xff\xfa\x18\x00xterm\xff\xf0a\r\n"],
    "environment": [b"\xff\xfa\x27\x00\x00USER\x01root\xff\xf0a\r\n"],
    "end of record": [b"a\xff\xefb\r\n"],
    "NUL within a name": [b"a\0b\r\n"],
    "a name of 300": [b"a" * 300 + b"\r\n"],
    "^C while a password is typed": [NAME, (b"x\x03", LONG)],
    "^V, and a control character": [b"a\x16\x03b\r\n"],
    "^R": [b"abc\x12d\r\n"],
    "^D within a name": [b"ab\x04", b"\r\n"],
    "silence": [(b"", 63.0)],
    "silence at the password": [NAME, (b"", 63.0)],
}


def talk(address, steps):
    """What is said to each step, and how it ends."""
    said = []
    took = 0.0
    with socket.create_connection(address, timeout=10) as connection:
        for step in [(b"", 3.0), *steps]:
            line, patience = step if isinstance(step, tuple) else (step, 0.8)
            answer, end = b"", "open"
            began = time.monotonic()
            try:
                connection.sendall(line)
                connection.settimeout(QUIET)
                while True:
                    try:
                        piece = connection.recv(65536)
                    except TimeoutError:
                        # The line's end is echoed at once; the refusal comes after the wait.
                        if time.monotonic() - began > patience or answer not in (b"", b"\r\n"):
                            break
                        continue
                    if not piece:
                        end = "closed"
                        break
                    took = max(took, time.monotonic() - began)
                    answer += piece
            except ConnectionError:
                end = "closed"
            said.append((answer, end))
            if end != "open":
                break
    return said, took


def stable(said):
    """With the host's name, which stands in the first prompt, the same on both sides."""
    name = re.search(rb"(\S+) login: ", said[0][0])
    return [(text.replace(name[1] + b" login: ", b"HOST login: ") if name else text, end) for text, end in said]


def compare(probe, steps, ours, genuine):
    """What differs in one conversation."""
    (mine, took_ours), (theirs, took) = talk(ours, steps), talk(genuine, steps)
    found = peer.differences("busybox", stable(theirs), stable(mine))
    # A tenth of a wait is chance on our side, and machines are busy.
    if max(took, took_ours) > 1 and not took / 1.5 < took_ours < took * 1.5:
        found.append(f"a refusal takes {took:.1f} s there, {took_ours:.1f} s here")
    return probe, found


def has_telnetd(program):
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=False)
    return {"telnetd", "login"} <= set(listed.stdout.split())


def busybox(named, folder):
    """A busybox with both programs."""
    found = named or shutil.which("busybox")
    if found and has_telnetd(found):
        return found
    if not named and shutil.which("apt-get") and shutil.which("dpkg"):
        subprocess.run(["apt-get", "-q", "download", "busybox-static"], cwd=folder, capture_output=True, check=False)
        for package in folder.glob("busybox-static*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
            if has_telnetd(folder / "bin/busybox"):
                return str(folder / "bin/busybox")
    print("no busybox with telnetd and login: unpack Debian's busybox-static and name it with --busybox")
    sys.exit(2)


def telnetd(program, folder, port):
    (folder / "login").write_text(f"#!/bin/sh\nexec {program} login\n")
    (folder / "login").chmod(0o755)
    (folder / "issue").write_text("")
    files = ["-l", folder / "login", "-f", folder / "issue"]
    return [program, "telnetd", "-F", "-b", "127.0.0.1", "-p", str(port), *files]


def main():
    arguments = peer.arguments(__doc__)
    arguments.add_argument("--ours", required=True, type=peer.address, metavar="HOST:PORT")
    arguments.add_argument("--busybox", default="")
    chosen = arguments.parse_args()
    if os.geteuid() != 0:
        print("busybox login runs as root only")
        return 2
    genuine = ("127.0.0.1", peer.free_port())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        command = telnetd(busybox(chosen.busybox, folder), folder, genuine[1])
        with peer.running(command, genuine[1]), concurrent.futures.ThreadPoolExecutor(16) as pool:
            runs = [pool.submit(compare, *it, chosen.ours, genuine) for it in PROBES.items()]
            found = dict(it.result() for it in runs)
    return peer.verdict("BusyBox's telnetd", found, EXPECTED, RACES)


if __name__ == "__main__":
    sys.exit(main())
