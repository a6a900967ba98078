"""What a function read, what a commit changed, and whether the two meet.

A read set is a set of intervals of index keys, by index; a write set is the old and
the new key of every changed document in every index of its table. A subscription is
to be run again when, and only when, a later write set overlaps its read set: an empty
range that was looked at counts as read, a row that was not looked at does not. Pure.
Mirrors `ReadSet` and `DocumentUpdate` of Convex's `database` crate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from kit.deployment.index_keys import Interval

__all__ = ["ReadSet", "WriteSet"]

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
        by_index: dict[int, list[Interval]] = {}
        for index, interval in reads:
            by_index.setdefault(index, []).append(interval)
        return cls({index: _merge(read) for index, read in by_index.items()})

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


def _merge(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        elif low < high:
            merged.append((low, high))
    return merged
