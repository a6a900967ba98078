import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from convex_values import order_of, values
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.failures import UsageError
from kit.deployment.filters import Expression, FilterBuilder, as_expression, keeps
from kit.deployment.index_keys import UNSET
from kit.values import ConvexInt64

q = FilterBuilder()
INT64 = st.integers(-(2**63), 2**63 - 1)


def value_of(expression: Expression, **document: Any) -> Any:
    return expression.evaluate(document)


# --- comparing ----------------------------------------------------------------


@given(left=values | st.just(UNSET), right=values | st.just(UNSET))
def test_values_compare_as_they_sort_in_an_index(left: Any, right: Any) -> None:
    low, high = ((0,) if value is UNSET else order_of(value) for value in (left, right))
    document = {name: it for name, it in (("a", left), ("b", right)) if it is not UNSET}
    a, b = q.field("a"), q.field("b")
    assert keeps(q.eq(a, b), document) is (low == high)
    assert keeps(q.neq(a, right), document) is (low != high)
    assert keeps(q.lt(a, right), document) is (low < high)
    assert keeps(q.lte(left, b), document) is (low <= high)
    assert keeps(q.gt(left, b), document) is (low > high)
    assert keeps(q.gte(a, b), document) is (low >= high)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (q.eq(q.field("n"), 1), True),
        (q.eq(q.field("n"), 1.0), True),
        (q.eq(q.field("n"), ConvexInt64(1)), False),
        (q.gt(q.field("n"), ConvexInt64(5)), True),
        (q.eq(q.field("a.b"), "x"), True),
        (q.eq(q.field(".a.b."), "x"), True),
        (q.eq(q.field("a.b.c"), UNSET), True),
        (q.eq(q.field("none"), UNSET), True),
        (q.eq(q.field("none"), None), False),
        (q.lt(q.field("none"), None), True),
        (q.neq(q.field("none"), 2), True),
        (q.eq(0.0, -0.0), False),
        (q.eq(math.nan, math.nan), True),
        (q.eq([1, {"k": (2,)}], [1.0, {"k": [2.0]}]), True),
    ],
)
def test_fields_and_values(condition: Expression, kept: bool) -> None:
    assert keeps(condition, {"n": 1.0, "a": {"b": "x"}}) is kept


# --- arithmetic ---------------------------------------------------------------


def test_arithmetic_is_that_of_floats_or_of_int64() -> None:
    n = q.field("n")
    sum_ = q.sub(q.add(n, 3), q.mul(2, q.neg(n)))
    assert value_of(q.div(sum_, 4), n=5.0) == 4.5
    assert value_of(q.mod(-7, 3)) == -1.0
    assert value_of(q.mod(7.5, -2)) == 1.5
    seven, three = ConvexInt64(-7), ConvexInt64(3)
    assert value_of(q.div(seven, three)) == ConvexInt64(-2)
    assert value_of(q.mod(seven, three)) == ConvexInt64(-1)


@pytest.mark.parametrize(
    ("left", "right", "quotient"),
    [
        (1, 0.0, math.inf),
        (1, -0.0, -math.inf),
        (-1, 0.0, -math.inf),
        (0, 0, math.nan),
        (math.nan, 0, math.nan),
        (math.inf, 0, math.inf),
    ],
)
def test_a_float_may_be_divided_by_zero(
    left: float, right: float, quotient: float
) -> None:
    found = value_of(q.div(left, right))
    assert found == quotient or (math.isnan(found) and math.isnan(quotient))
    assert math.isnan(value_of(q.mod(left, right)))


def test_the_remainder_of_the_infinite_is_nan() -> None:
    assert math.isnan(value_of(q.mod(math.inf, 3)))
    assert value_of(q.mod(3, math.inf)) == 3.0


