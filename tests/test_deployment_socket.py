"""One WebSocket: frames in both directions, and every way of closing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from serving_app import serving

from kit.deployment.socket import MAX_FRAME_OUT, Socket
from kit.errors import ProtocolError

Serve = Callable[[Socket], Awaitable[None]]
Connect = Callable[..., Awaitable[aiohttp.ClientWebSocketResponse]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect to a server that does one thing with its socket."""
    clients: list[aiohttp.ClientWebSocketResponse] = []
    async with contextlib.AsyncExitStack() as stack:

        async def connect(
            serve: Serve, **options: Any
        ) -> aiohttp.ClientWebSocketResponse:
            async def handle(request: web.Request) -> web.StreamResponse:
                socket = Socket(request)
                response = await socket.accept()
                await serve(socket)
                return response

            app = web.Application()
            app.router.add_get("/", handle)
            url = await stack.enter_async_context(serving(app, shutdown_timeout=2.0))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client: aiohttp.ClientWebSocketResponse = await session.ws_connect(
                url, max_msg_size=0, **options
            )
            # Kept, or the connection would go with the last reference to it.
            clients.append(client)
            return client

        yield connect


async def echo(socket: Socket) -> None:
    while (text := await socket.receive()) is not None:
        await socket.send(text)
    await socket.close(1001)


@pytest.mark.parametrize(
    "length", [0, 1, 125, 126, 65535, 65536, MAX_FRAME_OUT, MAX_FRAME_OUT + 1]
)
async def test_a_message_of_any_length_goes_both_ways(
    connect: Connect, length: int
) -> None:
    client = await connect(echo)
    text = "x" * length
    await client.send_str(text)
    assert (await client.receive_str()) == text


async def test_a_large_message_goes_out_in_frames_that_clients_take(
    connect: Connect,
) -> None:
    text = b"x" * (5 * MAX_FRAME_OUT + 3)

    async def send(socket: Socket) -> None:
        await socket.send(text)
        await socket.send(b"done")
        await socket.close(1000)

    client = await connect(send)
    assert await client.receive_str() == text.decode()
    assert await client.receive_str() == "done"


async def test_a_ping_is_answered(connect: Connect) -> None:
    client = await connect(echo, autoping=False)
    await client.ping(b"are you there")
    message = await client.receive()
    assert (message.type, message.data) == (WSMsgType.PONG, b"are you there")


async def test_any_frame_is_a_sign_of_life(connect: Connect) -> None:
    heard: list[float] = []

    async def serve(socket: Socket) -> None:
        heard.append(socket.last_heard)
        await socket.receive()
        heard.append(socket.last_heard)
        await socket.close(1000)

    client = await connect(serve)
    await client.pong()
    await client.send_str("x")
    await client.receive()
    assert heard[1] > heard[0]


async def test_a_binary_message_is_refused(connect: Connect) -> None:
    caught: list[ProtocolError] = []

    async def serve(socket: Socket) -> None:
        try:
            await socket.receive()
        except ProtocolError as error:
            caught.append(error)
        await socket.close(1000)

    client = await connect(serve)
    await client.send_bytes(b"x")
    await client.receive()
    assert "got a binary one" in str(caught[0])


async def test_a_close_has_a_code_and_a_reason_that_fits(connect: Connect) -> None:
    async def serve(socket: Socket) -> None:
        await socket.close(1013, "x" * 200, last=b"last words")

    client = await connect(serve)
    assert await client.receive_str() == "last words"
    message = await client.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1013)
    assert message.extra == "x" * 123


async def test_a_close_may_have_no_code(connect: Connect) -> None:
    async def serve(socket: Socket) -> None:
        await socket.close(None, last=b"last words")

    client = await connect(serve)
    assert await client.receive_str() == "last words"
    message = await client.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, 0)


@pytest.mark.parametrize("code", [None, 1011])
async def test_a_close_does_not_wait_for_ever(
    connect: Connect, code: int | None
) -> None:
    """The client neither reads nor answers, and much is still to be sent."""
    closed = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.close(code, last=b"x" * 50_000_000)
        closed.set()

    await connect(serve, autoclose=False)
    async with asyncio.timeout(5):
        await closed.wait()


async def test_sending_waits_for_a_client_that_does_not_read(connect: Connect) -> None:
    sent = 0
    release = asyncio.Event()

    async def serve(socket: Socket) -> None:
        nonlocal sent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    await socket.send(b"x" * 1_000_000)
                    sent += 1
        release.set()
        await socket.close(1000)

    await connect(serve)
    await release.wait()
    assert sent < 50


async def test_a_client_that_is_gone_ends_receiving_and_sending(
    connect: Connect,
) -> None:
    outcome: list[object] = []
    done = asyncio.Event()

    async def serve(socket: Socket) -> None:
        outcome.append(await socket.receive())
        try:
            await socket.send(b"x" * (MAX_FRAME_OUT + 1))
        except ConnectionError:
            outcome.append("gone")
        await socket.close(1001)
        done.set()

    client = await connect(serve)
    connection = client._response.connection
    assert connection is not None and connection.transport is not None
    connection.transport.abort()
    await done.wait()
    assert outcome == [None, "gone"]
