"""The delta writer: chunks of a reply, saved as deltas of a stream.

Holds what a producer needs between the model and `streaming:append`: a bounded
buffer, the rules of when to flush, one append in flight, sequence numbers, retries,
heartbeats. Knows neither the model nor the deployment: it is given a function that
runs a mutation by its path.

The append protocol is that of a Kafka producer (epoch and sequence number), as
Durable Streams spells it out: an append that may or may not have arrived is sent
again with the same (epoch, seq), and the store answers that it is a duplicate.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, TypeAlias

from kit.deltas import TextRepair, take_batch, text_bytes
from kit.errors import RequestRejected
from kit.parts import Chunk

__all__ = [
    "HEARTBEAT_INTERVAL",
    "DeltaWriter",
    "RunMutation",
    "WriterState",
    "call_patiently",
]

RunMutation: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Runs a mutation by function path: an action's `ctx.run_mutation`, for one."""

WriterState: TypeAlias = Literal[
    "open",
    "closed",  # the stream has ended: finalized by us, a watchdog or somebody else
    "fenced",  # another producer has taken the stream over
    "full",  # the stream takes no more: the reply is too large for one message
    "failed",  # an append failed for good; `error` says how
]

# The first chunk of a part is shown at once, and so is what a viewer waits for.
_URGENT = frozenset(
    {
        "text-start",
        "reasoning-start",
        "tool-input-start",
        "tool-input-available",
        "tool-input-error",
        "tool-output-available",
        "tool-output-error",
        "error",
        "abort",
        "finish",
    }
)
MAX_APPEND_BYTES = 640 * 1024
"""Text in one append: well below the 1 MiB that a Convex document may hold, and enough
for what must not be cut, the JSON of a tool's result, 100,000 characters if need be."""
HEARTBEAT_INTERVAL = 0.75
"""Seconds of silence after which a producer asks whether it is to stop.

With the time that closing a connection takes, a stop reaches the provider within 1 s.
"""
APPENDS_PER_STEP = 512
INTERVAL_STEP = 0.03
"""After so many appends the flush interval is longer by so many seconds, and so on.

A long reply thus ends up in a bounded number of deltas, which one transaction can
fold when it ends.
"""


