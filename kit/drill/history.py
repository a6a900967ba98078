"""What was seen of one run: plain data, all that the invariants look at.

Times are seconds since the run began. Rows are messages as `messages:byTask` gives
them, deltas and chunks as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.drill.schedule import Fault, Plan

__all__ = [
    "FaultSeen",
    "Frame",
    "ReplySeen",
    "Row",
    "RunSeen",
    "SendSeen",
    "StopSeen",
    "ViewerSeen",
    "answer_in",
    "reply_row",
    "said_of",
]

Row = Mapping[str, Any]

_SAID = {"text": "text", "reasoning": "text", "tool-call": "argsText"}


def said_of(parts: Iterable[Mapping[str, Any]]) -> str:
    """All that the model said, in order: its texts, reasoning and tool arguments."""
    return "".join(part[_SAID[part["type"]]] for part in parts if part["type"] in _SAID)


def reply_row(rows: Iterable[Row], client_message_id: str) -> Row | None:
    """The reply to the message that was sent with this id."""
    rows = list(rows)
    prompts = {
        row["_id"] for row in rows if row.get("clientMessageId") == client_message_id
    }
    replies = (row for row in rows if row.get("promptMessageId") in prompts)
    return next(replies, None)


def answer_in(messages: Iterable[Row], client_message_id: str) -> Row | None:
    """The reply to this message, where a reply just follows its message.

    Among rows of a chat or messages of the application's history.
    """
    asked = False
    for message in messages:
        if message["role"].upper() == "USER":
            asked = message.get("clientMessageId") == client_message_id
        elif asked and message["role"].upper() == "ASSISTANT":
            return message
    return None


@dataclass
class Frame:
    """What a viewer showed at one moment: the task's newest reply."""

    at: float
    message_id: str
    status: str
    said: str
    """From the live parts while the reply is not final, then from its row."""
    live_ids: list[str]
    """The live parts of that reply that it showed."""


@dataclass
class ViewerSeen:
    """One viewer, from its joining to the end."""

    name: str
    kind: str
    joined_at: float
    frames: list[Frame] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """The messages that it showed last."""
    chunks: dict[str, list[Any]] | None = None
    """What came of each stream's log, for a viewer that reads it itself."""
    doubles: list[str] = field(default_factory=list)
    """Moments at which two replies to one message were shown."""
    is_streaming: bool = False
    """Whether it shows, in the end, that a reply is being written."""
    connection: str = "connected"
    """What it shows of its connections in the end."""


@dataclass
class SendSeen:
    """One attempt to send a message."""

    begun_at: float
    ended_at: float
    message_id: str | None = None
    stream_id: str | None = None
    reused: bool | None = None
    refused: str | None = None
    """Why it came to nothing: a code, or the name of the error."""


@dataclass
class StopSeen:
    """One call that stops something."""

    at: float
    message_ids: list[str] = field(default_factory=list)
    """The messages that it says are stopping."""
    answer_lost: bool = False
    """Whether an earlier attempt may have been the one that stopped them."""


@dataclass
class ReplySeen:
    """One message and what came of it."""

    client_message_id: str
    sends: list[SendSeen] = field(default_factory=list)
    calls: int = 1
    """Model calls that one generation makes."""
    generations: list[str] = field(default_factory=list)
    """How the provider's replies ended, without those that it refused or that failed
    before the first token: these may be tried again."""
    spoken: str = ""
    """What the model said, as its provider remembers it."""
    spoken_whole: bool = True
    """False if the provider was killed and forgot the end of it."""
    is_probe: bool = False
    """Sent at the very end, to see whether the task is free."""


@dataclass
class FaultSeen:
    fault: Fault
    at: float
    struck: bool
    """Whether it came in time to disturb the reply that it was meant for."""


@dataclass
class RunSeen:
    """One run. `rows`, `logs` (deltas by stream) and `task` are those of the end."""

    plan: Plan
    replies: list[ReplySeen] = field(default_factory=list)
    viewers: list[ViewerSeen] = field(default_factory=list)
    stops: list[StopSeen] = field(default_factory=list)
    faults: list[FaultSeen] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    logs: dict[str, list[Any]] = field(default_factory=dict)
    task: Row | None = None
    stored: list[Row] = field(default_factory=list)
    """The messages in the application's SQL history, of an application run."""
    stored_task: Row | None = None
    problems: list[str] = field(default_factory=list)
    """What did not come in time, and errors that nobody expects."""
    seconds: float = 0.0
