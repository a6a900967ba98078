"""A chat server that stores nothing: `python -m kit.bench.bare_server`.

Emits each chunk of the model to whoever is in the task's room, and forgets it: what
Socket.IO alone costs. The events are the application's; errors of a reply are the
chunk that its last event is.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import socketio
from aiohttp import web

from kit.app.history import Message
from kit.app.llm_service import LLMService
from kit.serving import log_to_stderr, serve

__all__ = ["main"]

logger = logging.getLogger("kit.bench.bare_server")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m kit.bench.bare_server")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(argv)
    log_to_stderr("WARNING")
    asyncio.run(_run(options.port))
    return 0


async def _run(port: int) -> None:
    app = web.Application()
    server = BareServer()
    server.sio.attach(app)
    app.on_shutdown.append(server.shut_down)
    await serve(app, port=port)


class BareServer:
    """Rooms, and a reply for each message."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp", async_handlers=False)
        self._llm_service = LLMService(os.environ)
        self._replies: set[asyncio.Task[None]] = set()
        self.sio.on("join-task", self._join)
        self.sio.on("user-message", self._answer)

    async def shut_down(self, app: web.Application) -> None:
        for reply in self._replies:
            reply.cancel()
        await self.sio.shutdown()

    async def _join(self, sid: str, payload: dict[str, Any]) -> None:
        await self.sio.enter_room(sid, payload["taskId"])

    async def _answer(self, sid: str, payload: dict[str, Any]) -> None:
        reply = asyncio.create_task(self._stream(payload))
        self._replies.add(reply)
        reply.add_done_callback(self._replies.discard)

    async def _stream(self, payload: dict[str, Any]) -> None:
        prompt: Message = {
            "id": "prompt",
            "role": "user",
            "content": payload["message"],
            "llmModel": payload["llmModel"],
            "sequence": 0,
            "createdAt": datetime.now(UTC).isoformat(),
        }
        stream = self._llm_service.create_message_stream(
            "", [prompt], payload["llmModel"]
        )
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                await self.sio.emit("stream-chunk", chunk, room=payload["taskId"])


if __name__ == "__main__":
    sys.exit(main())
