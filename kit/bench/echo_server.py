"""A WebSocket that sends back what it gets: `python -m kit.bench.echo_server`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from aiohttp import WSMsgType, web

from kit.serving import serve

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m kit.bench.echo_server")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(argv)
    app = web.Application()
    app.router.add_get("/", _echo)
    asyncio.run(serve(app, port=options.port))
    return 0


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


if __name__ == "__main__":
    sys.exit(main())
