#!/usr/bin/env python3
"""Plays the same requests at a genuine Squid and at ours, and compares what comes back.

    squid.py --ours HOST:PORT

Ours is a running sensor's HTTP proxy with the squid skin and no banner. The genuine one is Debian's
squid, started here on a free loopback port under ours' host name, with Basic on offer and the other
schemes taken unasked. Compared are all bytes of the head but the date, the challenge's random part
and the port; the length of the body (the pages are ours); how the connection ends; and what curl,
wget and nmap make of it. Exit status: 0 when everything is equal, 1 when something differs, 2 when
a program is missing.
"""

import base64
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import peer

# Probe to reason: what may differ. A difference that no longer shows is a failure too.
EXPECTED = {
    "language de": "our pages are in English only",
    "body of 100,000, then a request": "Squid 5.7 stops reading at 64 KiB and never answers again",
    "chunk without a size": "Squid drops its answer when the body is bad by the time it is sent",
}

URL = b"http://example.com/"
HOST = b"Host: example.com"


def request(line, *headers, body=b""):
    return b"\r\n".join([line, *headers, b"", b""]) + body


def get(url=URL, *headers, method=b"GET", version=b"HTTP/1.1", body=b""):
    return request(b" ".join([method, url, version]), HOST, *headers, body=body)


def post(*headers, body=b"", version=b"HTTP/1.1"):
    return get(URL, *headers, method=b"POST", version=version, body=body)


def login(value):
    return get(URL, b"Proxy-Authorization: " + value)


def basic(text):
    return login(b"Basic " + base64.b64encode(text))


NTLM_1 = b"TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA="

