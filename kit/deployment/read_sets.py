"""What a function read, what a commit changed, and whether the two meet.

A read set is a set of intervals of index keys, by index; a write set is the old and
the new key of every changed document in every index of its table. A subscription is
to be run again when, and only when, a later write set overlaps its read set: an empty
range that was looked at counts as read, a row that was not looked at does not. Pure.
Mirrors `ReadSet` and `DocumentUpdate` of Convex's `database` crate.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeAlias

from kit.deployment.index_keys import Interval

__all__ = ["ReadSet", "Reads", "WriteSet"]

WriteSet: TypeAlias = Mapping[int, Sequence[bytes]]
"""Changed keys by index id."""


class ReadSet:
    """Intervals of index keys that were read, by index id: disjoint and sorted."""

    def __init__(self, intervals: Mapping[int, Sequence[Interval]]) -> None:
        self.intervals: Mapping[int, Sequence[Interval]] = intervals
        self._starts = {
            index: [low for low, _ in read] for index, read in intervals.items()
        }

    @classmethod
    def of(cls, reads: Iterable[tuple[int, Interval]]) -> ReadSet:
        """The read set of intervals recorded in any order, overlapping or not."""
        recorded = Reads()
        for index, interval in reads:
            recorded.add(index, interval)
        return recorded.read_set()

    def overlaps(self, written: WriteSet) -> bool:
        """Whether any key of `written` lies in an interval that was read."""
        return any(
            self._contains(index, key)
            for index, keys in written.items()
            if index in self._starts
            for key in keys
        )

    def _contains(self, index: int, key: bytes) -> bool:
        place = bisect_right(self._starts[index], key) - 1
        return place >= 0 and key < self.intervals[index][place][1]

    def __repr__(self) -> str:
        counts = {index: len(read) for index, read in self.intervals.items()}
        return f"<ReadSet, intervals by index: {counts}>"


_low, _high = itemgetter(0), itemgetter(1)


class Reads:
    """What a transaction has read so far. `len` is how many intervals that makes.

    Intervals that overlap or touch are one, so that a range read piece by piece
    weighs no more than one that was read at once.
    """

    def __init__(self) -> None:
        self._by_index: dict[int, list[Interval]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, index: int, interval: Interval) -> None:
        """Note that `interval` of an index was read; an empty one reads nothing."""
        low, high = interval
        if low >= high:
            return
        known = self._by_index.setdefault(index, [])
        # From the first that does not end before, to the last that begins in time.
        first = bisect_left(known, low, key=_high)
        end = bisect_right(known, high, key=_low)
        if first < end:
            low = min(low, known[first][0])
            high = max(high, known[end - 1][1])
        known[first:end] = [(low, high)]
        self._count += 1 - (end - first)

    def read_set(self) -> ReadSet:
        """All of it until now."""
        return ReadSet({index: list(read) for index, read in self._by_index.items()})
