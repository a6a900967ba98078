"""WebSocket messages counted in the bytes of a connection."""

import struct
import zlib

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
    for start in range(0, len(SOCKET), size):
        counter.feed(SOCKET[start : start + size])
    assert counter.messages == 5


def test_answers_before_the_upgrade_are_no_messages() -> None:
    body = b"\x81\x01a"  # looks like a message
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body
    counter = FrameCounter()
    counter.feed(answer + answer + UPGRADE + frame(TEXT, b"a"))
    assert counter.messages == 1


def test_plain_http_has_no_messages_whatever_its_bodies() -> None:
    counter = FrameCounter()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    counter.feed(chunked + b"3\r\nabc\r\n")
    counter.feed(UPGRADE + frame(TEXT, b"a"))
    assert (counter.messages, counter.deflated) == (0, 0)


def test_what_is_repeated_costs_little_when_compressed() -> None:
    message = frame(TEXT, bytes(range(32, 127)))
    counter = FrameCounter()
    counter.feed(UPGRADE + message)
    first = counter.deflated
    assert 60 < first <= 105
    counter.feed(message)
    assert counter.deflated - first < 15


@pytest.mark.parametrize("size", [1, 10_000])
def test_it_is_what_a_compressing_server_would_have_sent(size: int) -> None:
    texts = [f"message {number} of some, " * 20 for number in range(10)]
    deflate = zlib.compressobj(wbits=-15)
    sent = 0
    for text in texts:
        packed = deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        sent += len(frame(TEXT, packed[:-4]))
    plain = UPGRADE + b"".join(frame(TEXT, text.encode()) for text in texts)
    counter = FrameCounter()
    for start in range(0, len(plain), size):
        counter.feed(plain[start : start + size])
    assert counter.deflated == sent
