#!/usr/bin/env python3
"""Sends the same requests to a genuine web server and to ours, and compares what comes back.

    web.py [--serin PATH] [--server nginx|apache|lighttpd] [--show PROBE]

Both serve the same two files of the same age. The genuine server is Debian 12's package, started
here in the foreground on a free loopback port, without compression, with a small application behind
it that answers `/` and the login form as ours does. Ours is the program at PATH (default:
target/debug/serin), with the banner that the genuine server sends. Compared is every byte but the
date, the session's name, the port, the boundary of several ranges and the order within `Allow`, and
whether the connection stays open. Exit status: 0 when everything is equal but for what EXPECTED names, 1 when something
differs or an expected difference is gone, 2 when a genuine server is missing.
"""

# Not called http.py: that would hide the module of that name from its neighbours.
import concurrent.futures
import http.server
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import threading

import peer
from web_probes import PROBES

PACKAGES = {"nginx": "nginx-light", "apache": "apache2", "lighttpd": "lighttpd"}
LOCAL_STATUS = "the genuine one shows its status page to loopback only; ours shows it to nobody"
# (server, probe) to reason: what may differ. A difference that no longer shows is a failure too.
EXPECTED = {
    ("apache", "server-status"): LOCAL_STATUS,
    ("lighttpd", "options root"): "the small application behind the genuine one knows no OPTIONS",
    ("lighttpd", "large length"): "lighttpd answers before the body comes; ours waits, to record it",
    ("lighttpd", "range two"): "lighttpd joins ranges that are close; ours sends the whole file",
}

FIRST = 3  # seconds without a first byte until a server counts as silent
QUIET = 0.5  # seconds without a further byte until an answer counts as whole
MODIFIED = 1_790_000_000
PAGE = b"<!DOCTYPE html>\n<title>Login</title>\n<form method=post></form>\n"
STYLE = b"body { margin: 0; color: #123456 }\n" * 3
REDIRECT = b"<a href=/index.html>on</a>\n"
COOKIE = "sid=0123456789abcdef0123456789abcdef; Path=/; HttpOnly; SameSite=Lax"
HTML = "text/html; charset=utf-8"


def write_site(folder):
    (folder / "static").mkdir(parents=True)
    for name, text in (("index.html", PAGE), ("static/style.css", STYLE)):
        path = folder / name
        path.write_bytes(text)
        os.utime(path, (MODIFIED, MODIFIED))


class Application(http.server.BaseHTTPRequestHandler):
    """What stands behind nginx."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        root = self.path == "/"
        body = REDIRECT if root else PAGE
        self.send_response_only(302 if root else 200)
        self.send_header("Content-Type", HTML)
        self.send_header("Content-Length", str(len(body)))
        if root:
            self.send_header("Location", "/index.html")
        else:
            self.send_header("Set-Cookie", COOKIE)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_):
        pass


def start_application():
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    return behind.server_port


def start_nginx(work, port, behind):
    app = f"proxy_pass http://127.0.0.1:{behind};"
    temporary = " ".join(f"{it}_temp_path {work}/{it};" for it in ("proxy", "fastcgi", "uwsgi", "scgi"))
    conf = work / "nginx.conf"
    conf.write_text(f"""
