"""The status line: what is going on, in one word, and how long it takes.

Holds how the state is read from a source and the times of the present or last turn. A
turn is a reply being written. Pure, apart from a clock that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["State", "Status", "Turn"]

State = Literal[
    "connecting",
    "reconnecting",
    "idle",
    "streaming",
    "stopping",
    "stopped",
    "done",
    "failed",
]

_LABELS: dict[State, str] = {
    "connecting": "Connecting…",
    "reconnecting": "Reconnecting…",
    "idle": "Ready",
    "streaming": "Streaming",
    "stopping": "Stopping…",
    "stopped": "Stopped",
    "done": "Done",
    "failed": "Failed",
}

_CONNECTIONS: dict[str, State] = {
    "connecting": "connecting",
    "reconnecting": "reconnecting",
    "disconnected": "reconnecting",
}

_OF_MESSAGE: dict[str, State] = {
    "stopping": "stopping",
    "streaming": "stopped",  # nobody writes it any more
    "stopped": "stopped",
    "failed": "failed",
    "complete": "done",
}


_UNSEEN = object()


@dataclass(frozen=True, slots=True)
class Status:
    """What the status line says; seconds are None where they are not known."""

    state: State
    label: str
    turn: State
    """The state apart from the connection."""
    active: bool
    """Whether a reply is being written, also while the connection is lost."""
    can_stop: bool
    first: float | None = None
    elapsed: float | None = None

    def text(self) -> str:
        """In words, for a reader without a view: how the last turn went."""
        words = [_LABELS[self.turn]]
        if self.elapsed is not None:
            words.append(f"{self.elapsed:.1f} s")
        if self.first is not None:
            words.append(f"first part after {self.first:.2f} s")
        return " · ".join(words)


class Turn:
    """The present or last turn. `stop_asked`: its stop button was pressed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.stop_asked = False
        self._clock = clock
        self._question: object = _UNSEEN  # the id of a user's message without a reply
        self._asked: float | None = None  # when it was first seen
        self._running = False
        self._started: float | None = None
        self._first: float | None = None
        self._ended: float | None = None

    def read(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        is_streaming: bool,
        has_live_parts: bool,
        connection: str,
    ) -> Status:
        """The status now. To be called at each change, since it takes the times."""
        state = _turn_state(messages, is_streaming, has_live_parts)
        active = state in ("streaming", "stopping")
        self._see_question(messages)
        self._take_times(active, has_live_parts)
        if not active:
            self.stop_asked = False
        elif self.stop_asked:
            state = "stopping"
        shown = _CONNECTIONS.get(connection, state)
        elapsed = None
        if self._started is not None:
            end = self._ended if self._ended is not None else self._clock()
            elapsed = end - self._started
        return Status(
            state=shown,
            label=self._label(shown, connection),
            turn=state,
            active=active,
            can_stop=state == "streaming",
            first=self._first,
            elapsed=elapsed,
        )

    def _label(self, shown: State, connection: str) -> str:
        if connection == "disconnected":
            return "Disconnected"
        if shown == "idle" and self._asked is not None:
            return "Sent"
        return _LABELS[shown]

    def _see_question(self, messages: Sequence[Mapping[str, Any]]) -> None:
        last = messages[-1] if messages else None
        question = last["_id"] if last and last["role"] == "USER" else None
        if question != self._question:
            # What was asked before anybody looked has no known time.
            is_news = question is not None and self._question is not _UNSEEN
            self._asked = self._clock() if is_news else None
            self._question = question

    def _take_times(self, active: bool, has_live_parts: bool) -> None:
        if active and not self._running:
            self._first = self._ended = None
            # With parts already there nobody knows when it began.
            seen_begin = self._asked is not None or not has_live_parts
            begin = self._asked if self._asked is not None else self._clock()
            self._started = begin if seen_begin else None
        self._running = active
        if self._started is None:
            return
        if active and has_live_parts and self._first is None:
            self._first = self._clock() - self._started
        if not active and self._ended is None:
            self._ended = self._clock()


def _turn_state(
    messages: Sequence[Mapping[str, Any]], is_streaming: bool, has_live_parts: bool
) -> State:
    if is_streaming:
        return "streaming"
    last = messages[-1] if messages else None
    if last is not None and last["role"] == "ASSISTANT":
        return _OF_MESSAGE.get(last["status"], "done")
    # Live parts that are not written any more and not stored yet.
    return "done" if has_live_parts else "idle"
