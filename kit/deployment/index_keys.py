"""Index keys: values as bytes that sort as Convex sorts the values.

undefined < null < int64 < float64 < boolean < string < bytes < array < object; within
a type as in Convex's `value/src/sorting.rs`. Encodings are prefix-free, so the key of
several fields is their encodings joined, and all keys that begin with certain fields
are one interval. Also the intervals themselves, half-open, as read sets use them.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import Final, TypeAlias

from kit.values import ConvexInt64, Value

__all__ = [
    "END",
    "UNSET",
    "Interval",
    "Unset",
    "after",
    "encode_key",
    "encode_value",
    "field_at",
    "past",
    "point",
    "starting_with",
]

Interval: TypeAlias = tuple[bytes, bytes]
"""Keys from the first, included, to the second, excluded."""

# After every key: keys begin with a tag below 0xFF, or are 16 bytes (ids).
END: Final = b"\xff" * 17


class Unset(enum.Enum):
    """The type of `UNSET`, the twin of JavaScript's `undefined`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""No value: removes a field in `patch`, matches an absent field in an index range."""

_UNDEFINED = b"\x01"
_NULL = b"\x02"
_FALSE = b"\x05"
_TRUE = b"\x06"
_ARRAY = b"\x09"
_OBJECT = b"\x0a"

# Below every tag: an array or object sorts before a longer one that it begins.
_CLOSE = b"\x00"

_tagged_bits = struct.Struct(">BQ")
_double = struct.Struct(">d")
_bits = struct.Struct(">Q")
_INT64_TAG = 0x03
_FLOAT64_TAG = 0x04
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


# --- keys ---------------------------------------------------------------------


def encode_key(values: Iterable[Value]) -> bytes:
    """The key of these values in this order."""
    return b"".join(map(encode_value, values))


def encode_value(value: Value) -> bytes:
    """One value, as `decode` of the values codec gives it, or UNSET."""
    kind = type(value)
    if kind is str:
        return b"\x07" + _escape(value.encode())
    if kind is float:
        return _encode_float(value)
    if kind is bool:
        return _TRUE if value else _FALSE
    if value is None:
        return _NULL
    if value is UNSET:
        return _UNDEFINED
    if kind is ConvexInt64:
        return _tagged_bits.pack(_INT64_TAG, value.value + _SIGN)
    if kind is bytes:
        return b"\x08" + _escape(value)
    if kind is list:
        return b"".join([_ARRAY, *map(encode_value, value), _CLOSE])
    if kind is dict:
        return _encode_object(value)
    raise TypeError(f"{kind.__name__} is not a Convex value")


def _escape(data: bytes) -> bytes:
    """`data` so that no other begins with it: ends in 00 00, 00 inside is 00 FF."""
    return data.replace(b"\0", b"\0\xff") + b"\0\0"


def _encode_float(value: float) -> bytes:
    """IEEE 754's total order: the sign turned round, and all bits if it is negative."""
    (bits,) = _bits.unpack(_double.pack(value))
    return _tagged_bits.pack(_FLOAT64_TAG, bits ^ (_ALL if bits & _SIGN else _SIGN))


def _encode_object(value: dict[str, Value]) -> bytes:
    parts = [_OBJECT]
    for name in sorted(value):
        parts += (encode_value(name), encode_value(value[name]))
    parts.append(_CLOSE)
    return b"".join(parts)


def field_at(document: dict[str, Value], path: str) -> Value | Unset:
    """The value at a dotted path; UNSET when the document has none there."""
    value: Value | Unset = document
    for name in path.split("."):
        if type(value) is not dict or name not in value:
            return UNSET
        value = value[name]
    return value


# --- intervals ----------------------------------------------------------------


def after(key: bytes) -> bytes:
    """The least key greater than `key`."""
    return key + b"\0"


def point(key: bytes) -> Interval:
    """The interval that holds `key` alone."""
    return key, after(key)


def past(prefix: bytes) -> bytes:
    """The least key greater than all keys that begin with `prefix`."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else END


def starting_with(prefix: bytes) -> Interval:
    """The interval of all keys that begin with `prefix`."""
    return prefix, past(prefix)
