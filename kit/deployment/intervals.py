"""PURE: which of many intervals of index keys hold a key.

Holds the intervals `[low, high)` read from one index, each with the items that read it.
It does not know what a key or an item means (`subscriptions` does).

A lookup costs O(log n + hits) when the intervals are disjoint, as those of `eq` ranges
and pages are; wide intervals among them make it look at a few more. The order is
rebuilt lazily, at the first lookup after a change: a subscription that is run again
usually reads the same intervals as before, and then nothing changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from itertools import accumulate
from typing import Generic, TypeVar

from kit.deployment.index_keys import Interval

__all__ = ["IntervalIndex"]

Item = TypeVar("Item", bound=Hashable)


class IntervalIndex(Generic[Item]):
    """A multimap from interval to items, searched by key."""

    def __init__(self) -> None:
        self._items: dict[Interval, set[Item]] = {}
        # By low end; None after a change, until the next lookup.
        self._sorted: list[Interval] | None = None
        self._lows: list[bytes] = []
        # The greatest high end among the intervals up to and with this one.
        self._reach: list[bytes] = []

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<IntervalIndex intervals={len(self)}>"

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
        while position > 0 and self._reach[position - 1] > key:
            position -= 1
            if intervals[position][1] > key:
                yield from self._items[intervals[position]]

    def _ordered(self) -> list[Interval]:
        if self._sorted is None:
            self._sorted = sorted(self._items)
            self._lows = [low for low, _ in self._sorted]
            self._reach = list(accumulate((high for _, high in self._sorted), max))
        return self._sorted
