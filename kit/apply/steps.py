"""What a plan consists of: steps, each with the files that it changes and a diff.

Pure: nothing here reads or writes a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from kit.repo import Missing
from kit.repo.files import Repository
from kit.repo.source import BOM, Source

__all__ = ["MARKS", "Change", "Draft", "Plan", "State", "Step", "StepNotes"]

State = Literal["change", "done", "open", "blocked"]

MARKS: dict[State, str] = {"change": "→", "done": "✓", "open": "○", "blocked": "✗"}


@dataclass(frozen=True)
class Change:
    """A file before and after a step, byte for byte; None where there is no file.

    `context`: the lines around a change that a diff shows. None are shown of settings
    files, which may hold secrets. `theirs`: it is a copy of a file of the kit.
    """

    file: str
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)
    context: int = 3
    theirs: bool = False

    def diff(self) -> str:
        """The change as a unified diff, as git writes them."""
        before, after = _lines(self.before), _lines(self.after)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                before,
                after,
                "/dev/null" if self.before is None else f"a/{self.file}",
                "/dev/null" if self.after is None else f"b/{self.file}",
                n=self.context,
            )
        )


def _same_lines(data: bytes) -> bytes:
    """The content as the kit's files have it, whatever a checkout made of it."""
    return data.removeprefix(BOM).replace(b"\r\n", b"\n")


def _lines(data: bytes | None) -> list[str]:
    if data is None:
        return []
    lines = data.decode("utf-8").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


@dataclass
class StepNotes:
    """What is said of a step: what was found, what is left to do, what stops it."""

    found: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    is_open: bool = False
    """Nothing was changed, and yet it is not done: something has to be told first."""

    def missing(self, *missing: Missing) -> None:
        self.blocked += map(str, missing)


@dataclass(frozen=True)
class Step:
    """One step; `found` and `todo` are sentences, `blocked` says what stops it."""

    name: str
    title: str
    changes: tuple[Change, ...]
    found: tuple[str, ...] = ()
    todo: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    is_open: bool = False

    @property
    def state(self) -> State:
        if self.blocked:
            return "blocked"
        if self.changes:
            return "change"
        return "open" if self.is_open else "done"

    def diff(self) -> str:
        return "".join(change.diff() for change in self.changes)


@dataclass(frozen=True)
class Plan:
    """Steps in order. `name` is that of the branch that they are written to."""

    repository: Repository
    title: str
    name: str
    steps: tuple[Step, ...]

    @property
    def blocked(self) -> bool:
        return any(step.blocked for step in self.steps)

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(change for step in self.steps for change in step.changes)


class Draft:
    """The repository as it is with the steps so far, without a file being written."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._files: dict[str, bytes | None] = {}
        self._before: dict[str, bytes | None] = {}
        self._marks: dict[str, tuple[int, bool]] = {}

    def source(self, file: str) -> Source | None:
        if file not in self._files:
            return self.repository.source(file)
        data = self._files[file]
        return None if data is None else Source(file, data)

    def data(self, file: str) -> bytes | None:
        source = self.source(file)
        return None if source is None else source.data

    def is_taken(self, file: str) -> bool:
        """Whether there is something at a path, also what is not looked into."""
        if file in self._files:
            return self._files[file] is not None
        path = self.repository.root / file
        return path.exists() or path.is_symlink()

    def write(
        self,
        file: str,
        data: bytes | None,
        *,
        context: int = 3,
        theirs: bool = False,
    ) -> None:
        self._before.setdefault(file, self.data(file))
        self._files[file] = data
        self._marks[file] = context, theirs

    def bring(self, file: str, text: str, notes: StepNotes) -> None:
        """Put a file of the kit's in place; one that is there already is left."""
        current = self.data(file)
        if current is None and not self.is_taken(file):
            self.write(file, text.encode(), theirs=True)
        elif current is None or _same_lines(current) != text.encode():
            notes.todo.append(
                f"{file} is there and differs from the kit's: it is left as it is. "
                "Compare the two, or take it away and apply again."
            )

    def files(self) -> set[str]:
        """All files, with those that were added."""
        added = {file for file, data in self._files.items() if data is not None}
        gone = {file for file, data in self._files.items() if data is None}
        return (set(self.repository.files) - gone) | added

    def sources(self, *needles: str) -> Iterator[Source]:
        """The modules of people's with any of the texts, as they are now."""
        wanted = [needle.encode() for needle in needles]
        for source in self.repository.containing(*needles):
            current = self.source(source.file)
            if current is not None and any(each in current.body for each in wanted):
                yield current

    def taken_changes(self) -> tuple[Change, ...]:
        """What was written since the last call of this."""
        changes = tuple(
            Change(file, before, after, *self._marks[file])
            for file, before in sorted(self._before.items())
            if before != (after := self._files[file])
        )
        self._before.clear()
        return changes
