"""What ssh.py does to both servers before a login: each probe is a function of a connected client, which
keeps what was said."""

import time

import ssh_client as ssh
from ssh_client import kexinit, packet, string, u32

HELLO = ssh.IDENTIFICATION


def bad_start(*segments, pause=0.3):
    """Bytes in place of an identification; told as they come."""
    def run(c):
        for segment in segments:
            c.raw(segment)
            if len(segments) > 1:
                time.sleep(pause)
        c.listen(1.5, 0.6)
    return run


def version(line):
    """An identification, and what follows it."""
    def run(c):
        c.hello(line)
        c.listen(1.5)
    return run


def halfway(*segments):
    """The client's half is closed behind these."""
    def run(c):
        for segment in segments:
            c.raw(segment)
        c.socket.shutdown(1)
        c.listen(1.5, 0.6)
    return run


def after_hello(*data):
    """Bytes behind the identification, in place of a KEXINIT."""
    def run(c):
        c.hello()
        c.their_kexinit()
        c.raw(b"".join(data))
        c.listen(1.5)
    return run


def before_kexinit(*payloads):
    """Messages before our KEXINIT, which follows."""
    def run(c):
        c.hello()
        c.their_kexinit()
        for payload in payloads:
            c.send(payload)
        c.listen(0.8)
        c.offer()
        c.listen(0.8)
        c.send(bytes([30]) + string(b"\x09" + bytes(31)))
        c.listen(0.8)
    return run


def within(*payloads, strict=True, changes=None):
    """Messages between our KEXINIT and the key exchange, which follows."""
    def run(c):
        c.start((changes or {}) | ({} if strict else {"kex": "curve25519-sha256,ext-info-c"}))
        for payload in payloads:
            c.send(payload)
        c.listen(0.8)
        c.send(bytes([30]) + string(b"\x09" + bytes(31)))
        c.listen(0.8)
    return run


def behind_newkeys(*payloads, strict=True):
    """Messages in clear between the reply and our NEWKEYS."""
    def run(c):
        c.start({} if strict else {"kex": "curve25519-sha256,ext-info-c"})
        c.exchange(newkeys=False)
        c.expect(ssh.NEWKEYS)
        c.switch_in()
        for payload in payloads:
            c.send(payload)
        c.listen(0.8)
    return run


def offered(**changes):
    """A KEXINIT with some lists changed."""
    named = {name.replace("_", " "): value for name, value in changes.items()}

    def run(c):
        c.start(named)
        c.listen(1.5)
    return run


def together(c, messages, follows=False, **changes):
    """Our KEXINIT and what is behind it, in one segment: whether a server that refuses the first has still
    something to read is no chance then."""
    named = {name.replace("_", " "): value for name, value in changes.items()}
    c.hello()
    c.their_kexinit()
    c.mine = kexinit(named, follows=follows)
    c.raw(c.bend(c.mine) + b"".join(c.bend(it) for it in messages))


def shares(*messages, method="curve25519-sha256"):
    """Key exchange messages of ours, as they are."""
    def run(c):
        together(c, messages, kex=method)
        c.listen(2.5)
    return run


def keyed(*payloads, timeout=1.5, strict=True, **how):
    """Messages right behind NEWKEYS; EXT_INFO is told."""
    def run(c):
        c.encrypted({} if strict else {"kex": "curve25519-sha256,ext-info-c"}, **how)
        for payload in payloads:
            c.ask(payload, timeout)
        if not payloads:
            c.listen(timeout)
    return run


def bent(**how):
    """A packet under keys that is bent."""
    def run(c):
        c.encrypted({"kex": "curve25519-sha256,kex-strict-c-v00@openssh.com"})
        c.send(bytes([ssh.SERVICE_REQUEST]) + string("ssh-userauth"), **how)
        c.raw(bytes(256))
        c.listen(1.5)
    return run


def garbage(data):
    """Bytes that are no packet, under keys."""
    def run(c):
        c.encrypted({"kex": "curve25519-sha256,kex-strict-c-v00@openssh.com"})
        c.raw(data)
        c.listen(1.5)
    return run


def first_follows(right, **changes):
    """A guessed key exchange packet behind our KEXINIT; a right one is taken, and refused for its length."""
    def run(c):
        together(c, [bytes([30]) + string(b"guess")], follows=True, **changes)
        c.listen(0.8)
        if not right:
            c.send(bytes([30]) + string(b"\x09" + bytes(31)))
            c.listen(0.8)
    return run


