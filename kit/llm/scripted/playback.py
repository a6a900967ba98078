"""How a scripted reply leaves: token by token on a schedule, or not to its end.

Holds the pace, the faults, and the noticing of callers that go away. What the bytes
are is the format's; what is said is in `reply`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from kit.llm.scripted.formats import Format, Refused
from kit.llm.scripted.journal import Entry
from kit.llm.scripted.reply import Ask, Reply
from kit.llm.scripted.scenario import Scenario

__all__ = ["Playback"]

_KEEP_ALIVE_EVERY = 1.0  # seconds, while the first token is late
_NOTICE_EVERY = 0.01  # seconds: how soon a caller's going away is seen


@dataclass(frozen=True)
class Playback:
    """One reply on its way out."""

    request: web.Request
    response: web.StreamResponse  # prepared
    spoken: Format
    ask: Ask
    reply: Reply
    scenario: Scenario
    trouble: Refused  # what `error-mid` says
    pace: float  # tokens per second, 0: as fast as possible
    entry: Entry
    closing: asyncio.Event  # the server is shutting down

    async def play(self) -> None:
        """Send every token at its time, or fail as scripted.

        Token i is due at start + i / pace, whatever the tokens before it took: late
        ones do not push back the rest. Raises ConnectionError once the caller is
        gone, or the server is closing.
        """
        tokens = self.reply.output_tokens
        fault_at = self._fault_at(tokens)
        interval = 1 / self.pace if self.pace else 0.0
        sent = 0
        start: float | None = None
        for frame in self.spoken.frames(self.ask, self.reply):
            is_content = frame.opens or frame.token is not None
            if is_content and start is None:
                await self._wait_for_first_token()
                start = _now()
            if sent == fault_at and (is_content or sent == tokens):
                return await self._fail()
            if frame.token is not None and start is not None:
                await self._wait_until(start + sent * interval)
                sent += 1
                self.entry.sent(frame.token)
            await self.response.write(frame.data)
        await self.response.write_eof()
        self.entry.end("complete")
        return None

    def _fault_at(self, tokens: int) -> int | None:
        """How many tokens are sent before the fault strikes; None if none does."""
        if self.scenario.fault not in ("error-mid", "drop", "eof", "stall"):
            return None
        at = self.scenario.at
        return tokens // 2 if at is None else min(at, tokens)

    async def _fail(self) -> None:
        match self.scenario.fault:
            case "error-mid":
                last = self.spoken.error_in_stream(self.ask, self.trouble)
                await self.response.write(last)
                await self.response.write_eof()
            case "eof":
                await self.response.write_eof()
            case "drop":
                if self.request.transport is not None:
                    self.request.transport.abort()
            case "stall":
                await self._wait_until(None)
        self.entry.end(str(self.scenario.fault))

    async def _wait_for_first_token(self) -> None:
        due = _now() + self.scenario.delay
        while _now() < due:
            await self.response.write(self.spoken.keep_alive)
            await self._wait_until(min(due, _now() + _KEEP_ALIVE_EVERY))

    async def _wait_until(self, due: float | None) -> None:
        """Wait, forever if `due` is None; notice a caller that goes away meanwhile.

        Lets other requests run even if nothing is to be waited for.
        """
        while True:
            transport = self.request.transport
            if transport is None or transport.is_closing() or self.closing.is_set():
                raise ConnectionResetError
            wait = _NOTICE_EVERY if due is None else due - _now()
            await asyncio.sleep(max(0.0, min(wait, _NOTICE_EVERY)))
            if due is not None and _now() >= due:
                return


def _now() -> float:
    return asyncio.get_running_loop().time()
