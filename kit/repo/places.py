"""Where something is in a repository, and what was looked for and is not there."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Missing", "Place"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A span of a file: bytes of its body (after a BOM), and the line, from 1."""

    file: str
    line: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not found, or not for certain, and what to do about it."""

    what: str
    todo: str
    places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        where = ", ".join(map(str, self.places))
        return f"{self.what}{f' ({where})' if where else ''}. {self.todo}"
