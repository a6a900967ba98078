"""Addresses at which no deployment and no application answers, each in its own way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from serving_app import serving

from kit.serving import finish_accepting


@asynccontextmanager
async def refusing() -> AsyncIterator[str]:
    async with serving(web.Application()) as url:
        pass
    yield url


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    finish = asyncio.Event()

    async def say_nothing(_: Any, writer: asyncio.StreamWriter) -> None:
        await finish.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        yield url_of(server)
    finally:
        finish.set()
        await finish_accepting()
        server.close()


def url_of(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def unresolvable() -> AsyncIterator[str]:
    yield "http://no-such-host.invalid:3210"


@asynccontextmanager
async def not_convex() -> AsyncIterator[str]:
    async with serving(web.Application()) as url:
        yield url


@asynccontextmanager
async def a_web_site() -> AsyncIterator[str]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    async with serving(app) as url:
        yield url


@asynccontextmanager
async def not_http() -> AsyncIterator[str]:
    async def greet(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        yield url_of(server)
    finally:
        await finish_accepting()
        server.close()