class DeltaWriter:
    """Saves chunks as deltas of one stream, in order, each exactly once.

    `await write(chunk)` hands a chunk over and waits only while the buffer is full,
    so a slow store slows the reader down. A flush happens at once for the first chunk
    of a part and for what a viewer waits for (a tool call, a result, an error, the
    end), and otherwise when `max_bytes` are buffered or `flush_interval` seconds
    have passed since the last one, by a timer. One append is in flight; what arrives
    meanwhile is merged.

    * `stop_requested` is set when somebody asked for a stop; writing still works, so
      that what was produced before the stop is kept.
    * `lost` is set when the stream takes nothing more; `state` and `error` say why.

    To be created in a running event loop. `close()` flushes the rest and ends the
    writer's task; leaving `async with` does the same. Cancelling `close()` gives up
    what was not yet appended.
    """

    def __init__(
        self,
        run_mutation: RunMutation,
        stream_id: str,
        epoch: int,
        *,
        flush_interval: float = 0.005,
        max_bytes: int = 1024,
        max_buffer: int = 256 * 1024,
        max_append_bytes: int = MAX_APPEND_BYTES,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        retry_for: float = 10.0,
    ) -> None:
        self._run_mutation = run_mutation
        self._target = {"streamId": stream_id, "epoch": epoch}
        self._flush_interval = flush_interval
        self._max_bytes = max_bytes
        self._max_buffer = max_buffer
        self._max_append_bytes = max_append_bytes
        self._heartbeat_interval = heartbeat_interval
        self._retry_for = retry_for

        self.stop_requested = asyncio.Event()
        self.lost = asyncio.Event()
        self.state: WriterState = "open"
        self.error: Exception | None = None
        self.seq = 0

        self._repair = TextRepair()
        self._pending: list[Chunk] = []
        self._pending_bytes = 0
        self._due = math.inf
        self._closing = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self._last_flush = -math.inf
        self._last_contact = self._loop.time()
        self._task = asyncio.create_task(self._run(), name=f"writer {stream_id}")

    def __repr__(self) -> str:
        return (
            f"<DeltaWriter {self._target['streamId']} {self.state} seq={self.seq} "
            f"buffered={self._pending_bytes}>"
        )

    async def __aenter__(self) -> DeltaWriter:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def fenced(self) -> bool:
        """True once another producer has taken the stream over."""
        return self.state == "fenced"

    async def write(self, chunk: Chunk) -> bool:
        """Hand a chunk over; False if the stream takes nothing more.

        Waits while the buffer is full. Does not wait for the append.
        """
        await self._room.wait()
        if self.state != "open" or self._closing:
            return False
        for clean in self._repair.repair(chunk):
            self._buffer(clean)
        return True

    async def beat(self) -> None:
        """Send a heartbeat now; afterwards `stop_requested` and `lost` are current."""
        await self._send("streaming:heartbeat", self._target)

    async def close(self) -> None:
        """Append what is buffered, then end. Never raises; see `state` and `error`.

        May be called twice. Waits for as long as retries take.
        """
        if not self._closing:
            self._closing = True
            for rest in self._repair.rest():
                self._buffer(rest)
            self._wake.set()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    # --- the buffer ---------------------------------------------------------------

    def _buffer(self, chunk: Chunk) -> None:
        self._pending.append(chunk)
        self._pending_bytes += text_bytes(chunk)
        if chunk["type"] in _URGENT or self._pending_bytes >= self._max_bytes:
            self._due = -math.inf
        elif self._due == math.inf:
            self._due = self._last_flush + self._interval()
        if self._pending_bytes >= self._max_buffer:
            self._room.clear()
        self._wake.set()

    def _interval(self) -> float:
        return self._flush_interval + INTERVAL_STEP * (self.seq // APPENDS_PER_STEP)

    def _take(self) -> list[Chunk]:
        batch, self._pending = take_batch(self._pending, self._max_append_bytes)
        self._pending_bytes = sum(map(text_bytes, self._pending))
        self._due = -math.inf if self._pending else math.inf
        if self._pending_bytes < self._max_buffer:
            self._room.set()
        return batch

    # --- the task -----------------------------------------------------------------

    async def _run(self) -> None:
        while self.state == "open":
            now = self._loop.time()
            beat_at = self._last_contact + self._heartbeat_interval
            if self._pending and (self._closing or self._due <= now):
                await self._flush()
            elif self._closing:
                break
            elif beat_at <= now:
                await self.beat()
            else:
                await self._sleep_until(min(self._due, beat_at))
        self._room.set()

    async def _sleep_until(self, when: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout_at(when):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _flush(self) -> None:
        batch = self._take()
        self._last_flush = self._loop.time()
        args = {**self._target, "seq": self.seq, "chunks": batch}
        await self._send("streaming:append", args)
        if self.state == "open":
            self.seq += 1

    async def _send(self, path: str, args: dict[str, Any]) -> None:
        try:
            reply = await call_patiently(
                self._run_mutation, path, args, retry_for=self._retry_for
            )
            self._last_contact = self._loop.time()
            self._note(reply)
        except Exception as error:
            self._lose("failed", error)

    def _note(self, reply: dict[str, Any]) -> None:
        match reply["status"]:
            case "ok":
                pass
            case "closed" | "fenced" | "full" as state:
                self._lose(state)
            case "gap":
                expected = reply["nextSeq"]
                text = f"the stream expects seq {expected:g}, not {self.seq}"
                self._lose("failed", RuntimeError(text))
            case unknown:
                text = f"an append was answered with status {unknown!r}"
                self._lose("failed", RuntimeError(text))
        if reply["stop"]:
            self.stop_requested.set()

    def _lose(self, state: WriterState, error: Exception | None = None) -> None:
        if self.state == "open":
            self.state, self.error = state, error
        self._pending, self._pending_bytes, self._due = [], 0, math.inf
        self.lost.set()
        self._room.set()
        self._wake.set()


async def call_patiently(
    run_mutation: RunMutation, path: str, args: dict[str, Any], *, retry_for: float
) -> Any:
    """Run a mutation, again and again while the deployment is out of reach.

    Only for mutations that may safely run twice. Waits 50 ms, then twice as long each
    time, up to a second. Raises the last error once `retry_for` seconds have passed,
    and at once whatever the function itself raised.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + retry_for
    delay = 0.05
    while True:
        try:
            return await run_mutation(path, args)
        except (OSError, RequestRejected) as error:
            # A timeout and an unreachable deployment are OSErrors, too. 503 is what
            # Convex answers when transactions conflicted too often.
            if isinstance(error, RequestRejected) and error.status not in (429, 503):
                raise
            if loop.time() + delay >= give_up_at:
                raise
            await asyncio.sleep(delay)
            delay = min(2 * delay, 1.0)
