"""Convex values to Convex JSON ("convex_encoded_json") and back.

| value | JSON |
|---|---|
| float | number; NaN, infinities and -0.0 as `{"$float": base64 of 8 bytes LE}` |
| ConvexInt64 | `{"$integer": base64 of 8 bytes LE}` |
| bytes | `{"$bytes": base64}` |
| None, bool, str, list, dict | themselves |

Emitted text has no spaces, object keys in byte order and floats with a decimal
point or an exponent, as Convex's server emits it. The limits that hold for every
value are checked here; those of documents and of arguments are not.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from convex import ConvexInt64

__all__ = [
    "MAX_ARRAY_LENGTH",
    "MAX_NESTING",
    "MAX_OBJECT_FIELDS",
    "ConvexInt64",
    "InvalidValue",
    "JsonValue",
    "Value",
    "canonical",
    "decode",
    "decode_trusted",
    "encode",
    "format_bytes",
    "from_json",
    "nesting_of",
    "size_of",
    "to_json",
]

Value: TypeAlias = Any
"""None, bool, int, float, ConvexInt64, str, bytes, a list or a dict of values."""

JsonValue: TypeAlias = Any
"""What `json.loads` gives: None, bool, int, float, str, a list or a dict of these."""

MAX_NESTING = 64
MAX_ARRAY_LENGTH = 8192
MAX_OBJECT_FIELDS = 1024
MAX_FIELD_NAME_LENGTH = 1024
MAX_SAFE_INTEGER = 2**53
MEBIBYTE = 1024 * 1024

_encoder = msgspec.json.Encoder(order="sorted")
_int64 = struct.Struct("<q")
_float64 = struct.Struct("<d")
_forbidden_in_names = re.compile(r"[^ -~]")


class InvalidValue(ValueError):
    """Something is not a Convex value. The text ends in where, e.g. `at .a.b[3]`."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []  # innermost first, filled while unwinding

    def __str__(self) -> str:
        if not self.path:
            return self.problem
        return f"{self.problem} (at {''.join(reversed(self.path))})"


# --- values to JSON -----------------------------------------------------------


def to_json(value: Value) -> JsonValue:
    """`value` as a Convex JSON structure, sharing nothing mutable with it.

    `int` becomes float64, a tuple an array. Raises InvalidValue.
    """
    return _to_json(value, MAX_NESTING)


def _to_json(value: Value, levels: int) -> JsonValue:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
        return value
    if kind is dict:
        return _object_to_json(value, levels)
    if kind is float:
        return _float_to_json(value)
    if kind is list or kind is tuple:
        return _array_to_json(value, levels)
    if value is None or kind is bool:
        return value
    if kind is int:
        return _float_to_json(_float_of_int(value))
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if kind is ConvexInt64:
        return value.to_json()
    return _to_json(_plain(value), levels)


def _plain(value: object) -> Value:
    """A value of a subclass (an enum member, a named tuple, ...) as its base."""
    if isinstance(value, bool | int | float | str | bytes | list | tuple | dict):
        for base in (str, int, float, bytes, list, tuple, dict):
            if isinstance(value, base):
                return base(value)  # type: ignore[arg-type]
    raise InvalidValue(
        f"{type(value).__name__} is not a supported Convex type. Use None, bool, int, "
        "float, ConvexInt64, str, bytes, list or dict"
    )


def _float_to_json(value: float) -> JsonValue:
    if math.isfinite(value) and (value or math.copysign(1.0, value) > 0):
        return value
    return {"$float": base64.b64encode(_float64.pack(value)).decode("ascii")}


def _float_of_int(value: int) -> float:
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return float(value)
    raise InvalidValue(
        f"Integer {value} is outside the range of a Convex `Float64` (-2^53 to 2^53). "
        "Consider using a `ConvexInt64`"
    )


def _array_to_json(
    value: list[Value] | tuple[Value, ...], levels: int
) -> list[JsonValue]:
    if not levels:
        raise _too_nested()
    _check_array_length(len(value))
    result: list[JsonValue] = []
    for item in value:
        try:
            result.append(_to_json(item, levels - 1))
        except InvalidValue as error:
            error.path.append(f"[{len(result)}]")
            raise
    return result


def _object_to_json(value: dict[str, Value], levels: int) -> dict[str, JsonValue]:
    if not levels:
        raise _too_nested()
    _check_field_count(len(value))
    result: dict[str, JsonValue] = {}
    for name, item in value.items():
        check_field_name(name)
        try:
            result[name] = _to_json(item, levels - 1)
        except InvalidValue as error:
            error.path.append(f".{name}")
            raise
    return result


# --- JSON to values -----------------------------------------------------------


def from_json(json: JsonValue) -> Value:
    """The value that a Convex JSON structure stands for. Raises InvalidValue.

    A plain JSON number is always float64.
    """
    return _from_json(json, MAX_NESTING)


def _from_json(json: JsonValue, levels: int) -> Value:
    kind = type(json)
    if kind is str:
        if not json.isascii():
            _check_text(json)
        return json
    if kind is float or json is None or kind is bool:
        return json
    if kind is int:
        return _float_of_json_int(json)
    if kind is dict:
        return _object_from_json(json, levels)
    if kind is list:
        return _array_from_json(json, levels)
    raise InvalidValue(f"{kind.__name__} is not a JSON type")


def _float_of_json_int(json: int) -> float:
    try:
        return float(json)
    except OverflowError:
        raise InvalidValue("Number is too large for a Convex `Float64`") from None


