"""Users' tokens: JSON Web Tokens, checked against the keys of their providers.

Holds the keys, the checks and what a token says of its user. Nothing is fetched.
PyJWT does the cryptography; it is imported only here, and this module only by a
deployment that has providers. Mirrors `validate_id_token` of Convex's
`authentication` crate, its texts too, and `UserIdentity` of its `keybroker`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import jwt

from kit.deployment.auth_config import Provider
from kit.deployment.identity import UserIdentity
from kit.errors import ConfigError

__all__ = ["TokenRefused", "TokenVerifier"]

# Between the clocks of the issuer and of this machine.
LEEWAY = 5.0  # s
SHORTEST_RSA_KEY = 2048  # bits, by RFC 7518

NOT_A_TOKEN = (
    "Could not parse JWT payload. Check that the token is a valid JWT format with "
    "three base64-encoded parts separated by dots."
)
NO_ISSUER = (
    "Missing issuer claim ('iss') in JWT payload. The JWT must include an 'iss' claim "
    "that matches one of your configured auth providers."
)
NOT_VERIFIED = (
    "Could not verify OIDC token claim. Check that the token signature is valid and "
    "the token hasn't expired."
)
NO_KEY_ID = "Could not decode token. JWT may be missing a 'kid' (key ID) header."


class TokenRefused(Exception):
    """A token is not accepted. The text says why, without the token."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class _Issuer:
    """A provider with its keys, by key id; a key without one is under None."""

    provider: Provider
    keys: Mapping[str | None, jwt.PyJWK]

    def issued(self, claims: Mapping[str, Any]) -> bool:
        """Whether a token with these claims is this provider's to check."""
        wanted = self.provider.application_id
        return _same_issuer(self.provider.issuer, claims["iss"]) and (
            wanted is None or wanted in _audiences(claims)
        )


class TokenVerifier:
    """Checks tokens of `providers`; `now` gives seconds since the epoch.

    Raises ConfigError when a provider has no key that could be used.
    """

    def __init__(
        self, providers: Sequence[Provider], *, now: Callable[[], float] = time.time
    ) -> None:
        self._issuers = [_Issuer(each, _keys_of(each)) for each in providers]
        self._now = now

    def verify(self, token: str) -> UserIdentity:
        """Who `token` belongs to. Raises TokenRefused."""
        key_id, claims = _unverified(token)
        if not isinstance(claims.get("iss"), str):
            raise TokenRefused("InvalidAuthHeader", NO_ISSUER)
        issuer = next((each for each in self._issuers if each.issued(claims)), None)
        if issuer is None:
            raise TokenRefused("NoAuthProvider", self._no_provider())
        verify = self._verify_custom if issuer.provider.is_custom else self._verify_oidc
        try:
            return verify(token, key_id, issuer)
        except (ArithmeticError, ValueError):
            # A number beyond all numbers, half a character: signed, yet no claim.
            raise TokenRefused("InvalidAuthHeader", NOT_A_TOKEN) from None

    def _no_provider(self) -> str:
        text = "No auth provider found matching the given token"
        if not self._issuers:
            return f"{text} (no providers configured)."
        known = ", ".join(str(issuer.provider) for issuer in self._issuers)
        return (
            f"{text}. Check that your JWT's issuer and audience match one of your "
            f"configured providers: [{known}]"
        )

    def _verify_oidc(
        self, token: str, key_id: str | None, issuer: _Issuer
    ) -> UserIdentity:
        key = issuer.keys.get(key_id)
        if key is None and key_id is None and len(issuer.keys) == 1:
            (key,) = issuer.keys.values()
        if key is None:
            raise TokenRefused("Unauthenticated", NOT_VERIFIED)
        try:
            claims = _verified(token, key, issuer.provider)
        except jwt.InvalidTokenError:
            raise TokenRefused("Unauthenticated", NOT_VERIFIED) from None
        # A token for others as well is none of ours, by the rules of OpenID Connect.
        others = set(_audiences(claims)) - {issuer.provider.application_id}
        expires = float(claims["exp"])
        if others or expires <= self._now():
            raise TokenRefused("Unauthenticated", NOT_VERIFIED)
        return UserIdentity.of(_oidc_attributes(claims), expires)

    def _verify_custom(
        self, token: str, key_id: str | None, issuer: _Issuer
    ) -> UserIdentity:
        if key_id is None:
            raise TokenRefused("InvalidAuthHeader", NO_KEY_ID)
        key = issuer.keys.get(key_id)
        if key is None:
            _refuse_key(key_id)
        try:
            claims = _verified(token, key, issuer.provider)
        except jwt.MissingRequiredClaimError as error:
            missing = {"sub": "subject", "exp": "expiry"}.get(error.claim, error.claim)
            raise TokenRefused("InvalidAuthHeader", f"Missing {missing}") from None
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            _refuse_key(key_id)
        except jwt.InvalidTokenError as error:
            text = f"Could not validate token: {error}"
            raise TokenRefused("InvalidAuthHeader", text) from None
        expires = float(claims["exp"])
        if expires <= self._now():
            text = "Could not validate token: Signature has expired"
            raise TokenRefused("InvalidAuthHeader", text)
        return UserIdentity.of(_custom_attributes(claims), expires)


def _refuse_key(key_id: str) -> NoReturn:
    raise TokenRefused(
        "InvalidAuthHeader",
        f"Could not decode token. The JWT's 'kid' (key ID) header is '{key_id[:80]}', "
        "does this key match any key in the provider's JWKS?",
    )


