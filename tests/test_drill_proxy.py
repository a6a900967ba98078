"""The network that fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from kit.drill.proxy import Proxy
from kit.serving import HOST, finish_accepting


@dataclass
class Echo:
    """A server that says everything back, and how often somebody was there."""

    port: int = 0
    connections: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()
        self.ended.set()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    await finish_accepting()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    proxy = Proxy(lambda: echo.port)
    await proxy.start()
    yield proxy
    await proxy.aclose()


class Caller:
    """A connection through the proxy."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: bytes) -> bytes:
        self.writer.write(text)
        return await self.reader.readexactly(len(text))

    async def hears_nothing(self) -> bool:
        """A byte that was read would be no timeout; nor would an end."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await self.reader.read(1)
        return True


@pytest.fixture
async def callers() -> AsyncIterator[list[Caller]]:
    callers: list[Caller] = []
    yield callers
    for caller in callers:
        caller.writer.transport.abort()


async def call(proxy: Proxy, callers: list[Caller]) -> Caller:
    port = int(proxy.url.rpartition(":")[2])
    caller = Caller(*await asyncio.open_connection(HOST, port))
    callers.append(caller)
    return caller


async def test_bytes_pass_both_ways_and_so_does_the_end(
    echo: Echo, proxy: Proxy, callers: list[Caller]
) -> None:
    caller = await call(proxy, callers)
    assert await caller.say(b"hello") == b"hello"
    large = b"x" * 1_000_000
    saying = asyncio.create_task(caller.say(large))
    assert await saying == large
    caller.writer.write_eof()
    assert await caller.reader.read() == b""
    await echo.ended.wait()


async def test_a_cut_ends_both_sides(
    echo: Echo, proxy: Proxy, callers: list[Caller]
) -> None:
    first, second = [await call(proxy, callers) for _ in range(2)]
    await asyncio.gather(first.say(b"a"), second.say(b"b"))
    proxy.cut()
    for caller in (first, second):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await caller.say(b"lost")
    await echo.ended.wait()
    assert await (await call(proxy, callers)).say(b"again") == b"again"


async def test_half_open_connections_say_nothing_and_do_not_end(
    echo: Echo, proxy: Proxy, callers: list[Caller]
) -> None:
    old = await call(proxy, callers)
    await old.say(b"hello")
    proxy.fall_silent()
    old.writer.write(b"lost")
    new = await call(proxy, callers)
    new.writer.write(b"lost")
    for caller in (old, new):
        assert await caller.hears_nothing()
    old.writer.write_eof()
    assert await old.hears_nothing(), "an end does not pass either"
    assert not echo.ended.is_set()

    proxy.heal()
    assert await new.hears_nothing(), "what is half open stays so"
    assert await (await call(proxy, callers)).say(b"well") == b"well"


async def test_only_those_that_exist_may_fall_silent(
    proxy: Proxy, callers: list[Caller]
) -> None:
    old = await call(proxy, callers)
    await old.say(b"hello")
    proxy.fall_silent(also_new=False)
    old.writer.write(b"lost")
    assert await (await call(proxy, callers)).say(b"hello") == b"hello"
    assert await old.hears_nothing()


async def test_answers_alone_may_be_lost(
    echo: Echo, proxy: Proxy, callers: list[Caller]
) -> None:
    caller = await call(proxy, callers)
    await caller.say(b"hello")
    proxy.fall_silent(towards="client")
    caller.writer.write(b"arrives")
    assert await caller.hears_nothing()
    caller.writer.write_eof()
    await echo.ended.wait()
    assert await caller.hears_nothing()


async def test_bytes_come_late_and_in_order(
    proxy: Proxy, callers: list[Caller]
) -> None:
    caller = await call(proxy, callers)
    proxy.delay = 0.2
    caller.writer.write(b"la")
    assert await caller.hears_nothing()
    proxy.delay = 0.0
    caller.writer.write(b"te")
    assert await caller.reader.readexactly(4) == b"late"


async def test_what_is_late_is_lost_in_a_cut(
    echo: Echo, proxy: Proxy, callers: list[Caller]
) -> None:
    caller = await call(proxy, callers)
    await caller.say(b"hello")
    proxy.delay = 30.0
    caller.writer.write(b"late")
    assert await caller.hears_nothing()
    proxy.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await caller.reader.readexactly(4)
    await echo.ended.wait()


async def test_without_a_server_a_connection_is_reset(
    echo: Echo, proxy: Proxy, callers: list[Caller]
) -> None:
    echo.port = 1
    caller = await call(proxy, callers)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await caller.say(b"hello")
    assert echo.connections == 0
