"""What was found: one finding per thing looked at, and all of them together.

Holds the data and how it is shown: text, HTML in a notebook, plain data for JSON.
Looks at nothing itself.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.doctor.faults import FAULTS
from kit.doctor.tables import html_aside, html_table, html_text

__all__ = [
    "SUBJECTS",
    "Diagnosis",
    "Finding",
    "State",
    "Subject",
    "ok",
    "problem",
    "skipped",
]

State = Literal["ok", "problem", "skipped"]

Subject = Literal[
    "flag-file",
    "deployment-url",
    "deployment",
    "subscription",
    "sign-in",
    "functions",
    "contract",
    "application",
    "application-settings",
    "convex-client",
    "packages",
    "task",
    "newest-reply",
    "provider-key",
]

# In the order of the guide's list, what others rest on first.
SUBJECTS: dict[Subject, str] = {
    "flag-file": "The flag",
    "deployment-url": "The deployment's URL",
    "deployment": "Who answers there",
    "subscription": "A subscription",
    "sign-in": "Who may call",
    "functions": "The kit's functions",
    "contract": "Their version",
    "application": "The application",
    "application-settings": "Its settings",
    "convex-client": "The Convex client",
    "packages": "Installed packages",
    "task": "The task",
    "newest-reply": "The newest reply",
    "provider-key": "The provider's key",
}

_MARKS: dict[State, str] = {"ok": "✓", "problem": "✗", "skipped": "-"}
_COLOURS: dict[State, str] = {"ok": "#1a7f37", "problem": "#cf222e", "skipped": "#888"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one thing.

    `place`: the file, URL or id that was looked at. `seen`: the evidence; of something
    that was not looked at, why not. A problem has a `fault`, a code of `FAULTS`, and
    may have `advice` of its own beside the fault's remedy.
    """

    subject: Subject
    state: State
    seen: str
    place: str = ""
    fault: str | None = None
    advice: str = ""

    @property
    def title(self) -> str:
        """What it comes to in a few words."""
        if self.fault is None:
            return "well" if self.state == "ok" else "not looked at"
        return FAULTS[self.fault].title

    @property
    def effect(self) -> str:
        """What users of the application see of it; empty without a fault."""
        return "" if self.fault is None else FAULTS[self.fault].effect

    @property
    def remedy(self) -> str:
        """What to do about it; empty without a fault."""
        if self.fault is None:
            return ""
        return " ".join(filter(None, (self.advice, FAULTS[self.fault].remedy)))

    @property
    def notebook(self) -> str:
        """The notebook that shows this fault; empty if none does."""
        return "" if self.fault is None else FAULTS[self.fault].notebook

    @property
    def mark(self) -> str:
        return _MARKS[self.state]

    def as_data(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "state": self.state,
            "place": self.place,
            "seen": self.seen,
            "fault": self.fault,
            "title": self.title,
            "effect": self.effect,
            "remedy": self.remedy,
            "notebook": self.notebook,
        }


def ok(subject: Subject, seen: str, place: str = "") -> Finding:
    """For what is as it should be."""
    return Finding(subject, "ok", seen, place)


def skipped(subject: Subject, why: str, place: str = "") -> Finding:
    """For what could not be looked at, or needed not."""
    return Finding(subject, "skipped", why, place)


def problem(
    subject: Subject, fault: str, seen: str, place: str = "", advice: str = ""
) -> Finding:
    """For a fault, by its code in `FAULTS`."""
    return Finding(subject, "problem", seen, place, fault, advice)


class Diagnosis(Sequence[Finding]):
    """All findings, in the order of the guide's list.

    `faults` are the codes of the problems, `well` is whether there are none. Shows as
    a table, the problems first.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        order = list(SUBJECTS)
        self._findings = sorted(findings, key=lambda f: order.index(f.subject))

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self if finding.state == "problem"]

    @property
    def faults(self) -> list[str]:
        return [finding.fault for finding in self if finding.fault is not None]

    @property
    def well(self) -> bool:
        return not self.problems

    def of(self, subject: Subject) -> list[Finding]:
        """The findings about one thing: most often one."""
        return [finding for finding in self if finding.subject == subject]

    @property
    def verdict(self) -> str:
        skipped = sum(finding.state == "skipped" for finding in self)
        count = len(self.problems)
        found = f"{count} problem{'s'[: count != 1]}" if count else "No problem"
        looked = f"{len(self) - skipped} things looked at"
        rest = f", {skipped} not looked at" if skipped else ""
        return f"{found}: {looked}{rest}."

    def as_data(self) -> dict[str, Any]:
        """All of it as plain data, ready for JSON."""
        return {
            "well": self.well,
            "verdict": self.verdict,
            "findings": [finding.as_data() for finding in self],
        }

    # --- as a sequence ----------------------------------------------------------

    def __len__(self) -> int:
        return len(self._findings)

    def __getitem__(self, index: Any) -> Any:
        return self._findings[index]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    # --- how it is shown --------------------------------------------------------

    def __repr__(self) -> str:
        found = ", ".join(self.faults) or "well"
        return f"<Diagnosis: {found}>"

    def __str__(self) -> str:
        lines = [self.verdict]
        for finding in [*self.problems, *self._others()]:
            lines.append(f"{finding.mark} {_named(finding)}: {_told(finding)}")
            if finding.state == "problem":
                lines.append(f"    Users see: {finding.effect}")
                lines.append(f"    To do: {finding.remedy}")
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._as_html()}

    def _as_html(self) -> str:
        parts = [f"<p><b>{html.escape(self.verdict)}</b></p>"]
        if self.problems:
            heads = ["", "Looked at", "Seen", "What users see", "What to do"]
            rows = [
                [*_html_cells(f), html_text(f.effect), _html_remedy(f)]
                for f in self.problems
            ]
            parts.append(html_table(heads, rows))
        if others := self._others():
            heads = ["", "Looked at", "Seen"]
            table = html_table(heads, [_html_cells(f) for f in others])
            if self.problems:  # folded: it is only there to be checked
                summary = "What else was looked at"
                table = f"<details><summary>{summary}</summary>{table}</details>"
            parts.append(table)
        return "".join(parts)

    def _others(self) -> list[Finding]:
        return [finding for finding in self if finding.state != "problem"]


def _named(finding: Finding) -> str:
    name = SUBJECTS[finding.subject]
    return f"{name} ({finding.place})" if finding.place else name


def _told(finding: Finding) -> str:
    """The finding's title and evidence in one sentence, without saying "well"."""
    if finding.state == "ok":
        return finding.seen
    return f"{finding.title}. {finding.seen}" if finding.seen else finding.title


# --- HTML -------------------------------------------------------------------------


def _html_cells(finding: Finding) -> list[str]:
    """The mark, what was looked at, and what was seen."""
    mark = f'<b style="color:{_COLOURS[finding.state]}">{finding.mark}</b>'
    name = SUBJECTS[finding.subject]
    name = f'<span style="white-space:nowrap">{html.escape(name)}</span>'
    if finding.place:
        name += f"<br>{html_aside(finding.place)}"
    seen = html_text(finding.seen)
    if finding.state == "ok":
        return [mark, name, seen]
    title = html.escape(finding.title[:1].upper() + finding.title[1:])
    return [mark, name, f"<b>{title}.</b> {seen}"]


def _html_remedy(finding: Finding) -> str:
    remedy = html_text(finding.remedy)
    if finding.notebook:
        remedy += f"<br>{html_aside(f'Shown in {finding.notebook}')}"
    return remedy
