"""A network that fails on demand: a TCP proxy between a client and a server.

What can go wrong: connections are cut; bytes come late; connections are *half open*,
that is, both ends believe in them while nothing comes through any more, as behind a
router that was switched off. Knows nothing of what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from kit.client.background import cancel, spawn
from kit.serving import HOST, finish_accepting

__all__ = ["Networks", "Proxy"]

End: TypeAlias = Literal["client", "server"]

CHUNK = 65536
CONNECT_TIMEOUT = 5.0  # s


class Proxy:
    """Listens on a port of its own and passes on to the `port` that is there then.

    `delay`: seconds that each byte takes, in each direction; may be changed at any
    time, and the order of bytes stays. `silent`: new connections are accepted, and
    nothing is heard of them; see `fall_silent`.
    """

    def __init__(self, port: Callable[[], int]) -> None:
        self.url = ""
        self.delay = 0.0
        self.silent = False
        self._port = port
        self._server: asyncio.Server | None = None
        self._passages: set[_Passage] = set()

    async def start(self) -> str:
        """Listen; the URL."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{HOST}:{port}"
        return self.url

    async def aclose(self) -> None:
        """Cut everything, and listen no more."""
        if self._server is not None:
            await finish_accepting()
            self._server.close()
        passages = list(self._passages)
        self.cut()
        for passage in passages:
            await passage.ended.wait()

    # --- what can go wrong ------------------------------------------------------

    def cut(self) -> None:
        """Cut all connections, also those that are half open; what is late is lost."""
        for passage in list(self._passages):
            passage.cut()

    def fall_silent(
        self, *, also_new: bool = True, towards: Literal["both", "client"] = "both"
    ) -> None:
        """Leave all connections half open; with `also_new`, those to come as well.

        `towards` the client only, what it sends arrives, and the answers are lost.
        """
        self.silent = also_new
        for passage in self._passages:
            passage.deaf.add("client")
            if towards == "both":
                passage.deaf.add("server")

    def heal(self) -> None:
        """New connections work, at once. Those that are half open stay so."""
        self.silent = False
        self.delay = 0.0

    # --- connections ------------------------------------------------------------

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        passage = _Passage(self, writer)
        self._passages.add(passage)
        try:
            await passage.run(reader, self._port())
        finally:
            self._passages.discard(passage)
            passage.ended.set()


class _Passage:
    """One connection and its continuation on the other side."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self.deaf: set[End] = {"client", "server"} if proxy.silent else set()
        self.ended = asyncio.Event()
        self._proxy = proxy
        self._writers = [client]
        self._pumps: list[asyncio.Task[None]] = []
        self._is_cut = False

    def cut(self) -> None:
        """End both halves at once, as a reset does; who reads them comes to an end."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        for pump in self._pumps:
            pump.cancel()

    async def run(self, from_client: asyncio.StreamReader, port: int) -> None:
        """Pass on until one end is through, or it is cut."""
        client = self._writers[0]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                from_server, server = await asyncio.open_connection(HOST, port)
        except (OSError, TimeoutError):  # nobody is there: to the client, a reset
            self.cut()
            return
        self._writers.append(server)
        if self._is_cut:
            self.cut()
            return
        self._pumps = [
            spawn(self._pump(from_client, server, "server"), "proxy: to the server"),
            spawn(self._pump(from_server, client, "client"), "proxy: to the client"),
        ]
        try:
            await asyncio.wait(self._pumps)
        finally:
            await cancel(*self._pumps)
            self.cut()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: End
    ) -> None:
        """Pass one direction on; its end is passed on, too, unless it is half open."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = spawn(self._deliver(late, writer, to), "proxy: what is late")
        clock = asyncio.get_running_loop().time
        try:
            more = True
            while more:
                data = b""  # the end, as is a reset
                with contextlib.suppress(OSError):
                    data = await reader.read(CHUNK)
                late.put_nowait((clock() + self._proxy.delay, data))
                more = bool(data)
            await delivering
        finally:
            await cancel(delivering)

    async def _deliver(
        self,
        late: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        to: End,
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await late.get()
            await asyncio.sleep(max(due - clock(), 0.0))
            if to in self.deaf:
                continue  # also an end: the other side never hears of it
            if not data:
                break
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@dataclass(frozen=True)
class Networks:
    """What lies between the processes of an application, and can fail."""

    viewers: Proxy
    """From clients to the deployment."""
    backend: Proxy
    """From the application to the deployment."""
    sockets: Proxy
    """From clients to the application."""

    @classmethod
    def between(cls, deployment: Callable[[], int], app: Callable[[], int]) -> Networks:
        """Three proxies, to the ports that these servers have then."""
        return cls(Proxy(deployment), Proxy(deployment), Proxy(app))

    async def start(self) -> None:
        for proxy in self.all():
            await proxy.start()

    def all(self) -> tuple[Proxy, Proxy, Proxy]:
        return self.viewers, self.backend, self.sockets

    def heal(self) -> None:
        for proxy in self.all():
            proxy.heal()

    async def aclose(self) -> None:
        for proxy in self.all():
            await proxy.aclose()
