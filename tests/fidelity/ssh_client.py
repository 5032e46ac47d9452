"""A small SSH-2 client that may misbehave: every packet can be bent before it is sent, and all that the
server says is told as a line of text.

One suite of algorithms is enough to get everywhere: aes128-ctr with hmac-sha2-256, an Ed25519 host key
that is not verified, and curve25519, a group of RFC 3526 or group exchange for the keys.
"""

import hashlib
import hmac
import os
import socket
import struct
import time

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

IDENTIFICATION = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"
LISTS = ("kex", "host key", "cipher out", "cipher in", "mac out", "mac in", "compression out", "compression in",
         "language out", "language in")
OFFER = {
    "kex": "curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
    "host key": "ssh-ed25519",
    "cipher out": "aes128-ctr", "cipher in": "aes128-ctr",
    "mac out": "hmac-sha2-256", "mac in": "hmac-sha2-256",
    "compression out": "none", "compression in": "none",
    "language out": "", "language in": "",
}
GROUP14 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF", 16)

(DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO) = range(1, 8)
KEXINIT, NEWKEYS = 20, 21
(USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS, USERAUTH_BANNER) = range(50, 54)
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
(CHANNEL_OPEN, OPEN_CONFIRMATION, OPEN_FAILURE, WINDOW_ADJUST, CHANNEL_DATA, EXTENDED_DATA, CHANNEL_EOF,
 CHANNEL_CLOSE, CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE) = range(90, 101)
PING, PONG = 192, 193


class End(Exception):
    """The connection has ended, or nothing more came: closed, reset or open."""


def u32(number):
    return struct.pack(">I", number)


def string(value):
    value = value.encode() if isinstance(value, str) else value
    return u32(len(value)) + value


def mpint(number):
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def packet(payload, padding=None, length=None, block=8, filler=b"\0"):
    """A packet in clear; `padding` and `length` may lie."""
    if padding is None:
        padding = block - (len(payload) + 5) % block
        padding += block if padding < 4 else 0
    told = 1 + len(payload) + padding if length is None else length
    return struct.pack(">IB", told & 0xFFFFFFFF, padding & 0xFF) + payload + filler * padding


def kexinit(changes=None, follows=False, cookie=b"\x11" * 16, reserved=0):
    """The payload of a KEXINIT: the common offer with some lists exchanged."""
    offer = OFFER | (changes or {})
    return (bytes([KEXINIT]) + cookie + b"".join(string(offer[it]) for it in LISTS)
            + bytes([follows]) + u32(reserved))