@given(left=INT64, right=INT64)
def test_int64_stays_in_64_bits(left: int, right: int) -> None:
    a, b = ConvexInt64(left), ConvexInt64(right)
    low_bits = struct.unpack("<q", struct.pack("<Q", left * right % 2**64))[0]
    assert value_of(q.mul(a, b)) == ConvexInt64(low_bits)
    found = value_of(q.sub(q.add(a, b), b))
    assert found == a
    if right:
        quotient, rest = q.div(a, b), q.mod(a, b)
        assert value_of(q.add(q.mul(quotient, b), rest)) == a
        assert abs(value_of(rest).value) < abs(right)
        assert value_of(rest).value == 0 or (value_of(rest).value < 0) == (left < 0)


# --- logic --------------------------------------------------------------------


@given(st.lists(st.booleans()))
def test_logic_is_that_of_booleans(conditions: list[bool]) -> None:
    assert value_of(q.and_(*conditions)) is all(conditions)
    assert value_of(q.or_(*conditions)) is any(conditions)
    negated = [q.not_(condition) for condition in conditions]
    assert value_of(q.not_(q.or_(*negated))) is all(conditions)


def test_what_decides_ends_the_looking() -> None:
    bad = q.add("a", 1)
    assert value_of(q.and_(False, bad)) is False
    assert value_of(q.or_(True, bad)) is True


# --- errors -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (
            lambda: q.add(1, "x"),
            'Cannot add 1.0 (type Float64) and "x" (type String)',
        ),
        (
            lambda: q.sub(q.field("none"), ConvexInt64(2)),
            "Cannot subtract undefined (type undefined) and 2 (type Int64)",
        ),
        (lambda: q.mul(None, []), "Cannot multiply null (type Null) and [] (type Arra"),
        (lambda: q.div(True, {}), "Cannot divide true (type Boolean) and {} (type Obj"),
        (lambda: q.mod(b"", 1), 'Cannot mod b"" (type Bytes) and 1.0 (type Float64)'),
        (lambda: q.neg("x"), 'Cannot negate "x" (type String)'),
        (lambda: q.div(ConvexInt64(1), ConvexInt64(0)), "Cannot divide an int64 by ze"),
        (lambda: q.mod(ConvexInt64(1), ConvexInt64(0)), "Cannot divide an int64 by ze"),
        (lambda: q.and_(1), "Cannot use value 1.0 (type Float64) as a Boolean"),
        (lambda: q.not_(None), "Cannot use value null (type Null) as a Boolean"),
        (lambda: as_expression("x"), 'Cannot use value "x" (type String) as a Boolean'),
        (lambda: q.eq({1}, 1), "Invalid value in a filter: set is not a supported"),
        (lambda: q.field("a b"), "Invalid field path 'a b'"),
        (lambda: q.field("a..b"), "Invalid field path 'a..b'"),
        (lambda: q.field("."), "Invalid field path '.'"),
        (lambda: q.field(3), "q.field needs the name of a field, not 3"),  # type: ignore[arg-type]
        (lambda: q.field("a") == 1, "Compare with q.eq(q.field"),
        (lambda: q.field("a") != 1, "Compare with q.neq(q.field"),
        (lambda: q.eq(1, 1) and q.eq(2, 2), "Combine conditions with q.and_(...)"),
    ],
)
def test_misuse_is_told(build: Callable[[], Expression], problem: str) -> None:
    with pytest.raises(UsageError) as error:
        keeps(build(), {})
    assert problem in str(error.value)


# --- as data ------------------------------------------------------------------


def test_an_expression_has_the_json_of_convex_clients() -> None:
    condition = q.and_(
        q.or_(q.eq(q.field("a.b"), ConvexInt64(1)), q.lt(q.neg(2), UNSET)),
        q.not_(q.gte(q.mod(q.field("n"), 2), 1)),
    )
    assert condition.to_json() == {
        "$and": [
            {
                "$or": [
                    {
                        "$eq": [
                            {"$field": "a.b"},
                            {"$literal": {"$integer": "AQAAAAAAAAA="}},
                        ]
                    },
                    {
                        "$lt": [
                            {"$neg": {"$literal": 2.0}},
                            {"$literal": {"$undefined": None}},
                        ]
                    },
                ]
            },
            {
                "$not": {
                    "$gte": [
                        {"$mod": [{"$field": "n"}, {"$literal": 2.0}]},
                        {"$literal": 1.0},
                    ]
                }
            },
        ]
    }
