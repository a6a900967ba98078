"""What the deployment and its executor say to each other.

One JSON object per line: from the deployment on the executor's stdin, to it on what
was its stdout. Values travel as JSON text (`msgspec.Raw`) or as decoded Convex JSON,
whichever their reader needs. Nothing here starts a process or runs a function.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw

from kit.deployment.failures import FunctionFailure
from kit.deployment.identity import UserIdentity

__all__ = [
    "Answer",
    "Call",
    "Cancel",
    "Done",
    "FromExecutor",
    "Ready",
    "Run",
    "Schedule",
    "ToExecutor",
    "decode_from_executor",
    "decode_to_executor",
    "encode_line",
]

NULL = Raw(b"null")


class _Message(msgspec.Struct, frozen=True, tag_field="type", tag=True):
    """Base of everything that has a `type`."""


# --- deployment to executor ---------------------------------------------------


class Run(_Message, frozen=True):
    """Run an action whose path and arguments have been checked."""

    run_id: int
    path: str
    args: Any  # the argument object, Convex JSON
    identity: UserIdentity | None = None  # who calls it


class Answer(_Message, frozen=True):
    """The outcome of a Call, Schedule or Cancel: `failure`, or `value`."""

    call_id: int
    value: Raw = NULL
    failure: FunctionFailure | None = None


# --- executor to deployment ---------------------------------------------------


class Ready(_Message, frozen=True):
    """The functions are loaded."""


class Done(_Message, frozen=True):
    """The outcome of a Run: `failure`, or `value`, which has not been checked."""

    run_id: int
    log_lines: list[str]
    value: Raw = NULL
    failure: FunctionFailure | None = None


class Call(_Message, frozen=True):
    """An action calls a function; internal ones are within its reach."""

    call_id: int
    run_id: int
    kind: Literal["query", "mutation", "action"]
    path: str
    args: Any  # Convex JSON


class Schedule(_Message, frozen=True):
    """An action schedules a function. The answer's value is the job's id."""

    call_id: int
    run_id: int
    path: str
    args: Any  # Convex JSON
    due_ms: float  # since the epoch


class Cancel(_Message, frozen=True):
    """An action cancels a scheduled function."""

    call_id: int
    run_id: int
    job_id: str


ToExecutor = Run | Answer
FromExecutor = Ready | Done | Call | Schedule | Cancel

_encoder = msgspec.json.Encoder()
_to_executor = msgspec.json.Decoder(ToExecutor)
_from_executor = msgspec.json.Decoder(FromExecutor)


def encode_line(message: ToExecutor | FromExecutor) -> bytes:
    """One line. Embedded values must be texts without line breaks."""
    return _encoder.encode(message) + b"\n"


def decode_to_executor(line: bytes) -> ToExecutor:
    """Raises msgspec.MsgspecError."""
    message: ToExecutor = _to_executor.decode(line)
    return message


def decode_from_executor(line: bytes) -> FromExecutor:
    """Raises msgspec.MsgspecError."""
    message: FromExecutor = _from_executor.decode(line)
    return message
