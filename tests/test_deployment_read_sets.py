from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.read_sets import Reads, ReadSet

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


@given(reads)
def test_reads_count_the_intervals_that_they_come_to(
    recorded: list[tuple[int, tuple[bytes, bytes]]],
) -> None:
    found = Reads()
    for index, interval in recorded:
        found.add(index, interval)
        intervals = found.read_set().intervals.values()
        assert len(found) == sum(map(len, intervals))


def test_what_was_read_later_is_not_in_an_earlier_read_set() -> None:
    reads = Reads()
    reads.add(1, (b"a", b"b"))
    earlier = reads.read_set()
    reads.add(1, (b"b", b"c"))
    assert not earlier.overlaps({1: [b"b"]})
    assert reads.read_set().intervals == {1: [(b"a", b"c")]}


def test_an_empty_read_set_meets_nothing() -> None:
    assert not ReadSet.of([]).overlaps({1: [b""]})
    assert not ReadSet.of([(1, (b"a", b"z"))]).overlaps({})


def test_its_repr_tells_how_much_was_read() -> None:
    read_set = ReadSet.of([(7, (b"a", b"b")), (7, (b"c", b"d"))])
    assert repr(read_set) == "<ReadSet, intervals by index: {7: 2}>"
