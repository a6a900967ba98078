"""Which intervals hold a key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.index_keys import END, Interval
from kit.deployment.intervals import IntervalIndex

keys = st.binary(max_size=2)


def test_an_interval_holds_its_low_end_and_not_its_high_end() -> None:
    index: IntervalIndex[str] = IntervalIndex()
    index.add((b"b", b"d"), "x")
    assert [list(index.find(key)) for key in (b"a", b"b", b"c\xff", b"d")] == [
        [],
        ["x"],
        ["x"],
        [],
    ]


def test_an_interval_up_to_the_end_holds_every_later_key() -> None:
    index: IntervalIndex[str] = IntervalIndex()
    index.add((b"b", END), "x")
    assert list(index.find(b"\xff" * 16)) == ["x"]
    assert list(index.find(b"a")) == []


def test_an_empty_interval_holds_nothing() -> None:
    index: IntervalIndex[str] = IntervalIndex()
    index.add((b"b", b"b"), "x")
    assert list(index.find(b"b")) == []


def test_an_interval_is_gone_when_its_last_item_is() -> None:
    index: IntervalIndex[str] = IntervalIndex()
    index.add((b"", END), "x")
    index.add((b"", END), "y")
    index.discard((b"", END), "x")
    assert list(index.find(b"k")) == ["y"]
    index.discard((b"", END), "y")
    index.discard((b"", END), "y")
    assert list(index.find(b"k")) == []
    assert len(index) == 0


@given(
    st.lists(st.tuples(st.booleans(), st.tuples(keys, keys), st.integers(0, 3))),
    st.lists(keys, min_size=1),
)
def test_a_lookup_finds_what_trying_every_interval_finds(
    changes: list[tuple[bool, Interval, int]], wanted: list[bytes]
) -> None:
    index: IntervalIndex[int] = IntervalIndex()
    model: set[tuple[Interval, int]] = set()
    for adding, interval, item in changes:
        if adding:
            index.add(interval, item)
            model.add((interval, item))
        else:
            index.discard(interval, item)
            model.discard((interval, item))
        for key in wanted:
            expected = sorted(item for (low, high), item in model if low <= key < high)
            assert sorted(index.find(key)) == expected
