from typing import Any

import pytest
from convex_values import order_of, values
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.index_keys import (
    END,
    UNSET,
    after,
    encode_key,
    encode_value,
    field_at,
    past,
    point,
    starting_with,
)
from kit.values import ConvexInt64


@given(values, values)
def test_keys_sort_as_values_do(one: Any, other: Any) -> None:
    key, other_key = encode_value(one), encode_value(other)
    assert (key < other_key) == (order_of(one) < order_of(other))
    assert (key == other_key) == (order_of(one) == order_of(other))


@given(*[st.lists(values, min_size=3, max_size=3)] * 2)
def test_keys_of_several_fields_sort_field_by_field(
    one: list[Any], other: list[Any]
) -> None:
    orders = [tuple(map(order_of, fields)) for fields in (one, other)]
    assert (encode_key(one) < encode_key(other)) == (orders[0] < orders[1])


@given(values, values, values)
def test_an_interval_holds_what_begins_with_a_value_and_nothing_else(
    wanted: Any, other: Any, rest: Any
) -> None:
    low, high = starting_with(encode_value(wanted))
    key = encode_key([other, rest])
    assert (low <= key < high) == (order_of(wanted) == order_of(other))


def test_types_sort_as_in_convex() -> None:
    ascending: list[Any] = [
        UNSET,
        None,
        ConvexInt64(-(2**63)),
        ConvexInt64(-1),
        ConvexInt64(2**63 - 1),
        float("-inf"),
        -1.5,
        -0.0,
        0.0,
        5e-324,
        float("inf"),
        float("nan"),
        False,
        True,
        "",
        "a",
        "a\0",
        "a\0b",
        "aa",
        "\uffff",
        "\U00010000",
        b"",
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"\xff",
        [],
        [None],
        [None, None],
        [0.0],
        [[]],
        {},
        {"": None},
        {"a": None},
        {"a": None, "b": None},
        {"b": None},
    ]
    keys = list(map(encode_value, ascending))
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@given(values)
def test_every_key_is_before_the_end(value: Any) -> None:
    assert encode_value(value) < END
    assert END > b"\xff" * 16


def test_what_is_no_value_has_no_key() -> None:
    with pytest.raises(TypeError, match="int is not a Convex value"):
        encode_value(1)


def test_field_at_follows_a_dotted_path() -> None:
    document = {"a": {"b": None}, "s": "x"}
    assert field_at(document, "a.b") is None
    assert field_at(document, "a") == {"b": None}
    assert field_at(document, "a.c") is UNSET
    assert field_at(document, "s.x") is UNSET
    assert repr(UNSET) == "UNSET"


def test_bounds() -> None:
    assert point(b"k") == (b"k", b"k\0")
    assert after(b"k") == b"k\0"
    assert past(b"a\xff\xff") == b"b"
    assert past(b"\xff") == END
    assert starting_with(b"") == (b"", END)