daemon off; master_process off; pid {work}/nginx.pid; error_log {work}/nginx.err;
events {{ }}
http {{
  include /etc/nginx/mime.types; default_type application/octet-stream; access_log off;
  client_body_temp_path {work}/body; {temporary}
  server {{
    listen 127.0.0.1:{port}; root {work}/site;
    location = / {{ limit_except GET POST {{ deny all; }} error_page 403 =405 @no; {app} }}
    location @no {{ return 405; }}
    location = /index.html {{ if ($request_method = POST) {{ {app} }} }}
  }}
}}
""")
    return ["nginx", "-c", str(conf), "-e", f"{work}/nginx.err"]


# In Debian's order, which decides about the order of `Allow`; without deflate, and with what the
# application needs.
MODULES = """access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex
dir env filter mime mpm_event negotiation reqtimeout setenvif status cgid rewrite""".split()


def write_script(path, head, body):
    """A program that answers with these bytes, in one piece as PHP does it."""
    answer = path.with_suffix(".answer")
    answer.write_bytes("\r\n".join([*head, f"Content-Type: {HTML}", "", ""]).encode() + body)
    path.write_text(f"#!/bin/sh\ncat >/dev/null\nexec cat {answer}\n")
    path.chmod(0o755)


def start_apache(work, port, name):
    write_script(work / "root", ["Status: 302 Found", "Location: /index.html"], REDIRECT)
    write_script(work / "login", [f"Set-Cookie: {COOKIE}"], PAGE)
    enabled = pathlib.Path("/etc/apache2/mods-available")
    load = "\n".join(f"LoadModule {it}_module /usr/lib/apache2/modules/mod_{it}.so" for it in MODULES)
    settings = "\n".join(
        (enabled / f"{it}.conf").read_text()
        for it in ("alias", "autoindex", "dir", "mime", "negotiation", "reqtimeout", "setenvif", "status")
    )
    conf = work / "apache.conf"
    conf.write_text(f"""
ServerRoot /etc/apache2
ServerName {name}
Listen 127.0.0.1:{port}
PidFile {work}/apache.pid
DefaultRuntimeDir {work}
Mutex file:{work} default
ErrorLog {work}/apache.err
User www-data
Group www-data
{load}
ScriptSock {work}/cgi
{settings}
<Directory />
  Options FollowSymLinks
  AllowOverride None
  Require all denied
</Directory>
<Directory /usr/share>
  AllowOverride None
  Require all granted
</Directory>
<Directory {work}>
  Options FollowSymLinks
  Require all granted
</Directory>
<FilesMatch "^\\.ht">
  Require all denied
</FilesMatch>
ServerTokens OS
ServerSignature On
TraceEnable Off
DocumentRoot {work}/site
ScriptAlias /application/ {work}/
RewriteEngine On
RewriteCond %{{REQUEST_METHOD}} =POST
RewriteRule ^/index.html$ /application/login [PT]
RewriteCond %{{REQUEST_METHOD}} ^(GET|POST|HEAD)$
RewriteRule ^/?$ /application/root [PT]
""")
    return ["apache2", "-DFOREGROUND", "-f", str(conf)]


def start_lighttpd(work, port, behind):
    conf = work / "lighttpd.conf"
    conf.write_text(f"""
server.document-root = "{work}/site"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{work}/lighttpd.err"
server.feature-flags = ("server.h2proto" => "disable")
server.modules = ("mod_proxy")
index-file.names = ()
mimetype.assign = (".html" => "text/html", ".css" => "text/css")
$HTTP["url"] == "/" {{ proxy.server = ("" => (("host" => "127.0.0.1", "port" => {behind}))) }}
$HTTP["url"] == "/index.html" {{
  $HTTP["request-method"] == "POST" {{ proxy.server = ("" => (("host" => "127.0.0.1", "port" => {behind}))) }}
}}
""")
    return ["lighttpd", "-D", "-f", str(conf)]


def start_ours(serin, work, port, banner):
    skin = work / "skin"
    write_site(skin)
    (skin / "redirect.html").write_bytes(REDIRECT)
    conf = work / "serin.toml"
    conf.write_text(f'[http]\nenabled = true\nport = {port}\nbanner = "{banner}"\nskindir = "{skin}"\n')
    return [serin, "run", "--config", str(conf), "--state-dir", str(work / "state")]


def ask(port, data):
    """What comes back, and whether the connection then ends."""
    got, end = b"", "stays open"
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(FIRST)
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                got += piece
                connection.settimeout(QUIET)
            end = "ends"
        except TimeoutError:
            pass
        except ConnectionError:
            end = "ends"
    return got, end


def validators(port, path):
    head = ask(port, f"HEAD {path} HTTP/1.0\r\n\r\n".encode())[0]
    found = [re.search(rb"(?im)^" + name + rb": (.*?)\r$", head) for name in (b"etag", b"last-modified")]
    return [it[1] if it else b"" for it in found]


def neutral(answer, port):
    answer = re.sub(rb"(?m)^Date: [^\r]*", b"Date: ...", answer)
    answer = re.sub(rb"sid=[0-9a-f]{32}", b"sid=...", answer)
    for boundary in set(re.findall(rb"boundary=(\w+)", answer)):
        answer = answer.replace(boundary, b"B" * len(boundary))
    # Apache's hash table has another order in each process.
    answer = re.sub(rb"(?m)^Allow: ([^\r]*)", lambda it: b"Allow: " + b",".join(sorted(it[1].split(b","))), answer)
    return answer.replace(b":%d" % port, b":PORT")


def whole(answer):
    """Whether Apache measures a program's answer or sends it in chunks depends on how fast it comes."""
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    if answer.startswith(go_on):
        return go_on + whole(answer.removeprefix(go_on))
    head, split, body = answer.partition(b"\r\n\r\n")
    if b"Set-Cookie: " not in head and b"Location: /index" not in head:
        return answer
    if b"\r\nTransfer-Encoding: chunked" in head:
        body = re.sub(rb"(?s)^[0-9a-f]+\r\n(.*)\r\n0\r\n\r\n$", rb"\1", body)
    return re.sub(rb"\r\n(Transfer-Encoding: chunked|Content-Length: \d+)", b"", head) + split + body


