"""An issuer of users' tokens, for tests: its keys, its key set, what it signs."""

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example"
APPLICATION = "chat"
ADMIN_KEY = "an-admin-key-of-the-tests"


@cache
def rsa_key(name: str = "rsa", size: int = 2048) -> rsa.RSAPrivateKey:
    """The same one for the same name: making one takes a moment."""
    return rsa.generate_private_key(65537, size)


@cache
def ec_key(name: str = "ec") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: Any, key_id: str | None = None) -> dict[str, Any]:
    """The public half, as it stands in a key set."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    jwk: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return jwk if key_id is None else {**jwk, "kid": key_id}


def jwks(**keys: Any) -> dict[str, Any]:
    """A key set of keys by key id."""
    return {"keys": [public_jwk(key, key_id) for key_id, key in keys.items()]}


def token(
    subject: str = "ann",
    /,
    *,
    key: Any = None,
    key_id: str | None = "rsa",
    lifetime: float = 6 * 3600.0,  # some are made long before their test
    without: tuple[str, ...] = (),
    **claims: Any,
) -> str:
    """A token of ISSUER for APPLICATION, signed with RS256 or ES256."""
    key = key or rsa_key()
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    now = time.time()
    said = {
        "iss": ISSUER,
        "sub": subject,
        "aud": APPLICATION,
        "iat": now,
        "exp": now + lifetime,
        **claims,
    }
    for claim in without:
        del said[claim]
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(said, key, algorithm, headers)


def auth_config(folder: Path) -> Path:
    """A configuration for `--auth`, with the issuer's keys beside it."""
    (folder / "jwks.json").write_text(json.dumps(jwks(rsa=rsa_key(), ec=ec_key())))
    provider = {"domain": ISSUER, "applicationID": APPLICATION, "jwks": "jwks.json"}
    file = folder / "auth.json"
    file.write_text(json.dumps({"providers": [provider]}))
    return file
