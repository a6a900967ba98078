"""PURE: which of many byte intervals hold a key.

Holds intervals `[low, high)` of one index's keys, each with the items that read it.
It does not know what a key or an item means (`subscriptions` does).

A lookup costs O(log n + hits) when the intervals are disjoint, as those of `eq` ranges
and pages are; wide intervals among them make it look at a few more. The order is
rebuilt lazily, at the first lookup after a change: a subscription that is re-run
usually reads the same intervals as before, and then nothing changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from itertools import accumulate
from typing import Generic, TypeVar

__all__ = ["Interval", "IntervalIndex"]

# From `low` up to, but without, `high`; a `high` of None has no end.
Interval = tuple[bytes, bytes | None]

Item = TypeVar("Item", bound=Hashable)

# Above every key: compares greater than any (1, …) tuple and any (0, …) tuple.
_Bound = tuple[int, bytes]
_END: _Bound = (1, b"")


def _bound(high: bytes | None) -> _Bound:
    return _END if high is None else (0, high)


class IntervalIndex(Generic[Item]):
    """A multimap from interval to items, searched by key."""

    def __init__(self) -> None:
        self._items: dict[Interval, set[Item]] = {}
        # Sorted by low; None after a change, until the next lookup.
        self._sorted: list[Interval] | None = None
        self._lows: list[bytes] = []
        # The greatest high among the intervals up to and with this one.
        self._reach: list[_Bound] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, interval: Interval, item: Item) -> None:
        """Let `item` be found under `interval`; twice is the same as once."""
        items = self._items.get(interval)
        if items is None:
            self._items[interval] = {item}
            self._sorted = None
        else:
            items.add(item)

    def discard(self, interval: Interval, item: Item) -> None:
        """Undo `add`; does nothing if there is nothing to undo."""
        items = self._items.get(interval)
        if items is None:
            return
        items.discard(item)
        if not items:
            del self._items[interval]
            self._sorted = None

    def find(self, key: bytes) -> Iterator[Item]:
        """The items of every interval that holds `key`; one item may come twice."""
        intervals = self._ordered()
        position = bisect_right(self._lows, key)
        wanted = (0, key)
        while position > 0 and self._reach[position - 1] > wanted:
            position -= 1
            interval = intervals[position]
            if _bound(interval[1]) > wanted:
                yield from self._items[interval]

    def _ordered(self) -> list[Interval]:
        if self._sorted is None:
            self._sorted = sorted(self._items, key=lambda interval: interval[0])
            self._lows = [low for low, _ in self._sorted]
            self._reach = list(
                accumulate((_bound(high) for _, high in self._sorted), max)
            )
        return self._sorted