def answers(port, server):
    etag, modified = validators(port, "/static/style.css")
    page_etag, _ = validators(port, "/index.html")
    known = {b"{ETAG}": etag, b"{PAGE_ETAG}": page_etag, b"{MODIFIED}": modified}

    def one(data):
        for name, value in known.items():
            data = data.replace(name, value)
        got, end = ask(port, data)
        got = neutral(got, port)
        if server == "lighttpd":  # it mixes the number of the file into its tags
            got = re.sub(rb"(?m)^ETag: [^\r]*", b"ETag: ...", got)
        return (whole(got) if server == "apache" else got), end

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        return dict(zip(PROBES, pool.map(one, PROBES.values())))


def shown(answer):
    text = answer[0].decode("latin-1").replace("\r\n", "␍\n")
    return f"{len(answer[0])} bytes, then it {answer[1]}\n{text[:1500]}"


def compare(server, serin, to_show):
    """Runs both and tells how they differ."""
    work = pathlib.Path(tempfile.mkdtemp(prefix=f"serin-{server}-"))
    work.chmod(0o755)
    write_site(work / "site")
    port, our_port = peer.free_port(), peer.free_port()
    try:
        if server == "nginx":
            command = start_nginx(work, port, start_application())
        elif server == "lighttpd":
            command = start_lighttpd(work, port, start_application())
        else:
            # Apache signs with its name; ours has one that it made up for itself.
            with peer.running(start_ours(serin, work, our_port, "Apache"), our_port):
                page = ask(our_port, b"x\r\n\r\n")[0].decode("latin-1")
            name = re.search(r"Server at (\S+) Port", page)[1]
            shutil.rmtree(work / "skin")
            command = start_apache(work, port, name)
        with peer.running(command, port):
            head = ask(port, b"HEAD / HTTP/1.0\r\n\r\n")[0].decode("latin-1")
            banner = re.search(r"(?m)^Server: (.*?)\r$", head)[1]
            with peer.running(start_ours(serin, work, our_port, banner), our_port):
                genuine, ours = answers(port, server), answers(our_port, server)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    found = {}
    for probe in PROBES:
        pair = f"{PROBES[probe][:120]!r}\n  --- genuine: {shown(genuine[probe])}\n  --- ours: {shown(ours[probe])}"
        found[probe] = [pair] if genuine[probe] != ours[probe] else []
        if probe == to_show:
            print(f"{server}, {probe}: {pair}")
    expected = {probe: why for (name, probe), why in EXPECTED.items() if name == server}
    return peer.verdict(banner, found, expected)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    reader = peer.arguments(__doc__)
    reader.add_argument("--serin", default=str(target / "debug/serin"))
    reader.add_argument("--server", choices=list(PACKAGES), action="append")
    reader.add_argument("--show", help="print both answers to this probe")
    given = reader.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    wrong = 0
    for server in given.server or PACKAGES:
        if not shutil.which({"apache": "apache2"}.get(server, server)):
            print(f"{server} is missing: apt-get install {PACKAGES[server]}")
            return 2
        wrong += compare(server, given.serin, given.show)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
