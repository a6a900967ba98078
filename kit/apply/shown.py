"""A plan as a notebook shows it: a table of its steps, and each step's diff, folded.

The diffs of the guide's steps also stand at these steps in the report.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from kit.apply.steps import MARKS, Change, Plan, State, Step
from kit.doctor.tables import html_path, html_table, html_text
from kit.guide import STEPS
from kit.show import Shown, show_diff

__all__ = ["FoldedDiff", "PlanTable", "show_plan"]

_COLOURS: dict[State, str] = {
    "change": "#0969da",
    "done": "#1a7f37",
    "open": "#9a6700",
    "blocked": "#cf222e",
}
_GUIDE = frozenset(step.name for step in STEPS)


def show_plan(plan: Plan) -> list[PlanTable | FoldedDiff]:
    """The table, then a diff for each step that changes something.

    ```python
    display(*show_plan(plan))
    ```
    """
    diffs = [FoldedDiff(step) for step in plan.steps if _edited(step)]
    return [PlanTable(plan), *diffs]


class PlanTable:
    """The steps of a plan: what was found, what changes, what is left to do."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": str(self), "text/html": self._as_html()}

    def __str__(self) -> str:
        lines = [self.plan.title]
        for step in self.plan.steps:
            lines.append(f"{MARKS[step.state]} {step.name}: {step.title}")
            lines += [f"    {name}: {text}" for name, text in _told(step)]
        return "\n".join(lines)

    def _as_html(self) -> str:
        heads = ["", "Step", "Found", "Changes", "To do"]
        rows = []
        for step in self.plan.steps:
            mark = f'<b style="color:{_COLOURS[step.state]}">{MARKS[step.state]}</b>'
            name = f"<b>{html.escape(step.name)}</b><br>{html.escape(step.title)}"
            changes = "<br>".join(map(html_path, _changes(step)))
            todo = _lines([*step.blocked, *step.todo])
            rows.append([mark, name, _lines(step.found), changes, todo])
        return f"<p><b>{html.escape(self.plan.title)}</b></p>{html_table(heads, rows)}"


class FoldedDiff:
    """The diff of a step, without the files that are copies of the kit's."""

    def __init__(self, step: Step) -> None:
        self.step = step
        diff = "".join(change.diff() for change in _edited(step))
        self.shown: Shown = show_diff(
            diff, step=step.name if step.name in _GUIDE else None
        )

    def _repr_mimebundle_(self, **given: Any) -> dict[str, Any]:
        bundle = self.shown._repr_mimebundle_(**given)
        files = ", ".join(change.file for change in _edited(self.step))
        title = html.escape(f"{self.step.name}: {files}")
        folded = f"<details><summary>{title}</summary>{bundle['text/html']}</details>"
        return {**bundle, "text/html": folded}


def _edited(step: Step) -> list[Change]:
    return [change for change in step.changes if not change.theirs]


def _changes(step: Step) -> list[str]:
    """The files that a step edits; of the kit's own, how many."""
    lines = []
    for change in _edited(step):
        how = "" if change.before is not None else " (new)"
        lines.append(f"{change.file}{' (deleted)' if change.after is None else how}")
    if copied := len(step.changes) - len(lines):
        lines.append(f"{copied} file{'s'[: copied != 1]} of the kit")
    return lines


def _told(step: Step) -> list[tuple[str, str]]:
    return [
        *(("found", text) for text in step.found),
        *(("change", text) for text in _changes(step)),
        *(("first", text) for text in step.blocked),
        *(("to do", text) for text in step.todo),
    ]


def _lines(texts: Sequence[str]) -> str:
    lines = "<br>".join(map(html_text, texts))
    return f'<span style="overflow-wrap:anywhere">{lines}</span>'