PROBES = {
    # What every client does.
    "get": get(),
    "get, 1.0": get(version=b"HTTP/1.0"),
    "get, 1.0 keep-alive": get(URL, b"Connection: keep-alive", version=b"HTTP/1.0"),
    "get, 1.0 proxy keep-alive": get(URL, b"Proxy-Connection: Keep-Alive", version=b"HTTP/1.0"),
    "get, close": get(URL, b"Connection: close"),
    "get, proxy close": get(URL, b"Proxy-Connection: close"),
    "get, both": get(URL, b"Proxy-Connection: close", b"Connection: keep-alive"),
    "get, contradiction": get(URL, b"Connection: keep-alive, close"),
    "get, no host": request(b"GET http://example.com/ HTTP/1.1"),
    "two requests": get() + get(URL, b"Connection: close"),
    "request after an error": get(b"/") + get(),
    "connect": get(b"example.com:443", method=b"CONNECT"),
    "connect, 1.0": get(b"example.com:443", method=b"CONNECT", version=b"HTTP/1.0"),
    "connect, then TLS": [get(b"a.b:443", method=b"CONNECT"), bytes.fromhex("1603010200010001fc0303")],
    "connect, then get": [get(b"a.b:443", method=b"CONNECT"), get()],
    "language de": get(URL, b"Accept-Language: de"),
    "language en-us": get(URL, b"Accept-Language: en-US,en;q=0.9"),
    "language en_GB": get(URL, b"Accept-Language: xx,en_GB;q=0.1"),
    "language en, unsupported": get(b"*", b"Accept-Language: en", method=b"OPTIONS"),
    "language en, body": get(URL, b"Accept-Language: en-us", b"Content-Length: 5", body=b"hello"),
    "language en, origin form": get(b"/", b"Accept-Language: en-us"),
    "language en, bad header": get(URL, b"Accept-Language: en-us", b"foo"),
    "language, two lengths": post(b"Accept-Language: en-us", b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "language any": get(URL, b"Accept-Language: *,en"),
    "language unknown": get(URL, b"Accept-Language: xx"),
    # Logins.
    "basic": basic(b"alice:wrong"),
    "basic, no colon": basic(b"alice"),
    "basic, no user": basic(b":x"),
    "basic, not UTF-8": basic(b"al\xff:\xfe"),
    "basic, not base64": login(b"Basic !!!!"),
    "basic, small letters": login(b"basic " + base64.b64encode(b"alice:wrong")),
    "basic, no token": login(b"Basic"),
    "basic, empty": login(b""),
    "basic, three times": basic(b"a:1") + basic(b"a:2") + basic(b"a:3"),
    "basic, origin form": get(b"/", b"Proxy-Authorization: Basic " + base64.b64encode(b"a:b")),
    "basic, connect": get(b"a.b:443", b"Proxy-Authorization: Basic " + base64.b64encode(b"a:b"), method=b"CONNECT"),
    "bearer": login(b"Bearer abc"),
    "digest": login(
        b'Digest username="a", realm="Squid proxy-caching web server", nonce="abc", uri="http://example.com/", '
        b'response="0123456789abcdef0123456789abcdef"'
    ),
    "ntlm, first message": login(b"NTLM " + NTLM_1),
    "negotiate, first message": login(b"Negotiate " + NTLM_1),
    "authorization": get(URL, b"Authorization: Basic YTpi"),
    # Bodies.
    "post": post(b"Content-Length: 5", body=b"a=bcd"),
    "post, then a request": post(b"Content-Length: 5", body=b"a=bcd") + get(),
    "post, body late": [post(b"Content-Length: 5"), b"a=bcd", get()],
    "post, no length": post(),
    "post, 1.0": post(version=b"HTTP/1.0"),
    "body of 60,000, then a request": [post(b"Content-Length: 60000", body=b"a" * 60000), get()],
    "body of 100,000, then a request": [post(b"Content-Length: 100000", body=b"a" * 100000), get()],
    "chunks": post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n") + get(),
    "chunk without a size": post(b"Transfer-Encoding: chunked", body=b"zz\r\nhello\r\n0\r\n\r\n"),
    "chunks and length": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "coding unknown": post(b"Transfer-Encoding: gzip", body=b"hello"),
    "coding identity": post(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello"),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "equal lengths": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "length below zero": post(b"Content-Length: -5", body=b"hello"),
    "length no number": post(b"Content-Length: abc", body=b"hello"),
    "length no number, login": post(b"Content-Length: x", b"Proxy-Authorization: Basic YTpi", b"X: <y>"),
    "length no number, authorization": post(b"Content-Length: x", b"Authorization: Basic YTpi", b"X: <y>"),
    "length no number, origin form": request(b"POST / HTTP/1.1", HOST, b"Content-Length: x"),
    "length no number, chunks": post(b"Content-Length: x", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "length enormous": post(b"Content-Length: 99999999999999999999999", body=b"hello"),
    "get with body": get(URL, b"Content-Length: 5", body=b"hello"),
    "head with body": get(URL, b"Content-Length: 5", method=b"HEAD", body=b"hello"),
    "delete with body": get(URL, b"Content-Length: 5", method=b"DELETE", body=b"hello"),
    "expect": post(b"Content-Length: 5", b"Expect: 100-continue"),
    "expect something": post(b"Content-Length: 5", b"Expect: foo", body=b"hello"),
    # Methods.
    **{
        f"method {it.decode()[:20]}": get(method=it)
        for it in (b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PURGE", b"FOO", b"foo", b"PROPFIND")
    },
    "method of odd characters": get(method=b"A!#$%&'*+-.^_`|~9"),
    "method of 32": get(method=b"A" * 32),
    "method of 33": get(method=b"A" * 33),
    "method with a bracket": get(method=b"FO(O"),
    "method not ASCII": get(method=b"G\xffT"),
    "head, origin form": get(b"/", method=b"HEAD"),
    "head, bad header": get(URL, b"foo", method=b"HEAD"),
    "options *": get(b"*", method=b"OPTIONS"),
    "options *, no host": request(b"OPTIONS * HTTP/1.0"),
    "options, no forwards left": get(URL, b"Max-Forwards: 0", method=b"OPTIONS"),
    "trace, no forwards left": get(URL, b"Max-Forwards: 0", method=b"TRACE"),
    "post, origin form": request(b"POST /cgi-bin/x HTTP/1.1", HOST, b"Content-Length: 5", body=b"hello"),
    # Targets.
    **{
        f"target {it.decode('latin-1')}": get(it)
        for it in (
            b"/", b"*", b"x", b"//x/y", b"/x?<script>", b"http:/x", b"http:x", b"http://", b"http:///", b"example.com:80",
            b"http://example.com", b"http://EXAMPLE.com:80/A?b=c", b"http://example.com:8080/x", b"https://a:443/",
            b"ftp://example.com/", b"ftp://u:p@example.com/", b"http://u:p@example.com/x", b"http://a@b@c/",
            b"gopher://x/", b"urn:foo", b"foo://x/", b"wais://x/", b"whois://a:43/", b"coap://a/", b"file:///etc/passwd",
            b"cache_object://localhost/info", b"javascript:alert(1)", b"http://a:0/", b"http://a:99999/", b"http://a:b/",
            b"http://[::1]/", b"http://[::1]:81/x", b"http://1.2.3.4/", b"http://a..b/", b"http://.a/", b"http://a./",
            b"http://a_b/", b"http://a?b", b"http://a#b", b"http://exa mple.com/", b"http://u@/", b"http://ex<a>.com/",
            b"http://a/<script>\"'&", b"http://a/\x80!#$%[]^_~'\"<>&", b"/\x0b\x80\xff", b"http://a/\xff\xfe\x80", b"http://a/%00%zz", b"http://a/b#c", b"HTTP://a/",
            b"/squid-internal-mgr/menu", b"/squid-internal-static/icons/SN.png",
            b"http://example.com/squid-internal-dynamic/netdb",
        )
    },
    **{
        f"connect {it.decode()}": get(it, method=b"CONNECT")
        for it in (b"a.b", b"a.b:80", b"a.b:8443", b"A.B:443", b"a.b:", b":443", b"a.b:0", b"a.b:99999", b"a_b:443",
                   b"u@a.b:443", b"a.b:443/x", b"[::1]:443", b"http://example.com/", b"/")
    },
    "target empty": get(b""),
    "target with control": get(b"http://a/\x01"),
    "target with NUL": get(b"http://a/\0"),
    "url of 8,191": get(URL + b"a" * 8172),
    "url of 8,192": get(URL + b"a" * 8173),
    # Versions.
    **{
        f"version {it.decode()}": get(version=it)
        for it in (b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/1", b"http/1.1", b"FOO/1.1", b"HTTP/1.1 ")
    },
    "version of a post": get(method=b"POST", version=b"FOO/1.1"),
    "no version": b"GET http://example.com/\r\n",
    "no version, origin form": b"GET /\r\n\r\n",
    "no version, post": b"POST http://example.com/\r\n\r\n",
    "version without a blank": b"GET http://example.com/HTTP/1.1\r\n\r\n",
    "version 2, no headers yet": b"GET http://example.com/ HTTP/2.0\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    # Lines and headers.
    "line feeds only": b"GET http://example.com/ HTTP/1.1\nHost: example.com\n\n",
    "returns only": b"GET http://example.com/ HTTP/1.1\rHost: a\r\r",
    "blank lines before": b"\r\n\r\n" + get(),
    "blank lines only": b"\r\n\r\n",
    "tabs between": b"GET\thttp://example.com/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "blank before": b" " + get(),
    "folded header": get(URL, b"X: a", b" b"),
    "folded first": request(b"GET http://example.com/ HTTP/1.1", b" x", HOST),
    "header without colon": get(URL, b"foo"),
    "header with a blank": get(URL, b"X : a"),
    "header without name": get(URL, b": a"),
    "header with NUL": get(URL, b"X: a\0b"),
    "header with brackets": get(URL, b"X(): a"),
    "header of bytes": get(URL, b"X: \xff\xfe"),
    "header after a return": get(URL, b"\rX: a"),
    "two hosts": get(URL, b"Host: b"),
    "1,000 headers": get(URL, *[b"X: a"] * 1000),
    "head of 65,535": get(URL, b"X: " + b"a" * 65475),
    "head of 65,536": get(URL, b"X: " + b"a" * 65476),
    "line of 65,536": get(URL + b"a" * 65502),
    "line of 65,537": get(URL + b"a" * 65503),
    "line without end": b"GET http://example.com/" + b"a" * 70000,
    # What is no HTTP.
    "garbage": b"garbage\r\n\r\n",
    "garbage of 70,000": b"a" * 70000,
    "HELP": b"HELP\r\n",
    "GET alone": b"GET\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": bytes.fromhex("16030102000100") + b"a" * 500,
    "SOCKS 5": b"\x05\x01\x00",
    "NULs and a line end": b"\0\0\0\0\r\n",
    "half a request": b"GET http://example.com/ HT",
    "nothing": b"",
}

CURL = ["curl", "--silent", "--max-time", "10", "--output", "/dev/null", "--write-out",
        "%{http_code} %{http_connect} %{num_connects} %{exitcode} %{errormsg}"]
CLIENTS = {
    "curl": [*CURL, "-x", "http://{at}", "http://example.com/"],
    "curl basic": [*CURL, "-x", "http://{at}", "-U", "alice:wrong", "http://example.com/"],
    "curl digest": [*CURL, "-x", "http://{at}", "-U", "alice:wrong", "--proxy-digest", "http://example.com/"],
    "curl ntlm": [*CURL, "-x", "http://{at}", "-U", "CORP\\alice:wrong", "--proxy-ntlm", "http://example.com/"],
    "curl negotiate": [*CURL, "-x", "http://{at}", "-U", ":", "--proxy-negotiate", "http://example.com/"],
    "curl anyauth": [*CURL, "-x", "http://{at}", "-U", "alice:wrong", "--proxy-anyauth", "http://example.com/"],
    "curl connect": [*CURL, "-x", "http://{at}", "-U", "alice:wrong", "https://example.com/"],
    "curl connect ntlm": [*CURL, "-x", "http://{at}", "-U", "alice:wrong", "--proxy-ntlm", "https://example.com/"],
    "curl as a web server": [*CURL, "http://{at}/"],
    "wget": ["wget", "-q", "-S", "-O", "/dev/null", "-t", "1", "-e", "http_proxy=http://alice:wrong@{at}",
             "http://example.com/"],
    "nmap": ["nmap", "-n", "-Pn", "-sV", "--script", "http-open-proxy", "-p", "{port}", "{host}"],
}


def probe(address, segments):
    """All answers, and how the connection ended."""
    answer, end = peer.exchange(address, *(segments if isinstance(segments, list) else [segments]))
    return [*heads(answer, address[1]), end]


def heads(answer, port):
    """Each answer's head without what differs by nature, and the length of its body."""
    found = []
    while answer:
        head, parted, answer = answer.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        length = re.search(r"Content-Length: (\d+)", text)
        body = answer[: int(length[1])] if length and answer[:5] != b"HTTP/" else b""
        answer = answer[len(body):]
        found.append(f"{same(text, port)}\r\n[{len(body)} bytes follow]" if parted else f"cut off: {text[:200]}")
    return found


def same(text, port):
    text = re.sub(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "DATE", text)
    text = re.sub(r"(NTLM|Negotiate) [A-Za-z0-9+/=]{20,}", r"\1 CHALLENGE", text)
    return text.replace(f":{port}", ":PORT")


def client(address, command):
    """What a client prints, and its exit status."""
    at = f"{address[0]}:{address[1]}"
    command = [it.format(at=at, host=address[0], port=address[1]) if it[:2] != "%{" else it for it in command]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    said = same((done.stdout + done.stderr).decode("latin-1"), address[1])
    if command[0] == "nmap":
        said = "\n".join(re.findall(r"^\d+/tcp +(.*)|^(\|.*)", said, re.MULTILINE)[0]) if "/tcp" in said else said
    return [said, done.returncode]


# Squid's helper for NTLM, which accepts nobody: the one it comes with accepts everybody.
REFUSER = """#!/usr/bin/python3 -u
import sys
for line in sys.stdin:
    print("TT TlRMTVNTUAACAAAAAAAAADgAAAAFAoIAAAECAwQFBgcAAAAAAAAAAAAAAAA4AAAA" if line[:2] == "YR" else "NA refused")
"""


def configuration(folder, host, port):
    """Debian's squid, wanting a password for everything and offering Basic."""
    helpers = "/usr/lib/squid"
    return f"""
http_port 127.0.0.1:{port}
visible_hostname {host}
pid_filename none
access_log none
cache_log {folder}/cache.log
coredump_dir {folder}
cache deny all
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
auth_param negotiate program {folder}/refuser
auth_param ntlm program {folder}/refuser
auth_param digest program {helpers}/digest_file_auth {folder}/users
auth_param basic program {helpers}/basic_ncsa_auth {folder}/users
auth_param basic realm Squid proxy-caching web server
auth_schemes basic all
acl known proxy_auth REQUIRED
http_access deny !known
http_access deny all
"""


def squid(folder, host, port):
    program = shutil.which("squid") or shutil.which("squid", path="/usr/sbin")
    if not program:
        print("squid is missing: install Debian's package squid")
        sys.exit(2)
    (folder / "users").write_text("")
    (folder / "refuser").write_text(REFUSER)
    (folder / "refuser").chmod(0o755)
    (folder / "squid.conf").write_text(configuration(folder, host, port))
    if os.geteuid() == 0:
        # Squid changes to this user, and its log is in the folder.
        shutil.chown(folder, "proxy")
    return [program, "-N", "-f", str(folder / "squid.conf")]


def main():
    arguments = peer.arguments(__doc__)
    arguments.add_argument("--ours", required=True, type=peer.address, metavar="HOST:PORT")
    ours = arguments.parse_args().ours
    missing = [it for it in ("curl", "wget", "nmap") if not shutil.which(it)]
    if missing:
        print("missing:", *missing)
        return 2
    name = re.search(r"Via: 1\.1 (\S+) ", "".join(probe(ours, get())))
    if not name:
        print("ours does not answer as Squid")
        return 1
    genuine = ("127.0.0.1", peer.free_port())
    work = [(it, probe, what) for it, what in PROBES.items()]
    work += [(it, client, what) for it, what in CLIENTS.items()]
    with tempfile.TemporaryDirectory() as folder:
        command = squid(pathlib.Path(folder), name[1], genuine[1])
        with peer.running(command, genuine[1]), concurrent.futures.ThreadPoolExecutor(12) as pool:
            runs = [(it, pool.submit(play, genuine, what), pool.submit(play, ours, what)) for it, play, what in work]
            found = {it: peer.differences("genuine", theirs.result(), own.result()) for it, theirs, own in runs}
    return peer.verdict("squid", found, EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
