"""What copying back from Convex to SQL did, to be read: as text, as HTML.

Holds the figures of each task and how they are shown. Copies and compares nothing.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kit.app.comparison import Comparison

__all__ = ["CopyReport", "TaskCopy", "Unfinished"]

SHOWN_TASKS = 20
"""Of more tasks than these, only those with something to tell have a row."""
SHOWN_REMARKS = 10  # of a kind, per task
DIGEST = 12  # characters, which are enough to be told apart
TITLE = 40


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A message on Convex that has not ended, and was left there."""

    message_id: str
    status: str


@dataclass(frozen=True, slots=True)
class TaskCopy:
    """One task: how many of its messages were where, and whether both now say the same.

    `on_convex` counts the messages that have ended; of these `already_there` were in
    SQL and `copied` were not. `problem` says why nothing of it was copied.
    """

    task_id: str
    title: str
    on_convex: int
    already_there: int
    copied: int
    unfinished: tuple[Unfinished, ...]
    comparison: Comparison
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether SQL has all of it, and the same."""
        return self.comparison.equal and not self.unfinished and self.problem is None

    @property
    def verdict(self) -> str:
        """Whether both say the same, with the digest of what they say."""
        comparison = self.comparison
        if comparison.equal:
            return f"yes, {comparison.sql_digest[:DIGEST]}"
        return (
            f"no, {comparison.convex_digest[:DIGEST]} "
            f"and {comparison.sql_digest[:DIGEST]}"
        )

    def remarks(self, *, dry_run: bool = False) -> Iterator[str]:
        """What somebody has to look at, a line each; none if it is complete.

        In a dry run, what is missing is what would be copied.
        """
        if self.problem is not None:
            yield self.problem
        for message in self.unfinished:
            yield (
                f"message {message.message_id} is {message.status}: "
                "copy again when it has ended"
            )
        missing = (
            []
            if dry_run
            else [f"message {name} is not in SQL" for name in self.comparison.missing]
        )
        yield from _shortened(missing, "more messages are not in SQL")
        yield from _shortened(self.comparison.differences, "more differences")


class CopyReport:
    """What was done with each task; shows as a table.

    `dry_run`: nothing was copied, `copied` counts what would be.
    """

    def __init__(self, tasks: Iterable[TaskCopy], *, dry_run: bool = False) -> None:
        self.tasks = list(tasks)
        self.dry_run = dry_run

    @property
    def copied(self) -> int:
        return sum(task.copied for task in self.tasks)

    @property
    def on_convex(self) -> int:
        return sum(task.on_convex for task in self.tasks)

    @property
    def complete(self) -> bool:
        """Whether SQL has all that Convex has, and the same: nothing is left to do."""
        return all(task.complete for task in self.tasks)

    def __repr__(self) -> str:
        return (
            f"<CopyReport {len(self.tasks)} tasks, {self.copied} messages "
            f"{'to copy' if self.dry_run else 'copied'}, "
            f"{'complete' if self.complete else 'incomplete'}>"
        )

    def __str__(self) -> str:
        rows = [self._headings(), *(_cells(task) for task in self._shown())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [self.summary]
        for row in rows if len(rows) > 1 else ():
            cells = zip(row, widths, range(len(row)), strict=True)
            line = "  ".join(
                cell.rjust(width) if 0 < place < _LAST else cell.ljust(width)
                for cell, width, place in cells
            )
            lines.append(line.rstrip())
        lines += [f"✗ {remark}" for remark in self._remarks()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._as_html()}

    @property
    def summary(self) -> str:
        """One sentence."""
        done = "would be copied" if self.dry_run else "copied"
        whole = sum(task.complete for task in self.tasks)
        return (
            f"{self.copied:,} of {self.on_convex:,} messages {done} from Convex to "
            f"SQL; {whole:,} of {len(self.tasks):,} tasks whole there."
        )

    def _headings(self) -> list[str]:
        copied = "to copy" if self.dry_run else "copied"
        return [
            *("task", "on Convex", "in SQL before", copied),
            *("not ended", "only in SQL", "same in both"),
        ]

    def _shown(self) -> list[TaskCopy]:
        if len(self.tasks) <= SHOWN_TASKS:
            return self.tasks
        return [task for task in self.tasks if task.copied or not task.complete]

    def _remarks(self) -> Iterator[str]:
        for task in self.tasks:
            for remark in task.remarks(dry_run=self.dry_run):
                yield f"{task.task_id}: {remark}"

    def _as_html(self) -> str:
        headings = "".join(
            f'<th style="text-align:{_align(place)}">{heading}</th>'
            for place, heading in enumerate(self._headings())
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:{_align(place)}">{html.escape(cell)}</td>'
                for place, cell in enumerate(_cells(task))
            )
            + "</tr>"
            for task in self._shown()
        )
        remarks = "".join(f"<li>{html.escape(text)}</li>" for text in self._remarks())
        return (
            f"<table><caption><b>{html.escape(self.summary)}</b></caption>"
            f"<thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>"
            + (f"<ul>{remarks}</ul>" if remarks else "")
        )


_LAST = 6  # the column of the verdict, which is text


def _shortened(remarks: Sequence[str], rest: str) -> Iterator[str]:
    yield from remarks[:SHOWN_REMARKS]
    if len(remarks) > SHOWN_REMARKS:
        yield f"{len(remarks) - SHOWN_REMARKS} {rest}"


def _align(place: int) -> str:
    return "right" if 0 < place < _LAST else "left"


def _cells(task: TaskCopy) -> list[str]:
    title = " ".join(task.title.split())
    if len(title) > TITLE:
        title = title[: TITLE - 1] + "…"
    return [
        f"{title} ({task.task_id})",
        str(task.on_convex),
        str(task.already_there),
        str(task.copied),
        str(len(task.unfinished)),
        str(task.comparison.only_in_sql),
        task.verdict,
    ]
