"""The command `kit doctor`: a diagnosis in the terminal, or as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kit import __version__
from kit.doctor.case import DEFAULT_TIMEOUT
from kit.doctor.examination import diagnose
from kit.doctor.findings import SUBJECTS, Diagnosis, Finding, State

__all__ = ["doctor"]

_STYLES: dict[State, str] = {"ok": "green", "problem": "red", "skipped": "dim"}


def doctor(
    *,
    env_file: Path | None = None,
    deployment_url: str | None = None,
    app_url: str | None = None,
    task: str | None = None,
    provider: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    format: Literal["table", "json"] = "table",
) -> int:
    """Diagnose and print; 0 if there is no problem, else 1.

    Raises ConfigError for inputs that make no sense.
    """
    diagnosis = asyncio.run(
        diagnose(
            env_file=env_file,
            deployment_url=deployment_url,
            app_url=app_url,
            task=task,
            provider=provider,
            timeout=timeout,
        )
    )
    if format == "json":
        data = {"kit": __version__, **diagnosis.as_data()}
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(Console(), diagnosis)
    return 0 if diagnosis.well else 1


def _print(console: Console, diagnosis: Diagnosis) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("Looked at", no_wrap=True)
    table.add_column("Seen", overflow="fold")
    for finding in diagnosis:
        style = _STYLES[finding.state]
        table.add_row(
            Text(finding.mark, style), SUBJECTS[finding.subject], _seen(finding)
        )
    console.print(table)
    for finding in diagnosis.problems:
        name = f"{SUBJECTS[finding.subject]}: {finding.title}"
        console.print(f"\n{name}", style="bold", markup=False, highlight=False)
        lines = {"Users see": finding.effect, "To do": finding.remedy}
        if finding.notebook:
            lines["Shown in"] = f"notebook {finding.notebook}"
        for label, text in lines.items():
            # Lines are left as they are: a command is there to be copied.
            console.print(
                f"  {label:9} {text}", markup=False, highlight=False, soft_wrap=True
            )
    console.print(f"\n{diagnosis.verdict}", markup=False, highlight=False)


def _seen(finding: Finding) -> Text:
    seen = Text(finding.seen, "" if finding.state == "problem" else "dim")
    if finding.state == "problem":
        seen = Text(f"{finding.title}. ", "red") + seen
    if finding.place and finding.place not in finding.seen:
        seen += Text(f" ({finding.place})", "dim")
    return seen
