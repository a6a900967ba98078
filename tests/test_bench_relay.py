"""The relay between a viewer and its server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from serving_app import serving

from kit.bench.relay import Relay, Traffic
from kit.serving import HOST


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A server that sends back what it gets on a WebSocket; its URL."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application(client_max_size=10**8)
    app.router.add_get("/", answer)
    async with serving(app) as url:
        yield url


async def test_what_passes_is_counted_and_unchanged() -> None:
    async with (
        echo() as url,
        Relay(url) as relay,
        aiohttp.ClientSession() as session,
        session.ws_connect(relay.url, max_msg_size=0) as socket,
    ):
        joined = relay.traffic.copy()
        assert joined.messages_down == 0
        await socket.send_str("é" * 500)
        assert (await socket.receive()).data == "é" * 500
        passed = relay.traffic.since(joined)
        assert 0 < passed.deflated_down < 100
        assert passed == Traffic(1000 + 4, 1000 + 8, 1, passed.deflated_down)
        large = "x" * 3_000_000  # more than sockets hold at once
        await socket.send_str(large)
        assert (await socket.receive()).data == large


async def test_a_delay_holds_each_direction_back_and_keeps_the_order() -> None:
    async with (
        echo() as url,
        Relay(url, delay=0.1) as relay,
        aiohttp.ClientSession() as session,
        session.ws_connect(relay.url) as socket,
    ):
        started = time.monotonic()
        for number in range(20):
            await socket.send_str(str(number))
        received = [(await socket.receive()).data for _ in range(20)]
        assert received == [str(number) for number in range(20)]
        assert time.monotonic() - started >= 0.2


async def test_a_cut_ends_connections_and_refuses_new_ones_until_mended() -> None:
    async with echo() as url, Relay(url) as relay, aiohttp.ClientSession() as session:
        socket = await session.ws_connect(relay.url)
        await relay.cut()
        message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await session.ws_connect(relay.url)
        relay.mend()
        async with session.ws_connect(relay.url) as again:
            await again.send_str("back")
            assert (await again.receive()).data == "back"


async def test_the_end_of_one_side_is_the_end_of_the_other() -> None:
    async with (
        echo() as url,
        Relay(url, delay=0.02) as relay,
        aiohttp.ClientSession() as session,
        session.ws_connect(relay.url) as socket,
    ):
        await socket.close()
        assert socket.close_code == 1000  # the server's answer came through


async def test_where_nobody_listens_the_viewer_is_dropped(
    unused_tcp_port: int,
) -> None:
    async with (
        Relay(f"http://{HOST}:{unused_tcp_port}") as relay,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises((aiohttp.ClientError, OSError)):
            async with asyncio.timeout(10):
                await session.get(relay.url)