def _unverified(token: str) -> tuple[str | None, dict[str, Any]]:
    """The key id and the claims of a token, which nobody has vouched for.

    Raises TokenRefused.
    """
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError, ValueError):
        raise TokenRefused("InvalidAuthHeader", NOT_A_TOKEN) from None
    return parts["header"].get("kid"), parts["payload"]


def _verified(token: str, key: jwt.PyJWK, provider: Provider) -> dict[str, Any]:
    """Raises jwt.InvalidTokenError."""
    return jwt.decode(
        token,
        key,
        algorithms=provider.algorithms,
        audience=provider.application_id,
        leeway=LEEWAY,
        options={
            "require": ["iss", "sub", "exp"],
            "verify_aud": provider.application_id is not None,
        },
    )


# --- keys ---------------------------------------------------------------------


def _keys_of(provider: Provider) -> dict[str | None, jwt.PyJWK]:
    """Raises ConfigError."""
    keys = {key.key_id: key for key in _usable_keys(provider)}
    if not keys:
        raise ConfigError(
            f"The key set of {provider.issuer} has no public key for "
            f"{' or '.join(provider.algorithms)}."
        )
    return keys


def _usable_keys(provider: Provider) -> Iterator[jwt.PyJWK]:
    entries = provider.jwks.get("keys")
    for entry in entries if isinstance(entries, list) else ():
        if not _is_wanted(entry, provider):
            continue
        if "d" in entry:
            raise ConfigError(
                f"The key set of {provider.issuer} holds a private key. It needs the "
                "public keys only: keep the private one where tokens are signed."
            )
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError as error:
            kind = type(error).__name__
            raise ConfigError(
                f"The key set of {provider.issuer} has a key that cannot be used "
                f"({kind}): check where it was copied from."
            ) from None
        if key.key_type == "RSA" and key.key.key_size < SHORTEST_RSA_KEY:
            raise ConfigError(
                f"The key set of {provider.issuer} has an RSA key of "
                f"{key.key.key_size} bits: use one of at least {SHORTEST_RSA_KEY}."
            )
        yield key


def _is_wanted(entry: Any, provider: Provider) -> bool:
    """Keys for other purposes and other algorithms may be in the set, too."""
    match entry:
        case {"kty": "RSA"}:
            algorithm = "RS256"
        case {"kty": "EC", "crv": "P-256"}:
            algorithm = "ES256"
        case _:
            return False
    return (
        algorithm in provider.algorithms
        and entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
    )


# --- what a token says --------------------------------------------------------

# Claims of OpenID Connect, and what Convex calls them.
_STRINGS = {
    "name": "name",
    "given_name": "givenName",
    "family_name": "familyName",
    "nickname": "nickname",
    "preferred_username": "preferredUsername",
    "profile": "profileUrl",
    "picture": "pictureUrl",
    "website": "websiteUrl",
    "email": "email",
    "gender": "gender",
    "birthdate": "birthday",
    "zoneinfo": "timezone",
    "locale": "language",
    "phone_number": "phoneNumber",
}
_BOOLEANS = {
    "email_verified": "emailVerified",
    "phone_number_verified": "phoneNumberVerified",
}
# What a token says of itself rather than of its user.
_OF_A_TOKEN = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
_OF_AN_ID_TOKEN = frozenset(
    {"nonce", "auth_time", "acr", "amr", "azp", "at_hash", "c_hash"}
)


def _who(claims: Mapping[str, Any]) -> dict[str, Any]:
    issuer, subject = claims["iss"], claims["sub"]
    return {
        "tokenIdentifier": f"{issuer}|{subject}",
        "issuer": issuer,
        "subject": subject,
    }


def _oidc_attributes(claims: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    custom: dict[str, Any] = {}
    for claim, value in claims.items():
        if claim in _OF_A_TOKEN or claim in _OF_AN_ID_TOKEN:
            continue
        if claim in _STRINGS:
            if isinstance(value, str):
                known[_STRINGS[claim]] = value
        elif claim in _BOOLEANS:
            if isinstance(value, bool):
                known[_BOOLEANS[claim]] = value
        elif claim == "address":
            if isinstance(value, dict) and isinstance(value.get("formatted"), str):
                known["address"] = value["formatted"]
        elif claim == "updated_at":
            if isinstance(value, int | float):
                known["updatedAt"] = datetime.fromtimestamp(value, UTC).isoformat()
        else:
            custom[claim] = value
    return {**custom, **known, **_who(claims)}


def _custom_attributes(claims: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in claims.items() if name not in _OF_A_TOKEN}
    return {**dict(_flattened(own)), **_who(claims)}


def _flattened(claims: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An object within an object is told by its path: `address.city`."""
    for name, value in claims.items():
        if isinstance(value, dict):
            for inner, found in _flattened(value):
                yield f"{name}.{inner}", found
        else:
            yield name, value


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    match claims.get("aud"):
        case str(audience):
            return [audience]
        case list(audiences):
            return [each for each in audiences if isinstance(each, str)]
        case _:
            return []


def _same_issuer(configured: str, named: str) -> bool:
    """With or without a scheme, and a slash at the end: providers differ in that."""
    if not named.startswith(("https://", "http://")):
        named = f"https://{named}"
    return configured.rstrip("/") == named.rstrip("/")
