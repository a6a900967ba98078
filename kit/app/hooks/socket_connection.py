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

__all__ = ["SocketConnection"]

CONNECT_TIMEOUT = 4.0
CLOSE_TIMEOUT = 2.0
RETRY_INTERVALS = (0.3, 0.6, 1.2, 2.0)  # seconds; the last one goes on

OnEvent = Callable[[str, Any], Awaitable[None]]


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
        self._is_open = False

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
            await self._client.emit(event, payload)
        except socketio.exceptions.SocketIOError:
            raise ConnectionError(f"not connected to {self.url}") from None

    async def close(self) -> None:
        """Disconnect for good. May be called again."""
        self._is_open = False
        if self._reopening is not None:
            await cancel(self._reopening)
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
        await self._on_event("connect", None)

    async def _disconnected(self, *_: object) -> None:
        await self._on_event("disconnect", None)
        if self._is_open:
            self._reopening = spawn(self._reopen(), f"reconnect to {self.url}")

    async def _received(self, event: str, *payload: Any) -> None:
        await self._on_event(event, payload[0] if payload else None)
