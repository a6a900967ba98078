"""What every hook is: a chat that can be read, observed and waited on.

Holds the protocol that views rely on, the changes that it tells, and the base of the
three hooks. Does not know where messages or parts come from.

The fields are the guide's, in snake_case. A message is a dict as `messages:byTask`
gives it, whatever its source: `_id`, `role`, `content`, `status`, `sequence`, and where
known `parts`, `llmModel`, `clientMessageId`, `finishReason`, `usage`, `error`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from kit.app.hooks.live_parts import LiveParts
from kit.app.runs import WhenActive
from kit.errors import KitError
from kit.parts import Part, PartChange

__all__ = [
    "ChatSource",
    "Delivery",
    "Hook",
    "HookChange",
    "Message",
    "MessagesChanged",
    "Observer",
    "PartsChanged",
    "PartsReset",
    "StateChanged",
]

logger = logging.getLogger("kit.app.hooks")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PartsChanged:
    """The live parts of the message `message_id` grew; in the order of the chunks."""

    message_id: str
    changes: list[PartChange]


@dataclass(frozen=True, slots=True)
class PartsReset:
    """The live parts are others now, or none: read them anew."""


@dataclass(frozen=True, slots=True)
class MessagesChanged:
    """`messages` is a new list."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Something else changed: streaming, connection, status, terminal, files, error."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """When something was written on a server and when it came: seconds of the epoch.

    By the clocks of both, so it says something where these are one.
    """

    written: float
    arrived: float

    @property
    def seconds(self) -> float:
        return self.arrived - self.written


HookChange = PartsChanged | PartsReset | MessagesChanged | StateChanged
Observer = Callable[[HookChange], None]


class ChatSource(Protocol):
    """What a chat view needs.

    When a reply ends, its message turns final and its live parts go at once: an
    observer never sees both or neither.
    """

    @property
    def messages(self) -> list[Message]: ...
    @property
    def is_streaming(self) -> bool: ...
    @property
    def streaming_parts_map(self) -> Mapping[str, Part]: ...
    @property
    def streaming_parts_order(self) -> list[str]: ...
    @property
    def connection(self) -> str: ...
    def observe(self, callback: Observer, /) -> Callable[[], None]: ...
    async def send_message(self, text: str, /) -> object: ...
    async def stop_stream(self) -> None: ...


class Hook(ABC):
    """Base of the hooks: observers, waiting, and a way to end.

    An async context manager; `aclose()` ends it, and whoever waits on it. Belongs to
    the event loop that made it.
    """

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.error: str | None = None
        """What went wrong last, for people; None if nothing did."""
        self._delivery: Delivery | None = None
        self._observers: list[Observer] = []
        self._closed = False

    @property
    @abstractmethod
    def messages(self) -> list[Message]:
        """The messages by ascending sequence; a new list after each change."""

    @property
    @abstractmethod
    def is_streaming(self) -> bool:
        """Whether a reply is being written and nobody has stopped it."""

    @property
    @abstractmethod
    def connection(self) -> str:
        """`connecting`, `connected`, `reconnecting`, `disconnected` or `closed`."""

    @property
    @abstractmethod
    def _live(self) -> LiveParts:
        """The parts of the reply being written."""

    @property
    def streaming_parts_map(self) -> Mapping[str, Part]:
        """The live parts by id; a view that follows them."""
        return self._live.parts

    @property
    def streaming_parts_order(self) -> list[str]:
        """The ids of the live parts, first seen first."""
        return self._live.order

    @property
    def streaming_message_id(self) -> str:
        """The id of the message that the live parts belong to; "" if there is none."""
        return self._live.message_id

    @property
    def delivery(self) -> Delivery | None:
        """How long the newest live chunks took to get here.

        None without any, and where the server's clock is not this machine's.
        """
        return self._delivery

    def streaming_text(self) -> str:
        """The text of the reply so far: its live text parts, joined."""
        return self._live.text()

    @abstractmethod
    async def send_message(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        """Send a user's message; its `clientMessageId`.

        `when_active` says what becomes of it while a reply is being written: it is
        refused (`reject`), stops that reply (`interrupt`), or waits for it (`queue`).
        The last two are Convex's, so that they need one that streams the reply.

        After a failure it may have arrived all the same. Sent again with the same
        `client_message_id` it is answered once; without one, the same text is taken for
        the same message until that shows in `messages`.
        """

    @abstractmethod
    async def stop_stream(self) -> None:
        """Stop the reply that is being written."""

    def observe(self, callback: Observer, /) -> Callable[[], None]:
        """Call `callback(change)` at each change; call the result to stop.

        It runs in the event loop, after the change is complete, and must be quick; an
        exception in it is logged.
        """
        self._observers.append(callback)

        def stop() -> None:
            with contextlib.suppress(ValueError):
                self._observers.remove(callback)

        return stop

    def _tell(self, *changes: HookChange) -> None:
        """Tell the observers; the fields must already say what has changed."""
        for change in changes:
            for callback in list(self._observers):
                try:
                    callback(change)
                except Exception:
                    logger.exception("An observer of %r failed", self)

    async def until(
        self, condition: Callable[[Self], object], *, timeout: float | None = None
    ) -> None:
        """Wait until `condition(self)` is true; looks at each change, so misses none.

        Raises TimeoutError after `timeout` seconds, saying what was seen, KitError when
        this is closed meanwhile, and whatever `condition` raises.
        """
        met: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(_: HookChange | None) -> None:
            if met.done():
                return
            try:
                if condition(self):
                    met.set_result(None)
                elif self._closed:
                    met.set_exception(KitError(f"Closed while waited on: {self!r}"))
            except Exception as error:
                met.set_exception(error)

        stop = self.observe(look)
        try:
            look(None)
            await asyncio.wait({met}, timeout=timeout)
        finally:
            stop()
        if not met.done():
            raise TimeoutError(
                f"What was waited for did not come within {timeout:g} s. Seen: {self!r}"
            )
        met.result()

    async def aclose(self) -> None:
        """End it. May be called again."""
        if self._closed:
            return
        self._closed = True
        await self._end()
        self._tell(StateChanged())

    @abstractmethod
    async def _end(self) -> None:
        """Release whatever is held."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        seen = [self.connection, "streaming" if self.is_streaming else "not streaming"]
        seen.append(f"{len(self.messages)} messages")
        if self.messages:
            last = self.messages[-1]
            text = last["content"]
            shown = text if len(text) <= 40 else text[:40] + "…"
            seen.append(f"the last {last['role']} {last['status']} {shown!r}")
        if order := self.streaming_parts_order:
            seen.append(f"live parts {' '.join(order)}")
        seen += self._details()
        if self.error:
            seen.append(f"error {self.error!r}")
        return f"<{type(self).__name__} {self.task_id}: {', '.join(seen)}>"

    def _details(self) -> list[str]:
        return []
