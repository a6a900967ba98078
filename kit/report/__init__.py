"""One self-contained HTML page of a tour: for a team that decides about a migration.

Verdict and failures first, then what was run, the steps of the guide to be signed off,
each with its change and its checks, pictures, open questions, and the notebooks as
they ran. Reads executed notebooks and writes files; it runs nothing. The page needs no
network, no script and no kernel.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jinja2
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

from kit.checks import Check
from kit.guide import STEPS, Step
from kit.report.bench import Bench, read_bench
from kit.report.executed import Change, Executed, as_html, freeze, read
from kit.report.junit import write_junit
from kit.report.run import NotebookRun
from kit.widget.static import code_to_html

__all__ = [
    "Bench",
    "Executed",
    "NotebookRun",
    "freeze",
    "read",
    "read_bench",
    "write_junit",
    "write_report",
]

REPORTED_PACKAGES = (
    "convex-streaming-kit",
    "convex",
    "anthropic",
    "openai",
    "jupyterlab",
    "ipywidgets",
    "papermill",
)


@dataclass(frozen=True, slots=True)
class _StepShown:
    """A step of the guide, with all that the notebooks show of it."""

    step: Step
    number: int
    changes: list[Change]
    checks: list[tuple[NotebookRun, Check]]

    @property
    def state(self) -> str:
        if not self.checks and not self.changes:
            return "not rehearsed"
        if any(not check.held for _, check in self.checks):
            return "broken"
        return "held"

    @property
    def summary(self) -> str:
        if self.state == "not rehearsed":
            return "not rehearsed in this run"
        held = sum(check.held for _, check in self.checks)
        if not self.checks:
            return "the change is shown, nothing is checked"
        return f"{held} of {len(self.checks)} checks held"


def write_report(
    path: Path,
    runs: Sequence[NotebookRun],
    settings: Mapping[str, object],
    open_questions: Sequence[str] = (),
    bench: Bench | None = None,
) -> None:
    """Write the report of `runs` to `path`; `settings` says what was run against.

    `open_questions` are those of the whole run, beside the notebooks' own; `bench` are
    results to go with it.
    """
    checks = [check for run in runs for check in run.checks]
    passed = bool(runs) and all(run.passed for run in runs)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        verdict="Every check held" if passed else "Some checks failed",
        passed=passed,
        held=sum(check.held for check in checks),
        total=len(checks),
        seconds=f"{sum(run.seconds for run in runs):.0f}",
        facts=_facts(settings),
        runs=runs,
        steps=_steps(runs),
        other=[(run, [c for c in run.checks if c.step is None]) for run in runs],
        open_questions=[(None, question) for question in open_questions]
        + [(run, q) for run in runs for q in run.shown.open_questions],
        exhibits=[(run, e) for run in runs for e in run.shown.exhibits],
        bench=bench,
        highlighted=lambda change: Markup(code_to_html(change.text, change.language)),
        body=lambda run: Markup(as_html(run.executed)),
        code_css=HtmlFormatter(style="default").get_style_defs(".highlight"),
    )
    path.write_text(page, encoding="utf-8")


def _steps(runs: Sequence[NotebookRun]) -> list[_StepShown]:
    return [
        _StepShown(
            step,
            number,
            [c for run in runs for c in run.shown.changes if c.step == step.name],
            [(run, c) for run in runs for c in run.checks if c.step == step.name],
        )
        for number, step in enumerate(STEPS, start=1)
    ]


def _facts(settings: Mapping[str, object]) -> dict[str, str]:
    packages = ", ".join(f"{name} {version(name)}" for name in REPORTED_PACKAGES)
    return {
        "Run at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **{name: str(value) for name, value in settings.items()},
        "Commit": _commit(Path(__file__).parent) or "not a checkout",
        "Python": f"{platform.python_version()} on {platform.system()}",
        "Packages": packages,
    }


def _commit(folder: Path) -> str | None:
    """The kit's commit; None where it is not in a checkout, or there is no git."""
    git = ("git", "-C", str(folder))
    try:
        head = _output(*git, "rev-parse", "--short=12", "HEAD")
        changed = _output(*git, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}, with uncommitted changes" if changed else head


def _output(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
