#!/usr/bin/env python3
"""Plays the same conversations at a genuine FTP server and at ours, and compares what comes back.

    ftp.py --ours HOST:PORT [--server vsftpd|proftpd|pure-ftpd] [--tls] [--root FOLDER]

Ours is a running sensor whose `ftp.banner` claims the server (and whose `ftp.tls` is on, for --tls:
vsftpd only). The genuine one is started here on a free loopback port, as a site that refuses
everybody: Debian 12's package, from the path or unpacked below --root (`dpkg -x`). Compared are the
bytes of every answer, how the connection ends, and how long a wrong password takes. Exit status: 0
when everything is equal but for what EXPECTED names, 1 when something differs, 2 when the genuine
server is missing.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import peer

# (server, probe) to reason: what may differ. A difference that no longer shows is a failure too.
EXPECTED = {
    ("proftpd", "a name of 300"): "refused at once with 501; ours asks for the password and reports both",
}

QUIET = 0.5  # seconds without a byte until an answer counts as whole
LONG = 16.0  # patience for the refusal of a password
TLS = object()  # a step: the handshake

USER = b"USER nobody-here\r\n"
REFUSED = [USER, (b"PASS wrong\r\n", LONG)]


def verbs(*lines):
    return [it.encode() + b"\r\n" for it in lines]


COMMON = {
    "greeting": [],
    "a refusal": REFUSED,
    "three refusals": REFUSED * 3,
    "PASS again after a refusal": REFUSED + [b"PASS again\r\n"],
    "anonymous": [b"USER anonymous\r\n", (b"PASS a@b\r\n", LONG)],
    "an empty password": [USER, (b"PASS\r\n", LONG)],
    "before a login": verbs("PASS a", "FEAT", "SYST", "NOOP", "STAT", "PASV", "LIST", "EPSV", "PWD", "QUIT"),
    "OPTS": verbs("OPTS UTF8 ON", "opts utf8 on", "OPTS MLST"),
    "HELP": verbs("HELP"),
    "an unknown verb": verbs("FOO", "FOO bar"),
    "between USER and PASS": [USER] + verbs("SYST", "FEAT", "USER other"),
    "transfer verbs": verbs("CWD /", "TYPE I", "PORT 127,0,0,1,4,4", "RETR a", "STOR a", "MKD a", "ABOR", "REIN"),
    "lower case": verbs("syst", "quit"),
    "QUIT with an argument": verbs("QUIT now"),
    "empty lines": [b"\r\n", b"\r\n\r\n"],
    "a blank": [b" \r\n"],
    "USER without a name": [b"USER\r\n"],
    "USER and a blank": [b"USER \r\n"],
    "blanks in the name": [b"USER a b \r\n", (b"PASS  c d \r\n", LONG)],
    "a name in UTF-8": [b"USER j\xc3\xbcrgen\r\n"],
    "a name in Latin-1": [b"USER j\xfcrgen\r\n"],
    "a name of 120": [b"USER " + b"a" * 120 + b"\r\n"],
    "HTTP": [b"GET / HTTP/1.0\r\n\r\n"],
    "HTTP, POST": [b"POST / HTTP/1.1\r\n"],
    "SMTP": [b"EHLO x\r\n"],
    "SSH": [b"SSH-2.0-x\r\n"],
    "pipelined": [(USER + b"SYST\r\nQUIT\r\n", 1)],
    "pipelined with a password": [(USER + b"PASS a\r\nQUIT\r\n", LONG)],
    "byte by byte": [b"S", b"Y", b"S", b"T", b"\r\n"],
    "a line of 3000": [b"A" * 3000 + b"\r\n", b"SYST\r\n"],
    "a line of 4093": [b"A" * 4093 + b"\r\n", b"SYST\r\n"],
    "AUTH without TLS": verbs("AUTH TLS", "PBSZ 0", "PROT P"),
}
PROBES = {
    "vsftpd": COMMON | {
        "a bare LF": [b"SYST\n", b"USER a\n"],
        "Telnet's commands": [b"\xff\xf4\xff\xf2ABOR\r\n", b"\xff\xfd\x01SYST\r\n"],
        "NUL in a line": [b"NO\x00OP\r\n", b"SYST\x00\r\n"],
        "a line of 4094": [b"A" * 4094 + b"\r\n", b"SYST\r\n"],
        "a line of 4095": [b"A" * 4095 + b"\r\n"],
        "a line of 4095 and LF": [b"A" * 4095 + b"\n"],
        "a line of 9000": [b"A" * 9000 + b"\r\n"],
        "4095 bytes and no end": [b"A" * 4095, b"A"],
        "a name of 300": [b"USER " + b"a" * 300 + b"\r\n", (b"PASS x\r\n", LONG)],
        "USER without a name, then PASS": [b"USER\r\n", b"PASS x\r\n"],
    },
    "proftpd": COMMON | {
        "a bare LF": [b"SYST\n", b"SYST\r\n"],
        "Telnet's commands": [b"\xff\xf4\xff\xf2ABOR\r\n", b"\xff\xfd\x01SYST\r\n", b"\xff\xffSYST\r\n"],
        "NUL in a line": [b"NO\x00OP\r\n", b"SYST\x00\r\n"],
        "a tab behind the verb": [b"user\troot\r\n"],
        "a line of 9000": [b"A" * 9000 + b"\r\n", b"SYST\r\n"],
        "a name of 300": [b"USER " + b"a" * 300 + b"\r\n", (b"PASS x\r\n", LONG)],
        "more verbs": verbs("CLNT x", "HOST a", "LANG", "ACCT a", "OPTS", "OPTS UTF8", "OPTS UTF8 OFF", "SMNT"),
    },
    "pure-ftpd": COMMON | {
        "a bare LF": [b"SYST\n"],
        "more verbs": verbs("ACCT a", "CCC", "MODE S", "STRU F", "SITE HELP"),
        "a line of 9000": [b"A" * 9000 + b"\r\n"],
    },
}
TLS_PROBES = {
    "greeting": [],
    "FEAT": verbs("FEAT"),
    "before TLS": verbs("AUTH FOO", "AUTH", "PBSZ 0", "PROT P", "CCC"),
    "mechanisms": verbs("auth ssl"),
    "TLS-C": verbs("AUTH TLS-C"),
    "within TLS": [
        b"AUTH TLS\r\n", TLS, *verbs("PBSZ 0", "PBSZ 7", "PROT P", "PROT C", "FEAT", "SYST"),
        *REFUSED, b"QUIT\r\n",
    ],
}


def talk(address, steps):
    """What is said to each step, and how it ends."""
    said = []
    began = took = 0.0
    with socket.create_connection(address, timeout=10) as plain:
        connection = plain
        for step in [(b"", 3.0), *steps]:
            if step is TLS:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection = context.wrap_socket(plain)
                continue
            line, patience = step if isinstance(step, tuple) else (step, 0.8)
            answer, end = b"", "open"
            began = time.monotonic()
            try:
                connection.sendall(line)
                connection.settimeout(patience)
                while piece := connection.recv(65536):
                    # Other answers wait for nothing but a busy machine.
                    if not answer and patience == LONG:
                        took = max(took, time.monotonic() - began)
                    answer += piece
                    connection.settimeout(QUIET)
                end = "closed"
            except (TimeoutError, ssl.SSLWantReadError):
                pass
            except (ConnectionError, ssl.SSLEOFError):
                end = "closed"  # FIN or RST: which one depends on what the kernel had not read yet
            said.append((answer, end))
            if end != "open":
                break
    return said, took


def stable(answer, address):
    """Without what differs between two servers, or two minutes."""
    answer = answer.replace(b"Server port: %d." % address[1], b"Server port: N.")
    answer = re.sub(rb"user number \d+ of", b"user number N of", answer)
    return re.sub(rb"Local time is now \d\d:\d\d\.", b"Local time is now T.", answer)


def program(name, root):
    found = shutil.which(name, path=f"{os.environ['PATH']}:{root}/usr/sbin:/usr/sbin")
    if not found:
        print(f"{name} is missing: install Debian's package, or unpack it and name the folder with --root")
        sys.exit(2)
    return found


def vsftpd(folder, port, tls, root):
    (folder / "empty").mkdir()
    lines = [
        "listen=YES", "listen_address=127.0.0.1", f"listen_port={port}", "background=NO", "anonymous_enable=NO",
        "local_enable=YES", f"secure_chroot_dir={folder}/empty", "pam_service_name=vsftpd",
    ]
    if os.geteuid() != 0:
        lines.append("run_as_launching_user=YES")
    if tls:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-days", "9",
             "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
        lines += ["ssl_enable=YES", "force_local_logins_ssl=NO", "force_local_data_ssl=NO",
                  f"rsa_cert_file={folder}/cert", f"rsa_private_key_file={folder}/key"]
    (folder / "vsftpd.conf").write_text("\n".join(lines) + "\n")
    return [program("vsftpd", root), folder / "vsftpd.conf"]


def proftpd(folder, port, _tls, root):
    (folder / "proftpd.conf").write_text(f"""
