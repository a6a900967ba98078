"""The status line: what is going on, in one word, and what can be measured of it.

Holds how the state is read from a source and the figures of the present or last turn. A
turn is a reply being written. Pure, apart from a clock that is handed in; how figures
are worded is in `figures.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.widget.figures import Figure, describe

__all__ = ["CHARACTERS_PER_TOKEN", "State", "Status", "Turn"]

State = Literal[
    "connecting",
    "reconnecting",
    "idle",
    "queued",
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
    "queued": "Waiting",
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
    "queued": "queued",
    "stopping": "stopping",
    "streaming": "stopped",  # nobody writes it any more
    "stopped": "stopped",
    "failed": "failed",
    "complete": "done",
}

CHARACTERS_PER_TOKEN = 4
"""Of English text, by and large: an estimate until the provider's count is there."""

MIN_RATE_SECONDS = 0.5
"""A rate over less than this is noise."""

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
    sent_here: bool = False
    """Whether both count from sending the message, not from first seeing it."""
    tokens: int | None = None
    tokens_counted: bool = False
    """By the provider; otherwise they are estimated from the characters."""
    rate: float | None = None
    """Tokens per second since the first part."""

    def figures(self) -> list[Figure]:
        """What is measured of the turn besides how long it takes."""
        return describe(
            first=self.first,
            sent_here=self.sent_here,
            tokens=self.tokens,
            tokens_counted=self.tokens_counted,
            rate=self.rate,
        )

    def text(self) -> str:
        """In words, for a reader without a view: how the last turn went."""
        words = [_LABELS[self.turn]]
        if self.elapsed is not None:
            words.append(f"{self.elapsed:.1f} s")
        words += [figure.text for figure in self.figures()]
        return " · ".join(words)


class Turn:
    """The present or last turn. `stop_asked`: its stop button was pressed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.stop_asked = False
        self._clock = clock
        self._sending: float | None = None  # since when a message is being sent here
        self._question: object = _UNSEEN  # the id of a user's message without a reply
        self._asked: float | None = None  # when that was sent, or first seen
        self._asked_here = False
        self._running = False
        self._answered: object = None  # the question that the turn answers
        self._started: float | None = None
        self._sent_here = False
        self._first_at: float | None = None  # when parts were first seen
        self._first: float | None = None  # the same from the start on
        self._ended: float | None = None
        self._written = 0  # characters of the reply
        self._counted: int | None = None

    def sending(self) -> None:
        """A message is being sent, now."""
        self._sending = self._clock()

    def not_sent(self) -> None:
        """That has failed."""
        self._sending = None

    def read(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        is_streaming: bool,
        has_live_parts: bool,
        connection: str,
        written: int = 0,
    ) -> Status:
        """The status now. To be called at each change, since it takes the times.

        `written` is how many characters the live parts have.
        """
        state = _turn_state(messages, is_streaming, has_live_parts)
        active = state in ("streaming", "stopping")
        self._see_question(messages)
        if active and not self._running and not self._goes_on(has_live_parts):
            self._begin(has_live_parts)
        self._take_times(active, has_live_parts, written)
        if not active:
            self._take_count(messages)
            self.stop_asked = False
            state = "idle" if self._sending is not None else state
        elif self.stop_asked:
            state = "stopping"
        shown = _CONNECTIONS.get(connection, state)
        if state == "idle":  # the figures are those of an earlier turn
            label = self._label(shown, connection)
            return Status(shown, label, state, active=False, can_stop=False)
        tokens, counted = self._tokens()
        return Status(
            state=shown,
            label=self._label(shown, connection),
            turn=state,
            active=active,
            can_stop=state == "streaming",
            first=self._first,
            elapsed=self._elapsed(),
            sent_here=self._sent_here,
            tokens=tokens,
            tokens_counted=counted,
            rate=self._rate(tokens),
        )

    def _label(self, shown: State, connection: str) -> str:
        if connection == "disconnected":
            return "Disconnected"
        if shown == "idle" and self._sending is not None:
            return "Sending…"
        if shown == "idle" and self._asked is not None:
            return "Sent"
        return _LABELS[shown]

    def _see_question(self, messages: Sequence[Mapping[str, Any]]) -> None:
        last = messages[-1] if messages else None
        question = last["_id"] if last and last["role"] == "USER" else None
        if question == self._question:
            return
        # What was asked before anybody looked has no known time.
        is_news = question is not None and self._question is not _UNSEEN
        self._question = question
        self._asked, self._asked_here = None, False
        if is_news:
            self._asked, self._asked_here = self._now_or_sending()
            self._sending = None

    def _now_or_sending(self) -> tuple[float, bool]:
        if self._sending is not None:
            return self._sending, True
        return self._clock(), False

    def _goes_on(self, has_live_parts: bool) -> bool:
        """Whether it is the reply of before, as after a lost connection."""
        question = self._question
        return has_live_parts and question is not None and question == self._answered

    def _begin(self, has_live_parts: bool) -> None:
        if self._sending is None and self._asked is not None:
            self._started, self._sent_here = self._asked, self._asked_here
        elif self._sending is None and has_live_parts:
            self._started, self._sent_here = None, False  # nobody knows when it began
        else:
            self._started, self._sent_here = self._now_or_sending()
        self._sending = None
        self._answered = self._question
        self._first_at = self._first = self._counted = None
        self._written = 0

    def _take_times(self, active: bool, has_live_parts: bool, written: int) -> None:
        self._running = active
        if not active:
            if self._started is not None and self._ended is None:
                self._ended = self._clock()
            return
        self._ended = None
        if not has_live_parts:
            return
        self._written = written
        if self._first_at is None:
            self._first_at = self._clock()
            if self._started is not None:
                self._first = self._first_at - self._started

    def _elapsed(self) -> float | None:
        if self._started is None:
            return None
        end = self._ended if self._ended is not None else self._clock()
        return end - self._started

    # --- tokens ---------------------------------------------------------------------

    def _take_count(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """The provider's count, once the message of the reply is final."""
        if self._first_at is None or not messages or messages[-1]["role"] == "USER":
            return
        usage = messages[-1].get("usage") or {}
        if usage.get("completionTokens"):
            self._counted = int(usage["completionTokens"])

    def _tokens(self) -> tuple[int | None, bool]:
        """How many, and whether the provider has counted them."""
        if self._counted is not None:
            return self._counted, True
        if self._first_at is None or not self._written:
            return None, False
        return round(self._written / CHARACTERS_PER_TOKEN), False

    def _rate(self, tokens: int | None) -> float | None:
        """Tokens per second since the first part; of a reply seen from its start."""
        if tokens is None or self._first_at is None or self._started is None:
            return None
        end = self._ended if self._ended is not None else self._clock()
        seconds = end - self._first_at
        return tokens / seconds if seconds >= MIN_RATE_SECONDS else None


def _turn_state(
    messages: Sequence[Mapping[str, Any]], is_streaming: bool, has_live_parts: bool
) -> State:
    if is_streaming:
        return "streaming"
    last = messages[-1] if messages else None
    if last is not None and last.get("status") == "queued":
        return "queued"
    if last is not None and last["role"] == "ASSISTANT":
        return _OF_MESSAGE.get(last["status"], "done")
    # Live parts that are not written any more and not stored yet.
    return "done" if has_live_parts else "idle"
