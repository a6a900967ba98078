"""What an executed notebook shows: read back from its outputs.

`read` collects what the kit's own displays carry beside their text: checks, changes,
open questions, pictures. `freeze` makes the notebook readable where no widget is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

from kit.checks import CHECKS_MIME, Check
from kit.show import CHANGE_MIME, EXHIBIT_MIME

__all__ = ["Change", "Executed", "Exhibit", "as_html", "freeze", "read"]

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

DISPLAY_PRIORITY = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "text/markdown",
    "text/plain",
]


@dataclass(frozen=True, slots=True)
class Change:
    """What a step of the guide changes: a diff, or new source."""

    step: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Something to look at, as HTML that stands by itself."""

    caption: str
    html: str


@dataclass(slots=True)
class Executed:
    """What one executed notebook says."""

    title: str = ""
    checks: list[Check] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    open_questions: list[str] = field(default_factory=list)
    cells: dict[int, str] = field(default_factory=dict)
    """The id of each code cell by its execution count."""


def read(path: Path) -> Executed:
    """Read the executed notebook at `path`.

    Of checks that were shown more than once under a title, the last ones count.
    """
    notebook = nbformat.read(path, as_version=4)
    shown = Executed(title=_title(notebook) or path.stem)
    checks: dict[str, dict[str, Any]] = {}
    for cell in notebook.cells:
        if count := cell.get("execution_count"):
            shown.cells[count] = cell.id
        for data in _outputs(cell):
            if found := data.get(CHECKS_MIME):
                checks[found["title"]] = found
            if found := data.get(CHANGE_MIME):
                shown.changes.append(Change(**found))
            if found := data.get(EXHIBIT_MIME):
                html = data.get("text/html") or data.get("image/svg+xml", "")
                shown.exhibits.append(Exhibit(found["caption"], html))
    for table in checks.values():
        shown.checks += [Check(**check) for check in table["checks"]]
        shown.open_questions += table.get("openQuestions", [])
    return shown


def _title(notebook: Any) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            title: str = cell.source.splitlines()[0].removeprefix("# ")
            return title
    return ""


def _outputs(cell: Any) -> Iterator[dict[str, Any]]:
    for output in cell.get("outputs", []):
        yield output.get("data", {})


def freeze(path: Path) -> None:
    """Take widgets out of the executed notebook at `path`; their static face stays.

    Without a kernel a widget is an error message in JupyterLab, and nothing on a code
    host; its HTML is hidden behind it in both.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for data in _outputs(cell):
            if data.pop(WIDGET_MIME, None) and "text/html" in data:
                data[EXHIBIT_MIME] = {"caption": "The chat, as it ended"}
    nbformat.write(notebook, path)


def as_html(path: Path) -> str:
    """The executed notebook as an HTML fragment, without scripts.

    Its cells have the ids that `Executed.cells` gives, behind `cell-id=`.
    """
    config = Config(
        NbConvertBase={"display_data_priority": DISPLAY_PRIORITY},
        TemplateExporter={"exclude_input_prompt": True, "exclude_output_prompt": True},
    )
    exporter = HTMLExporter(config=config, template_name="basic")
    fragment: str
    fragment, _ = exporter.from_filename(str(path))
    return fragment