def group_exchange(asks, number=34):
    def run(c):
        together(c, [bytes([number]) + b"".join(u32(it) for it in asks)], kex="diffie-hellman-group-exchange-sha256")
        try:
            group = c.expect(31)
            prime = group.string()
            c.note(f"group of {len(prime) * 8 - 8} bits")
        except ssh.End as end:
            c.note(str(end))
        c.listen(0.8)
    return run


ED_KEY = string("ssh-ed25519") + string(bytes(range(32)))
SERVICE = bytes([ssh.SERVICE_REQUEST])

IDENTIFICATIONS = {
    "SSH-1337-": bad_start(b"SSH-1337-\r\n"),
    "SSH-1337-OpenSSH_9.0": bad_start(b"SSH-1337-OpenSSH_9.0\r\n"),
    "eight newlines": bad_start(b"\n" * 8),
    "eight CR LF": bad_start(b"\r\n" * 8),
    "HTTP": bad_start(b"GET / HTTP/1.0\r\n\r\n"),
    "HTTP with headers": bad_start(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nAccept: */*\r\n\r\n"),
    "ClientHello": bad_start(bytes.fromhex("16030100c8010000c40303") + bytes(194)),
    "SSH-2.0 without second dash": bad_start(b"SSH-2.0\r\n"),
    "SSH-2.0-": version(b"SSH-2.0-\r\n"),
    "SSH-2.0- and a blank": version(b"SSH-2.0- \r\n"),
    "SSH-1.5-x": bad_start(b"SSH-1.5-x\r\n"),
    "SSH-1.99-x": version(b"SSH-1.99-x\r\n"),
    "SSH-2.1-x": bad_start(b"SSH-2.1-x\r\n"),
    "SSH-3.0-x": bad_start(b"SSH-3.0-x\r\n"),
    "ssh-2.0-x": bad_start(b"ssh-2.0-x\r\n"),
    "blank SSH-2.0-x": bad_start(b" SSH-2.0-x\r\n"),
    "LF only": version(b"SSH-2.0-x\n"),
    "CR only": bad_start(b"SSH-2.0-x\r"),
    "CR in the middle": bad_start(b"SSH-2.0-x\ry\r\n"),
    "comment": version(b"SSH-2.0-x a comment\r\n"),
    "a line before": bad_start(b"hello\r\nSSH-2.0-x\r\n"),
    "NUL": bad_start(b"SSH-2.0-x\0y\r\n"),
    "8 bit": version(b"SSH-2.0-\xff\xe4x\r\n"),
    "253 and CR LF": version(b"SSH-2.0-" + b"a" * 245 + b"\r\n"),
    "254 and CR LF": version(b"SSH-2.0-" + b"a" * 246 + b"\r\n"),
    "255 and CR LF": version(b"SSH-2.0-" + b"a" * 247 + b"\r\n"),
    "300 and LF": version(b"SSH-2.0-" + b"a" * 292 + b"\n"),
    "8190 and LF": version(b"SSH-2.0-" + b"a" * 8182 + b"\n"),
    "255 without LF": bad_start(b"SSH-2.0-" + b"a" * 247),
    "256 without LF": bad_start(b"SSH-2.0-" + b"a" * 248),
    "257 without LF": bad_start(b"SSH-2.0-" + b"a" * 249),
    "300 without LF": bad_start(b"SSH-2.0-" + b"a" * 292),
    "8191 without LF": bad_start(b"SSH-2.0-" + b"a" * 8183),
    "8192 without LF": bad_start(b"SSH-2.0-" + b"a" * 8184),
    "8193 without LF": bad_start(b"SSH-2.0-" + b"a" * 8185),
    "70000 without LF": bad_start(b"SSH-2.0-" + b"a" * 69992),
    "70000 NUL": bad_start(bytes(70000)),
    "byte by byte": bad_start(b"S", b"S", b"H", b"-", b"2", b".", b"0", b"\n", pause=0.05),
    "half closed at once": halfway(),
    "half closed within": halfway(b"SSH-2.0-x"),
    "half closed behind": halfway(b"SSH-2.0-x\r\n"),
    "half closed behind KEXINIT": halfway(HELLO + packet(kexinit())),
    "in one segment": version(HELLO + packet(kexinit())),
    "software of a scanner": version(b"SSH-2.0-Probe-1.0\r\n"),
    "OpenSSH 2.3": version(b"SSH-2.0-OpenSSH_2.3.0\r\n"),
    "PuTTY": version(b"SSH-2.0-PuTTY_Release_0.78\r\n"),
    "SSH scanner": version(b"SSH-2.0-SSH_Version_Mapper\r\n"),
    "scanssh": bad_start(b"SSH-1.0-SSH_Version_Mapper\r\n"),
}

LENGTHS = {
    f"length {length:#x}": after_hello(u32(length) + b"\x04" + bytes(11), bytes(64))
    for length in (0, 1, 3, 4, 5, 8, 11, 12, 13, 16, 20, 28, 35000, 35001, 40000, 0x3FFFC, 0x40000, 0x40004, 0xFFFFFFFF)
}
PADDINGS = {
    f"padding {size}": after_hello(u32(12) + bytes([size]) + bytes([ssh.IGNORE]) + bytes(10), packet(kexinit()))
    for size in (0, 1, 2, 3, 4, 10, 11, 12, 255)
}
CLEAR = LENGTHS | PADDINGS | {
    "eight newlines behind": after_hello(b"\n" * 8),
    "HTTP behind": after_hello(b"GET / HTTP/1.0\r\n\r\n"),
    "an empty payload": after_hello(u32(12) + b"\x0b" + bytes(11)),
    "length of 256 KiB, whole": after_hello(u32(0x3FFFC) + b"\x04" + b"\x02" + bytes(0x3FFFA)),
    "length of 35004, whole": after_hello(u32(35004) + b"\x04" + b"\x02" + u32(34994) + bytes(34998)),
    "200 KiB of IGNORE": after_hello(packet(bytes([ssh.IGNORE]) + string(bytes(200000))), packet(kexinit())),
    "255 of padding": after_hello(packet(kexinit(), padding=255, length=1 + len(kexinit()) + 255)),
} | {
    f"message {number} before KEXINIT": before_kexinit(bytes([number]))
    for number in (0, 5, 6, 7, 8, 19, 22, 30, 31, 49, 50, 51, 52, 60, 80, 90, 100, 127, 192, 193, 255)
} | {
    "SERVICE_REQUEST before KEXINIT": before_kexinit(SERVICE + string("ssh-userauth")),
    "USERAUTH_REQUEST before KEXINIT": before_kexinit(ssh.userauth("root", "none")),
    "EXT_INFO before KEXINIT": before_kexinit(bytes([7]) + u32(0)),
    "PING before KEXINIT": before_kexinit(bytes([192]) + string("abc")),
    "NEWKEYS before KEXINIT": before_kexinit(bytes([21])),
    "ECDH_INIT before KEXINIT": before_kexinit(bytes([30]) + string(bytes(32))),
    "IGNORE before KEXINIT": before_kexinit(bytes([2]) + string("abc")),
    "DEBUG before KEXINIT": before_kexinit(bytes([4, 1]) + string("abc") + string("")),
    "UNIMPLEMENTED before KEXINIT": before_kexinit(bytes([3]) + u32(7)),
    "DISCONNECT before KEXINIT": before_kexinit(bytes([1]) + u32(11) + string("bye") + string("")),
    "malformed DISCONNECT": before_kexinit(bytes([1, 0])),
    "malformed DEBUG": before_kexinit(bytes([4])),
    "malformed UNIMPLEMENTED": before_kexinit(bytes([3, 1])),
    "malformed IGNORE": before_kexinit(bytes([2]) + u32(1000)),
}

KEXINITS = {
    "truncated KEXINIT": after_hello(packet(kexinit()[:40])),
    "KEXINIT of a cookie": after_hello(packet(kexinit()[:10])),
    "KEXINIT without its end": after_hello(packet(kexinit()[:-5])),
    "KEXINIT without reserved": after_hello(packet(kexinit()[:-4])),
    "KEXINIT with more behind": after_hello(packet(kexinit() + b"abc")),
    "KEXINIT, reserved 1": after_hello(packet(kexinit(reserved=1))),
    "KEXINIT, NUL in a list": offered(cipher_out="aes128-ctr\0,x"),
    "KEXINIT, empty lists": offered(kex="", host_key="", cipher_out="", cipher_in="", mac_out="", mac_in="",
                                    compression_out="", compression_in=""),
    "no common kex": offered(kex="diffie-hellman-group1-sha1"),
    "no common kex, but extensions": offered(kex="diffie-hellman-group1-sha1,ext-info-c,kex-strict-c-v00@openssh.com"),
    "only ext-info-c": offered(kex="ext-info-c"),
    "an empty kex": offered(kex=""),
    "no common host key": offered(host_key="ssh-dss"),
    "no common cipher out": offered(cipher_out="3des-cbc,aes128-cbc"),
    "no common cipher in": offered(cipher_in="3des-cbc,aes128-cbc"),
    "no common mac": offered(mac_out="hmac-md5", mac_in="hmac-md5"),
    "no common mac in": offered(mac_in="hmac-md5"),
    "no common compression": offered(compression_out="zlib", compression_in="zlib"),
    "no common compression in": offered(compression_in="zlib"),
    "a long list": offered(kex=",".join(["x@y"] * 3000)),
    "a long name": offered(kex="a" * 3000),
    "no MAC, but AEAD": offered(cipher_out="aes128-gcm@openssh.com", cipher_in="aes128-gcm@openssh.com",
                               mac_out="none", mac_in="none"),
    "two KEXINIT": within(kexinit()),
    "guess, right": first_follows(True, kex="sntrup761x25519-sha512", host_key="rsa-sha2-512"),
    "guess, other first kex": first_follows(False, host_key="rsa-sha2-512,ssh-ed25519"),
    "guess, other first host key": first_follows(True, kex="sntrup761x25519-sha512"),
    "guess, of nothing known": first_follows(False, kex="foo,curve25519-sha256", host_key="bar,ssh-ed25519"),
}

PRIME = ssh.GROUP14
EXCHANGES = {
    "x25519 of zeroes": shares(bytes([30]) + string(bytes(32))),
    "x25519 of one": shares(bytes([30]) + string(b"\1" + bytes(31))),
    "x25519 of 31": shares(bytes([30]) + string(bytes(31))),
    "x25519 of 33": shares(bytes([30]) + string(bytes(33))),
    "x25519 empty": shares(bytes([30]) + string(b"")),
    "x25519 without a string": shares(bytes([30])),
    "x25519 with more behind": shares(bytes([30]) + string(b"\x09" + bytes(31)) + b"abc"),
    "sntrup761 short": shares(bytes([30]) + string(bytes(32)), method="sntrup761x25519-sha512@openssh.com"),
    "sntrup761 of zeroes": shares(bytes([30]) + string(bytes(1190)), method="sntrup761x25519-sha512@openssh.com"),
    "nistp256 off the curve": shares(bytes([30]) + string(b"\4" + b"\5" * 64), method="ecdh-sha2-nistp256"),
    "nistp256 compressed": shares(bytes([30]) + string(bytes.fromhex(
        "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")), method="ecdh-sha2-nistp256"),
    "nistp256 infinity": shares(bytes([30]) + string(b"\0"), method="ecdh-sha2-nistp256"),
    "nistp256 empty": shares(bytes([30]) + string(b""), method="ecdh-sha2-nistp256"),
    "nistp256 of 64": shares(bytes([30]) + string(b"\4" + b"\5" * 63), method="ecdh-sha2-nistp256"),
} | {
    f"group14, e = {name}": shares(bytes([30]) + value, method="diffie-hellman-group14-sha256")
    for name, value in {
        "0": ssh.mpint(0), "1": ssh.mpint(1), "2": ssh.mpint(2), "p-1": ssh.mpint(PRIME - 1),
        "p-2": ssh.mpint(PRIME - 2), "p": ssh.mpint(PRIME), "negative": string(b"\xff" * 40),
        "of 3000 bytes": ssh.mpint(1 << 24000), "zeroes": string(bytes(10)), "2^500": ssh.mpint(1 << 500),
        "few bits": ssh.mpint(7),
    }.items()
} | {
    "group16": shares(bytes([30]) + ssh.mpint(1 << 500 | 12345), method="diffie-hellman-group16-sha512"),
    "31 in place of 30": shares(bytes([31]) + string(bytes(32))),
    "33 in place of 30": shares(bytes([33]) + string(bytes(32))),
    "34 in place of 30": shares(bytes([34]) + string(bytes(32))),
    "49 in place of 30": shares(bytes([49])),
    "30 twice": shares(bytes([30]) + string(b"\x09" + bytes(31)), bytes([30]) + string(b"\x09" + bytes(31))),
    "NEWKEYS early": within(bytes([21])),
    "NEWKEYS early, not strict": within(bytes([21]), strict=False),
    "IGNORE within kex": within(bytes([2]) + string("abc"), strict=False),
    "IGNORE within strict kex": within(bytes([2]) + string("abc")),
    "DEBUG within kex": within(bytes([4, 0]) + string("abc") + string(""), strict=False),
    "DEBUG within strict kex": within(bytes([4, 0]) + string("abc") + string("")),
    "UNIMPLEMENTED within kex": within(bytes([3]) + u32(0), strict=False),
    "UNIMPLEMENTED within strict kex": within(bytes([3]) + u32(0)),
    "SERVICE_REQUEST within kex": within(SERVICE + string("ssh-userauth"), strict=False),
    "SERVICE_REQUEST within strict kex": within(SERVICE + string("ssh-userauth")),
    "USERAUTH_REQUEST within kex": within(ssh.userauth("root", "none"), strict=False),
    "message 192 within kex": within(bytes([192]) + string("abc"), strict=False),
    "message 192 within strict kex": within(bytes([192]) + string("abc")),
    "message 22 within kex": within(bytes([22]), strict=False),
    "message 90 within kex": within(bytes([90]), strict=False),
    "DISCONNECT within kex": within(bytes([1]) + u32(11) + string("bye") + string("")),
    "SERVICE_REQUEST in place of NEWKEYS": behind_newkeys(SERVICE + string("ssh-userauth")),
    "IGNORE before NEWKEYS": behind_newkeys(bytes([2]) + string("abc"), bytes([21]), strict=False),
    "IGNORE before NEWKEYS, strict": behind_newkeys(bytes([2]) + string("abc")),
    "KEXINIT before NEWKEYS": behind_newkeys(kexinit()),
    "NEWKEYS with more": behind_newkeys(bytes([21, 1, 2])),
    "IGNORE before KEXINIT, then strict": before_kexinit(bytes([2]) + string("abc")),
} | {
    f"gex {asks}": group_exchange(asks) for asks in (
        (2048, 2048, 8192), (1024, 1024, 1024), (1024, 1024, 8192), (1024, 2048, 8192), (2048, 3072, 8192),
        (8192, 8192, 8192), (8192, 2048, 8192), (2048, 8192, 2048), (2048, 1024, 8192), (4096, 4096, 2048), (0, 0, 0),
        (2048, 2048, 2048), (9000, 9000, 9000), (2048, 9000, 10000), (3000, 3000, 3000), (7000, 7500, 8192),
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (2048, 2048))
} | {
    "gex old-style 2048": group_exchange((2048,), number=30),
    "gex old-style 1024": group_exchange((1024,), number=30),
    "gex old-style 8192": group_exchange((8192,), number=30),
    "gex 32 first": group_exchange((2048,), number=32),
}

KEYED = {
    "quiet behind NEWKEYS": keyed(timeout=1.0),
    "quiet behind NEWKEYS, not strict": keyed(timeout=1.0, strict=False),
    "service": keyed(SERVICE + string("ssh-userauth")),
    "service twice": keyed(SERVICE + string("ssh-userauth"), SERVICE + string("ssh-userauth")),
    "service ssh-connection": keyed(SERVICE + string("ssh-connection")),
    "service foo": keyed(SERVICE + string("foo")),
    "service empty": keyed(SERVICE + string("")),
    "service with NUL": keyed(SERVICE + string("ssh-userauth\0")),
    "service malformed": keyed(SERVICE + u32(100) + b"abc"),
    "service with more behind": keyed(SERVICE + string("ssh-userauth") + b"abc"),
    "USERAUTH_REQUEST without a service": keyed(ssh.userauth("root", "none")),
    "IGNORE": keyed(bytes([2]) + string("abc"), SERVICE + string("ssh-userauth")),
    "DEBUG": keyed(bytes([4, 1]) + string("abc") + string(""), SERVICE + string("ssh-userauth")),
    "UNIMPLEMENTED": keyed(bytes([3]) + u32(9), SERVICE + string("ssh-userauth")),
    "EXT_INFO": keyed(bytes([7]) + u32(1) + string("a") + string("b"), SERVICE + string("ssh-userauth")),
    "EXT_INFO second": keyed(SERVICE + string("ssh-userauth"), bytes([7]) + u32(1) + string("a") + string("b")),
    "PING": keyed(bytes([192]) + string("abc"), SERVICE + string("ssh-userauth")),
    "DISCONNECT": keyed(bytes([1]) + u32(11) + string("bye") + string("")),
    "NEWKEYS": keyed(bytes([21])),
    "key exchange message": keyed(bytes([30]) + string(bytes(32))),
    "malformed KEXINIT": keyed(bytes([20])),
    "garbage of 16": garbage(bytes(16)),
    "garbage of 48": garbage(bytes(48)),
    "garbage of 100000": garbage(b"x" * 100000),
    "wrong length": bent(length=0x40001),
    "short length": bent(length=4),
    "length of 12": bent(length=12),
    "odd length": bent(length=29),
    "padding too long": bent(length=28, padding=10),
    "no padding": bent(padding=0, length=28),
} | {
    f"message {number} under keys": keyed(bytes([number]), SERVICE + string("ssh-userauth"))
    for number in (0, 6, 8, 19, 22, 31, 49, 50, 51, 60, 66, 80, 90, 100, 193, 255)
}

GROUPS = {"identification": IDENTIFICATIONS, "clear": CLEAR, "kexinit": KEXINITS, "exchange": EXCHANGES,
          "keyed": KEYED}