ServerName "Debian"
ServerType standalone
UseIPv6 off
DefaultAddress 127.0.0.1
Port {port}
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayEngine off
SystemLog {folder}/log
TransferLog none
WtmpLog off
""")
    return [program("proftpd", root), "-n", "-q", "-c", folder / "proftpd.conf"]


def pure_ftpd(folder, port, _tls, root):
    return [program("pure-ftpd", root), "-S", f"127.0.0.1,{port}", "-4", "-H", "-E", "-l", "pam", "-g", folder / "pid"]


SERVERS = {"vsftpd": vsftpd, "proftpd": proftpd, "pure-ftpd": pure_ftpd}


def environment(root):
    """With the libraries that were unpacked beside the server."""
    if not root:
        return None
    return os.environ | {"LD_LIBRARY_PATH": f"{root}/usr/lib/{os.uname().machine}-linux-gnu"}


def compare(name, probe, steps, ours, genuine):
    """What differs in one conversation."""
    (said_ours, took_ours), (said, took) = talk(ours, steps), talk(genuine, steps)
    found = peer.differences(
        name, [(stable(it, genuine), end) for it, end in said], [(stable(it, ours), end) for it, end in said_ours])
    # A quarter of a wait is chance on either side, and machines are busy.
    if max(took, took_ours) > 0.5 and not took / 2.5 < took_ours < took * 2.5:
        found.append(f"a refusal takes {took:.1f} s there, {took_ours:.1f} s here")
    return probe, found


def main():
    arguments = peer.arguments(__doc__)
    arguments.add_argument("--ours", required=True, type=peer.address, metavar="HOST:PORT")
    arguments.add_argument("--server", choices=SERVERS, default="vsftpd")
    arguments.add_argument("--tls", action="store_true")
    arguments.add_argument("--root", default="")
    chosen = arguments.parse_args()
    probes = TLS_PROBES if chosen.tls else PROBES[chosen.server]
    expected = {} if chosen.tls else {probe: why for (name, probe), why in EXPECTED.items() if name == chosen.server}
    genuine = ("127.0.0.1", peer.free_port())
    with tempfile.TemporaryDirectory() as folder:
        command = SERVERS[chosen.server](pathlib.Path(folder), genuine[1], chosen.tls, chosen.root)
        with peer.running(command, genuine[1], environment(chosen.root)), concurrent.futures.ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(compare, chosen.server, *it, chosen.ours, genuine) for it in probes.items()]
            found = dict(it.result() for it in runs)
    return peer.verdict(chosen.server, found, expected)


if __name__ == "__main__":
    sys.exit(main())
