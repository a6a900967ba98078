"""What Convex offers to functions and this deployment does not: clear errors.

The functions that use one of these work on Convex; here they fail where they use it,
or when they are loaded.
"""

from __future__ import annotations

from typing import NoReturn

from kit.deployment.failures import UsageError

__all__ = ["NotOffered", "http_action", "http_router", "not_offered"]


def not_offered(what: str) -> NoReturn:
    """Raises UsageError naming what was asked for."""
    raise UsageError(
        f"{what}: not offered by the embedded deployment. Use a Convex deployment for "
        "what needs it"
    )


class NotOffered:
    """An attribute of `ctx` that cannot be read."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __get__(self, instance: object, owner: type | None = None) -> NotOffered:
        if instance is None:
            return self
        not_offered(self._what)


def http_router() -> NoReturn:
    """Not offered here: a functions folder with HTTP actions does not load."""
    not_offered("HTTP actions (`httpRouter`)")


def http_action(handler: object = None) -> NoReturn:
    """Not offered here: a functions folder with HTTP actions does not load."""
    not_offered("HTTP actions (`httpAction`)")
