"""What a drill came to: the object that `run_drill` gives, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from kit.drill.checking import NAMES
from kit.drill.history import RunSeen
from kit.drill.invariants import Violation
from kit.drill.picture import timeline
from kit.drill.summary import FaultCount, figures, results, table
from kit.errors import ConfigError

__all__ = ["DrillResult", "make_folder"]

_HEADINGS = ("Fault", "planned", "in time", "lost", "violations")
_NUMBERS = ("planned", "in time", "violations")
KILLS = ("kill-app", "kill-deployment", "kill-executor")


class DrillResult:
    """Runs, and what they violated. Shows as the table of faults and a timeline.

    `runs` are what was seen, in the order of their seeds; `violations` is empty when
    all held; `table` has a row for each kind of fault, also for those that never came;
    `figures` are seconds, as count, median and longest; `log` is what clients said of
    the connections that they lost.
    """

    def __init__(
        self,
        runs: Sequence[RunSeen],
        violations: Sequence[Violation],
        seconds: float,
        log: str = "",
    ) -> None:
        self.runs = list(runs)
        self.violations = list(violations)
        self.seconds = seconds
        self.log = log
        self.table: list[FaultCount] = table(self.runs, self.violations)
        self.figures: dict[str, dict[str, float]] = figures(self.runs)

    @property
    def picture(self) -> str:
        """The timeline of the run that tells most, as the text of an SVG file."""
        return timeline(_telling(self.runs, self.violations))

    def results(self) -> dict[str, Any]:
        """All of it as plain data, plans included."""
        return results(self.runs, self.violations, self.seconds)

    def save(self, folder: Path) -> None:
        """Write `results.json`, `timeline.svg` and `drill.log` into the folder.

        Raises ConfigError when that cannot be.
        """
        text = json.dumps(self.results(), indent=1, ensure_ascii=False)
        files = {
            "results.json": text + "\n",
            "timeline.svg": self.picture,
            "drill.log": self.log,
        }
        make_folder(folder)
        try:
            for name, content in files.items():
                (folder / name).write_text(content, encoding="utf-8")
        except OSError as error:
            raise _unwritable(folder, error) from None

    # --- how it is shown --------------------------------------------------------

    def __repr__(self) -> str:
        return (
            f"<DrillResult: {len(self.runs)} runs, {len(self.violations)} violations>"
        )

    def __str__(self) -> str:
        lines = [*_columns(self._rows()), *self._figure_lines()]
        for seed in sorted({found.seed for found in self.violations}):
            mine = [found for found in self.violations if found.seed == seed]
            lines += [f"✗ {_said(found)}" for found in mine]
            lines.append(f"  again: kit drill --runs 1 --seed {seed}")
        return "\n".join([*lines, self._verdict()])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._as_html()}

    def _as_html(self) -> str:
        heads = "".join(_cell("th", name, name) for name in _HEADINGS)
        rows = "".join(
            "<tr>"
            + "".join(_cell("td", *one) for one in zip(_HEADINGS, row, strict=True))
            + "</tr>"
            for row in self._rows()
        )
        found = "".join(f"<li>{escape(_said(found))}</li>" for found in self.violations)
        figures = "<br>".join(map(escape, self._figure_lines()))
        return (
            f"<p><b>{escape(self._verdict())}</b></p>"
            + (f'<ul style="color:#cf222e">{found}</ul>' if found else "")
            + f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
            + (f"<p>{figures}</p>" if figures else "")
            + f'<div style="max-width:100%;overflow-x:auto">{self.picture}</div>'
        )

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """The faults that were planned, in the words of the table."""
        return [
            (
                row.what,
                str(row.planned),
                str(row.struck),
                f"{row.lost} characters" if row.lost else "nothing",
                str(row.violations),
            )
            for row in self.table
            if row.planned
        ]

    def _figure_lines(self) -> list[str]:
        return [
            f"{name}: after {times['median']:.2f} s, at most {times['longest']:.2f} s "
            f"({times['count']:g} times)"
            for name, times in self.figures.items()
        ]

    def _verdict(self) -> str:
        viewers = sum(len(run.viewers) for run in self.runs)
        replies = sum(len(run.replies) for run in self.runs)
        return (
            f"{len(self.runs)} runs, {replies} replies, {viewers} viewers, "
            f"{len(NAMES)} invariants: {len(self.violations)} violations, "
            f"{self.seconds:.0f} s."
        )


def make_folder(folder: Path) -> None:
    """Make the folder for results. Raises ConfigError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"Cannot write results to {folder}: {error.strerror}. Choose another folder."
    )


def _said(found: Violation) -> str:
    return f"seed {found.seed}: {found.invariant}: {found.what}"


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The table in text, numbers to the right."""
    whole = [_HEADINGS, *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(5)]
    for row in whole:
        cells = [
            text.rjust(width) if name in _NUMBERS else text.ljust(width)
            for name, text, width in zip(_HEADINGS, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _cell(tag: str, column: str, text: str) -> str:
    side = "right" if column in _NUMBERS else "left"
    return f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>'


def _telling(runs: Sequence[RunSeen], violations: Sequence[Violation]) -> RunSeen:
    """The run to draw: one that failed, else a kill with much to see around it."""
    failed = {found.seed for found in violations}

    def weight(run: RunSeen) -> tuple[bool, bool, int]:
        killed = any(
            seen.struck and seen.fault.phase == "during" and seen.fault.kind in KILLS
            for seen in run.faults
        )
        frames = sum(len(viewer.frames) for viewer in run.viewers)
        return run.plan.seed in failed, killed, frames

    return max(runs, key=weight)
