"""NATS's decentralized logins: an operator signs an account, the account signs a user, the user signs a challenge."""

import base64
import hashlib
import json
import os
import time
from typing import Any

import nkeys


class Operator:
    """An operator with an account for the system, one with JetStream for everything else, and a user in that."""

    def __init__(self) -> None:
        self._operator = _Identity(nkeys.PREFIX_BYTE_OPERATOR)
        self._system = _Identity(nkeys.PREFIX_BYTE_ACCOUNT)
        self._account = _Identity(nkeys.PREFIX_BYTE_ACCOUNT)
        self._user = _Identity(nkeys.PREFIX_BYTE_USER)

    def settings(self) -> dict[str, Any]:
        """Return the server's configuration."""
        operator = {"system_account": self._system.public}
        return {
            "operator": self._operator.token(self._operator, "operator", operator),
            "resolver": "MEMORY",
            "resolver_preload": {
                self._system.public: self._operator.token(self._system, "account", {"limits": _LIMITS}),
                self._account.public: self._operator.token(self._account, "account", {"limits": _LIMITS | _STREAMS}),
            },
        }

    def credentials(self) -> str:
        """Return what stands in the user's file: the token and the key that belongs to it."""
        token = self._account.token(self._user, "user", {"subs": -1, "data": -1, "payload": -1})
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self._user.seed.decode()}\n------END USER NKEY SEED------\n"
        )


class _Identity:
    """A pair of keys that signs tokens."""

    def __init__(self, kind: int) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), kind)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode()

    def token(self, subject: "_Identity", kind: str, claims: dict[str, Any]) -> str:
        """Return a JSON web token about the subject, signed by this identity."""
        body = {
            "iat": int(time.time()),
            "iss": self.public,
            "sub": subject.public,
            "name": kind,
            "nats": {**claims, "type": kind, "version": 2},
        }
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        signed = f"{_encode({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_encode(body)}"
        return f"{signed}.{_base64(self._pair.sign(signed.encode()))}"


_LIMITS = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1}
_STREAMS = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


def _encode(part: dict[str, Any]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
