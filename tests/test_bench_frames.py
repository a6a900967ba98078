"""WebSocket messages counted in the bytes of a connection."""

import struct

import pytest

from kit.bench.frames import FrameCounter

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
TEXT, BINARY, PING, CLOSE, MORE = 0x81, 0x82, 0x89, 0x88, 0x80


def frame(first: int, payload: bytes, mask: bytes = b"") -> bytes:
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        header = struct.pack("!BBH", first, bit | 126, size)
    else:
        header = struct.pack("!BBQ", first, bit | 127, size)
    return header + mask + payload


SOCKET = UPGRADE + b"".join(
    (
        frame(TEXT, b"a"),
        frame(PING, b""),
        frame(BINARY, b"b" * 300),
        frame(TEXT & 0x7F, b"begins"),  # a message in two frames
        frame(MORE, b"ends"),
        frame(TEXT, b"c" * 70_000),
        frame(TEXT, b"masked", mask=b"1234"),
        frame(CLOSE, b""),
    )
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, len(SOCKET)])
def test_messages_are_counted_however_they_are_cut(size: int) -> None:
    counter = FrameCounter()
    pieces = [SOCKET[i : i + size] for i in range(0, len(SOCKET), size)]
    assert sum(map(counter.feed, pieces)) == 5


def test_answers_before_the_upgrade_are_no_messages() -> None:
    body = b"\x81\x01a"  # looks like a message
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body
    counter = FrameCounter()
    assert counter.feed(answer + answer + UPGRADE + frame(TEXT, b"a")) == 1


def test_plain_http_has_no_messages_whatever_its_bodies() -> None:
    counter = FrameCounter()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert counter.feed(chunked + b"3\r\nabc\r\n") == 0
    assert counter.feed(UPGRADE + frame(TEXT, b"a")) == 0
