import enum
import json
import math
from typing import Any, NamedTuple

import convex
import pytest
from convex_values import NEGATIVE_NAN, order_of, values
from hypothesis import example, given

from kit.values import (
    ConvexInt64,
    InvalidValue,
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5, "5.0"),
        (5.0, "5.0"),
        (1e21, "1e21"),
        (math.inf, '{"$float":"AAAAAAAA8H8="}'),
        (-math.inf, '{"$float":"AAAAAAAA8P8="}'),
        (math.nan, '{"$float":"AAAAAAAA+H8="}'),
        (-0.0, '{"$float":"AAAAAAAAAIA="}'),
        (ConvexInt64(42), '{"$integer":"KgAAAAAAAAA="}'),
        (ConvexInt64(-1), '{"$integer":"//////////8="}'),
        (b"ab", '{"$bytes":"YWI="}'),
        ("é", '"é"'),
        ((1, "a"), '[1.0,"a"]'),
        ({"b": 1, "a": [], "": {}}, '{"":{},"a":[],"b":1.0}'),
    ],
)
def test_values_have_convexs_text(value: Any, text: str) -> None:
    assert encode(value) == canonical(value) == text


@given(values)
def test_values_survive_the_round_trip(value: Any) -> None:
    text = encode(value)
    assert order_of(decode(text)) == order_of(value)
    assert order_of(decode_trusted(text)) == order_of(value)
    assert order_of(from_json(to_json(value))) == order_of(value)
    assert encode(decode(text)) == text


@given(values)
def test_the_official_client_reads_the_same(value: Any) -> None:
    read = convex.json_to_convex(json.loads(encode(value)))
    assert order_of(read) == order_of(value)


def test_negative_nan_keeps_its_sign() -> None:
    assert math.copysign(1.0, decode(encode(NEGATIVE_NAN))) == -1.0


def test_numbers_are_always_float64() -> None:
    assert [type(item) for item in decode("[1, 1.0, 12345678901234567890]")] == [
        float
    ] * 3


def test_equal_values_have_one_text_whatever_the_order_of_keys() -> None:
    assert encode({"a": 1, "b": 2}) == encode({"b": 2, "a": 1})


def test_json_shares_nothing_mutable_with_the_value() -> None:
    value: dict[str, Any] = {"a": [1.0]}
    json_value = to_json(value)
    value["a"].append(2.0)
    assert json_value == {"a": [1.0]}


def test_subclasses_count_as_their_base() -> None:
    class Color(enum.StrEnum):
        RED = "red"

    class Point(NamedTuple):
        x: int
        y: int

    class Count(int):
        pass

    assert encode([Color.RED, Point(1, 2), Count(3)]) == '["red",[1.0,2.0],3.0]'


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": [1, {2}]}, "set is not a supported Convex type. Use None, bool, int, "),
        ({"a": [1, {2}]}, "(at .a[1])"),
        ({1: 2}, "Object keys must be strings, found 1"),
        ({"$x": 1}, "Field name $x starts with '$', which is reserved."),
        ({"é": 1}, "has invalid character 'é'"),
        ({"a\n": 1}, "has invalid character '\\n'"),
        ({"a" * 1025: 1}, "exceeds maximum field name length 1024"),
        (2**53 + 1, "is outside the range of a Convex `Float64`"),
        ("\ud800", "String holds a lone surrogate at index 0"),
        ([None] * 8193, "Array length is too long (8193 > maximum length 8192)"),
        (
            {str(n): None for n in range(1025)},
            "Object has too many fields (1025 > maximum number 1024)",
        ),
    ],
)
def test_what_is_no_value_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(InvalidValue) as error:
        to_json(value)
    assert problem in str(error.value)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_64_levels_may_be_nested_but_not_65() -> None:
    assert decode(encode(nested(64))) == nested(64)
    text = json.dumps(nested(65))
    problem = "Value is too nested (nested 65 levels deep > maximum nesting 64)"
    for attempt in (lambda: encode(nested(65)), lambda: decode(text)):
        with pytest.raises(InvalidValue) as error:
            attempt()
        assert problem in str(error.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidValue, match="too nested"):
        encode(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Not valid JSON"),
        ('{"$integer":"AAAA"}', "$integer must hold exactly 8 bytes, found 3"),
        ('{"$integer":5}', "$integer must hold a base64 string"),
        ('{"$bytes":"?"}', "$bytes does not hold valid base64"),
        ('{"$float":"AAAAAAAA8D8="}', "Float64 1.0 should be encoded as a number"),
        ('{"$set":[]}', "starts with '$'"),
        ('{"$integer":"KgAAAAAAAAA=","b":1}', "starts with '$'"),
        ('{"a":{"$x":1}}', "(at .a)"),
        (f"1{'0' * 400}", "too large for a Convex `Float64`"),
        ("[" * 100_000, "Value is too nested"),
    ],
)
def test_what_is_no_convex_json_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidValue) as error:
        decode(text)
    assert problem in str(error.value)


def test_only_json_types_are_json() -> None:
    with pytest.raises(InvalidValue, match="bytes is not a JSON type"):
        from_json(b"")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, 1),
        (True, 1),
        (1.5, 9),
        (7, 9),
        (ConvexInt64(1), 9),
        ("aé", 5),
        (b"ab", 4),
        ([None, None], 4),
        ({"ab": None, "c": 1.0}, 2 + 4 + 11),
    ],
)
def test_size_follows_convexs_formula(value: Any, size: int) -> None:
    assert size_of(value) == size


@given(values)
@example("\U0001f600" * 100)
@example([1, 1, 1])
def test_no_value_is_larger_than_four_bytes_a_character(value: Any) -> None:
    assert size_of(value) <= 4 * len(encode(value))


def test_nesting_counts_arrays_and_objects() -> None:
    assert nesting_of("a") == 0
    assert nesting_of([]) == 1
    assert nesting_of({"a": [1, {}], "b": []}) == 3


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (900, "900 B"),
        (2048, "2 KiB"),
        (1024 * 1024, "1 MiB"),
        (1536 * 1024, "1.5 MiB"),
        (16 * 1024**2, "16 MiB"),
        (3 * 1024**3, "3 GiB"),
    ],
)
def test_bytes_are_printed_in_binary_units(count: int, text: str) -> None:
    assert format_bytes(count) == text
