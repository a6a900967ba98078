"""What was found in a repository: findings with file and line, and all of them.

Holds the data and how it is shown: text, HTML in a notebook, plain data for JSON.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.doctor.repository.rules import Level, Rule, rule_of
from kit.doctor.tables import html_aside, html_path, html_table, html_text
from kit.repo import Place

__all__ = ["Found", "Review", "State", "found"]

State = Literal["before", "option-1", "option-2", "unclear"]

_STATES: dict[State, str] = {
    "before": "as before the migration",
    "option-1": "at Option 1",
    "option-2": "at Option 2",
    "unclear": "not recognised",
}
_LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_COLOURS: dict[Level, str] = {"error": "#cf222e", "warning": "#9a6700", "note": "#777"}


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. `line` is None for a file that is not there, or as a whole.

    `seen` is the evidence, without any key. `mark` tells two findings of a rule in one
    file apart when lines have moved.
    """

    code: str
    level: Level
    file: str
    line: int | None
    seen: str
    mark: str = ""

    @property
    def rule(self) -> Rule:
        return rule_of(self.code)

    @property
    def where(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    @property
    def fingerprint(self) -> str:
        """The same while the code around it moves."""
        told = "\0".join((self.code, self.file, self.mark or self.seen))
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def as_data(self) -> dict[str, Any]:
        return {
            "id": self.code,
            "level": self.level,
            "file": self.file,
            "line": self.line,
            "title": self.rule.title,
            "seen": self.seen,
            "effect": self.rule.effect,
            "remedy": self.rule.remedy,
            "notebook": self.rule.notebook,
        }


def found(code: str, place: Place, seen: str, *, level: Level | None = None) -> Found:
    """A finding at a place in the code, at its rule's level unless another is given."""
    return Found(code, level or rule_of(code).level, place.file, place.line, seen)


class Review(Sequence[Found]):
    """All findings of a repository: errors first, then by file and line.

    `state`: how far the migration is, by the code. `well`: there is no error and no
    warning. `unknown`: what could not be told, and what would help.
    """

    def __init__(
        self,
        findings: Sequence[Found],
        *,
        root: str,
        state: State = "unclear",
        unknown: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.state = state
        self.unknown = tuple(dict.fromkeys(unknown))
        self._findings = sorted(set(findings), key=_order)

    @property
    def well(self) -> bool:
        return all(finding.level == "note" for finding in self)

    @property
    def codes(self) -> set[str]:
        return {finding.code for finding in self}

    def of(self, code: str) -> list[Found]:
        """The findings of one rule."""
        return [finding for finding in self if finding.code == code]

    @property
    def verdict(self) -> str:
        counts = [
            f"{count} {level}{'s'[: count != 1]}"
            for level in _LEVELS
            if (count := sum(finding.level == level for finding in self))
        ]
        return f"{', '.join(counts) or 'Nothing found'}. The code is {self.stage}."

    @property
    def stage(self) -> str:
        """How far the migration is, in words."""
        return _STATES[self.state]

    def as_data(self) -> dict[str, Any]:
        """All of it as plain data, ready for JSON."""
        return {
            "repository": self.root,
            "state": self.state,
            "well": self.well,
            "verdict": self.verdict,
            "findings": [finding.as_data() for finding in self],
            "couldNotTell": list(self.unknown),
        }

    # --- as a sequence ----------------------------------------------------------

    def __len__(self) -> int:
        return len(self._findings)

    def __getitem__(self, index: Any) -> Any:
        return self._findings[index]

    def __iter__(self) -> Iterator[Found]:
        return iter(self._findings)

    # --- how it is shown --------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Review: {self.verdict}>"

    def __str__(self) -> str:
        lines = [self.verdict]
        for finding in self:
            rule = finding.rule
            lines.append(
                f"{finding.level} {finding.where}: {rule.title}. {finding.seen}"
            )
            lines.append(f"    Users see: {rule.effect}")
            lines.append(f"    To do: {rule.remedy}")
        lines += [f"Could not tell: {text}" for text in self.unknown]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._as_html()}

    def _as_html(self) -> str:
        parts = [f"<p><b>{html.escape(self.verdict)}</b></p>"]
        if self._findings:
            heads = ["", "Where", "Seen", "What users see", "What to do"]
            parts.append(html_table(heads, [_cells(finding) for finding in self]))
        if self.unknown:
            items = "".join(f"<li>{html_text(text)}</li>" for text in self.unknown)
            summary = "What could not be told"
            parts.append(
                f"<details><summary>{summary}</summary><ul>{items}</ul></details>"
            )
        return "".join(parts)


def _order(finding: Found) -> tuple[int, str, int, str, str]:
    level = _LEVELS.index(finding.level)
    return level, finding.file, finding.line or 0, finding.code, finding.seen


def _cells(finding: Found) -> list[str]:
    rule = finding.rule
    level = f'<b style="color:{_COLOURS[finding.level]}">{finding.level}</b>'
    remedy = html_text(rule.remedy)
    if rule.notebook:
        remedy += f"<br>{html_aside(f'Shown in {rule.notebook}')}"
    title = html_text(rule.title[:1].upper() + rule.title[1:])
    seen = f"<b>{title}.</b> {html_text(finding.seen)}"
    where = html_path(finding.where)
    return [level, where, seen, html_text(rule.effect), remedy]
