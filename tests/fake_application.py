"""The application's Socket.IO server for tests of the hooks: it says what a test says.

Keeps what clients sent, in order, and answers `get-chat-history` with `history`, unless
`answers` is off. While `hears` is cleared it takes events and acknowledges none; one
that never does, as the guide's own, takes them all the same.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio
from aiohttp import web
from serving_app import serving

TASK = "task-1"


class FakeApplication:
    def __init__(self, *, acknowledges: bool = True) -> None:
        self.url = ""
        self.answers = True
        self.history: list[dict[str, Any]] = []
        self.sent: list[tuple[str, Any]] = []
        self.news = asyncio.Event()
        self.hears = asyncio.Event()
        if acknowledges:
            self.hears.set()
        self.sio = socketio.AsyncServer(
            async_mode="aiohttp", async_handlers=not acknowledges
        )
        self.sio.on("connect", self._connect)
        self.sio.on("*", self._receive)
        self.app = web.Application()
        self.sio.attach(self.app)
        self._clients: set[str] = set()

    async def _connect(self, sid: str, *_: Any) -> None:
        self._clients.add(sid)

    async def _receive(self, event: str, sid: str, payload: Any = None) -> None:
        self.sent.append((event, payload))
        if event == "get-chat-history" and self.answers:
            answer = {"taskId": payload["taskId"], "messages": self.history}
            await self.sio.emit("chat-history", answer, to=sid)
        self.news.set()
        await self.hears.wait()

    def names(self) -> list[str]:
        return [name for name, _ in self.sent]

    async def received(self, name: str, count: int = 1) -> Any:
        """Wait until `name` has been sent `count` times; the last payload."""
        async with asyncio.timeout(10):
            while self.names().count(name) < count:
                self.news.clear()
                await self.news.wait()
        return [payload for event, payload in self.sent if event == name][-1]

    async def emit(self, name: str, payload: Any = None) -> None:
        await self.sio.emit(name, payload)

    async def say(self, *contents: str) -> None:
        for content in contents:
            await self.emit("stream-chunk", {"type": "content", "content": content})

    async def complete(self) -> None:
        chunk = {"type": "complete", "finishReason": "stop"}
        await self.emit("stream-chunk", chunk)
        await self.emit("stream-complete")

    async def set_status(self, status: str) -> None:
        await self.emit("task-status-updated", {"taskId": TASK, "status": status})

    def store(self, role: str, content: str, **fields: Any) -> None:
        """Append a message to the history."""
        sequence = len(self.history) + 1
        self.history.append(
            {
                "id": f"sql-{sequence}",
                "role": role,
                "content": content,
                "llmModel": "m",
                "sequence": sequence,
                "createdAt": f"2026-01-01T00:00:{sequence:02}+00:00",
                **fields,
            }
        )

    async def drop_clients(self) -> None:
        """Break all connections, as a network does."""
        clients, self._clients = self._clients, set()
        for sid in clients:
            await self.sio.eio.disconnect(self.sio.manager.eio_sid_from_sid(sid, "/"))


@asynccontextmanager
async def fake_application(
    *, acknowledges: bool = True
) -> AsyncIterator[FakeApplication]:
    application = FakeApplication(acknowledges=acknowledges)
    async with serving(application.app) as url:
        application.url = url
        try:
            yield application
        finally:
            application.hears.set()
            await application.sio.shutdown()
