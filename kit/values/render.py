"""A value as text for people: in Convex's error texts and in its log lines.

`debug` is the Rust-like form of validation errors, `{a: "x", n: 1.0}`; `inspect` is
the form of `console.log`, `{ a: 'x', n: 1 }`; `stringify` is JavaScript's
`JSON.stringify`, with an int64 as `"123n"`. None of them can be parsed back.
"""

from __future__ import annotations

import base64
import json
import math
from decimal import Decimal

from kit.values.codec import ConvexInt64, Value

__all__ = ["debug", "inspect", "quote", "stringify"]

# Deeper arrays and objects are shown as `[Array]` and `[Object]`.
MAX_LEVELS_SHOWN = 8

_RUST_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\0": "\\0",
}


def debug(value: Value) -> str:
    """`value` as in "Value: ..." and "Object: ..." of a validation error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int | float):
        return _debug_float(float(value))
    if isinstance(value, ConvexInt64):
        return str(value.value)
    if isinstance(value, bytes):
        return f'b"{base64.b64encode(value).decode("ascii")}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(debug, value))}]"
    fields = (f"{name}: {debug(value[name])}" for name in sorted(value))
    return f"{{{', '.join(fields)}}}"


def _debug_float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    # Python and Rust switch to an exponent at the same magnitudes; Rust writes it
    # without plus sign and leading zeros.
    mantissa, e, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def quote(text: str) -> str:
    """`text` in double quotes, escaped as Rust's Debug does."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    if character in _RUST_ESCAPES:
        return _RUST_ESCAPES[character]
    if character.isprintable():
        return character
    return f"\\u{{{ord(character):x}}}"


def inspect(value: object, levels: int = MAX_LEVELS_SHOWN) -> str:
    """`value` as `console.log` shows it; anything that is no value by its repr."""
    if isinstance(value, str):
        return _inspect_text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _js_number(value)
    if isinstance(value, ConvexInt64):
        return f"{value.value}n"
    if isinstance(value, bytes):
        return f"ArrayBuffer {{ byteLength: {len(value)} }}"
    if isinstance(value, list | tuple):
        return _inspect_items(value, levels)
    if isinstance(value, dict):
        return _inspect_fields(value, levels)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return repr(value)


def _inspect_items(value: list[object] | tuple[object, ...], levels: int) -> str:
    if not value:
        return "[]"
    if not levels:
        return "[Array]"
    return f"[ {', '.join(inspect(item, levels - 1) for item in value)} ]"


def _inspect_fields(value: dict[object, object], levels: int) -> str:
    if not value:
        return "{}"
    if not levels:
        return "[Object]"
    fields = (
        f"{_inspect_name(name)}: {inspect(item, levels - 1)}"
        for name, item in value.items()
    )
    return f"{{ {', '.join(fields)} }}"


def _inspect_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    if "'" not in escaped:
        return f"'{escaped}'"
    if '"' not in escaped:
        return f'"{escaped}"'
    return "'" + escaped.replace("'", "\\'") + "'"


def _inspect_name(name: object) -> str:
    return name if isinstance(name, str) and name.isidentifier() else repr(name)


def _js_number(value: float) -> str:
    """`value` as JavaScript's `String(value)` prints it (`-0` as console.log does)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)), "f")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def stringify(value: Value) -> str:
    """`value` as JavaScript's `JSON.stringify` prints the data of a ConvexError."""
    if isinstance(value, ConvexInt64):
        return f'"{value.value}n"'
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return _js_number(value + 0.0) if math.isfinite(value) else "null"
    if isinstance(value, bytes):
        return "{}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(stringify, value))}]"
    fields = (f"{json.dumps(name)}:{stringify(item)}" for name, item in value.items())
    return f"{{{','.join(fields)}}}"
