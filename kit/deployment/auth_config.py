"""Who issues users' tokens: the file that `--auth` names.

The providers of Convex's `auth.config.ts` as JSON, with one difference: nothing is
fetched, so each provider brings its public keys along.

```json
{"providers": [
  {"domain": "https://you.clerk.accounts.dev", "applicationID": "convex",
   "jwks": "clerk.jwks.json"},
  {"type": "customJwt", "issuer": "https://issuer.example", "applicationID": "chat",
   "algorithm": "ES256", "jwks": {"keys": [{"kty": "EC", "crv": "P-256"}]}}
]}
```

`jwks` is a JSON Web Key Set: a file beside this one, a `data:` URL, or the object
itself. A provider with a `domain` speaks OpenID Connect, and what its tokens say of a
user is known under Convex's names; a `customJwt` provider's claims are passed on as
they are, and its `applicationID` may be missing. The keys are made in `tokens`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from kit.errors import ConfigError

__all__ = ["ALGORITHMS", "Algorithm", "Provider", "load_providers"]

Algorithm: TypeAlias = Literal["RS256", "ES256"]
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES256")


@dataclass(frozen=True)
class Provider:
    """One issuer of tokens."""

    issuer: str
    application_id: str | None
    """Whom its tokens must be for; None if for anybody."""
    algorithms: tuple[Algorithm, ...]
    jwks: Mapping[str, Any] = field(repr=False)
    is_custom: bool = False
    """Whether it is of type `customJwt`, rather than OpenID Connect."""

    def __str__(self) -> str:
        if self.is_custom:
            application = self.application_id or "none"
            return f"CustomJWT(issuer={self.issuer}, app_id={application})"
        return f"OIDC(domain={self.issuer}, app_id={self.application_id})"


class _Entry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A provider as it is written."""

    applicationID: str | None = None
    domain: str | None = None
    type: Literal["customJwt"] | None = None
    issuer: str | None = None
    algorithm: Algorithm | None = None
    jwks: str | dict[str, Any] | None = None


class _Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    providers: list[_Entry]


def load_providers(file: Path) -> list[Provider]:
    """The providers that `file` names, with their keys. Raises ConfigError."""
    try:
        config = msgspec.json.decode(_read(file), type=_Config)
        return [_provider(entry, file.parent) for entry in config.providers]
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ConfigError(
            f"The auth configuration {file} cannot be used: {error}."
        ) from None


def _provider(entry: _Entry, folder: Path) -> Provider:
    """Raises ValueError."""
    algorithms = ALGORITHMS if entry.algorithm is None else (entry.algorithm,)
    if entry.type is None:
        if not entry.domain or not entry.applicationID:
            raise ValueError("a provider needs `domain` and `applicationID`")
        jwks = _jwks(entry.domain, entry.jwks, folder)
        return Provider(
            _with_scheme(entry.domain), entry.applicationID, algorithms, jwks
        )
    if not entry.issuer or entry.algorithm is None:
        raise ValueError("a customJwt provider needs `issuer` and `algorithm`")
    jwks = _jwks(entry.issuer, entry.jwks, folder)
    return Provider(
        _with_scheme(entry.issuer), entry.applicationID, algorithms, jwks, True
    )


def _with_scheme(issuer: str) -> str:
    return issuer if issuer.startswith(("https://", "http://")) else f"https://{issuer}"


def _jwks(
    issuer: str, jwks: str | dict[str, Any] | None, folder: Path
) -> dict[str, Any]:
    match jwks:
        case None:
            raise ValueError(
                f"the provider {issuer} needs `jwks`: nothing is fetched here, so save "
                "the provider's key set in a file and name that"
            )
        case dict():
            return jwks
        case str() if jwks.startswith("data:"):
            return _decoded(f"the data URL of {issuer}", _data_of(jwks))
        case str() if "://" in jwks:
            raise ValueError(
                f"{jwks} is not fetched: save that key set in a file and name the file"
            )
        case _:
            file = folder / jwks
            return _decoded(str(file), _read(file))


def _data_of(url: str) -> bytes:
    kind, comma, content = url.partition(",")
    if not comma:
        raise ValueError("a data URL needs a comma before its content")
    data = unquote_to_bytes(content)
    if not kind.endswith(";base64"):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a data URL is not base64: {error}") from None


def _decoded(where: str, text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ValueError(f"{where} is not a key set: {error}") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
