"""Files that matter and do not parse."""

from __future__ import annotations

from collections.abc import Iterator

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import Reading
from kit.repo.server import ACTION

__all__ = ["unreadable"]


def unreadable(reading: Reading) -> Iterator[Found]:
    """`unreadable`: a file with one of the guide's places breaks the grammar.

    Those are the files that name the stream's method, the hooks, or Convex's action.
    """
    names = reading.layout.settings.names
    needles = (names.stream_method, names.socket_hook, names.hybrid_hook, ACTION)
    for source in reading.repository.containing(*needles):
        if source.first_error is not None:
            seen = "The first error is here."
            yield found("unreadable", source.first_error, seen)
