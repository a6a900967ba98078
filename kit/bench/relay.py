"""A TCP relay between a viewer and its server: counts, delays, cuts.

What passes is counted on the wire: bytes both ways, and the WebSocket messages that
the server sends. `delay` holds every piece back by so many seconds in each direction,
in this process: a network that is far away, without loss and with all the bandwidth.
`cut` is a network that goes away, `mend` one that comes back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import urlsplit

from kit.bench.frames import FrameCounter
from kit.client.background import cancel, spawn
from kit.serving import HOST, finish_accepting

__all__ = ["Relay", "Traffic"]


@dataclass
class Traffic:
    """What has passed; `down` is from the server to the viewer."""

    bytes_down: int = 0
    bytes_up: int = 0
    messages_down: int = 0
    deflated_down: int = 0
    """Bytes that the messages would have taken, compressed."""

    def since(self, before: Traffic) -> Traffic:
        return Traffic(
            self.bytes_down - before.bytes_down,
            self.bytes_up - before.bytes_up,
            self.messages_down - before.messages_down,
            self.deflated_down - before.deflated_down,
        )

    def copy(self) -> Traffic:
        return replace(self)


class Relay:
    """Listens at `url` and passes everything to and from `target`."""

    def __init__(self, target: str, *, delay: float = 0.0) -> None:
        parts = urlsplit(target)
        self._target = (cast(str, parts.hostname), cast(int, parts.port))
        self._delay = delay
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._ends: set[_End] = set()
        self._is_cut = False
        self.traffic = Traffic()
        self.url = ""

    async def start(self) -> str:
        """Begin to listen; the URL to use instead of the target's."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._viewer_end, HOST, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{HOST}:{port}"
        return self.url

    async def aclose(self) -> None:
        """Stop listening, and drop what is still connected."""
        if self._server is not None:
            await finish_accepting()
            self._server.close()
        await self._drop_all()

    async def cut(self) -> None:
        """Drop every connection, and take no other until `mend`."""
        self._is_cut = True
        await self._drop_all()

    def mend(self) -> None:
        self._is_cut = False

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _drop_all(self) -> None:
        await cancel(*self._connecting)
        for end in list(self._ends):
            end.abort()

    # --- one connection -----------------------------------------------------------

    def _viewer_end(self) -> _End:
        return _End(self._ends, self._delay, self._count_up, self._opened)

    def _opened(self, viewer: _End) -> None:
        """A viewer has connected: connect to the server before anything is read."""
        if self._is_cut:
            viewer.abort()
            return
        viewer.transport.pause_reading()
        connecting = spawn(self._connect(viewer), "relay: connect")
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    async def _connect(self, viewer: _End) -> None:
        frames = FrameCounter()

        def count(piece: bytes) -> None:
            messages, deflated = frames.messages, frames.deflated
            frames.feed(piece)
            self.traffic.bytes_down += len(piece)
            self.traffic.messages_down += frames.messages - messages
            self.traffic.deflated_down += frames.deflated - deflated

        server = _End(self._ends, self._delay, count)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: server, *self._target)
        except BaseException as error:
            viewer.abort()
            if not isinstance(error, OSError):
                raise
            return
        viewer.peer, server.peer = server, viewer
        if viewer.is_open:
            viewer.transport.resume_reading()
        else:
            server.abort()

    def _count_up(self, piece: bytes) -> None:
        self.traffic.bytes_up += len(piece)


class _End(asyncio.Protocol):
    """One end of a connection; what it receives goes out at its peer, in order."""

    transport: asyncio.Transport

    def __init__(
        self,
        ends: set[_End],
        delay: float,
        count: Callable[[bytes], None],
        on_open: Callable[[_End], None] = lambda end: None,
    ) -> None:
        self.peer: _End | None = None
        self.is_open = False
        self._ends = ends
        self._delay = delay
        self._count = count
        self._on_open = on_open
        # What is on its way to the peer, and when it arrives; None is the end.
        self._late: deque[tuple[float, bytes | None]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.is_open = True
        self._ends.add(self)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        self._count(data)
        self._pass_on(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._ends.discard(self)
        self._pass_on(None)

    # A peer that is slow to read slows this end down.

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.is_open:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.is_open:
            self.peer.transport.resume_reading()

    def abort(self) -> None:
        """Drop this end, and with it the other one, at once."""
        for end in (self, self.peer):
            if end is not None and end.is_open:
                end._late.clear()
                end.transport.abort()

    def _pass_on(self, piece: bytes | None) -> None:
        if not self._delay:
            self._deliver(piece)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self._delay
        self._late.append((due, piece))
        if len(self._late) == 1:
            loop.call_at(due, self._deliver_late)

    def _deliver_late(self) -> None:
        loop = asyncio.get_running_loop()
        while self._late and self._late[0][0] <= loop.time():
            self._deliver(self._late.popleft()[1])
        if self._late:
            loop.call_at(self._late[0][0], self._deliver_late)

    def _deliver(self, piece: bytes | None) -> None:
        if self.peer is None or not self.peer.is_open:
            return
        if piece is None:
            self.peer.transport.close()
        else:
            self.peer.transport.write(piece)
