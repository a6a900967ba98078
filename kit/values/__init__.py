"""Convex values: their JSON form, their limits, their validators.

A value is `None`, `bool`, `float` (`int` is accepted and becomes float64, as in the
official Python client), `ConvexInt64`, `str`, `bytes`, a list or a dict of values.

* `codec`: value to Convex JSON and back, canonical text, size and nesting;
* `validators`: `v.string()`, `v.object({...})`, ... with Convex's error texts;
* `render`: a value as Convex prints it in error texts and in log lines.

Nothing here knows about documents, ids or tables. Mirrors Convex's
`convex/values` module.
"""

from kit.values.codec import (
    ConvexInt64,
    InvalidValue,
    JsonValue,
    Value,
    canonical,
    decode,
    decode_trusted,
    encode,
    format_bytes,
    from_json,
    nesting_of,
    size_of,
    to_json,
)
from kit.values.validators import (
    ObjectValidator,
    ValidationFailed,
    Validator,
    is_identifier,
    v,
)

__all__ = [
    "ConvexInt64",
    "InvalidValue",
    "JsonValue",
    "ObjectValidator",
    "ValidationFailed",
    "Validator",
    "Value",
    "canonical",
    "decode",
    "decode_trusted",
    "encode",
    "format_bytes",
    "from_json",
    "is_identifier",
    "nesting_of",
    "size_of",
    "to_json",
    "v",
]
