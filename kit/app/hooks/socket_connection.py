"""One Socket.IO connection: opened with a time limit, kept, closed cleanly.

Holds a python-socketio client and its HTTP session. Knows nothing of tasks or chats.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import socketio

from kit.client.background import cancel, spawn
from kit.errors import ConfigError

__all__ = ["SocketConnection", "Unanswered"]

CONNECT_TIMEOUT = 4.0
CLOSE_TIMEOUT = 2.0
ANSWER_TIMEOUT = 5.0
RETRY_INTERVALS = (0.3, 0.6, 1.2, 2.0)  # seconds; the last one goes on

OnEvent = Callable[[str, Any], Awaitable[None]]


class Unanswered(ConnectionError):
    """An event was sent, and nobody knows whether it has arrived."""


class SocketConnection:
    """`on_event(name, payload)` gets every event, `connect` and `disconnect` included.

    A connection that is lost is opened again until `close()`, also after the server has
    ended it, as a server that restarts does; the client's own reconnecting does not.
    """

    def __init__(self, url: str, on_event: OnEvent) -> None:
        self.url = url
        self._on_event = on_event
        self._session = aiohttp.ClientSession()
        self._client = socketio.AsyncClient(
            http_session=self._session,
            reconnection=False,
            handle_sigint=False,  # the kernel's Interrupt is not ours
            request_timeout=CONNECT_TIMEOUT,
        )
        self._client.on("connect", self._connected)
        self._client.on("disconnect", self._disconnected)
        self._client.on("*", self._received)
        self._reopening: asyncio.Task[None] | None = None
        self._dropping: asyncio.Task[object] | None = None
        self._is_open = False
        self._acknowledges = False
        self._lost = asyncio.Event()
        self._asking: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        """Connect. Raises ConfigError within 5 s if no Socket.IO server answers."""
        # In a task of its own, whose empty context all of the client's tasks inherit.
        connecting = spawn(self._connect(), f"connect to {self.url}")
        try:
            await connecting
        except (socketio.exceptions.ConnectionError, ValueError) as error:
            await self.close()
            raise ConfigError(
                f"No Socket.IO server answers at {self.url}: {error}. "
                "Check the URL and that the application server is running."
            ) from None
        except BaseException:
            await cancel(connecting)
            await self.close()
            raise
        self._is_open = True

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._client.connect(self.url, wait_timeout=CONNECT_TIMEOUT)
        except TimeoutError:
            raise socketio.exceptions.ConnectionError(
                f"nothing was answered for {CONNECT_TIMEOUT:g} s"
            ) from None

    async def emit(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event. Raises ConnectionError while there is no connection."""
        try:
            await self._client.emit(event, payload, callback=self._acknowledged)
        except socketio.exceptions.SocketIOError:
            raise ConnectionError(f"not connected to {self.url}") from None

    async def ask(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event and wait until the server shows that it has come.

        Its acknowledgement shows that. Of a server that has never acknowledged, any
        event does, for want of better: it may have been on its way before. Raises
        ConnectionError while there is no connection, Unanswered when it ends, or says
        nothing for 5 s: then it counts as lost.
        """
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.add(answered)

        def acknowledged(*_: object) -> None:
            self._acknowledged()
            _answer(answered)

        try:
            await self._client.emit(event, payload, callback=acknowledged)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await answered
        except socketio.exceptions.SocketIOError:
            raise ConnectionError(f"not connected to {self.url}") from None
        except TimeoutError:
            await self._drop()
            raise Unanswered(
                f"{self.url} did not answer within {ANSWER_TIMEOUT:g} s"
            ) from None
        finally:
            self._asking.discard(answered)

    def _acknowledged(self, *_: object) -> None:
        self._acknowledges = True

    async def _drop(self) -> None:
        """Give up a connection that is dead and does not say so."""
        if self._client.eio.ws is None:  # it is only polling, and finds out by itself
            return
        # Closing waits for an answer that will not come; others hear of it before.
        closing = self._client.eio.ws.close()
        self._dropping = spawn(closing, f"give up the connection to {self.url}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._lost.wait()

    async def close(self) -> None:
        """Disconnect for good. May be called again."""
        self._is_open = False
        for task in (self._reopening, self._dropping):
            if task is not None:
                await cancel(task)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._client.disconnect()
        await self._session.close()

    async def _reopen(self) -> None:
        for attempt in itertools.count():
            await asyncio.sleep(RETRY_INTERVALS[min(attempt, len(RETRY_INTERVALS) - 1)])
            with contextlib.suppress(socketio.exceptions.ConnectionError, ValueError):
                await self._connect()
                return

    async def _connected(self) -> None:
        self._lost.clear()
        await self._on_event("connect", None)

    async def _disconnected(self, *_: object) -> None:
        for asking in self._asking:
            if not asking.done():
                lost = f"the connection to {self.url} was lost before it answered"
                asking.set_exception(Unanswered(lost))
        await self._on_event("disconnect", None)
        self._lost.set()
        if self._is_open:
            self._reopening = spawn(self._reopen(), f"reconnect to {self.url}")

    async def _received(self, event: str, *payload: Any) -> None:
        if not self._acknowledges:
            for asking in self._asking:
                _answer(asking)
        await self._on_event(event, payload[0] if payload else None)


def _answer(asking: asyncio.Future[None]) -> None:
    if not asking.done():
        asking.set_result(None)
