"""Who calls a function: nobody, a user, an admin, or an admin acting as a user.

Holds what functions are told of a user, and what a client is allowed. How a client
shows who it is, and how that is checked, is in `auth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

__all__ = ["NOBODY", "Identity", "UserIdentity"]


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """What `ctx.auth.get_user_identity()` tells of a user.

    Equal to another if a function cannot tell them apart: a renewed token changes
    nothing for what has been computed.
    """

    text: str
    """The fields as a JSON object, sorted."""
    expires: float | None = field(default=None, compare=False)
    """When the user's token ends, in s since the epoch; None for never."""

    @classmethod
    def of(
        cls, attributes: Mapping[str, Any], expires: float | None = None
    ) -> UserIdentity:
        """The user with these fields, which are plain JSON."""
        encoded = msgspec.json.encode(_as_floats(attributes), order="deterministic")
        return cls(encoded.decode(), expires)

    def attributes(self) -> dict[str, Any]:
        """The fields, for the caller to keep."""
        found: dict[str, Any] = msgspec.json.decode(self.text)
        return found


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a client acts. Internal functions are within an admin's reach."""

    user: UserIdentity | None = None
    is_admin: bool = False


NOBODY = Identity()


def _as_floats(value: Any) -> Any:
    """JSON whose numbers are what Convex's numbers are."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [_as_floats(item) for item in value]
        case Mapping():
            return {name: _as_floats(item) for name, item in value.items()}
        case _:
            return value
