"""What the scripted provider remembers of the requests it has seen.

Holds no key: only a short hash, by which two keys can be told apart. `GET /log`
answers `{"requests": [...]}`, oldest first, each

    {"number": 1, "wire": "anthropic", "model": "claude-opus-5-5", "prompt": "...",
     "turns": [{"role": "user", "text": "..."}],
     "keyHash": "ab12cd34", "userAgent": "...", "receivedAt": 1763800000.0,
     "status": 200, "outcome": "complete", "endedAt": 1763800003.2,
     "tokens": ["Hel", "lo"], "tokenTimes": [1763800000.1, 1763800000.2]}

`turns` is who said what in the request, see `formats.said`. `outcome` is `streaming`
until it is one of `complete`, `disconnected` (the caller went away; `endedAt` says when
that was seen), `refused` (an HTTP error), or the fault that was played: `error-mid`,
`drop`, `eof`. Times are seconds since the epoch, taken just before the token was
written to the socket.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from kit.llm.providers import ProviderName

__all__ = ["Entry", "Journal"]

_KEPT = 1000  # requests


@dataclass
class Entry:
    """One request. Field names are those of the JSON."""

    number: int
    wire: ProviderName
    keyHash: str
    userAgent: str
    model: str = ""
    prompt: str = ""
    turns: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    outcome: str = "streaming"
    receivedAt: float = field(default_factory=time.time)
    endedAt: float | None = None
    tokens: list[str] = field(default_factory=list)
    tokenTimes: list[float] = field(default_factory=list)

    def sent(self, token: str) -> None:
        self.tokens.append(token)
        self.tokenTimes.append(time.time())

    def end(self, outcome: str, status: int = 200) -> None:
        self.outcome = outcome
        self.status = status
        self.endedAt = time.time()


class Journal:
    """The newest requests, in the order in which they came."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._count = 0

    def open(self, wire: ProviderName, key: str, user_agent: str) -> Entry:
        self._count += 1
        key_hash = hashlib.sha256(key.encode()).hexdigest()[:8] if key else ""
        entry = Entry(self._count, wire, key_hash, user_agent)
        self._entries.append(entry)
        return entry

    def since(self, number: int) -> list[dict[str, Any]]:
        """The requests after that number, as JSON."""
        return [asdict(entry) for entry in self._entries if entry.number > number]
