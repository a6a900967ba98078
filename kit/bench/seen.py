"""What one viewer saw of one reply, and when; the latencies that follow. Pure.

The provider's log says when each token was written to its socket, a `ViewerLog` when
the viewer's callback had it. Both clocks are `time.time()` of one machine. A token is
seen with the first callback after which the whole text up to its end is there, so text
that arrives in larger pieces is counted fairly: its first tokens have waited longer.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

__all__ = ["Latency", "ProviderReply", "ViewerLog", "latencies", "percentile"]


@dataclass(frozen=True)
class ProviderReply:
    """A reply as the scripted provider sent it; times are seconds since the epoch."""

    tokens: Sequence[str]
    times: Sequence[float]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> ProviderReply:
        """From an entry of the provider's log."""
        return cls(entry["tokens"], entry["tokenTimes"])

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def sent_by(self, at: float) -> int:
        """How many characters had been sent at a time."""
        return sum(
            len(token)
            for token, time in zip(self.tokens, self.times, strict=True)
            if time <= at
        )


@dataclass
class ViewerLog:
    """How the text of a reply has grown for one viewer, and what it was in the end."""

    times: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    """Characters that had come live, from the time of the same index on."""
    pieces: list[str] = field(default_factory=list)
    final: str = ""
    """The stored message, once the viewer has it."""
    final_at: float | None = None

    def grew(self, piece: str, at: float) -> None:
        """The viewer's callback had `piece` at a time, after all that came before."""
        if piece:
            self.pieces.append(piece)
            self.times.append(at)
            self.lengths.append(self.length + len(piece))

    def ended(self, text: str, at: float) -> None:
        """The viewer had the stored message at a time."""
        self.final, self.final_at = text, at

    @property
    def length(self) -> int:
        return self.lengths[-1] if self.lengths else 0

    @property
    def text(self) -> str:
        """What came live."""
        return "".join(self.pieces)

    def when(self, characters: int) -> float | None:
        """When so many characters were there first, live or stored; None if never."""
        place = bisect_left(self.lengths, characters)
        if place < len(self.times):
            return self.times[place]
        return self.final_at if characters <= len(self.final) else None


def latencies(reply: ProviderReply, log: ViewerLog) -> list[float]:
    """Seconds from each token's sending to its being seen, in the order of the tokens.

    Tokens that were never seen are missing at the end.
    """
    found = []
    ends = accumulate(map(len, reply.tokens))
    for sent, end in zip(reply.times, ends, strict=True):
        seen = log.when(end)
        if seen is None:
            break
        found.append(seen - sent)
    return found


@dataclass(frozen=True)
class Latency:
    """A distribution of times, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float
    percentiles: tuple[float, ...]
    """From 0 to 100, for a plot."""

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency | None:
        """None without any."""
        ordered = sorted(value * 1000.0 for value in seconds)
        if not ordered:
            return None
        return cls(
            len(ordered),
            p50=percentile(ordered, 50),
            p95=percentile(ordered, 95),
            p99=percentile(ordered, 99),
            max=ordered[-1],
            percentiles=tuple(percentile(ordered, q) for q in range(101)),
        )


def percentile(ordered: Sequence[float], q: float) -> float:
    """The smallest value that at least `q` percent do not exceed (nearest rank)."""
    rank = max(1, math.ceil(len(ordered) * q / 100))
    return ordered[rank - 1]
