#!/usr/bin/env python3
"""Plays the same requests at a genuine git-daemon and at ours, and compares what comes back.

    git.py --ours HOST:PORT

Ours is a running sensor's git service. The genuine one is started here, on a free loopback port,
with one folder of no repositories. Compared are the bytes of every answer, how the connection ends,
and what git itself says and exits with. Exit status: 0 when everything is equal, 1 when something
differs, 2 when git-daemon is missing.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import peer

# Probe to reason: what may differ. Nothing does; a difference that no longer shows is a failure too.
EXPECTED = {}

def line(text):
    """One packet line: gitprotocol-common(5)."""
    return b"%04x" % (len(text) + 4) + text


UPLOAD = b"git-upload-pack "
PROBES = {
    "fetch, protocol 2": line(UPLOAD + b"/nope.git\0host=127.0.0.1\0\0version=2\0"),
    "fetch, protocol 0": line(UPLOAD + b"/nope.git\0host=127.0.0.1\0"),
    "fetch without host": line(UPLOAD + b"/nope.git"),
    "fetch, line feed": line(UPLOAD + b"/nope.git\n"),
    "fetch, line feed before host": line(UPLOAD + b"/nope.git\n\0host=a\0"),
    "push": line(b"git-receive-pack /nope.git\0host=127.0.0.1\0"),
    "archive": line(b"git-upload-archive /nope.git\0host=127.0.0.1\0"),
    "archive with arguments": line(b"git-upload-archive /nope.git\0host=a\0") + line(b"argument HEAD\n") + b"0000",
    "path without slash": line(UPLOAD + b"nope.git\0host=a\0"),
    "no path": line(UPLOAD),
    "no path, host": line(UPLOAD + b"\0host=a\0"),
    "two blanks": line(UPLOAD + b" /nope.git\0host=a\0"),
    "parent folders": line(UPLOAD + b"/../../etc/passwd\0host=a\0"),
    "home folder": line(UPLOAD + b"/~root/x\0host=a\0"),
    "path not UTF-8": line(UPLOAD + b"/\xff\xfe.git\0host=a\0"),
    "path of 5,000": line(UPLOAD + b"/" + b"a" * 4999 + b"\0host=a\0"),
    "path of 65,470": line(UPLOAD + b"/" + b"a" * 65469),
    "path of 65,471": line(UPLOAD + b"/" + b"a" * 65470),
    "host twice": line(UPLOAD + b"/a\0host=b\0host=c\0"),
    "host empty": line(UPLOAD + b"/a\0host=\0"),
    "host in capitals": line(UPLOAD + b"/a\0HOST=b\0"),
    "host not ended": line(UPLOAD + b"/a\0host=b"),
    "parameters not ended": line(UPLOAD + b"/a\0host=b\0\0version=2"),
    "parameters without host": line(UPLOAD + b"/a\0\0version=2\0"),
    "something else after the path": line(UPLOAD + b"/a\0version=2\0"),
    "something else after the host": line(UPLOAD + b"/a\0host=b\0junk"),
    "NUL before the path": line(UPLOAD + b"\0/nope\0host=a\0"),
    "bytes after the request": line(UPLOAD + b"/a\0host=b\0") + b"\n",
    "command alone": line(b"git-upload-pack"),
    "command and tab": line(b"git-upload-pack\t/a\0host=x\0"),
    "command in capitals": line(b"GIT-UPLOAD-PACK /a\0host=x\0"),
    "command unknown": line(b"git-frobnicate /a\0host=x\0"),
    "command without git-": line(b"upload-pack /a\0host=x\0"),
    "length 0": b"0000",
    "length 1": b"0001",
    "length 3": b"0003",
    "length 4": b"0004",
    "length 5": b"0005\n",
    "length 0, then a request": b"0000" + line(UPLOAD + b"/a\0host=b\0"),
    "length fff3, unfinished": b"fff3" + UPLOAD,
    "length fff4": b"fff4",
    "length ffff": b"ffff",
    "length in capitals": b"001A" + UPLOAD + b"/n.git",
    "length with a sign": b"+014" + UPLOAD,
    "length with a blank": b"00 5",
    "length no number": b"000g",
    "three bytes": b"003",
    "unfinished": b"0032git-upload-pack /no",
    "HTTP": b"GET / HTTP/1.0\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "empty lines": b"\r\n\r\n",
    "TLS": bytes.fromhex("160301005a0100005603035f"),
    "nothing": b"",
}

CLIENTS = {
    "ls-remote": ["ls-remote", "{url}/project.git"],
    "ls-remote, protocol 0": ["-c", "protocol.version=0", "ls-remote", "{url}/project.git"],
    "clone": ["clone", "{url}/team/secrets.git", "{tmp}/never"],
    "push": ["push", "{url}/project.git", "HEAD:main"],
    "archive": ["archive", "--remote={url}/project.git", "HEAD"],
}


def client(address, arguments, folder):
    """What git prints, with the address taken out, and its exit status."""
    url = f"git://{address[0]}:{address[1]}"
    arguments = [it.format(url=url, tmp=folder) for it in arguments]
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=30, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    return said.replace(url, "URL"), done.returncode


def git_daemon(folder, port):
    """A git-daemon that exports nothing."""
    tried = [shutil.which("git-daemon"), "/usr/lib/git-core/git-daemon"]
    program = next((it for it in tried if it and pathlib.Path(it).exists()), None)
    if not program:
        print("git-daemon is missing: install Debian's package git")
        sys.exit(2)
    return [program, f"--base-path={folder}", "--listen=127.0.0.1", f"--port={port}", folder]


def make_repository(folder):
    """A repository with one commit, to push from."""
    author = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    for arguments in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def main():
    arguments = peer.arguments(__doc__)
    arguments.add_argument("--ours", required=True, type=peer.address, metavar="HOST:PORT")
    ours = arguments.parse_args().ours
    genuine = ("127.0.0.1", peer.free_port())
    found = {}
    with tempfile.TemporaryDirectory() as base, tempfile.TemporaryDirectory() as folder:
        make_repository(folder)
        with peer.running(git_daemon(base, genuine[1]), genuine[1]):
            for name, request in PROBES.items():
                answers = [peer.exchange(it, request) for it in (genuine, ours)]
                found[name] = peer.differences("genuine", *([it] for it in answers))
            for name, command in CLIENTS.items():
                said = [client(it, command, folder) for it in (genuine, ours)]
                found[f"git {name}"] = peer.differences("genuine", *([it] for it in said))
    return peer.verdict("git", found, EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