def _array_from_json(json: list[JsonValue], levels: int) -> list[Value]:
    if not levels:
        raise _too_nested()
    _check_array_length(len(json))
    result: list[Value] = []
    for item in json:
        try:
            result.append(_from_json(item, levels - 1))
        except InvalidValue as error:
            error.path.append(f"[{len(result)}]")
            raise
    return result


def _object_from_json(json: dict[str, JsonValue], levels: int) -> Value:
    if len(json) == 1:
        ((name, item),) = json.items()
        if name in _special_forms:
            return _special_forms[name](item)
    if not levels:
        raise _too_nested()
    _check_field_count(len(json))
    result: dict[str, Value] = {}
    for name, item in json.items():
        check_field_name(name)
        try:
            result[name] = _from_json(item, levels - 1)
        except InvalidValue as error:
            error.path.append(f".{name}")
            raise
    return result


def _bytes_of(json: JsonValue, form: str) -> bytes:
    if not isinstance(json, str):
        raise InvalidValue(f"{form} must hold a base64 string")
    try:
        return base64.b64decode(json, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(f"{form} does not hold valid base64") from None


def _eight_bytes_of(json: JsonValue, form: str) -> bytes:
    data = _bytes_of(json, form)
    if len(data) != 8:
        raise InvalidValue(f"{form} must hold exactly 8 bytes, found {len(data)}")
    return data


def _integer_from_json(json: JsonValue) -> ConvexInt64:
    return ConvexInt64(_int64.unpack(_eight_bytes_of(json, "$integer"))[0])


def _float_from_json(json: JsonValue) -> float:
    value: float = _float64.unpack(_eight_bytes_of(json, "$float"))[0]
    if _float_to_json(value) is value:
        raise InvalidValue(f"Float64 {value} should be encoded as a number")
    return value


_special_forms = {
    "$bytes": lambda json: _bytes_of(json, "$bytes"),
    "$integer": _integer_from_json,
    "$float": _float_from_json,
}


# --- text ---------------------------------------------------------------------


def encode(value: Value) -> str:
    """`value` as JSON text: no spaces, sorted keys. Raises InvalidValue.

    Equal values give equal texts, so the text also serves as a cache key.
    """
    return _encoder.encode(to_json(value)).decode()


def canonical(value: Value) -> str:
    """The text under which results for these arguments are shared: `encode`."""
    return encode(value)


def decode(text: str | bytes) -> Value:
    """The value in a Convex JSON text. Raises InvalidValue."""
    try:
        json = msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise InvalidValue(f"Not valid JSON: {error}") from None
    except RecursionError:
        raise _too_nested() from None
    return from_json(json)


def decode_trusted(text: str) -> Value:
    """`decode` for text that `encode` made: does not check, hence fast."""
    json = msgspec.json.decode(text)
    return from_json(json) if '"$' in text else json


# --- limits -------------------------------------------------------------------


@lru_cache(maxsize=4096)
def check_field_name(name: str) -> None:
    """Raises InvalidValue unless `name` may be a field of an object."""
    if not isinstance(name, str):
        raise InvalidValue(f"Object keys must be strings, found {name!r}")
    if len(name) > MAX_FIELD_NAME_LENGTH:
        raise InvalidValue(
            f"Field name {name} exceeds maximum field name length "
            f"{MAX_FIELD_NAME_LENGTH}"
        )
    if name.startswith("$"):
        raise InvalidValue(f"Field name {name} starts with '$', which is reserved.")
    if found := _forbidden_in_names.search(name):
        raise InvalidValue(
            f"Field name {name!r} has invalid character {found[0]!r}: "
            "Field names can only contain non-control ASCII characters"
        )


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"String holds a lone surrogate at index {error.start}: "
            "it has no UTF-8 form"
        ) from None


def _check_array_length(length: int) -> None:
    if length > MAX_ARRAY_LENGTH:
        raise InvalidValue(
            f"Array length is too long ({length} > maximum length {MAX_ARRAY_LENGTH})"
        )


def _check_field_count(count: int) -> None:
    if count > MAX_OBJECT_FIELDS:
        raise InvalidValue(
            f"Object has too many fields ({count} > maximum number {MAX_OBJECT_FIELDS})"
        )


def _too_nested() -> InvalidValue:
    return InvalidValue(
        f"Value is too nested (nested {MAX_NESTING + 1} levels deep > "
        f"maximum nesting {MAX_NESTING})"
    )


def size_of(value: Value) -> int:
    """The size in bytes by which Convex counts `value` against its limits."""
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, str):
        return 2 + (len(value) if value.isascii() else len(value.encode()))
    if isinstance(value, bytes):
        return 2 + len(value)
    if isinstance(value, list | tuple):
        return 2 + sum(map(size_of, value))
    if isinstance(value, dict):
        return 2 + sum(len(name) + 1 + size_of(item) for name, item in value.items())
    return 9


def nesting_of(value: Value) -> int:
    """How many levels of arrays and objects `value` has; 0 for a scalar."""
    if isinstance(value, dict):
        return 1 + max(map(nesting_of, value.values()), default=0)
    if isinstance(value, list | tuple):
        return 1 + max(map(nesting_of, value), default=0)
    return 0


def format_bytes(count: int) -> str:
    """`count` bytes as Convex prints it: `1.5 MiB`, `900 B`."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.2f}".rstrip("0").rstrip(".") + f" {unit}"
