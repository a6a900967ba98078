"""The guide's rollback: what was changed is put back, and nothing else.

Goes by the record, newest change first, so later commits may have moved lines or
changed others. A hunk whose lines are no longer as they were written is named, and
then nothing at all is written.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from kit.apply.record import LOCAL_RECORD, RECORD, digest, read_record
from kit.apply.steps import Draft, Plan, Step, StepNotes
from kit.errors import ConfigError
from kit.repo.files import Repository

__all__ = ["plan_rollback"]


def plan_rollback(repository: Repository) -> Plan:
    """What taking back would change, by step. Raises ConfigError without a record."""
    draft = Draft(repository)
    entries = read_record(draft.data(RECORD))
    local = read_record(_local(repository))
    if not entries and not local:
        raise ConfigError(
            f"There is nothing to roll back in {repository.root}: it has no {RECORD}. "
            "It is on the branch that `kit apply --write` made, and on those that "
            "have merged it."
        )
    steps = []
    listed = [*reversed(entries), *reversed(local)]
    for name, group in groupby(listed, key=lambda entry: str(entry["step"])):
        notes = StepNotes()
        for entry in group:
            _take_back(draft, entry, notes)
        steps.append(_step(draft, f"Back: {name}", notes))
    if entries:
        draft.write(RECORD, None, theirs=True)
        steps.append(_step(draft, "Back: record", StepNotes()))
    return Plan(repository, "Rollback", "kit/convex-rollback", tuple(steps))


def _step(draft: Draft, name: str, notes: StepNotes) -> Step:
    return Step(
        name=name,
        title="Put back what was there",
        changes=draft.taken_changes(),
        found=tuple(notes.found),
        todo=tuple(notes.todo),
        blocked=tuple(notes.blocked),
    )


def _local(repository: Repository) -> bytes | None:
    if repository.git is None:
        return None
    path = repository.root / repository.git.text(
        "rev-parse", "--git-path", LOCAL_RECORD
    )
    return path.read_bytes() if path.is_file() else None


def _take_back(draft: Draft, entry: dict[str, Any], notes: StepNotes) -> None:
    file = draft.repository.inside(str(entry["file"]), "The record")
    data = draft.data(file)
    if "hunks" not in entry:
        if data is None:
            notes.found.append(f"{file} is gone already.")
        elif digest(data) == entry["after"]:
            draft.write(file, None, theirs=True)
        else:
            notes.blocked.append(
                f"{file} was added by the change and has been edited since. Save what "
                "you need of it and delete it, then roll back again."
            )
        return
    if data is None:
        notes.blocked.append(
            f"{file} was changed and is gone. Restore it (git log -- {file}), then "
            "roll back again."
        )
        return
    lines = data.decode("utf-8").split("\n")
    # From the last to the first, so that the lines above stay where they are.
    for hunk in reversed(entry["hunks"]):
        found = _reverted(lines, hunk)
        if found is None:
            shown = "\n".join(f"    {line}" for line in hunk["new"])
            notes.blocked.append(
                f"{file}: the change at line {hunk['line']} no longer fits; it was:\n"
                f"{shown}\n  Take it back by hand, or undo what changed it since."
            )
        else:
            lines = found
    restored = _exact("\n".join(lines).encode(), entry)
    context = 0 if file.rpartition("/")[2].startswith(".env") else 3
    if not notes.blocked:
        draft.write(file, restored, context=context)


def _exact(data: bytes, entry: dict[str, Any]) -> bytes:
    """The same with the line end at its end that there was before."""
    for candidate in (data, data.removesuffix(b"\n"), data + b"\n"):
        if digest(candidate) == entry["before"]:
            return candidate
    return data


def _reverted(lines: list[str], hunk: dict[str, Any]) -> list[str] | None:
    """The lines with one hunk taken back, None where it does not fit."""
    old, new, line = list(hunk["old"]), list(hunk["new"]), int(hunk["line"]) - 1
    while True:
        places = _places(lines, new)
        if len(places) == 1 or (places and len(new) == len(hunk["new"])):
            at = min(places, key=lambda place: abs(place - line))
            below = lines[at + len(new) :]
            return [*lines[:at], *_like(lines, old, is_end=not below), *below]
        if old and _places(lines, old) and not places and len(old) > 1:
            return lines  # taken back by hand
        # With less around it, as long as it is certain which place is meant.
        if old and new and old[0] == new[0]:
            old, new, line = old[1:], new[1:], line + 1
        elif old and new and old[-1] == new[-1]:
            old, new = old[:-1], new[:-1]
        else:
            return None


def _places(lines: list[str], wanted: list[str]) -> list[int]:
    stripped = [line.removesuffix("\r") for line in lines]
    plain = [line.removesuffix("\r") for line in wanted]
    if not plain:
        return []
    return [
        at
        for at in range(len(lines) - len(plain) + 1)
        if stripped[at : at + len(plain)] == plain
    ]


def _like(lines: list[str], old: list[str], *, is_end: bool) -> list[str]:
    """The old lines with the line ends that the file has now, if it has one kind.

    `is_end`: the last of them has no line end, it is what follows the file's last.
    """
    crlf = sum(line.endswith("\r") for line in lines)
    if 0 < crlf < len(lines) - 1:
        return old
    plain = [line.removesuffix("\r") for line in old]
    if crlf == 0:
        return plain
    last = plain[-1:] if is_end else []
    return [f"{line}\r" for line in plain[: len(plain) - len(last)]] + last
