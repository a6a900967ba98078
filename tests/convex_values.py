"""Convex values for property tests, and their order written down a second time."""

import math
import struct
from typing import Any

from hypothesis import strategies as st

from kit.values import ConvexInt64

NEGATIVE_NAN = struct.unpack(">d", b"\xff\xf8" + bytes(6))[0]

names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=4).filter(
    lambda name: not name.startswith("$")
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.sampled_from([math.nan, NEGATIVE_NAN, 0.0, -0.0, 1.0, -1.0]),
    st.integers(-(2**63), 2**63 - 1).map(ConvexInt64),
    st.sampled_from([ConvexInt64(0), ConvexInt64(1)]),
    st.text(max_size=6),
    st.text("\0\x01\xffab", max_size=4),
    st.binary(max_size=6),
    st.binary(max_size=3).map(lambda data: data.replace(b"a", b"\0")),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
    ),
    max_leaves=8,
)


def order_of(value: Any) -> tuple[Any, ...]:
    """A tuple that compares as Convex orders `value`."""
    match value:
        case None:
            return (1,)
        case ConvexInt64():
            return (2, value.value)
        case bool():
            return (4, value)
        case float():
            sign = math.copysign(1.0, value)
            if math.isnan(value):
                return (3, sign, 0.0, 0.0)
            return (3, 0.0, value, sign)
        case str():
            return (5, value.encode())
        case bytes():
            return (6, value)
        case list():
            return (7, tuple(map(order_of, value)))
        case dict():
            return (8, tuple((name, order_of(value[name])) for name in sorted(value)))
    raise AssertionError(value)
