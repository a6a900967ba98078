"""What a client shows of who it is: a user's token, the admin key, or nothing.

Whether a deployment accepts it is for the deployment to say. Mirrors what Convex takes
in an `Authorization` header. A secret shows in no repr and no error.

Programs that a person starts take theirs from the environment, where no other user of
the machine can read it: KIT_CONVEX_TOKEN, or KIT_CONVEX_ADMIN_KEY.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import msgspec

from kit.errors import ConfigError

__all__ = [
    "ADMIN_KEY_VARIABLE",
    "NOTHING",
    "TOKEN_VARIABLE",
    "Credentials",
    "credentials_of",
    "secrets_in",
]

TOKEN_VARIABLE = "KIT_CONVEX_TOKEN"
ADMIN_KEY_VARIABLE = "KIT_CONVEX_ADMIN_KEY"


@dataclass(frozen=True, slots=True)
class Credentials:
    """`secret` is the token or the key, as `kind` says; empty for nobody."""

    kind: Literal["nobody", "user", "admin"] = "nobody"
    secret: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What a request shows."""
        match self.kind:
            case "nobody":
                return {}
            case "user":
                return {"Authorization": f"Bearer {self.secret}"}
            case "admin":
                return {"Authorization": f"Convex {self.secret}"}

    @property
    def ends(self) -> float | None:
        """When a token says that it ends, in s since the epoch; None if it does not."""
        if self.kind != "user":
            return None
        _, _, rest = self.secret.partition(".")
        encoded, _, _ = rest.partition(".")
        try:
            claims = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            return msgspec.json.decode(claims, type=_Claims).exp
        except (ValueError, RecursionError):  # no JWT
            return None


class Secrets(TypedDict):
    """Arguments of `Deployment`."""

    token: str | None
    admin_key: str | None


def secrets_in(env: Mapping[str, str]) -> Secrets:
    """What a program that was started with this environment is to show."""
    return {
        "token": env.get(TOKEN_VARIABLE),
        "admin_key": env.get(ADMIN_KEY_VARIABLE),
    }


class _Claims(msgspec.Struct):
    exp: float | None = None


NOTHING = Credentials()


def credentials_of(token: str | None, admin_key: str | None) -> Credentials:
    """What to show. None and "" are nothing; space around a secret is none of it.

    Raises ConfigError for both at once, and for what cannot be sent.
    """
    token, admin_key = (token or "").strip(), (admin_key or "").strip()
    if token and admin_key:
        raise ConfigError(
            "There are a user's token and an admin key. Give one of them: a client "
            "acts as a user, or as an admin."
        )
    for secret, name in ((token, "token"), (admin_key, "admin key")):
        if not secret.isascii() or not all(map(str.isprintable, secret)):
            raise ConfigError(
                f"The {name} has characters that none has: it is one line of ASCII. "
                "Check how it was copied."
            )
    if token:
        return Credentials("user", token)
    return Credentials("admin", admin_key) if admin_key else NOTHING
