"""One Socket.IO connection: opened with a time limit, kept, closed cleanly.

Holds a python-socketio client and its HTTP session. Knows nothing of tasks or chats.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import socketio

from kit.client.background import spawn
from kit.errors import ConfigError

__all__ = ["SocketConnection"]

CONNECT_TIMEOUT = 4.0
CLOSE_TIMEOUT = 2.0

OnEvent = Callable[[str, Any], Awaitable[None]]


class SocketConnection:
    """`on_event(name, payload)` gets every event, `connect` and `disconnect` included.

    A connection that is lost is opened again by itself, after half a second at first
    and two seconds at most.
    """

    def __init__(self, url: str, on_event: OnEvent) -> None:
        self.url = url
        self._on_event = on_event
        self._session = aiohttp.ClientSession()
        self._client = socketio.AsyncClient(
            http_session=self._session,
            handle_sigint=False,  # the kernel's Interrupt is not ours
            request_timeout=CONNECT_TIMEOUT,
            reconnection_delay=0.5,
            reconnection_delay_max=2,
            randomization_factor=0.2,
        )
        self._client.on("connect", self._connected)
        self._client.on("disconnect", self._disconnected)
        self._client.on("*", self._received)

    async def open(self) -> None:
        """Connect. Raises ConfigError within 5 s if no Socket.IO server answers."""
        # In a task of its own, whose empty context all of the client's tasks inherit.
        opening = spawn(self._open(), f"connect to {self.url}")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await opening
        except TimeoutError:
            await self.close()
            reason = f"nothing was answered for {CONNECT_TIMEOUT:g} s"
            raise _unreachable(self.url, reason) from None
        except (socketio.exceptions.ConnectionError, ValueError) as error:
            await self.close()
            raise _unreachable(self.url, str(error)) from None
        except BaseException:
            opening.cancel()
            await self.close()
            raise

    async def _open(self) -> None:
        await self._client.connect(self.url, wait_timeout=CONNECT_TIMEOUT)

    async def emit(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event. Raises ConnectionError while there is no connection."""
        try:
            await self._client.emit(event, payload)
        except socketio.exceptions.SocketIOError:
            raise ConnectionError(f"not connected to {self.url}") from None

    async def close(self) -> None:
        """Disconnect for good. May be called again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._client.shutdown()
        await self._session.close()

    async def _connected(self) -> None:
        await self._on_event("connect", None)

    async def _disconnected(self, *_: object) -> None:
        await self._on_event("disconnect", None)

    async def _received(self, event: str, *payload: Any) -> None:
        await self._on_event(event, payload[0] if payload else None)


def _unreachable(url: str, reason: str) -> ConfigError:
    return ConfigError(
        f"No Socket.IO server answers at {url}: {reason}. "
        "Check the URL and that the application server is running."
    )
