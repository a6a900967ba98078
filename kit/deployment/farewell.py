"""PURE: how a session ends, for each reason that it may have.

Holds the reasons that are not the protocol's own (`state` has those), and the last
message and the close frame for each, as Convex's server has them: FatalError or
AuthError and no status for what the client did wrong, a status for what it should try
again.
"""

from __future__ import annotations

from typing import NamedTuple

from kit.deployment.auth import AuthFailed
from kit.deployment.requests import loggable
from kit.deployment.state import OutOfStep
from kit.errors import ProtocolError
from kit.protocol import AuthError, FatalError, encode

__all__ = ["AuthRefused", "Farewell", "Overloaded", "Stopping", "farewell"]

CLOSE_GOING_AWAY = 1001
CLOSE_INTERNAL_ERROR = 1011
CLOSE_TRY_AGAIN_LATER = 1013
INTERNAL_ERROR = "InternalServerError"


class AuthRefused(Exception):
    """The client is not, or no longer, who it says it is.

    `attempted`: whether it has just said so.
    """

    def __init__(self, reason: AuthFailed, *, attempted: bool) -> None:
        self.code = reason.code
        self.attempted = attempted
        super().__init__(str(reason))


class Stopping(Exception):
    """The deployment stops."""


class Overloaded(Exception):
    """The client asks for too much at a time; the text is the close reason."""


class Farewell(NamedTuple):
    """What a client is sent last."""

    code: int | None
    """The status; None closes without one."""
    reason: str = ""
    last: bytes | None = None
    """A message before that."""
    note: str = ""
    """For the log, if it is worth one."""
    is_failure: bool = False
    """Whether something has gone wrong here, not with the client."""


def farewell(error: BaseException | None, identity_version: int) -> Farewell:
    """How to end because of `error`; None: the client has gone, or is silent.

    `identity_version`: how many changes of identity were taken.
    """
    match error:
        case None | ConnectionError():
            return Farewell(CLOSE_GOING_AWAY)
        case Stopping():
            return Farewell(CLOSE_GOING_AWAY, "Shutdown")
        case AuthRefused():
            message = AuthError(str(error), identity_version, error.attempted)
            return Farewell(None, last=encode(message), note=error.code)
        case OutOfStep():
            note = loggable(str(error))
            return Farewell(CLOSE_INTERNAL_ERROR, INTERNAL_ERROR, note=note)
        case ProtocolError():
            last = encode(FatalError(str(error)))
            return Farewell(None, last=last, note=loggable(str(error)))
        case Overloaded():
            return Farewell(CLOSE_TRY_AGAIN_LATER, str(error))
        case _:
            return Farewell(CLOSE_INTERNAL_ERROR, INTERNAL_ERROR, is_failure=True)
