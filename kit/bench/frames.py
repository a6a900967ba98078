"""Counts WebSocket messages in what a server has sent, by the bytes of the wire. Pure.

Knows HTTP/1.1 answers as far as their lengths, the answer that turns a connection into
a WebSocket (status 101), and the frames of RFC 6455, section 5.2. A connection without
such an answer has no messages.
"""

from __future__ import annotations

import re

__all__ = ["FrameCounter"]

_TEXT, _BINARY = 0x1, 0x2
_HEADERS_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class FrameCounter:
    """`feed` it one connection's bytes, in any pieces."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_socket = False
        self._is_lost = False
        """After an answer whose length is not known: nothing more can be told."""
        self._skip = 0
        """Bytes of a body or payload that are still to come."""

    def feed(self, piece: bytes) -> int:
        """How many messages begin in `piece`."""
        if self._is_lost:
            return 0
        self._buffer += piece
        count = 0
        while True:
            skipped = min(self._skip, len(self._buffer))
            self._skip -= skipped
            self._buffer = self._buffer[skipped:]
            if self._skip:
                return count
            opcode = self._read_frame() if self._is_socket else self._read_answer()
            if opcode is None:
                return count
            count += opcode in (_TEXT, _BINARY)

    def _read_answer(self) -> int | None:
        """Take an answer's headers; None while they are not whole."""
        head, end, rest = self._buffer.partition(_HEADERS_END)
        if not end:
            return None
        self._buffer = rest
        self._is_socket = head.startswith(b"HTTP/1.1 101")
        length = _LENGTH.search(head)
        if length is not None:
            self._skip = int(length[1])
        elif not self._is_socket:
            self._is_lost = True
            self._buffer = b""
        return 0

    def _read_frame(self) -> int | None:
        """Take a frame's header; its opcode, None while it is not whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, size = buffer[0] & 0x0F, buffer[1] & 0x7F
        masked = 4 if buffer[1] & 0x80 else 0
        extended = {126: 2, 127: 8}.get(size, 0)
        length = 2 + extended + masked
        if len(buffer) < length:
            return None
        if extended:
            size = int.from_bytes(buffer[2 : 2 + extended], "big")
        self._buffer = buffer[length:]
        self._skip = size
        return opcode
