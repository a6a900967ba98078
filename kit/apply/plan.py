"""The steps of an option, in order, for one repository. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from kit.apply.events import remove_events
from kit.apply.flag import set_flag
from kit.apply.functions import bring_functions
from kit.apply.hook import use_convex
from kit.apply.record import add_record
from kit.apply.server import convex_alone, convex_first
from kit.apply.steps import Draft, Plan, Step, StepNotes
from kit.guide import STEPS
from kit.repo.layout import Layout
from kit.repo.source import Source

__all__ = ["make_plan"]

Making = Callable[[Draft, Layout, StepNotes], None]
_TITLES = {step.name: step.title for step in STEPS}
_FUNCTIONS = "Functions"


def make_plan(
    layout: Layout, option: Literal[1, 2], *, deployment_url: str | None = None
) -> Plan:
    """What applying an option would change, step by step.

    A step that is done already, also by hand, changes nothing. What was not found and
    has to be is in `blocked`: such a plan is not to be written.
    """

    def flag(draft: Draft, layout: Layout, notes: StepNotes) -> None:
        set_flag(draft, layout, notes, deployment_url)

    server: Making = convex_first if option == 1 else convex_alone
    steps: list[tuple[str, Making]] = [
        (_FUNCTIONS, bring_functions),
        ("Option 1, step 1", flag),
        ("Option 1, step 2" if option == 1 else "Option 2, step 1", server),
        ("Option 1, step 3", use_convex),
    ]
    if option == 2:
        steps.append(("Option 2, step 2", remove_events))
    draft = Draft(layout.repository)
    return Plan(
        repository=layout.repository,
        title=f"Option {option}",
        name=f"kit/convex-option-{option}",
        steps=tuple(_step(draft, layout, name, make) for name, make in steps),
    )


def _step(draft: Draft, layout: Layout, name: str, make: Making) -> Step:
    notes = StepNotes()
    make(draft, layout, notes)
    if name == "Option 1, step 1" and layout.frontend is None:
        unclear = [each for each in layout.missing if "Next application" in each.what]
        notes.missing(*unclear)
    changes = draft.taken_changes()
    for change in changes:
        before = None if change.before is None else Source(change.file, change.before)
        after = Source(change.file, change.after or b"")
        if (
            not change.theirs
            and change.file.endswith((".ts", ".tsx"))
            and (before is None or before.first_error is None)
            and after.first_error is not None
        ):
            notes.blocked.append(
                f"{after.first_error}: after the change the file would not parse. "
                "Please report this; nothing was written."
            )
    if changes and not notes.blocked:
        add_record(draft, name, changes)
        changes = (*changes, *draft.taken_changes())
    return Step(
        name=name,
        title=_TITLES.get(name, "Bring functions and tables into the Convex folder"),
        changes=changes,
        found=tuple(notes.found),
        todo=tuple(notes.todo),
        blocked=tuple(notes.blocked),
        is_open=notes.is_open,
    )
