import math
from typing import Any

import pytest

from kit.values import ConvexInt64
from kit.values.render import debug, inspect, stringify


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (123, "123.0"),
        (1e21, "1e21"),
        (1.5e-7, "1.5e-7"),
        (1e16, "1e16"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (ConvexInt64(5), "5"),
        ('say "hi"\n\\ é\0\x1b', '"say \\"hi\\"\\n\\\\ é\\0\\u{1b}"'),
        (b"ab", 'b"YWI="'),
        ([1.0, "x"], '[1.0, "x"]'),
        ({"b": 1.0, "a": {}}, "{a: {}, b: 1.0}"),
    ],
)
def test_errors_show_values_as_rust_does(value: Any, text: str) -> None:
    assert debug(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hi", "'hi'"),
        ("it's", '"it\'s"'),
        ('it\'s "so"', "'it\\'s \"so\"'"),
        ("a\nb", "'a\\nb'"),
        (1, "1"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-0.0, "-0"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1e-7, "1e-7"),
        (1.5e-6, "0.0000015"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (True, "true"),
        (None, "null"),
        (ConvexInt64(7), "7n"),
        (b"ab", "ArrayBuffer { byteLength: 2 }"),
        ([], "[]"),
        ([1, "a"], "[ 1, 'a' ]"),
        ({}, "{}"),
        ({"a": 1, "b-c": [True]}, "{ a: 1, 'b-c': [ true ] }"),
        (ValueError("no"), "ValueError: no"),
        ({1}, "{1}"),
    ],
)
def test_log_lines_show_values_as_the_console_does(value: object, text: str) -> None:
    assert inspect(value) == text


def test_what_holds_itself_is_shown_cut_off() -> None:
    value: dict[str, Any] = {}
    value["self"] = [value]
    assert inspect(value).startswith("{ self: [ { self: [ ")
    assert "[Object]" in inspect(value) or "[Array]" in inspect(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"message": "m", "code": ConvexInt64(123)}, '{"message":"m","code":"123n"}'),
        ([1.0, 2.5, None, False, "é"], '[1,2.5,null,false,"é"]'),
        (math.nan, "null"),
        (-0.0, "0"),
    ],
)
def test_data_of_errors_is_shown_as_json_stringify_does(value: Any, text: str) -> None:
    assert stringify(value) == text
