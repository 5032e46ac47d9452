#!/usr/bin/env python3
"""Does the same odd things to a genuine SSH server and to ours, and compares what each says.

    ssh.py [--serin PROGRAM] [--server openssh|dropbear] [--only TEXT] [--skip GROUP]
    ssh.py --theirs HOST:PORT --login USER:PASSWORD [...]

Both servers are started here on free loopback ports: the genuine one as Debian configures it, ours
with the genuine one's identification as `ssh.version`. Compared is every message as text: key
exchange lists, disconnect codes and texts, their order, whether the connection ends with FIN or RST,
and how long a refusal takes. With --theirs the genuine server is one that already runs, of whatever
version; sessions are compared when it lets --login in. Exit status: 0 when everything is equal but for
what EXPECTED names, 1 when something differs, 2 when the genuine server cannot be had.
"""

import concurrent.futures
import getpass
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import peer
import ssh_client
import ssh_login_probes
import ssh_probes

# What takes longest goes first.
GROUPS = dict(reversed((ssh_probes.GROUPS | ssh_login_probes.GROUPS).items()))
PACKAGES = {"openssh": "openssh-server", "dropbear": "dropbear-bin"}
# (server, probe) to reason: what may differ. A difference that no longer shows is a failure too.
FEW_BITS = "ours refuses public values of few bits, as OpenSSH does; nobody draws one"
EXPECTED = {
    ("dropbear", "group14, e = 2"): FEW_BITS,
    ("dropbear", "group14, e = 2^500"): FEW_BITS,
    ("dropbear", "group14, e = few bits"): FEW_BITS,
}

USER, PASSWORD = "operator", "letmein"
AT_ONCE = 0.7  # seconds; longer waits are compared
SOURCES = itertools.count(2)  # some servers count connections by address


def run(probe, port, proof):
    """What the server says to one probe, and how long the longest answer takes."""
    number = next(SOURCES)
    client = ssh_client.Client(("127.0.0.1", port), f"127.9.{number // 250}.{number % 250 + 2}")
    client.proof = proof
    try:
        probe(client)
    except ssh_client.End as end:
        client.note(str(end))
    finally:
        client.close()
    return neutral(client.said), max(client.times, default=0.0)


def neutral(said):
    """Without what differs between two connections to the same server."""
    lines = []
    for line in said:
        # A signature over P-256, and numbers of finite-field groups, may be a byte shorter or longer.
        line = re.sub(r"(key exchange message \d+ of \[)(.*)(, \d+\])$", lambda it: it[1] + rounded(it[2]) + "]", line)
        line = re.sub(r"(REQUEST_SUCCESS \+)[0-9a-f]{8}$", r"\1PORT", line)
        lines.append(line)
    return ended(lines)


def rounded(sizes):
    return ", ".join(str(int(it) // 4 * 4) for it in sizes.split(", "))


def ended(lines):
    """A program's end and the ends of its pipes race with each other; what it wrote may come in pieces."""
    racing = ("EOF ", "DATA ", "EXTENDED_DATA ", "CHANNEL_REQUEST ")
    ordered = []
    for races, group in itertools.groupby(lines, key=lambda it: it.startswith(racing)):
        group = list(group)
        ordered += joined(sorted(group, key=lambda it: it.split(" ")[0])) if races else group
    return ordered


def joined(lines):
    whole = []
    for line in lines:
        if whole and line.startswith("DATA ") and whole[-1].startswith("DATA "):
            whole[-1] = whole[-1][:-1] + line.split(" ", 2)[2][1:]
        else:
            whole.append(line)
    return whole


def openssh(work, port, key):
    for kind in ("rsa", "ecdsa", "ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", work / kind], check=True)
    (work / "authorized").write_bytes(key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH) + b"\n")
    if os.geteuid() == 0:
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    # Debian's own settings; then those of this test. What a session gets is what a locked account says.
    (work / "conf").write_text(f"""
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
Port {port}
ListenAddress 127.0.0.1
HostKey {work}/rsa
HostKey {work}/ecdsa
HostKey {work}/ed25519
PidFile none
MaxStartups 1000
PermitRootLogin yes
StrictModes no
AuthorizedKeysFile {work}/authorized
ForceCommand /usr/sbin/nologin
AllowTcpForwarding no
AllowStreamLocalForwarding no
""")
    return [shutil.which("sshd"), "-D", "-e", "-f", work / "conf"]


