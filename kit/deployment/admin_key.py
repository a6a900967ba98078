"""The key that makes whoever has it an admin of the deployment.

It comes from a file or from the environment, never from the command line, where other
users of the machine could read it, and it does not show in logs or errors.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from kit.errors import ConfigError

__all__ = ["ADMIN_KEY_VARIABLE", "AdminKey", "load_admin_key", "without_type"]

ADMIN_KEY_VARIABLE = "KIT_ADMIN_KEY"
SHORTEST = 16
MAKE_ONE = "Make one with `openssl rand -hex 32`."


class AdminKey:
    """The admin key of a deployment. Raises ConfigError for one that cannot serve."""

    def __init__(self, key: str) -> None:
        self._key = without_type(key).encode()
        if len(self._key) < SHORTEST:
            raise ConfigError(
                f"The admin key is shorter than {SHORTEST} characters. {MAKE_ONE}"
            )
        # In `Authorization: Convex <key>:<user>` a colon ends the key.
        if not key.isascii() or not key.isprintable() or b":" in self._key:
            raise ConfigError(
                "The admin key holds a colon, or what is not a printable character of "
                f"ASCII. {MAKE_ONE}"
            )

    def __repr__(self) -> str:
        return "<AdminKey>"

    def matches(self, key: str) -> bool:
        """Whether `key` is this key. Takes as long whatever it is."""
        given = without_type(key).encode(errors="surrogatepass")
        return hmac.compare_digest(given, self._key)


def without_type(key: str) -> str:
    """`prod:name|secret` as `name|secret`: the type of deployment is no part of it."""
    name, bar, secret = key.partition("|")
    return f"{name.rpartition(':')[2]}{bar}{secret}" if bar else key


def load_admin_key(file: Path | None) -> AdminKey | None:
    """The key in `file`, or else in the environment; None if there is none.

    Takes it out of the environment, so that functions and the processes that they
    start do not have it. Raises ConfigError.
    """
    from_environment = os.environ.pop(ADMIN_KEY_VARIABLE, None)
    if file is None:
        return AdminKey(from_environment.strip()) if from_environment else None
    try:
        return AdminKey(file.read_text(encoding="utf-8").strip())
    except OSError as error:
        reason = error.strerror or error
    except UnicodeError:
        reason = "it is not text"
    raise ConfigError(f"The admin key file {file} cannot be read: {reason}.")
