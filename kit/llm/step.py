"""One model call: open the stream, read it to its end, retry what may pass.

Holds what all adapters do alike: retries before the first chunk, the demand for a
terminal event, the deadline for what trails it, and the clean-up when the consumer
leaves. What a stream's events mean is the adapter's `Reader`; what an exception means
is in `kit.llm.failures`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import httpx2

from kit.errors import LLMError
from kit.llm.failures import LONGEST_WAIT, Failures
from kit.parts import Chunk

__all__ = ["DEFAULT_RETRY", "EventStream", "ModelCall", "Reader", "Retry"]

log = logging.getLogger(__name__)

# How long to wait for what comes after the reply has ended (usage, `[DONE]`), seconds.
_TRAILER_TIMEOUT = 5.0

_END: Any = object()


class EventStream(Protocol):
    """A stream of an SDK, as far as it is used here."""

    @property
    def response(self) -> httpx2.Response: ...

    def __anext__(self) -> Awaitable[Any]: ...

    async def close(self) -> None: ...


class Reader(Protocol):
    """Turns the events of one stream into chunks. Pure."""

    @property
    def complete(self) -> bool:
        """Has the provider said how the step ends?"""
        ...

    def feed(self, event: Any) -> list[Chunk]:
        """The chunks of one event. Raises LLMError for an error in the stream."""
        ...

    def finish(self) -> list[Chunk]:
        """What closes the step: parts still open, and `finish-step`."""
        ...


_R = TypeVar("_R", bound=Reader)


@dataclass(frozen=True)
class Retry:
    """How often a call is tried again, and after how long.

    Waits `first_wait`, then twice that, …, less some chance; a provider's
    `Retry-After` goes first, up to `LONGEST_WAIT`, and a longer one is final. So a call
    waits for `times * LONGEST_WAIT` at most: 40 s, unless told otherwise.
    """

    times: int = 2
    first_wait: float = 0.5
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)

    def wait(self, error: LLMError, tried: int) -> float | None:
        """Seconds before the next try; None if the error is final."""
        # After a long silence the user has waited enough, and may have paid for it.
        stalled = error.kind == "timeout" and error.status is None
        if tried >= self.times or not error.retryable or stalled:
            return None
        if error.retry_after is None:
            return self.first_wait * float(2**tried) * random.uniform(0.75, 1.0)
        return error.retry_after if error.retry_after <= LONGEST_WAIT else None


DEFAULT_RETRY = Retry()


@dataclass(frozen=True)
class ModelCall(Generic[_R]):
    """One step of a conversation.

    `open` sends the request, `reader` makes a fresh reader for its answer, `accept`
    gets the reader of a step that ended properly, just before `finish-step` is handed
    out.
    """

    open: Callable[[], Awaitable[EventStream]]
    reader: Callable[[], _R]
    accept: Callable[[_R], None]
    failures: Failures
    retry: Retry

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The chunks of the step. Raises LLMError, with `midstream` set."""
        tried = 0
        while True:
            handed_out = False
            failure: LLMError | None = None
            try:
                async with aclosing(self._attempt()) as chunks:
                    async for chunk in chunks:
                        handed_out = True
                        yield chunk
            except Exception as error:
                failure = self.failures.describe(error)
            if failure is None:
                return
            failure.midstream = handed_out
            wait = None if handed_out else self.retry.wait(failure, tried)
            if wait is None:
                # Out of the handler, so that the SDK's exception is not its context,
                # and from here, not from where its event is a variable.
                raise failure.with_traceback(None)
            log.info(
                "%s: %s, trying again in %.2f s (%d of %d)",
                failure.provider,
                failure.kind,
                wait,
                tried + 1,
                self.retry.times,
            )
            await self.retry.sleep(wait)
            tried += 1

    async def _attempt(self) -> AsyncGenerator[Chunk, None]:
        reader = self.reader()
        stream = await self.open()
        deadline: float | None = None
        try:
            while (event := await _next(stream, reader, deadline)) is not _END:
                for chunk in reader.feed(event):
                    yield chunk
                if reader.complete and deadline is None:
                    deadline = asyncio.get_running_loop().time() + _TRAILER_TIMEOUT
        finally:
            await stream.close()
        if not reader.complete:
            raise self._incomplete(stream.response)
        chunks = reader.finish()
        self.accept(reader)
        for chunk in chunks:
            yield chunk

    def _incomplete(self, response: httpx2.Response) -> LLMError:
        """An SDK reads a web page as a stream without events."""
        content_type = response.headers.get("content-type", "").partition(";")[0]
        if content_type and content_type != "text/event-stream":
            return self.failures.protocol(
                f"it is {content_type}, not a stream of events"
            )
        return self.failures.interrupted()


async def _next(stream: EventStream, reader: Reader, deadline: float | None) -> Any:
    """The next event, or `_END`.

    Once the reply is complete, whatever happens to the connection cannot harm it.
    """
    try:
        if deadline is None:  # as for all but the last events
            return await anext(stream, _END)
        async with asyncio.timeout_at(deadline):
            return await anext(stream, _END)
    except Exception as error:
        if not reader.complete:
            raise
        log.debug("ignored after the end of a reply: %s", type(error).__name__)
        return _END
