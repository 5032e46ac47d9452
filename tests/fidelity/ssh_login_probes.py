"""The probes of ssh.py from a login on: authentication, sessions, and what silence leads to."""

import time

import ssh_client as ssh
from ssh_client import string, u32
from ssh_probes import ED_KEY, SERVICE

USER = "nobody-here"


def asked(*payloads, timeout=8.0):
    """Messages to the authentication service."""
    def run(c):
        c.service()
        for payload in payloads:
            # Some messages are not answered, which takes no eight seconds to see.
            if not c.ask(payload, timeout if payload[:1] in (b"\x32", b"\x3d") else 1.0):
                break
    return run


def rekey(c):
    """A second key exchange before anybody has logged in."""
    c.service()
    c.offer({"kex": "curve25519-sha256"})
    c.note(ssh.describe(c.their_kexinit()))
    c.exchange()
    c.ask(ssh.password("nobody-here", "wrong"))


def rekey_first(c):
    """The same, before the service is asked for."""
    c.encrypted()
    c.listen(0.5)
    c.offer({"kex": "curve25519-sha256"})
    c.note(ssh.describe(c.their_kexinit()))
    c.exchange()
    c.ask(bytes([ssh.SERVICE_REQUEST]) + string("ssh-userauth"), 1.5)
    c.ask(ssh.userauth("nobody-here", "none"))


def rekey_later(c):
    """A second key exchange after a login."""
    c.login()
    c.offer({"kex": "curve25519-sha256"})
    c.note(ssh.describe(c.their_kexinit()))
    c.exchange()
    c.ask(SESSION, 1.5)


def two_at_once(c):
    c.service()
    c.raw(c.bend(ssh.userauth(USER, "none")) + c.bend(ssh.userauth(USER, "foo")))
    c.listen(2)


def extensions_in_auth(c):
    """What OpenSSH's client of 9.6 and later asks for."""
    c.encrypted()
    c.listen(0.5)
    c.ask(bytes([ssh.EXT_INFO]) + u32(1) + string("ext-info-in-auth@openssh.com") + string("0"), 0.5)
    c.ask(SERVICE + string("ssh-userauth"), 1.5)
    for _ in range(2):
        c.ask(ssh.userauth(USER, "none"), 1.5)


GOOD_QUERY = ssh.userauth(USER, "publickey", b"\0" + string("ssh-ed25519") + string(ED_KEY))


def key_request(algorithm, blob, signature=None, user=USER):
    flag = b"\0" if signature is None else b"\1"
    return ssh.userauth(user, "publickey", flag + string(algorithm) + string(blob)
                        + (b"" if signature is None else string(signature)))