def dropbear(work, port, _key):
    command = ["dropbear", "-F", "-E", "-p", f"127.0.0.1:{port}", "-P", work / "pid"]
    for kind in ("rsa", "ecdsa", "ed25519"):
        subprocess.run(["dropbearkey", "-t", kind, "-f", work / f"dropbear-{kind}"], check=True, capture_output=True)
        command += ["-r", work / f"dropbear-{kind}"]
    return command


SERVERS = {"openssh": openssh, "dropbear": dropbear}


def start_ours(serin, work, port, version):
    conf = work / "serin.toml"
    conf.write_text(f"""
[device]
listen_addr = "127.0.0.1"

[console]
listen = "127.0.0.1:{peer.free_port()}"

[ssh]
enabled = true
port = {port}
version = "{version}"
accept = [{{ username = "{USER}", password = "{PASSWORD}" }}]
""")
    return [serin, "run", "--config", conf, "--state-dir", work / "state"]


def identification(port):
    client = ssh_client.Client(("127.0.0.1", port))
    version = client.line().decode().rstrip()
    client.close()
    return version


def parts(theirs, ours):
    """What differs between two outcomes of one probe."""
    found = peer.differences("genuine", theirs[0], ours[0])
    longer, shorter = max(theirs[1], ours[1]), min(theirs[1], ours[1])
    # Half of a wait is chance on either side, and machines are busy.
    if longer > AT_ONCE and shorter < longer / 2.5:
        found.append(f"the longest answer takes {theirs[1]:.1f} s there, {ours[1]:.1f} s here")
    return found


def compare(probes, port, our_port, proof, our_proof):
    """What differs, for each probe; what did is tried twice more, with less company."""
    sides = ((port, proof), (our_port, our_proof))
    found = {}
    left = list(probes)
    for workers in (16, 4, 2):
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            pairs = {name: [pool.submit(run, probes[name], *side) for side in sides] for name in left}
        found |= {name: parts(*(it.result() for it in pair)) for name, pair in pairs.items()}
        left = [name for name in left if found[name]]
    return found


def chosen_probes(given):
    probes = {}
    for group, members in GROUPS.items():
        if group not in given.skip:
            probes |= members
    return {name: it for name, it in probes.items() if given.only in name}


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    reader = peer.arguments(__doc__)
    reader.add_argument("--serin", default=str(target / "debug/serin"))
    reader.add_argument("--server", choices=SERVERS, default="openssh")
    reader.add_argument("--only", default="", help="probes with this text in their name")
    reader.add_argument("--skip", choices=GROUPS, action="append", default=[], help="a group of probes to leave out")
    reader.add_argument("--theirs", type=peer.address, help="a genuine server that runs already")
    reader.add_argument("--login", type=lambda it: tuple(it.split(":", 1)), help="who may log in there")
    given = reader.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    if not given.theirs and not shutil.which({"openssh": "sshd"}.get(given.server, given.server)):
        print(f"{given.server} is missing: apt-get install {PACKAGES[given.server]}")
        return 2
    key = Ed25519PrivateKey.generate()
    proof = given.login or (getpass.getuser(), key)
    port, our_port = given.theirs[1] if given.theirs else peer.free_port(), peer.free_port()
    with tempfile.TemporaryDirectory(prefix="serin-ssh-") as folder:
        work = pathlib.Path(folder)
        work.chmod(0o755)
        command = ["sleep", "infinity"] if given.theirs else SERVERS[given.server](work, port, key)
        with peer.running(command, port):
            version = identification(port)
            with peer.running(start_ours(given.serin, work, our_port, version), our_port):
                found = compare(chosen_probes(given), port, our_port, proof, (USER, PASSWORD))
    expected = {probe: why for (name, probe), why in EXPECTED.items() if name == given.server and probe in found}
    return peer.verdict(version, found, expected)


if __name__ == "__main__":
    sys.exit(main())
