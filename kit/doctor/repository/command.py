"""The command `kit doctor --repo`: findings in the terminal, as JSON or as SARIF."""

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
from kit.doctor.repository.examination import examine_repository
from kit.doctor.repository.findings import Found, Review
from kit.doctor.repository.rules import Level
from kit.doctor.repository.sarif import as_sarif
from kit.repo import Settings

__all__ = ["doctor_repository"]

_STYLES: dict[Level, str] = {"error": "red", "warning": "yellow", "note": "dim"}


def doctor_repository(
    path: Path,
    *,
    settings: Settings,
    deployment_url: str | None = None,
    app_url: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    format: Literal["table", "json", "sarif"] = "table",
) -> int:
    """Examine and print; 0 if there is no error and no warning, else 1.

    Raises ConfigError for what is no repository, and inputs that make no sense.
    """
    review = asyncio.run(
        examine_repository(
            path,
            settings=settings,
            deployment_url=deployment_url,
            app_url=app_url,
            timeout=timeout,
        )
    )
    if format == "table":
        _print(Console(), review)
    else:
        data = as_sarif(review)
        if format == "json":
            data = {"kit": __version__, **review.as_data()}
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    return 0 if review.well else 1


def _print(console: Console, review: Review) -> None:
    if len(review):
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        table.add_column("Where", overflow="fold")
        table.add_column("Seen", overflow="fold", ratio=1)
        for finding in review:
            style = _STYLES[finding.level]
            table.add_row(
                Text(finding.level, style), Text(finding.where), _seen(finding)
            )
        console.print(table)
    for code in dict.fromkeys(finding.code for finding in review):
        finding = review.of(code)[0]
        console.print(
            f"\n{finding.rule.title} ({code})",
            style="bold",
            markup=False,
            highlight=False,
        )
        lines = {"Users see": finding.rule.effect, "To do": finding.rule.remedy}
        if finding.rule.notebook:
            lines["Shown in"] = f"notebook {finding.rule.notebook}"
        for label, text in lines.items():
            _line(console, f"  {label:9} {text}")
    for text in review.unknown:
        _line(console, f"\nCould not tell: {text}")
    _line(console, f"\n{review.verdict}")


def _line(console: Console, text: str) -> None:
    # Lines are left as they are: a command is there to be copied.
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _seen(finding: Found) -> Text:
    title = Text(f"{finding.rule.title}. ", _STYLES[finding.level])
    return title + Text(finding.seen, "dim")