class Reader:
    """Takes fields from the front of a payload."""

    def __init__(self, data):
        self.data = data

    def take(self, count):
        if len(self.data) < count:
            raise ValueError("short")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def byte(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def string(self):
        return self.take(self.u32())

    def text(self):
        return repr(self.string().decode("latin-1"))

    def rest(self):
        taken, self.data = self.data, b""
        return f" +{taken.hex()}" if taken else ""


class Client:
    """One connection; `said` has a line for everything that the server did."""

    def __init__(self, address, source="127.0.0.1", timeout=10):
        self.socket = socket.create_connection(address, timeout=timeout, source_address=(source, 0))
        # A second packet must not wait for the answer to the first.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.said = []
        self.times = []
        self.asked = time.monotonic()
        self.sent = self.read = 0
        self.out = self.into = None
        self.strict = False
        self.session = None
        self.mine = self.theirs = b""
        self.version = IDENTIFICATION.rstrip(b"\r\n")
        self.their_version = b""
        self.began = self.asked
        self.proof = None  # what logs in: a user's name with a password or a key
        self.ended = self.blind = False

    def close(self):
        # No half-closed connections are left behind.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- bytes ---

    def raw(self, data):
        self.asked = time.monotonic()
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass  # what was said before shows when it is read

    def note(self, line):
        self.said.append(line)
        self.times.append(time.monotonic() - self.asked)

    def fill(self, timeout):
        self.socket.settimeout(timeout)
        try:
            piece = self.socket.recv(1 << 18)
        except ConnectionResetError:
            raise End("RST") from None
        except TimeoutError:
            raise End("open") from None
        if not piece:
            raise End("FIN")
        self.received += piece

    def take(self, count, timeout):
        while len(self.received) < count:
            self.fill(timeout)
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def line(self, timeout=3):
        while b"\n" not in self.received:
            self.fill(timeout)
        line, self.received = self.received.split(b"\n", 1)
        return line + b"\n"

    # --- packets ---

    def bend(self, payload, **how):
        """What `send` would put on the wire."""
        clear = packet(payload, block=16 if self.out else 8, **how)
        data = clear
        if self.out:
            encryptor, key = self.out
            data = encryptor.update(clear) + hmac.digest(key, u32(self.sent) + clear, "sha256")
        self.sent = (self.sent + 1) & 0xFFFFFFFF
        return data

    def send(self, payload, **how):
        self.raw(self.bend(payload, **how))

    def receive(self, timeout=3):
        """The payload of the next packet."""
        if self.into is None:
            head = self.take(4, timeout)
            length = struct.unpack(">I", head)[0]
            if length > 300000:
                raise End(f"no packet: {(head + self.received)[:80]!r}")
            body = self.take(length, timeout)
        else:
            decryptor, key = self.into
            while len(self.received) < 16:
                self.fill(timeout)
            first = decryptor.update(self.take(16, timeout))
            length = struct.unpack(">I", first[:4])[0]
            if length > 300000:
                raise End("garbled")
            body = first[4:] + decryptor.update(self.take(length - 12, timeout))
            if hmac.digest(key, u32(self.read) + u32(length) + body, "sha256") != self.take(32, timeout):
                raise End("wrong MAC")
        self.read = (self.read + 1) & 0xFFFFFFFF
        return body[1:len(body) - body[0]]

    # --- conversation ---

    def hello(self, version=IDENTIFICATION):
        """Reads the server's identification and sends ours."""
        self.their_version = self.line().rstrip(b"\r\n")
        if version:
            self.version = version.rstrip(b"\r\n")
            self.raw(version)

    def their_kexinit(self, timeout=3):
        self.theirs = self.receive(timeout)
        return self.theirs

    def offer(self, changes=None, **how):
        self.mine = kexinit(changes, **how)
        self.send(self.mine)

    def start(self, changes=None, version=IDENTIFICATION, **how):
        """Up to both KEXINIT."""
        self.hello(version)
        self.their_kexinit()
        self.offer(changes, **how)

    def exchange(self, method="curve25519-sha256", newkeys=True, timeout=5):
        """Runs the key exchange, after both KEXINIT."""
        if method.startswith("curve25519"):
            secret = X25519PrivateKey.generate()
            public = string(secret.public_key().public_bytes_raw())
            self.send(bytes([30]) + public)
            reply = self.expect(31, timeout)
            host_key, server = reply.string(), reply.string()
            shared = int.from_bytes(secret.exchange(X25519PublicKey.from_public_bytes(server)), "big")
            between, digest = public + string(server), hashlib.sha256
        else:
            digest = hashlib.sha512 if method.endswith("512") else hashlib.sha256
            number, prime, generator, asked = 30, GROUP14, 2, b""
            if "exchange" in method:
                asked = u32(2048) + u32(2048) + u32(8192)
                self.send(bytes([34]) + asked)
                group = self.expect(31, timeout)
                prime, generator = (int.from_bytes(group.string(), "big") for _ in range(2))
                asked += mpint(prime) + mpint(generator)
                number = 32
            secret = int.from_bytes(os.urandom(40), "big")
            public = mpint(pow(generator, secret, prime))
            self.send(bytes([number]) + public)
            reply = self.expect(number + 1, timeout)
            host_key, server = reply.string(), reply.string()
            shared = pow(int.from_bytes(server, "big"), secret, prime)
            between = asked + public + string(server)
        secret = mpint(shared)
        hashed = digest(string(self.version) + string(self.their_version) + string(self.mine) + string(self.theirs)
                        + string(host_key) + between + secret).digest()
        first = self.session is None
        self.session = self.session or hashed

        def derive(letter, count):
            out = digest(secret + hashed + letter + self.session).digest()
            while len(out) < count:
                out += digest(secret + hashed + out).digest()
            return out[:count]

        def cipher(key, iv):
            return Cipher(algorithms.AES(derive(key, 16)), modes.CTR(derive(iv, 16)))

        if first:
            promises = (b"kex-strict-c-v00@openssh.com", self.mine), (b"kex-strict-s-v00@openssh.com", self.theirs)
            self.strict = all(name in lists for name, lists in promises)
        self.next_out = cipher(b"C", b"A").encryptor(), derive(b"E", 32)
        self.next_in = cipher(b"D", b"B").decryptor(), derive(b"F", 32)
        if newkeys:
            self.expect(NEWKEYS, timeout)
            self.switch_in()
            self.send(bytes([NEWKEYS]))
            self.switch_out()

    def switch_in(self):
        self.into = self.next_in
        if self.strict:
            self.read = 0

    def switch_out(self):
        self.out = self.next_out
        if self.strict:
            self.sent = 0

    def expect(self, number, timeout=5):
        payload = self.receive(timeout)
        if payload[:1] != bytes([number]):
            raise End(f"instead of {number}: {describe(payload)}")
        return Reader(payload[1:])

    def encrypted(self, changes=None, **how):
        """Up to the first packet under keys."""
        self.start(changes)
        self.exchange(**how)

    def service(self, name="ssh-userauth", extensions=True):
        """Up to where a user may ask; the server's EXT_INFO is read and not told."""
        self.encrypted({} if extensions else {"kex": "curve25519-sha256,kex-strict-c-v00@openssh.com"})
        self.send(bytes([SERVICE_REQUEST]) + string(name))
        while (payload := self.receive())[0] == EXT_INFO:
            pass
        if payload[0] != SERVICE_ACCEPT:
            raise End(f"instead of SERVICE_ACCEPT: {describe(payload)}")

    def ask(self, payload, timeout=8, quiet=0.4, last="\0"):
        """Sends a message and tells all that comes back."""
        self.send(payload)
        return self.listen(timeout, quiet, last)

    def next(self, timeout):
        """The next line or packet as text. No length of a packet begins as a line does."""
        if self.into is None and not self.blind:
            if not self.received:
                self.fill(timeout)
            if self.received[0] >= ord(" "):
                return repr(self.line(timeout).decode("latin-1"))
        while self.blind:
            self.fill(timeout)
        told = describe(self.receive(timeout))
        self.blind = told == "NEWKEYS" and self.into is None
        return told

    def listen(self, timeout=2.5, quiet=0.4, last="\0"):
        """Tells all packets until it is quiet, the last one, or the end; true while the connection is open."""
        patience = timeout
        while not self.ended:
            try:
                self.note(self.next(patience))
                if self.said[-1].startswith(last):
                    return True
            except End as end:
                self.ended = str(end) != "open"
                if str(end) == "open":
                    if self.blind or self.received:
                        self.note(f"{len(self.received)} bytes that cannot be read")
                    elif patience == timeout:
                        self.note("silence")
                    return True
                self.note((f"{len(self.received)} bytes that cannot be read, " if self.received else "") + str(end))
                return False
            patience = quiet
        return False


    def login(self):
        """Logs in, and tells what the server says by itself then."""
        self.service()
        user, proof = self.proof
        if isinstance(proof, str):
            request = password(user, proof)
        else:
            blob = string("ssh-ed25519") + string(proof.public_key().public_bytes_raw())
            request = userauth(user, "publickey", b"\1" + string("ssh-ed25519") + string(blob))
            signature = proof.sign(string(self.session) + request)
            request += string(string("ssh-ed25519") + string(signature))
        self.ask(request, 8, 0.6)
        # Said of a key only, and with the name of its file.
        self.said = [line for line in self.said if "key options" not in line]


def userauth(user, method, rest=b"", service="ssh-connection"):
    return bytes([USERAUTH_REQUEST]) + string(user) + string(service) + string(method) + rest


def password(user, word, change=None):
    new = b"" if change is None else string(change)
    return userauth(user, "password", bytes([change is not None]) + string(word) + new)


def describe(payload):
    """A message as a line of text, without what is random."""
    if not payload:
        return "an empty message"
    fields = Reader(payload[1:])
    try:
        return DESCRIBED.get(payload[0], unknown)(fields, payload[0]) + fields.rest()
    except ValueError:
        return f"malformed {payload[0]}: {payload[:200].hex()}"


def unknown(fields, number):
    return f"message {number}"


def told_kexinit(fields, _):
    fields.take(16)
    lists = [f"{name}={fields.string().decode()}" for name in LISTS]
    return f"KEXINIT {'; '.join(lists)}; follows={fields.byte()} reserved={fields.u32()}"


def told_ext_info(fields, _):
    pairs = [f"{fields.text()}={fields.text()}" for _ in range(fields.u32())]
    return "EXT_INFO " + "; ".join(pairs)


def told_reply(fields, number):
    """A key exchange's reply, or a group: keys are random, their lengths tell."""
    parts = []
    while fields.data:
        parts.append(len(fields.string()))
    return f"key exchange message {number} of {parts}"


def told_60(fields, _):
    """PK_OK, INFO_REQUEST or PASSWD_CHANGEREQ, by its form."""
    name, blob = fields.string(), fields.string()
    if name.startswith((b"ssh-", b"ecdsa-", b"rsa-", b"sk-")) and not fields.data:
        return f"PK_OK {name.decode()} key of {len(blob)}"
    if not fields.data:
        return f"PASSWD_CHANGEREQ {name!r} {blob!r}"
    language = fields.string()
    prompts = [f"{fields.text()} echo={fields.byte()}" for _ in range(fields.u32())]
    return f"INFO_REQUEST name={name!r} instruction={blob!r} language={language!r} prompts=[{', '.join(prompts)}]"


def told_global_request(fields, _):
    name, reply = fields.text(), fields.byte()
    keys = []
    while "hostkeys" in name and fields.data:
        key = Reader(fields.string())
        keys.append(f"{key.string().decode()} of {len(key.data)}")
    return f"GLOBAL_REQUEST {name} reply={reply}" + (f" [{', '.join(keys)}]" if keys else "")


def told_channel_request(fields, _):
    return f"CHANNEL_REQUEST {fields.u32()} {fields.text()} reply={fields.byte()}"


DESCRIBED = {
    DISCONNECT: lambda f, _: f"DISCONNECT {f.u32()} {f.text()} language={f.text()}",
    IGNORE: lambda f, _: f"IGNORE {f.text()}",
    UNIMPLEMENTED: lambda f, _: f"UNIMPLEMENTED {f.u32()}",
    DEBUG: lambda f, _: f"DEBUG display={f.byte()} {f.text()} language={f.text()}",
    SERVICE_ACCEPT: lambda f, _: f"SERVICE_ACCEPT {f.text()}",
    EXT_INFO: told_ext_info,
    KEXINIT: told_kexinit,
    NEWKEYS: lambda f, _: "NEWKEYS",
    31: told_reply, 33: told_reply,
    USERAUTH_FAILURE: lambda f, _: f"FAILURE {f.string().decode()} partial={f.byte()}",
    USERAUTH_SUCCESS: lambda f, _: "SUCCESS",
    USERAUTH_BANNER: lambda f, _: f"BANNER {f.text()} language={f.text()}",
    60: told_60,
    GLOBAL_REQUEST: told_global_request,
    REQUEST_SUCCESS: lambda f, _: "REQUEST_SUCCESS",
    REQUEST_FAILURE: lambda f, _: "REQUEST_FAILURE",
    OPEN_CONFIRMATION: lambda f, _: (
        f"OPEN_CONFIRMATION to={f.u32()} from={f.u32()} window={f.u32()} packet={f.u32()}"),
    OPEN_FAILURE: lambda f, _: f"OPEN_FAILURE {f.u32()} reason={f.u32()} {f.text()} language={f.text()}",
    WINDOW_ADJUST: lambda f, _: f"WINDOW_ADJUST {f.u32()} by {f.u32()}",
    CHANNEL_DATA: lambda f, _: f"DATA {f.u32()} {f.text()}",
    EXTENDED_DATA: lambda f, _: f"EXTENDED_DATA {f.u32()} type={f.u32()} {f.text()}",
    CHANNEL_EOF: lambda f, _: f"EOF {f.u32()}",
    CHANNEL_CLOSE: lambda f, _: f"CLOSE {f.u32()}",
    CHANNEL_REQUEST: told_channel_request,
    CHANNEL_SUCCESS: lambda f, _: f"CHANNEL_SUCCESS {f.u32()}",
    CHANNEL_FAILURE: lambda f, _: f"CHANNEL_FAILURE {f.u32()}",
    PONG: lambda f, _: f"PONG {f.text()}",
}
