"""The command `kit apply`: a plan with its diffs, and the change if asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from kit.apply.packages import needed_packages
from kit.apply.plan import make_plan
from kit.apply.rollback import plan_rollback
from kit.apply.steps import MARKS, Change, Plan, State, Step
from kit.apply.types import TypeErrors, check_types, projects_of
from kit.apply.write import Written, write_plan
from kit.errors import ConfigError
from kit.repo import locate, open_repository, read_settings
from kit.repo.files import Skipped

__all__ = ["Request", "apply"]

_STYLES: dict[State, str] = {
    "change": "cyan",
    "done": "green",
    "open": "yellow",
    "blocked": "red",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What the command was asked for."""

    repo: Path
    option: Literal[1, 2] | None = None
    rollback: bool = False
    write: bool = False
    full: bool = False
    server_file: str | None = None
    hook_file: str | None = None
    config: Path | None = None
    deployment_url: str | None = None


def apply(request: Request, console: Console | None = None) -> int:
    """Print the plan, its diffs, and with `write` make the change.

    0: all of it is done or can be. 1: something has to be mended first, or the type
    checker finds more errors than before. Raises ConfigError where nothing can be
    planned or written; then nothing was written.
    """
    console = console or Console(highlight=False)
    if request.rollback == (request.option is not None):
        raise ConfigError("Give either --option 1, --option 2 or --rollback.")
    repository = open_repository(request.repo)
    settings = read_settings(request.config)
    settings = settings.with_files(
        server_file=request.server_file, hook_file=request.hook_file
    )
    if request.option is None:
        plan = plan_rollback(repository)
    else:
        layout = locate(repository, settings)
        plan = make_plan(layout, request.option, deployment_url=request.deployment_url)
    _print_plan(console, plan)
    _print_skipped(console, plan.repository.skipped)
    _print_diffs(console, plan, full=request.full)
    if plan.blocked:
        _say(console, "\nNothing was written: see what is marked with ✗ first.", "red")
        return 1
    if not plan.changes:
        _say(console, "\nNothing to do.", "green")
        return 0
    if not request.write:
        _say(console, "\nNothing was written. With --write, it is.")
        return 0
    return _write(console, request, plan)


def _write(console: Console, request: Request, plan: Plan) -> int:
    root = plan.repository.root
    projects = projects_of(root, [change.file for change in plan.changes])
    before = check_types(root, projects)
    written = write_plan(plan, rollback=request.rollback)
    after = check_types(root, projects)
    commits = f"{written.commits} commit{'s' if written.commits != 1 else ''}"
    _say(console, f"\nWritten: {commits} on {written.branch}, from {written.was}.")
    _say(console, f"To look at: git log -p {written.was}..{written.branch}")
    if not request.rollback:
        _say(console, "To take it back: kit apply --repo … --rollback --write")
    return _print_types(console, before, after, written, checked=bool(projects))


def _print_plan(console: Console, plan: Plan) -> None:
    _say(console, f"{plan.title} in {plan.repository.root}\n", "bold")
    for step in plan.steps:
        mark = MARKS[step.state]
        _say(console, f"{mark} {step.name}: {step.title}", _STYLES[step.state])
        for line in step.found:
            _say(console, f"    found   {line}")
        for change in _edited(step):
            _say(console, f"    change  {change.file}{_is_new(change)}")
        if copied := [each for each in step.changes if each.theirs]:
            added = [each.file for each in copied if each.before is None]
            gone = [each.file for each in copied if each.after is None]
            if added:
                _say(console, f"    add     {_listed(added)}")
            if gone:
                _say(console, f"    delete  {_listed(gone)}")
        for line in step.todo:
            _say(console, f"    to do   {line}", "yellow")
        for line in step.blocked:
            _say(console, f"    first   {line}", "red")


def _edited(step: Step) -> list[Change]:
    return [change for change in step.changes if not change.theirs]


def _is_new(change: Change) -> str:
    if change.after is None:
        return " (deleted)"
    return " (new)" if change.before is None else ""


def _listed(files: list[str]) -> str:
    if len(files) <= 6:
        return ", ".join(files)
    return f"{', '.join(files[:4])} and {len(files) - 4} more files of the kit"


def _print_skipped(console: Console, skipped: list[Skipped]) -> None:
    listed = [each for each in skipped if each.file.endswith((".ts", ".tsx"))]
    if listed:
        names = ", ".join(f"{each.file} ({each.why})" for each in listed[:8])
        more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
        _say(console, f"\nNot looked into: {names}{more}")


def _print_diffs(console: Console, plan: Plan, *, full: bool) -> None:
    """One unified diff per step; files of the kit only by name, unless in full."""
    for step in plan.steps:
        shown = list(step.changes) if full else _edited(step)
        if not shown:
            continue
        _say(console, f"\n{step.name}: {step.title}", "bold")
        for change in shown:
            for line in change.diff().splitlines():
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
                _say(console, line, style)
    hidden = [c for step in plan.steps for c in step.changes if c.theirs]
    if hidden and not full:
        _say(console, f"\n{len(hidden)} files of the kit are not shown: --full does.")


def _print_types(
    console: Console,
    before: TypeErrors,
    after: TypeErrors,
    written: Written,
    *,
    checked: bool,
) -> int:
    for each in after.unchecked:
        _say(console, f"Types were not checked in {each}.", "yellow")
    if not checked:
        _say(console, "Types were not checked: TypeScript is not installed there.")
        return 0
    new = after.new_since(before)
    missing = [each for each in new if _is_to_install(each)]
    worse = [each for each in new if each not in missing]
    if missing:
        _say(
            console,
            f"{len(missing)} modules of new packages are not installed yet: install "
            "them, and check types again.",
            "yellow",
        )
    if worse:
        _say(console, f"The type checker finds {len(worse)} more errors:", "red")
        for each in worse[:20]:
            _say(console, f"  {each}", "red")
        _say(
            console,
            f"Mend them on {written.branch}, or go back: git switch {written.was}",
        )
        return 1
    if not after.unchecked:
        total = sum(after.errors.values())
        _say(
            console, f"The type checker finds no new errors ({total} in all).", "green"
        )
    return 0


def _is_to_install(error: str) -> bool:
    found = re.search(r"TS2307: Cannot find module '([^']+)'", error)
    return found is not None and any(
        found[1] == name or found[1].startswith(f"{name}/")
        for name in needed_packages()
    )


def _say(console: Console, text: str, style: str | None = None) -> None:
    # As it is: a diff is there to be copied.
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
