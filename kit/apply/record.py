"""What was changed, written down so that it can be taken back.

A file of the repository, committed with each step. So it goes wherever the change
goes: into clones, through squashed and rebased branches, past later commits. A note in
`.git` is in no clone, and trailers of commits are lost when a branch is squashed. Only
of files that git ignores, which no clone has either, the note is in `.git`.

A file that was added is noted by its digest; of a changed one, each hunk with the
lines around it. Of a settings file, only the lines that were changed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from kit.apply.steps import Change, Draft
from kit.errors import ConfigError

__all__ = ["LOCAL_RECORD", "RECORD", "add_record", "digest", "entry_of", "read_record"]

RECORD = ".convex-streaming-kit.json"
LOCAL_RECORD = "convex-streaming-kit.json"  # in .git
_ABOUT = "What `kit apply` changed. `kit apply --rollback` takes it back by this file."


def add_record(draft: Draft, step: str, changes: Iterable[Change]) -> None:
    """Note the changes of a step, but for those of ignored files."""
    changes = list(changes)
    ignored = draft.repository.ignored([change.file for change in changes])
    entries = read_record(draft.data(RECORD))
    entries += [entry_of(step, each) for each in changes if each.file not in ignored]
    if len(ignored) < len(changes):
        draft.write(RECORD, written(entries), theirs=True)


def written(entries: list[dict[str, Any]]) -> bytes:
    record = {"about": _ABOUT, "version": 1, "changes": entries}
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def read_record(data: bytes | None) -> list[dict[str, Any]]:
    """The entries of a record, oldest first. Raises ConfigError for a broken one."""
    if data is None:
        return []
    try:
        record = json.loads(data)
        if record["version"] != 1:
            raise ConfigError(
                f"{RECORD} was written by a newer kit. Update the kit, and try again."
            )
        return list(record["changes"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{RECORD} cannot be read. Restore it from git: git log -- {RECORD}"
        ) from None


def entry_of(step: str, change: Change) -> dict[str, Any]:
    """What is written down of one file's change."""
    assert change.after is not None
    entry = {"step": step, "file": change.file, "after": digest(change.after)}
    if change.before is None:
        return entry
    return {
        **entry,
        "before": digest(change.before),
        "hunks": list(_hunks(change)),
    }


def _hunks(change: Change) -> Iterable[dict[str, Any]]:
    before, after = _lines(change.before), _lines(change.after)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for group in matcher.get_grouped_opcodes(change.context):
        first, last = group[0], group[-1]
        yield {
            "line": first[3] + 1,
            "old": before[first[1] : last[2]],
            "new": after[first[3] : last[4]],
        }


def _lines(data: bytes | None) -> list[str]:
    return (data or b"").decode("utf-8").split("\n")


def digest(data: bytes) -> str:
    """Of the content, whatever line ends a checkout gives it."""
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()
