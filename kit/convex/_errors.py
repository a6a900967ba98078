"""Errors that a client may handle: ConvexErrors whose data says what and why.

`data` is `{"code", "message", …}`: a program goes by the code, a person by the text.

| code | thrown when |
|---|---|
| NotFound | there is no such task, message or stream, or it is another user's |
| StreamActive | an earlier reply of the task has not ended: stop it first, or queue |
| QueueFull | as many messages of the task are queued as may be |
| ClientMessageIdTaken | this `clientMessageId` was sent with another prompt |
| BadArguments | an argument has the right type, but cannot be used |
| UnknownTool | `tools` names a tool that does not exist |
| Unauthenticated | the deployment asks who calls, and the caller is not signed in |
| BadSetting | an environment variable of the deployment cannot be used |
| StillStreaming | a reply that this call follows takes too long |
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from convex import ConvexError

from kit.values import Value

__all__ = ["ErrorCode", "refusal", "whole_number"]

ErrorCode: TypeAlias = Literal[
    "NotFound",
    "StreamActive",
    "QueueFull",
    "ClientMessageIdTaken",
    "BadArguments",
    "UnknownTool",
    "Unauthenticated",
    "BadSetting",
    "StillStreaming",
]


def refusal(code: ErrorCode, message: str, **data: Value) -> ConvexError:
    """The error to raise."""
    return ConvexError(message, {"code": code, "message": message, **data})


def whole_number(value: float, name: str, low: int, high: int) -> int:
    """`value` as an int. Raises BadArguments unless it is whole and in [low, high]."""
    if value != value or not low <= value <= high or value != int(value):
        raise refusal(
            "BadArguments",
            f"`{name}` must be a whole number from {low} to {high}, not {value:g}.",
        )
    return int(value)
