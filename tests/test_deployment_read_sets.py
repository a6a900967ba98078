from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.read_sets import ReadSet

keys = st.binary(max_size=2)
reads = st.lists(st.tuples(st.integers(1, 3), st.tuples(keys, keys)), max_size=8)


@given(reads, st.integers(1, 3), keys)
def test_a_read_set_meets_exactly_the_keys_in_its_intervals(
    recorded: list[tuple[int, tuple[bytes, bytes]]], index: int, key: bytes
) -> None:
    expected = any(
        index == read and low <= key < high for read, (low, high) in recorded
    )
    assert ReadSet.of(recorded).overlaps({index: [key]}) is expected


@given(reads)
def test_intervals_come_out_disjoint_sorted_and_not_empty(
    recorded: list[tuple[int, tuple[bytes, bytes]]],
) -> None:
    for merged in ReadSet.of(recorded).intervals.values():
        bounds = [bound for interval in merged for bound in interval]
        assert bounds == sorted(set(bounds))


def test_an_empty_read_set_meets_nothing() -> None:
    assert not ReadSet.of([]).overlaps({1: [b""]})
    assert not ReadSet.of([(1, (b"a", b"z"))]).overlaps({})


def test_its_repr_tells_how_much_was_read() -> None:
    read_set = ReadSet.of([(7, (b"a", b"b")), (7, (b"c", b"d"))])
    assert repr(read_set) == "<ReadSet, intervals by index: {7: 2}>"
