"""The sync messages between a client and its deployment: listened to on the way.

A proxy on a port of its own: whoever is given its URL instead of the deployment's is
heard. HTTP calls pass through unheard.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
from aiohttp import web

from kit.serving import HOST, finish_accepting
from kit.show import Picture
from kit.timeline import timeline

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SyncMessage", "Wiretap"]

Direction = Literal["to deployment", "to client"]

MAX_MESSAGE = 64 * 1024 * 1024
# They belong to one connection, and aiohttp writes its own.
HOP_BY_HOP = {"connection", "host", "transfer-encoding", "content-length", "upgrade"}


@dataclass(frozen=True, slots=True)
class SyncMessage:
    """One message on the wire. `at` is seconds since the epoch, `size` in bytes."""

    at: float
    direction: Direction
    type: str
    size: int
    version: str
    """Of a Transition: `query set.identity` and how many queries it changes."""


class Wiretap:
    """Listens between clients and the deployment at `url`.

    ```python
    async with Wiretap(stack.deployment_url) as tap:
        async with Deployment(tap.url) as deployment:
            ...
    tap.frame()
    ```
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self.target = url.rstrip("/")
        self.url = ""
        self.messages: list[SyncMessage] = []
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port of this machine; `url` is there then."""
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=MAX_MESSAGE)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def aclose(self) -> None:
        """Stop; whoever is connected through it is disconnected."""
        if self._session is not None:
            await self._session.close()  # ends the sockets, and so their handlers
        if self._runner is not None:
            await finish_accepting()
            await self._runner.cleanup()

    async def __aenter__(self) -> Wiretap:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Wiretap {self.url} -> {self.target}, {len(self.messages)} messages>"

    def frame(self) -> pd.DataFrame:
        """What was heard so far, one row a message; `seconds` since the first one."""
        import pandas as pd

        start = self.messages[0].at if self.messages else 0.0
        return pd.DataFrame(
            [
                (m.at - start, m.direction, m.type, m.size, m.version)
                for m in self.messages
            ],
            columns=["seconds", "direction", "type", "bytes", "version"],
        )

    def timeline(self) -> Picture:
        """The same as a drawing: a row for each type, a tick for each message."""
        rows: dict[str, list[float]] = {}
        for message in self.messages:
            arrow = "→" if message.direction == "to deployment" else "←"
            rows.setdefault(f"{arrow} {message.type}", []).append(message.at)
        count = sum(message.size for message in self.messages)
        caption = f"{len(self.messages)} sync messages, {count:,} bytes"
        return Picture(timeline(rows), caption)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        socket = request.headers.get("Upgrade", "").lower() == "websocket"
        try:
            return await (self._pass_socket if socket else self._pass_call)(request)
        except aiohttp.ClientError:
            # As if there were nothing in between: the connection is lost.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _pass_call(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        async with self._session.request(
            request.method,
            f"{self.target}{request.rel_url}",
            headers=_headers(request),
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            return web.Response(
                status=answer.status,
                body=body,
                headers={
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower() not in HOP_BY_HOP
                },
            )

    async def _pass_socket(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        client = web.WebSocketResponse(max_msg_size=MAX_MESSAGE)
        headers = {
            name: value
            for name, value in _headers(request).items()
            if not name.lower().startswith("sec-websocket")
        }
        async with self._session.ws_connect(
            f"{self.target}{request.rel_url}", headers=headers, max_msg_size=MAX_MESSAGE
        ) as deployment:
            await client.prepare(request)
            ways = [
                asyncio.create_task(self._carry(client, deployment, "to deployment")),
                asyncio.create_task(self._carry(deployment, client, "to client")),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                await client.close()
        return client

    async def _carry(self, source: Any, target: Any, direction: Direction) -> None:
        async for message in source:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self._note(message.data, direction)
            await target.send_str(message.data)

    def _note(self, text: str, direction: Direction) -> None:
        try:
            content = json.loads(text)
            kind = str(content["type"])
        except (ValueError, KeyError, TypeError):
            content, kind = {}, "not a sync message"
        size = len(text.encode())
        version = _version(content) if kind == "Transition" else ""
        self.messages.append(SyncMessage(self._clock(), direction, kind, size, version))


def _headers(request: web.Request) -> dict[str, str]:
    return {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in HOP_BY_HOP
    }


def _version(transition: dict[str, Any]) -> str:
    end = transition["endVersion"]
    changes = len(transition["modifications"])
    return f"{end['querySet']}.{end['identity']}, {changes} changed"
