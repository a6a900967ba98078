"""What is streamed, and what was seen of it: loads and runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.bench.relay import Traffic
from kit.bench.seen import ProviderReply, ViewerLog
from kit.bench.usage import Usage

__all__ = ["WAYS", "Load", "Run", "Seen"]

WAYS = ("bare", "sql", "guide", "kit")
"""In the order in which they take turns."""
PATIENCE = 60.0  # s that a reply may take beyond its own length


@dataclass(frozen=True)
class Load:
    """What is streamed at once: so many replies, each to so many viewers."""

    tokens: int = 200
    pace: float = 50.0
    """Tokens per second of each reply; 0 is as fast as possible."""
    streams: int = 1
    viewers: int = 1
    delay: float = 0.0
    """Seconds of network between server and viewer, each way."""
    count_bytes: bool = False
    """Whether viewers connect through a relay that counts; a delay needs one, too."""

    history: int = 0
    """Messages that were there before; as many as the given tasks have."""

    def __str__(self) -> str:
        said = [f"{self.tokens:,} tokens"]
        said.append(f"{self.pace:g}/s" if self.pace else "as fast as possible")
        if self.streams > 1:
            said.append(f"{self.streams} replies")
        if self.viewers > 1:
            said.append(f"{self.viewers} viewers")
        if self.delay:
            said.append(f"{self.delay * 1000:g} ms of network each way")
        if self.history:
            said.append(f"after {self.history:,} messages")
        return ", ".join(said)

    @property
    def model(self) -> str:
        return f"openai/scripted-text:tokens={self.tokens},pace={self.pace:g}"

    @property
    def time_limit(self) -> float:
        paced = self.tokens / self.pace if self.pace else self.tokens / 100
        return paced * 4 + PATIENCE


@dataclass(frozen=True)
class Seen:
    """One reply, and what its viewers saw of it."""

    asked_at: float
    reply: ProviderReply
    logs: Sequence[ViewerLog]
    ended: bool
    """Whether all viewers saw its end in time."""


@dataclass(frozen=True)
class Run:
    """One way under one load."""

    way: str
    load: Load
    seen: list[Seen]
    usage: dict[str, Usage]
    seconds: float
    traffic: Traffic | None = None
    """Of all viewers together, if it was counted."""

    @property
    def lost(self) -> int:
        """Characters that some viewer did not have when the reply had ended."""
        return sum(
            max(0, len(seen.reply.text) - max(log.length, len(log.final)))
            for seen in self.seen
            for log in seen.logs
        )

    @property
    def tokens(self) -> int:
        return sum(len(seen.reply.tokens) for seen in self.seen)
