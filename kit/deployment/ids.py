"""Document ids: 32 characters that hold a table's number and 16 bytes of identity.

Bytes: table number as a variable-length integer, internal id (14 random bytes and the
day), a 2-byte checksum. Text: those bytes in Crockford's base32, lower case. Source:
Convex's `value/src/id_v6.rs`. To clients an id is an opaque string.
"""

from __future__ import annotations

import base64
import os
from functools import lru_cache

__all__ = [
    "INTERNAL_ID_LENGTH",
    "decode_id",
    "encode_id",
    "new_internal_id",
]

INTERNAL_ID_LENGTH = 16
MAX_TABLE_NUMBER = 2**32 - 1
SECONDS_PER_DAY = 86_400

# By the number of bytes that the table's number takes: 1 to 5.
_TEXT_LENGTHS = (31, 32, 34, 36, 37)
_RFC_4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_to_crockford = str.maketrans(_RFC_4648, _CROCKFORD)
_from_crockford = str.maketrans(_CROCKFORD, _RFC_4648)


def new_internal_id(now: float) -> bytes:
    """A fresh internal id; `now` is in seconds since the epoch."""
    return os.urandom(14) + int(now / SECONDS_PER_DAY).to_bytes(2, "big")


@lru_cache(maxsize=4096)
def encode_id(table: int, internal: bytes) -> str:
    """The text of the id of a document in the table with this number."""
    data = _encode_number(table) + internal
    data += _checksum(data).to_bytes(2, "little")
    text = base64.b32encode(data).decode("ascii").rstrip("=")
    return text.translate(_to_crockford)


@lru_cache(maxsize=4096)
def decode_id(text: str) -> tuple[int, bytes]:
    """Table number and internal id. Raises ValueError when `text` is no id."""
    if len(text) not in _TEXT_LENGTHS:
        raise ValueError(f"Invalid ID length {len(text)}")
    data = _decode_base32(text)
    body, footer = data[:-2], int.from_bytes(data[-2:], "little")
    if version := footer ^ _checksum(body):
        raise ValueError(f"Invalid ID version {version}")
    table = _decode_number(body[:-INTERNAL_ID_LENGTH])
    internal = body[-INTERNAL_ID_LENGTH:]
    # Several texts could stand for one id (unused bits, long forms of the number):
    # only the one that `encode_id` gives is valid.
    if table > MAX_TABLE_NUMBER or encode_id(table, internal) != text:
        raise ValueError("ID wasn't valid base32")
    return table, internal


def _decode_base32(text: str) -> bytes:
    if not set(_CROCKFORD).issuperset(text):
        raise ValueError("ID wasn't valid base32")
    return base64.b32decode(text.translate(_from_crockford) + "=" * (-len(text) % 8))


def _encode_number(number: int) -> bytes:
    """`number` in groups of 7 bits, the lowest first; the top bit says more follow."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _decode_number(data: bytes) -> int:
    return sum((group & 0x7F) << 7 * place for place, group in enumerate(data))


def _checksum(data: bytes) -> int:
    """Fletcher-16, with both sums taken modulo 256."""
    low = high = 0
    for byte in data:
        low += byte
        high += low
    return (high & 0xFF) << 8 | (low & 0xFF)
