"""PURE: which of many intervals of index keys hold a key.

Holds the intervals `[low, high)` read from one index, each with the items that read it.
It does not know what a key or an item means (`subscriptions` does).

A lookup costs O(log n + hits) when the intervals are disjoint, as those of `eq` ranges
and pages are; wide intervals among them make it look at a few more. So does a change,
but for moving what lies behind it in a list: viewers turn a page every few deltas.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from kit.deployment.index_keys import Interval

__all__ = ["IntervalIndex"]

Item = TypeVar("Item", bound=Hashable)


class IntervalIndex(Generic[Item]):
    """A multimap from interval to items, searched by key."""

    def __init__(self) -> None:
        self._items: dict[Interval, set[Item]] = {}
        self._sorted: list[Interval] = []
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
            position = bisect_left(self._sorted, interval)
            self._sorted.insert(position, interval)
            self._lows.insert(position, interval[0])
            self._reach.insert(position, self._reach_at(position))
            self._mend_reach(position + 1)
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
            position = bisect_left(self._sorted, interval)
            del self._sorted[position], self._lows[position], self._reach[position]
            self._mend_reach(position)

    def find(self, key: bytes) -> Iterator[Item]:
        """The items of every interval that holds `key`; one item may come twice."""
        position = bisect_right(self._lows, key)
        while position > 0 and self._reach[position - 1] > key:
            position -= 1
            if self._sorted[position][1] > key:
                yield from self._items[self._sorted[position]]

    def _reach_at(self, position: int) -> bytes:
        high = self._sorted[position][1]
        return max(high, self._reach[position - 1]) if position else high

    def _mend_reach(self, position: int) -> None:
        """From `position` on, up to where the change makes no difference any more."""
        for index in range(position, len(self._reach)):
            reach = self._reach_at(index)
            if self._reach[index] == reach:
                break
            self._reach[index] = reach
