"""PURE: in which form an HTTP caller gets values.

`convex_encoded_json` is Convex's own JSON, which the official clients ask for. `json`,
for everybody else, is plain and loses what JSON does not have: an int64 is its digits,
bytes are base64, NaN and the infinities are their names. Mirrors `ValueFormat` of
Convex's `value` crate.
"""

from __future__ import annotations

import base64
import math
import struct

import msgspec
from msgspec import Raw

from kit.values import JsonValue

__all__ = ["FORMATS", "formatted"]

ENCODED = ("convex_encoded_json", "convex_json")
# None: what a caller gets that does not say.
CLEAN = (None, "json", "convex_clean_json")
FORMATS = (*ENCODED, *CLEAN)


def formatted(text: str, format: str | None) -> Raw:
    """Convex JSON text in one of `FORMATS`."""
    if format in ENCODED or '{"$' not in text:
        return Raw(text)
    return Raw(msgspec.json.encode(_clean(msgspec.json.decode(text))))


def _clean(json: JsonValue) -> JsonValue:
    match json:
        case list():
            return [_clean(item) for item in json]
        case {"$integer": str(text), **rest} if not rest:
            return str(int.from_bytes(base64.b64decode(text), "little", signed=True))
        case {"$bytes": str(text), **rest} if not rest:
            return text
        case {"$float": str(text), **rest} if not rest:
            return _clean_float(struct.unpack("<d", base64.b64decode(text))[0])
        case dict():
            return {name: _clean(item) for name, item in json.items()}
        case _:
            return json


def _clean_float(value: float) -> JsonValue:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
