"""A mail server (aiosmtpd) that keeps what it takes, and misbehaves as it is told.

Arguments: a folder, and JSON with port, tls (none, starttls, implicit), user and password or token, and
faults: a list of what the next mails meet (greylist, cut, reject, ok). Recipients that begin with "gone"
do not exist; those that begin with "full" take nothing while there is a file FOLDER/full. It writes its certificate to FOLDER/ca.pem, one line of JSON for each mail to FOLDER/mails,
and FOLDER/ready when it listens.
"""

import base64
import datetime
import ipaddress
import json
import os
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, options = sys.argv[1], json.loads(sys.argv[2])
faults = options.get("faults", [])


def context():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    now = datetime.datetime.now(datetime.timezone.utc)
    alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, text in (("ca.pem", pem), ("key.pem", secret)):
        with open(os.path.join(folder, path), "wb") as file:
            file.write(text)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(folder, "ca.pem"), os.path.join(folder, "key.pem"))
    return tls


class Handler:
    async def auth_XOAUTH2(self, server, args):
        text = base64.b64decode(args[1]).decode()
        if text == f"user={options['user']}\x01auth=Bearer {options['token']}\x01\x01":
            return AuthResult(success=True, auth_data=text)
        await server.challenge_auth('{"status":"401"}')
        return AuthResult(success=False, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if faults and faults[0] == "greylist":
            del faults[0]
            return "451 4.7.1 Greylisted, come again"
        if address.startswith("full") and os.path.exists(os.path.join(folder, "full")):
            return "452 4.2.2 Mailbox full"
        if address.startswith("gone"):
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        fault = faults.pop(0) if faults else "ok"
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode("latin-1"),
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "login": session.authenticated,
            "hello": session.host_name,
            "fault": fault,
        }
        with open(os.path.join(folder, "mails"), "a") as file:
            file.write(json.dumps(mail) + "\n")
        if fault == "cut":
            server.transport.abort()
        return "554 5.6.0 We do not want this" if fault == "reject" else "250 Taken"


def authenticate(server, session, envelope, mechanism, data):
    if isinstance(data, LoginPassword):
        wanted = (options["user"].encode(), options.get("password", "").encode())
        return AuthResult(success=(data.login, data.password) == wanted, handled=False)
    return AuthResult(success=False, handled=False)


tls = options.get("tls", "none")
needs_login = "user" in options
settings = dict(
    hostname="127.0.0.1",
    port=options["port"],
    authenticator=authenticate,
    auth_required=needs_login,
    auth_require_tls=tls == "starttls",
)
if tls == "starttls":
    settings.update(tls_context=context(), require_starttls=True)
if tls == "implicit":
    settings.update(ssl_context=context())
controller = Controller(Handler(), **settings)
controller.start()
with open(os.path.join(folder, "ready"), "w") as file:
    file.write("ready")
# Ends with whoever started it.
sys.stdin.read()
