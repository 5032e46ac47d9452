"""Makes an operator, an account and a user for nats-server, and a user of an account that nobody trusts.

Argument: a folder. It gets `trust`, the lines of the server's configuration, and the credentials files
`canary.creds` and `stranger.creds`. Keys and tokens are as nats.io's documentation of NKeys and JWTs
describes them: Ed25519, base 32, claims of version 2.
"""

import base64
import json
import os
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def encoded(data):
    return base64.b32encode(data + crc16(data).to_bytes(2, "little")).decode().rstrip("=")


class Pair:
    def __init__(self, kind):
        self.kind = kind
        self.key = Ed25519PrivateKey.generate()
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = encoded(bytes([kind]) + public)

    def seed(self):
        raw = self.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return encoded(bytes([SEED | self.kind >> 5, (self.kind & 31) << 3]) + raw)

    def token(self, subject, name, claims):
        def part(value):
            return base64.urlsafe_b64encode(value).decode().rstrip("=")

        body = {"jti": name, "iat": int(time.time()), "iss": self.public, "name": name, "sub": subject, "nats": claims}
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = ".".join(part(json.dumps(it).encode()) for it in (header, body))
        return text + "." + part(self.key.sign(text.encode()))


def credentials(account, name):
    user = Pair(USER)
    claims = {"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    token = account.token(user.public, name, claims)
    with open(os.path.join(sys.argv[1], name + ".creds"), "w") as file:
        file.write(f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n")
        file.write(f"-----BEGIN USER NKEY SEED-----\n{user.seed()}\n------END USER NKEY SEED------\n")


operator, account, stranger = Pair(OPERATOR), Pair(ACCOUNT), Pair(ACCOUNT)
# Without an account of its own the server starts no JetStream.
system = Pair(ACCOUNT)
limits = {name: -1 for name in ("subs", "data", "payload", "imports", "exports", "conn", "leaf")}
limits["wildcards"] = True
claims = {"type": "operator", "version": 2, "system_account": system.public}
own = operator.token(operator.public, "operator", claims)
accounts = [
    f"{it.public}: {operator.token(it.public, 'fleet', {'type': 'account', 'version': 2, 'limits': limits})}"
    for it in (account, system)
]
credentials(account, "canary")
credentials(stranger, "stranger")
with open(os.path.join(sys.argv[1], "trust"), "w") as file:
    file.write(f"operator: {own}\nresolver: MEMORY\nresolver_preload: {{ {', '.join(accounts)} }}\n")
