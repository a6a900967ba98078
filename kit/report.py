"""One self-contained HTML page of a tour: verdict, checks with evidence, notebooks.

Reads executed notebooks and writes a file; it runs nothing. The page needs no
network, no script and no kernel: where a cell shows a widget, its static fallback
stands in the report.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jinja2
import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from kit.checks import Check

__all__ = ["NotebookRun", "write_report"]

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

# The widget view comes last: its scripts are not in the report, its fallback is.
DISPLAY_PRIORITY = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "text/markdown",
    "text/plain",
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
class NotebookRun:
    """What one executed notebook showed; `error` is that of the failing cell."""

    name: str
    title: str
    executed: Path
    checks: list[Check]
    seconds: float
    error: str | None = None
    failed_cell: int | None = None

    @property
    def passed(self) -> bool:
        return self.error is None and all(check.held for check in self.checks)


def write_report(
    path: Path, runs: Sequence[NotebookRun], settings: Mapping[str, object]
) -> None:
    """Write the report of `runs` to `path`; `settings` says what was run against."""
    checks = [check for run in runs for check in run.checks]
    passed = bool(runs) and all(run.passed for run in runs)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        verdict="Every check held" if passed else "Some checks failed",
        passed=passed,
        held=sum(check.held for check in checks),
        total=len(checks),
        seconds=f"{sum(run.seconds for run in runs):.0f}",
        facts=_facts(settings),
        runs=[
            {**asdict(run), "passed": run.passed, "body": _body(run.executed)}
            for run in runs
        ],
        code_css=HtmlFormatter(style="default").get_style_defs(".highlight"),
    )
    path.write_text(page, encoding="utf-8")


def _facts(settings: Mapping[str, object]) -> dict[str, str]:
    packages = ", ".join(f"{name} {version(name)}" for name in REPORTED_PACKAGES)
    return {
        "Run at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **{name: str(value) for name, value in settings.items()},
        "Python": f"{platform.python_version()} on {platform.system()}",
        "Packages": packages,
    }


def _body(executed: Path) -> str:
    """The executed notebook as an HTML fragment, without scripts."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_MIME, None)
    config = Config(
        NbConvertBase={"display_data_priority": DISPLAY_PRIORITY},
        TemplateExporter={"exclude_input_prompt": True, "exclude_output_prompt": True},
    )
    exporter = HTMLExporter(config=config, template_name="basic")
    fragment: str
    fragment, _ = exporter.from_notebook_node(notebook)
    return fragment