ED_SIGNATURE = string("ssh-ed25519") + string(bytes(64))
RSA_KEY = string("ssh-rsa") + ssh.mpint(65537) + ssh.mpint((1 << 2047) + 12345)
RSA_SHORT = string("ssh-rsa") + ssh.mpint(65537) + ssh.mpint((1 << 767) + 12345)
DSS_KEY = string("ssh-dss") + ssh.mpint(1 << 1023 | 7) + ssh.mpint(1 << 159 | 7) + ssh.mpint(2) + ssh.mpint(3)
EC_KEY = string("ecdsa-sha2-nistp256") + string("nistp256") + string(bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"))
SK_KEY = string("sk-ssh-ed25519@openssh.com") + string(bytes(range(32))) + string("ssh:")

KEYS = {
    "key query": asked(GOOD_QUERY),
    "key query, root": asked(key_request("ssh-ed25519", ED_KEY, user="root")),
    "key query, eight": asked(*[GOOD_QUERY] * 8),
    "key, signed badly": asked(key_request("ssh-ed25519", ED_KEY, ED_SIGNATURE)),
    "key, signed emptily": asked(key_request("ssh-ed25519", ED_KEY, b"")),
    "key, signature missing": asked(ssh.userauth(USER, "publickey", b"\1" + string("ssh-ed25519") + string(ED_KEY))),
    "key of an unknown algorithm": asked(key_request("ssh-foo", string("ssh-foo") + string("x"))),
    "key of an empty algorithm": asked(key_request("", b"")),
    "key, blob empty": asked(key_request("ssh-ed25519", b"")),
    "key, blob of garbage": asked(key_request("ssh-ed25519", b"\xff" * 20)),
    "key, blob short": asked(key_request("ssh-ed25519", string("ssh-ed25519") + string(bytes(31)))),
    "key, blob long": asked(key_request("ssh-ed25519", ED_KEY + b"abc")),
    "key, other type than its algorithm": asked(key_request("ssh-rsa", ED_KEY)),
    "key ssh-rsa": asked(key_request("ssh-rsa", RSA_KEY)),
    "key rsa-sha2-256": asked(key_request("rsa-sha2-256", RSA_KEY)),
    "key rsa-sha2-512, 768 bits": asked(key_request("rsa-sha2-512", RSA_SHORT)),
    "key ssh-dss": asked(key_request("ssh-dss", DSS_KEY)),
    "key nistp256": asked(key_request("ecdsa-sha2-nistp256", EC_KEY)),
    "key sk": asked(key_request("sk-ssh-ed25519@openssh.com", SK_KEY)),
    "key certificate": asked(key_request("ssh-ed25519-cert-v01@openssh.com",
                                         string("ssh-ed25519-cert-v01@openssh.com") + string("nonce"))),
    "key query, truncated": asked(ssh.userauth(USER, "publickey", b"\0" + string("ssh-ed25519"))),
    "key query with more behind": asked(GOOD_QUERY + b"abc"),
    "key query of 100000": asked(key_request("ssh-ed25519", bytes(100000))),
    "hostbound": asked(ssh.userauth(USER, "publickey-hostbound-v00@openssh.com",
                                    b"\0" + string("ssh-ed25519") + string(ED_KEY) + string(ED_KEY))),
}

WRONG = ssh.password(USER, "wrong")
AUTH = KEYS | {
    "none": asked(ssh.userauth(USER, "none")),
    "none, root": asked(ssh.userauth("root", "none")),
    "none, eight": asked(*[ssh.userauth(USER, "none")] * 8),
    "none, with more behind": asked(ssh.userauth(USER, "none", b"abc")),
    "unknown method": asked(ssh.userauth(USER, "foo")),
    "unknown method, eight": asked(*[ssh.userauth(USER, "foo")] * 8),
    "empty method": asked(ssh.userauth(USER, "")),
    "hostbased": asked(ssh.userauth(USER, "hostbased", string("ssh-ed25519") + string(ED_KEY) + string("h")
                                    + string("u") + string(ED_SIGNATURE))),
    "gssapi-with-mic": asked(ssh.userauth(USER, "gssapi-with-mic",
                                          u32(1) + string(bytes.fromhex("06092a864886f712010202")))),
    "keyboard-interactive": asked(ssh.userauth(USER, "keyboard-interactive", string("") + string(""))),
    "keyboard-interactive, answered": asked(
        ssh.userauth(USER, "keyboard-interactive", string("") + string("")), bytes([61]) + u32(1) + string("wrong")),
    "keyboard-interactive, answered by none": asked(
        ssh.userauth(USER, "keyboard-interactive", string("") + string("")), bytes([61]) + u32(0)),
    "keyboard-interactive, answered by two": asked(
        ssh.userauth(USER, "keyboard-interactive", string("") + string("")),
        bytes([61]) + u32(2) + string("wrong") + string("x")),
    "keyboard-interactive with a device": asked(
        ssh.userauth(USER, "keyboard-interactive", string("") + string("pam,skey"))),
    "keyboard-interactive, unknown device": asked(
        ssh.userauth(USER, "keyboard-interactive", string("") + string("skey"))),
    "keyboard-interactive, then another method": asked(
        ssh.userauth(USER, "keyboard-interactive", string("") + string("")), ssh.userauth(USER, "none")),
    "an answer nobody asked for": asked(bytes([61]) + u32(1) + string("wrong")),
    "service of the request": asked(ssh.userauth(USER, "none", service="ssh-foo")),
    "service of the request, ssh-userauth": asked(ssh.userauth(USER, "none", service="ssh-userauth")),
    "empty user": asked(ssh.userauth("", "none"), ssh.password("", "wrong")),
    "user of 300": asked(ssh.userauth("a" * 300, "none")),
    "user of 100000": asked(ssh.userauth("a" * 100000, "none")),
    "user with NUL": asked(ssh.userauth("root\0x", "none")),
    "user in Latin-1": asked(ssh.userauth(b"j\xfcrgen", "none")),
    "user with a style": asked(ssh.userauth("root:pam", "none")),
    "user with a slash": asked(ssh.userauth("root/admin", "none")),
    "user changes": asked(ssh.userauth("a", "none"), ssh.userauth("b", "none")),
    "user changes back": asked(ssh.userauth("a", "none"), ssh.userauth("b", "none"), ssh.userauth("a", "none")),
    "service changes": asked(ssh.userauth(USER, "none"), ssh.userauth(USER, "none", service="ssh-foo")),
    "password": asked(WRONG),
    "password, empty": asked(ssh.password(USER, "")),
    "password with NUL": asked(ssh.password(USER, "a\0b")),
    "password of 1024": asked(ssh.password(USER, "a" * 1024)),
    "password of 1025": asked(ssh.password(USER, "a" * 1025)),
    "password of 40000": asked(ssh.password(USER, "a" * 40000)),
    "password, changed": asked(ssh.password(USER, "wrong", "new")),
    "password, changed, new one missing": asked(ssh.userauth(USER, "password", b"\1" + string("wrong"))),
    "password with more behind": asked(WRONG + b"abc"),
    "password missing": asked(ssh.userauth(USER, "password", b"\0")),
    "password request of nothing": asked(ssh.userauth(USER, "password")),
    "truncated request": asked(bytes([50]) + string(USER)),
    "empty request": asked(bytes([50])),
    "FAILURE of the client": asked(bytes([51]) + string("x") + b"\0"),
    "SUCCESS of the client": asked(bytes([52])),
    "BANNER of the client": asked(bytes([53]) + string("x") + string("")),
    "service again": asked(SERVICE + string("ssh-userauth")),
    "service again, ssh-connection": asked(SERVICE + string("ssh-connection")),
    "IGNORE at authentication": asked(bytes([2]) + string("abc"), ssh.userauth(USER, "none")),
    "DEBUG at authentication": asked(bytes([4, 1]) + string("abc") + string(""), ssh.userauth(USER, "none")),
    "UNIMPLEMENTED at authentication": asked(bytes([3]) + u32(9), ssh.userauth(USER, "none")),
    "EXT_INFO at authentication": asked(bytes([7]) + u32(0), ssh.userauth(USER, "none")),
    "PING at authentication": asked(bytes([192]) + string("abc"), ssh.userauth(USER, "none")),
    "GLOBAL_REQUEST before": asked(bytes([80]) + string("keepalive@openssh.com") + b"\1", ssh.userauth(USER, "none")),
    "CHANNEL_OPEN before": asked(bytes([90]) + string("session") + u32(0) + u32(2097152) + u32(32768)),
    "extensions in authentication": extensions_in_auth,
    "rekey at authentication": rekey,
    "rekey before the service": rekey_first,
    "two in one segment": two_at_once,
} | {
    f"message {number} at authentication": asked(bytes([number]), ssh.userauth(USER, "none"))
    for number in (0, 8, 19, 22, 30, 49, 54, 59, 60, 62, 63, 66, 67, 70, 79, 81, 82, 93, 100, 127, 193, 255)
}

MANY = {
    "passwords, eight": asked(*[WRONG] * 8, timeout=20),
    "passwords, eight, root": asked(*[ssh.password("root", "wrong")] * 8, timeout=20),
    "none, then passwords": asked(ssh.userauth(USER, "none"), *[WRONG] * 8, timeout=20),
    "queries, then passwords": asked(*[GOOD_QUERY] * 3, *[WRONG] * 5, timeout=20),
    "passwords, twelve": asked(*[WRONG] * 12, timeout=20),
}


def silent(step):
    """Nothing more is sent until the server hangs up."""
    def run(c):
        step(c)
        c.listen(GRACE + 5, GRACE + 5)
        # A busy machine is a second late, and needs no second round of this.
        c.note(f"after {int(time.monotonic() - c.began + 2) // 10 * 10} s")
    return run


GRACE = 120  # seconds for a login, by default (LoginGraceTime)
SILENCES = {
    "silence": silent(lambda c: None),
    "silence behind the identification": silent(lambda c: c.hello()),
    "silence within kex": silent(lambda c: c.start()),
    "silence at authentication": silent(lambda c: c.service()),
}

SESSION = bytes([ssh.CHANNEL_OPEN]) + string("session") + u32(0) + u32(2097152) + u32(32768)


def request(name, rest=b"", reply=True, channel=0):
    return bytes([ssh.CHANNEL_REQUEST]) + u32(channel) + string(name) + bytes([reply]) + rest


def channel_open(kind, rest=b"", number=0):
    return bytes([ssh.CHANNEL_OPEN]) + string(kind) + u32(number) + u32(2097152) + u32(32768) + rest


def global_request(name, rest=b"", reply=True):
    return bytes([ssh.GLOBAL_REQUEST]) + string(name) + bytes([reply]) + rest


def logged_in(*payloads, timeout=1.5, quiet=0.4):
    """Messages after a login; without any, what the server says by itself."""
    def run(c):
        c.login()
        for number, payload in enumerate(payloads):
            c.note(f"> {number}")
            # A program may take its time until it ends.
            runs = any(string(it) in payload for it in ("exec", "shell", "sftp"))
            if not c.ask(payload, timeout, 3.0 if runs else quiet, "CLOSE" if runs else "\0"):
                break
    return run


PTY = request("pty-req", string("xterm") + u32(80) + u32(24) + u32(0) + u32(0) + string("\0"))
SHELL = request("shell")
EXEC = request("exec", string("id"))
CLOSE, EOF = bytes([ssh.CHANNEL_CLOSE]) + u32(0), bytes([ssh.CHANNEL_EOF]) + u32(0)
DATA = bytes([ssh.CHANNEL_DATA]) + u32(0) + string("x")
TCP = string("127.0.0.1") + u32(1) + string("127.0.0.1") + u32(4711)

SESSIONS = {
    "login": logged_in(),
    "open": logged_in(SESSION),
    "shell": logged_in(SESSION, SHELL, CLOSE),
    "pty and shell": logged_in(SESSION, PTY, SHELL, CLOSE),
    "exec": logged_in(SESSION, EXEC, CLOSE),
    "exec without reply": logged_in(SESSION, request("exec", string("id"), reply=False), CLOSE),
    "pty and exec": logged_in(SESSION, PTY, EXEC, CLOSE),
    "sftp": logged_in(SESSION, request("subsystem", string("sftp")), CLOSE),
    "unknown subsystem": logged_in(SESSION, request("subsystem", string("foo")), CLOSE),
    "env": logged_in(SESSION, *[request("env", string(it) + string("C")) for it in ("LANG", "LC_ALL", "FOO")]),
    "x11": logged_in(SESSION, request("x11-req", b"\0" + string("MIT-MAGIC-COOKIE-1") + string("00" * 16) + u32(0))),
    "agent": logged_in(SESSION, request("auth-agent-req@openssh.com")),
    "window change": logged_in(SESSION, request("window-change", u32(80) + u32(24) + u32(0) + u32(0))),
    "signal": logged_in(SESSION, request("signal", string("INT"))),
    "break": logged_in(SESSION, request("break", u32(0))),
    "unknown request": logged_in(SESSION, request("foo")),
    "unknown request without reply": logged_in(SESSION, request("foo", reply=False)),
    "request on no channel": logged_in(request("shell", channel=7)),
    "data on no channel": logged_in(bytes([ssh.CHANNEL_DATA]) + u32(7) + string("x")),
    "data before a program": logged_in(SESSION, DATA),
    "data after close": logged_in(SESSION, EXEC, CLOSE, DATA),
    "close at once": logged_in(SESSION, CLOSE),
    "EOF at once": logged_in(SESSION, EOF),
    "two sessions": logged_in(SESSION, channel_open("session", number=1)),
    "eleven sessions": logged_in(*[channel_open("session", number=it) for it in range(11)]),
    "shell twice": logged_in(SESSION, EXEC, SHELL),
    "direct-tcpip": logged_in(channel_open("direct-tcpip", TCP)),
    "direct-streamlocal": logged_in(
        channel_open("direct-streamlocal@openssh.com", string("/nope") + string("") + u32(0))),
    "tcpip-forward": logged_in(global_request("tcpip-forward", string("127.0.0.1") + u32(0))),
    "tcpip-forward to 22": logged_in(global_request("tcpip-forward", string("") + u32(22))),
    "streamlocal-forward": logged_in(global_request("streamlocal-forward@openssh.com", string("/tmp/nope/x"))),
    "cancel-tcpip-forward": logged_in(global_request("cancel-tcpip-forward", string("127.0.0.1") + u32(1))),
    "no-more-sessions": logged_in(global_request("no-more-sessions@openssh.com", reply=False), SESSION),
    "keepalive": logged_in(global_request("keepalive@openssh.com")),
    "unknown global request": logged_in(global_request("foo")),
    "hostkeys-prove": logged_in(global_request("hostkeys-prove-00@openssh.com", string("x"))),
    "unknown channel": logged_in(channel_open("foo")),
    "x11 channel": logged_in(channel_open("x11", string("127.0.0.1") + u32(1))),
    "auth-agent channel": logged_in(channel_open("auth-agent@openssh.com")),
    "tun channel": logged_in(channel_open("tun@openssh.com", u32(1) + u32(0x7FFFFFFF))),
    "USERAUTH_REQUEST after": logged_in(ssh.password(USER, "wrong"), ssh.userauth(USER, "none")),
    "SERVICE_REQUEST after": logged_in(SERVICE + string("ssh-userauth")),
    "unknown message after": logged_in(bytes([110])),
    "open after close": logged_in(SESSION, EXEC, CLOSE, SESSION),
    "disconnect after": logged_in(SESSION, bytes([1]) + u32(11) + string("disconnected by user") + string("")),
    "window of nothing": logged_in(
        bytes([ssh.CHANNEL_OPEN]) + string("session") + u32(0) + u32(0) + u32(32768), EXEC,
        bytes([ssh.WINDOW_ADJUST]) + u32(0) + u32(1000)),
    "PING after": logged_in(bytes([ssh.PING]) + string("abc")),
    "rekey after": rekey_later,
    "malformed open": logged_in(bytes([ssh.CHANNEL_OPEN]) + string("session")),
    "malformed request": logged_in(SESSION, request("pty-req")),
}

GROUPS = {"auth": AUTH, "session": SESSIONS, "many": MANY, "silence": SILENCES}
