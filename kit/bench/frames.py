"""Counts WebSocket messages in what a server has sent, by the bytes of the wire. Pure.

Knows HTTP/1.1 answers as far as their lengths, the answer that turns a connection into
a WebSocket (status 101), and the frames of RFC 6455, section 5.2. A connection without
such an answer has no messages.

Also tells what the messages would have taken if they had been compressed, as they are
for browsers that talk to a real Convex (permessage-deflate, RFC 7692, with the default
window that is kept from message to message); the Python client does not offer that.
"""

from __future__ import annotations

import re
import zlib

__all__ = ["FrameCounter"]

_TEXT, _BINARY = 0x1, 0x2
_HEADERS_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SYNC_TAIL = 4
"""Bytes that end a flush and are left out, RFC 7692, section 7.2.1."""


class FrameCounter:
    """`feed` it one connection's bytes, in any pieces, and see the counts grow."""

    def __init__(self) -> None:
        self.messages = 0
        """With text or data: no pings, no closing."""
        self.deflated = 0
        """Bytes that they and their headers would have taken, compressed."""
        self._buffer = b""
        self._is_socket = False
        self._is_lost = False
        """After an answer whose length is not known: nothing more can be told."""
        self._skip = 0
        """Bytes of a body or payload that are still to come."""
        self._in_message = False
        self._deflate = zlib.compressobj(wbits=-15)
        self._size = 0

    def feed(self, piece: bytes) -> None:
        if self._is_lost:
            return
        self._buffer += piece
        while True:
            passed, self._buffer = (
                self._buffer[: self._skip],
                self._buffer[self._skip :],
            )
            self._skip -= len(passed)
            if self._in_message:
                self._size += len(self._deflate.compress(passed))
            if self._skip:
                return
            self._end_message()
            known = self._read_frame() if self._is_socket else self._read_answer()
            if not known:
                return

    def _end_message(self) -> None:
        if not self._in_message:
            return
        self._in_message = False
        self._size += len(self._deflate.flush(zlib.Z_SYNC_FLUSH)) - _SYNC_TAIL
        self.deflated += self._size + (2 if self._size < 126 else 4)
        self._size = 0

    def _read_answer(self) -> bool:
        """Take an answer's headers; False while they are not whole."""
        head, end, rest = self._buffer.partition(_HEADERS_END)
        if not end:
            return False
        self._buffer = rest
        self._is_socket = head.startswith(b"HTTP/1.1 101")
        length = _LENGTH.search(head)
        if length is not None:
            self._skip = int(length[1])
        elif not self._is_socket:
            self._is_lost = True
            self._buffer = b""
        return not self._is_lost

    def _read_frame(self) -> bool:
        """Take a frame's header; False while it is not whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        opcode, size = buffer[0] & 0x0F, buffer[1] & 0x7F
        masked = 4 if buffer[1] & 0x80 else 0
        extended = {126: 2, 127: 8}.get(size, 0)
        length = 2 + extended + masked
        if len(buffer) < length:
            return False
        if extended:
            size = int.from_bytes(buffer[2 : 2 + extended], "big")
        self._buffer = buffer[length:]
        self._skip = size
        self.messages += opcode in (_TEXT, _BINARY)
        self._in_message = opcode in (_TEXT, _BINARY) or opcode == 0
        return True
