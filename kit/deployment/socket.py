"""One client's WebSocket, as a session needs it.

Holds how messages travel: text only, large ones in fragments, control frames answered,
closing with and without a status. It knows nothing of the sync protocol (`session`).

Sizes are those of the official clients and of Convex's server: a message of at most
64 MiB in, in one frame or in many; frames of at most 4 MiB out, since the Python
client gives up on one above 16 MiB. A message that is too large closes this socket
with 1009 and concerns nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

from aiohttp import WSMsgType, web

from kit.errors import ProtocolError

__all__ = ["MAX_FRAME_OUT", "MAX_MESSAGE_IN", "Socket"]

MAX_MESSAGE_IN = 64 * 1024 * 1024
MAX_FRAME_OUT = 4 * 1024 * 1024
# How long a client may take to read what is left and to answer a close. The Python
# client never answers, it just goes.
CLOSE_TIMEOUT = 1.0

_CONTINUATION, _TEXT, _FIN = 0x0, 0x1, 0x80


class Socket:
    """A WebSocket accepted from `request`; `accept` comes first.

    One task at a time may `receive`, and one may `send`.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._ws = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT,
            # Every frame that arrives, also a pong, shows that the client is there.
            autoping=False,
            compress=False,
            max_msg_size=MAX_MESSAGE_IN,
            # Sending waits as soon as the transport holds more than its high-water
            # mark: what a slow client does not read is not buffered here.
            writer_limit=0,
            decode_text=False,
        )
        self._loop = asyncio.get_running_loop()
        # When something last arrived, in the loop's time.
        self.last_heard = self._loop.time()

    async def accept(self) -> web.WebSocketResponse:
        """Answer the handshake. Raises web.HTTPException when it is not one."""
        await self._ws.prepare(self._request)
        return self._ws

    async def receive(self) -> bytes | None:
        """The next text message; None once the client is gone.

        Answers pings. Raises ProtocolError on a binary message. Cancelling loses no
        message.
        """
        while True:
            message = await self._ws.receive()
            self.last_heard = self._loop.time()
            match message.type:
                case WSMsgType.TEXT:
                    text: bytes = message.data
                    return text
                case WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):
                        await self._ws.pong(message.data)
                case WSMsgType.PONG:
                    pass
                case WSMsgType.BINARY:
                    raise ProtocolError(
                        "Received Invalid JSON on websocket: "
                        "expected a text message, got a binary one"
                    )
                case _:
                    return None

    async def send(self, text: bytes) -> None:
        """Send one message; returns when the transport takes more.

        Raises ConnectionError when the client is gone. Cancelled in the middle of a
        large message, the socket can only be closed.
        """
        if len(text) <= MAX_FRAME_OUT:
            await self._ws.send_frame(text, WSMsgType.TEXT)
        else:
            await self._send_fragments(memoryview(text))

    async def _send_fragments(self, text: memoryview) -> None:
        """aiohttp writes whole messages only, so the frames are made here."""
        opcode = _TEXT
        for start in range(0, len(text), MAX_FRAME_OUT):
            fragment = text[start : start + MAX_FRAME_OUT]
            last = start + MAX_FRAME_OUT >= len(text)
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client is gone")
            transport.write(_frame_header(opcode, last, len(fragment)))
            transport.write(fragment)
            # A pong may stand between fragments and needs no answer; sending it waits
            # until the client has read enough.
            await self._ws.pong()
            opcode = _CONTINUATION

    async def ping(self) -> None:
        """Send a WebSocket ping. Raises ConnectionError when the client is gone."""
        await self._ws.ping()

    async def close(
        self, code: int | None, reason: str = "", *, last: bytes | None = None
    ) -> None:
        """Send `last` if given, then close; a `code` of None closes without a status.

        Waits at most twice `CLOSE_TIMEOUT` for the client, then drops the connection.
        Never raises because of what the client does.
        """
        try:
            async with asyncio.timeout(2 * CLOSE_TIMEOUT):
                if last is not None:
                    await self.send(last)
                if code is None:
                    await self._ws.send_frame(b"", WSMsgType.CLOSE)
                    await self._until_closed()
                else:
                    await self._ws.close(code=code, message=reason.encode()[:123])
        except (TimeoutError, ConnectionError):
            pass
        finally:
            # Also keeps aiohttp from closing a second time.
            if self._request.transport is not None:
                self._request.transport.abort()

    async def _until_closed(self) -> None:
        """Read what still comes, and drop it: unread, it would make closing a reset,
        in which the client loses what was sent last."""
        while True:
            with contextlib.suppress(ProtocolError):
                if await self.receive() is None:
                    return


def _frame_header(opcode: int, last: bool, length: int) -> bytes:
    """RFC 6455 section 5.2, for a frame from a server: unmasked."""
    first = opcode | (_FIN if last else 0)
    if length < 126:
        return struct.pack("!BB", first, length)
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)
