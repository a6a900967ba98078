"""As whom a client acts, by what it shows: a user's token, the admin key, nothing.

A deployment may know providers of tokens (`auth_config`), an admin key (`admin_key`),
both or neither. It may be closed: then whoever shows nothing can call no function. As
in Convex, one that is open lets them call public functions, and it is for these to look
at `ctx.auth`; but whoever shows something that is wrong is refused, rather than served
as nobody. An admin may call internal functions too. Functions are not told of an admin,
unless that acts as a user.

Mirrors `authenticate` of Convex's `application` crate, and `authentication.rs` of its
backend for the header.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import msgspec

from kit.deployment.admin_key import AdminKey, without_type
from kit.deployment.auth_config import Provider
from kit.deployment.identity import NOBODY, Identity, UserIdentity
from kit.protocol import Authenticate

__all__ = ["AuthFailed", "Authenticator"]

NO_PROVIDERS = (
    "No auth provider found matching the given token (no providers configured). "
    "Start the deployment with --auth, or connect without a token."
)
BAD_ADMIN_KEY = "The provided admin key was invalid for this instance"
NOT_A_USER = 'Either "tokenIdentifier" or "issuer" and "subject" must be set'
EXPIRED = "Convex token identity expired"

MALFORMED = (400, "HeaderParseFailure", "Malformed Authorization header.")


class AuthFailed(Exception):
    """A client is not who it says it is. `status` and `code` are for HTTP."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


class Authenticator:
    """Checks what clients show. Raises ConfigError for keys that cannot be used.

    Everything that is refused raises AuthFailed, whose text holds nothing of what was
    shown. `closed`: whether who shows nothing may call nothing. `now` gives seconds
    since the epoch.
    """

    def __init__(
        self,
        providers: Sequence[Provider] = (),
        admin_key: AdminKey | None = None,
        *,
        closed: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.closed = closed
        self._verify = _token_check(providers, now)
        self._admin_key = admin_key
        self._now = now

    def of_message(self, message: Authenticate) -> Identity:
        """Who an Authenticate is about."""
        match message.token_type:
            case "None":
                return NOBODY
            case "User":
                return self.of_token(message.value or "")
            case "Admin":
                return self.of_admin_key(message.value or "", message.acting_user)
            case _:
                assert_never(message.token_type)

    def of_header(self, authorization: str | None) -> Identity:
        """Who sends a request with this `Authorization` header."""
        if authorization is None:
            return NOBODY
        scheme, _, shown = authorization.partition(" ")
        match scheme.lower(), shown.strip():
            case "bearer", str(token) if token:
                return self.of_token(token)
            case "convex", str(key) if key:
                return self._of_admin_header(key)
            case _:
                raise AuthFailed(400, "InvalidAdminKey", "Invalid admin key")

    def of_token(self, token: str) -> Identity:
        """The user to whom a token was given."""
        return Identity(self._verify(token))

    def of_admin_key(
        self, key: str, acting_as: Mapping[str, Any] | None = None
    ) -> Identity:
        """An admin, who may act as a user with these attributes."""
        if self._admin_key is None or not self._admin_key.matches(key):
            raise AuthFailed(401, "BadAdminKey", BAD_ADMIN_KEY)
        user = None if acting_as is None else _invented(acting_as)
        return Identity(user, is_admin=True)

    def check_current(self, identity: Identity) -> None:
        """Raises AuthFailed when the token that `identity` came from has ended."""
        user = identity.user
        if user is None or user.expires is None:
            return
        if user.expires <= self._now():
            raise AuthFailed(401, "TokenExpired", EXPIRED)

    def _of_admin_header(self, shown: str) -> Identity:
        key, colon, encoded = without_type(shown).partition(":")
        if not colon:
            return self.of_admin_key(key)
        try:
            text = base64.b64decode(encoded, validate=True)
            acting_as = msgspec.json.decode(text, type=dict[str, Any])
        except (binascii.Error, msgspec.MsgspecError, RecursionError, ValueError):
            raise AuthFailed(*MALFORMED) from None
        return self.of_admin_key(key, acting_as)


def _token_check(
    providers: Sequence[Provider], now: Callable[[], float]
) -> Callable[[str], UserIdentity]:
    """What tells the user of a token. Raises ConfigError."""
    if not providers:
        return _refuse_token
    # Only a deployment with providers pays for loading the cryptography.
    from kit.deployment.tokens import TokenRefused, TokenVerifier

    verifier = TokenVerifier(providers, now=now)

    def verify(token: str) -> UserIdentity:
        try:
            return verifier.verify(token)
        except TokenRefused as refused:
            raise AuthFailed(401, refused.code, str(refused)) from None

    return verify


def _refuse_token(token: str) -> UserIdentity:
    raise AuthFailed(401, "NoAuthProvider", NO_PROVIDERS)


def _invented(attributes: Mapping[str, Any]) -> UserIdentity:
    """The user that an admin makes up."""
    match attributes:
        case {"tokenIdentifier": str(identifier)}:
            pass
        case {"issuer": str(issuer), "subject": str(subject)}:
            identifier = f"{issuer}|{subject}"
        case _:
            raise AuthFailed(400, "HeaderParseFailure", NOT_A_USER)
    try:
        return UserIdentity.of({**attributes, "tokenIdentifier": identifier})
    except OverflowError:
        raise AuthFailed(*MALFORMED) from None
