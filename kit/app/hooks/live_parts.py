"""The parts of one reply while it is being written.

Holds the fold of its chunks and shows it as a mapping. Does not know when a reply
begins or ends: a new reply is a new `LiveParts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kit.parts import Chunk, Part, PartChange, PartsFold

__all__ = ["LiveParts"]


class LiveParts:
    """Parts by id, in order, growing; `message_id` is the message they belong to."""

    def __init__(self, message_id: str = "") -> None:
        self.message_id = message_id
        self._fold = PartsFold()
        self.parts: Mapping[str, Part] = _PartsById(self._fold)

    @property
    def order(self) -> list[str]:
        return self._fold.order

    def text(self) -> str:
        return self._fold.content()

    def apply(self, chunks: Iterable[Chunk]) -> list[PartChange]:
        """Fold chunks in; what that changed, one change per part.

        A part that was added or updated and grew as well is only to be read anew: an
        observer that also appended would have the text twice.
        """
        changes: dict[str, PartChange] = {}
        for chunk in chunks:
            change = self._fold.apply(chunk)
            if change is not None:
                earlier = changes.get(change.part_id)
                changes[change.part_id] = _joined(earlier, change)
        return list(changes.values())


def _joined(earlier: PartChange | None, change: PartChange) -> PartChange:
    if earlier is None:
        # An added part may have come with text, which reading it gives.
        return change if change.kind == "appended" else _read_anew(change)
    if earlier.kind == "appended" and change.kind == "appended":
        return PartChange(change.part_id, "appended", earlier.text + change.text)
    return earlier if earlier.kind != "appended" else _read_anew(change)


def _read_anew(change: PartChange) -> PartChange:
    return PartChange(change.part_id, change.kind)


class _PartsById(Mapping[str, Part]):
    """A fold as a mapping: a part's text is put together when it is read."""

    def __init__(self, fold: PartsFold) -> None:
        self._fold = fold

    def __getitem__(self, part_id: str) -> Part:
        return self._fold.part(part_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fold.order)

    def __len__(self) -> int:
        return len(self._fold.order)

    def __repr__(self) -> str:
        return repr(dict(self))
