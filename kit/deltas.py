"""Batches of chunks: their size, where they may be cut, and valid text in them.

Holds what a writer of deltas does to chunks before they are stored. Pure, like
`kit.parts`; the shapes are defined there. Knows nothing of time and of appends.

All sizes are UTF-8 bytes of text: what a chunk weighs, but for names and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from kit.parts import Chunk, delta_fields, merge_chunks

__all__ = ["MAX_BATCH_CHUNKS", "TextRepair", "take_batch", "text_bytes", "valid_text"]

MAX_BATCH_CHUNKS = 1024
"""A Convex array holds at most 8192 elements."""

_CUT = " … (cut: too long)"


def text_bytes(chunk: Chunk) -> int:
    """The UTF-8 length of all texts in a chunk."""
    return sum(len(x.encode()) for x in chunk.values() if isinstance(x, str))


def take_batch(
    chunks: Sequence[Chunk], max_bytes: int
) -> tuple[list[Chunk], list[Chunk]]:
    """Cut a log into a first batch of about `max_bytes` at most, and the rest.

    Neighbouring deltas are merged and long ones split, between code points. A chunk
    that cannot be split and is longer than `max_bytes` has its texts cut, with a
    mark, so that nothing can make a batch too big to be stored. The batch holds at
    least one chunk, if there is any.
    """
    fitting = _fitting(merge_chunks(chunks), max_bytes)
    batch: list[Chunk] = []
    size = 0
    for chunk in fitting:
        size += text_bytes(chunk)
        if batch and (size > max_bytes or len(batch) == MAX_BATCH_CHUNKS):
            return batch, [chunk, *fitting]
        batch.append(chunk)
    return batch, []


def _fitting(chunks: Sequence[Chunk], max_bytes: int) -> Iterator[Chunk]:
    step = max(max_bytes // 4, 1)  # a code point has four bytes at most
    for chunk in chunks:
        if text_bytes(chunk) <= max_bytes:
            yield chunk
        elif (names := delta_fields(chunk)) is not None:
            text = _text(chunk, names[1])
            for start in range(0, len(text), step):
                yield _with(chunk, names[1], text[start : start + step])
        else:
            yield _cut(chunk, step)


def _cut(chunk: Chunk, limit: int) -> Chunk:
    return cast(
        Chunk,
        {
            name: value[:limit] + _CUT
            if isinstance(value, str) and len(value) > limit
            else value
            for name, value in chunk.items()
        },
    )


def valid_text(text: str) -> str:
    """The text with surrogate pairs joined, and lone surrogates as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class TextRepair:
    """Makes the texts of a log of chunks valid Unicode, which UTF-8 can carry.

    A provider that cuts its JSON strings anywhere may send the two halves of a
    surrogate pair in two deltas. The first half is held until the next chunk, and
    becomes U+FFFD if that does not bring the other half.
    """

    def __init__(self) -> None:
        self._held: Chunk | None = None  # a delta whose text is one high surrogate

    def repair(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunks to store instead of this one: often itself, sometimes none."""
        if self._held is None and _is_valid(chunk):
            yield chunk
            return
        names = delta_fields(chunk)
        if names is None or not self._continues(chunk, names[0]):
            yield from self.rest()
        if names is None:
            yield _repaired(chunk)
            return
        held, self._held = self._held, None
        text = _text(held, names[1]) if held is not None else ""
        text += _text(chunk, names[1])
        if "\ud800" <= text[-1:] <= "\udbff":
            self._held = _with(chunk, names[1], text[-1])
            text = text[:-1]
        if text:
            yield _with(chunk, names[1], valid_text(text))

    def rest(self) -> Iterator[Chunk]:
        """What is still held when the log ends, or another part begins."""
        held, self._held = self._held, None
        if held is not None:
            yield _repaired(held)

    def _continues(self, chunk: Chunk, id_field: str) -> bool:
        held = self._held
        return (
            held is not None
            and held["type"] == chunk["type"]
            and _text(held, id_field) == _text(chunk, id_field)
        )


def _is_valid(chunk: Chunk) -> bool:
    try:
        text_bytes(chunk)
    except UnicodeEncodeError:
        return False
    return True


def _repaired(chunk: Chunk) -> Chunk:
    return cast(
        Chunk,
        {
            name: valid_text(value) if isinstance(value, str) else value
            for name, value in chunk.items()
        },
    )


def _text(chunk: Chunk, field: str) -> str:
    text: str = cast(dict[str, str], chunk)[field]
    return text


def _with(chunk: Chunk, field: str, text: str) -> Chunk:
    return cast(Chunk, {**chunk, field: text})
