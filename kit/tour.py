"""Run the notebooks as tests: papermill over each, results collected.

Holds how a notebook is executed and what came out of it; how that is written down is
in `kit.report`. A notebook passed when papermill ran every cell and every check in it
held: the saved metadata is not asked, since papermill marks a cell that timed out as
completed.
"""

from __future__ import annotations

import ast
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from kit.errors import ConfigError
from kit.report import (
    NotebookRun,
    freeze,
    read,
    read_bench,
    write_junit,
    write_report,
)

__all__ = [
    "find_notebooks",
    "notebooks_folder",
    "run_notebook",
    "tour",
]

CELL_TIMEOUT = 120  # seconds; the longest cell streams one reply

OnCell = Callable[[int, int], None]
"""Called with (cell number from 1, number of cells) when a cell starts."""


@dataclass(slots=True)
class _CellCounter:
    """Tells progress about each cell that starts; remembers the last one."""

    total: int
    progress: OnCell
    current: int = field(default=0)
    current_id: str = field(default="")

    def __call__(self, cell: Any, cell_index: int) -> None:
        self.current, self.current_id = cell_index + 1, cell.id
        self.progress(self.current, self.total)


def notebooks_folder() -> Path:
    """The notebooks: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent
    for folder in (package.parent / "notebooks", package / "_notebooks"):
        if folder.is_dir():
            return folder
    raise ConfigError(
        "The notebooks are missing from this installation. Run from a checkout of the "
        "project, or install the package again."
    )


def find_notebooks(only: Sequence[str] = ()) -> list[Path]:
    """The notebooks in reading order; with `only`, those whose name starts so.

    Raises ConfigError for a name that no notebook has.
    """
    notebooks = sorted(notebooks_folder().glob("[0-9]*.ipynb"))
    if not only:
        return notebooks
    chosen = [path for path in notebooks if path.stem.startswith(tuple(only))]
    unknown = [
        name for name in only if not any(path.stem.startswith(name) for path in chosen)
    ]
    if unknown:
        known = ", ".join(path.stem for path in notebooks)
        raise ConfigError(
            f"No notebook is called {', '.join(unknown)}. There are: {known}"
        )
    return chosen


def check_parameters(path: Path, parameters: Mapping[str, object]) -> None:
    """Raise ConfigError for a parameter that the notebook does not have.

    papermill itself only logs it and runs with the default.
    """
    known = _parameters_of(path)
    if not known:
        raise ConfigError(f"{path.name} has no cell tagged 'parameters'.")
    for name in parameters:
        if name not in known:
            raise ConfigError(
                f"{path.name} has no parameter {name!r}. It has: {', '.join(known)}"
            )


def _parameters_of(path: Path) -> list[str]:
    """The names that the cell tagged `parameters` assigns; none without such a cell.

    papermill's own reader overlooks an annotation with a bar in it: `str | None`.
    """
    notebook = nbformat.read(path, as_version=4)
    names: list[str] = []
    for cell in notebook.cells:
        if "parameters" not in cell.metadata.get("tags", []):
            continue
        try:
            assignments = ast.parse(cell.source).body
        except SyntaxError as error:
            raise ConfigError(
                f"{path.name}: the cell tagged 'parameters' cannot be read: {error}."
            ) from None
        for node in assignments:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def run_notebook(
    path: Path,
    out: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    progress: OnCell = lambda cell, total: None,
    cell_timeout: int = CELL_TIMEOUT,
) -> NotebookRun:
    """Execute one notebook into `out` and read back what it checked.

    The executed copy is written also when a cell fails, and holds no widgets: it is
    for readers. Raises ConfigError for parameters that the notebook lacks; a failing
    cell is in the result, not raised.
    """
    import papermill
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )
    from papermill.exceptions import PapermillExecutionError

    parameters = dict(parameters or {})
    check_parameters(path, parameters)
    # What it warns of is checked; it overlooks parameters, see `_parameters_of`.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    executed = out / path.name
    # papermill adds a cell of its own when there are parameters to inject.
    cells = len(nbformat.read(path, as_version=4).cells) + bool(parameters)
    counter = _CellCounter(cells, progress)
    started = time.monotonic()
    error: str | None = None
    try:
        papermill.execute_notebook(
            path,
            executed,
            parameters,
            kernel_name="python3",
            cwd=path.parent,
            progress_bar=False,
            execution_timeout=cell_timeout,
            on_cell_start=counter,
            extra_arguments=["--log-level=ERROR"],  # each kernel warns of plain TCP
        )
    except PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except CellTimeoutError:
        error = f"The cell did not end within {cell_timeout} s."
    except (CellExecutionError, DeadKernelError) as failure:
        error = str(failure)
    freeze(executed)
    return NotebookRun(
        name=path.stem,
        executed=executed,
        shown=read(executed),
        seconds=time.monotonic() - started,
        error=error,
        failed_cell=counter.current if error else None,
        failed_cell_id=counter.current_id if error else None,
    )


def tour(
    *,
    out: Path | None = None,
    only: Sequence[str] = (),
    parameters: Mapping[str, object] | None = None,
    bench: Path | None = None,
) -> int:
    """Run the notebooks one after the other, report, and say if all of it held.

    Writes the executed notebooks, `report.html` and `junit.xml` into `out` (default: a
    new folder under `runs/`). Returns 0 only if every notebook ran and every check
    held, else 1. `bench` is a folder with the results of a bench, for the report.
    Raises ConfigError, before anything runs, for what cannot be done.
    """
    notebooks = find_notebooks(only)
    parameters = dict(parameters or {})
    for path in notebooks:
        check_parameters(path, parameters)
    measured = None if bench is None else read_bench(bench)
    out = _output_folder(out)
    console = Console()
    runs: list[NotebookRun] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[cell]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        for path in notebooks:
            task = bar.add_task(path.stem, cell="starting")

            def show(cell: int, total: int, task: TaskID = task) -> None:
                bar.update(
                    task, completed=cell - 1, total=total, cell=f"cell {cell}/{total}"
                )

            run = run_notebook(path, out, parameters, progress=show)
            bar.update(
                task,
                total=1,
                completed=1,
                cell="[green]passed[/]" if run.passed else "[red]failed[/]",
            )
            bar.stop_task(task)
            runs.append(run)
    report = out / "report.html"
    questions = _open_questions(parameters)
    write_report(report, runs, _settings(parameters), questions, measured)
    write_junit(out / "junit.xml", runs)
    _print_summary(console, runs, report)
    return 0 if all(run.passed for run in runs) else 1


def _output_folder(out: Path | None) -> Path:
    folder = out or Path("runs") / datetime.now().astimezone().strftime(
        "%Y-%m-%d-%H%M%S"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot write results to {folder}: {error.strerror}. "
            "Choose another folder with --out."
        ) from None
    return folder.resolve()


def _settings(parameters: Mapping[str, object]) -> dict[str, object]:
    return {
        "Deployment": parameters.get("deployment_url") or "embedded, one per notebook",
        "Provider": parameters.get("provider", "scripted"),
    }


def _open_questions(parameters: Mapping[str, object]) -> list[str]:
    """What a run against stand-ins cannot tell."""
    questions = []
    if not parameters.get("deployment_url"):
        questions.append(
            "What does the way to your own Convex deployment add? "
            "kit tour --deployment-url URL runs the same there."
        )
    if parameters.get("provider", "scripted") == "scripted":
        questions.append(
            "How do your models' own delays, limits and refusals show? "
            "kit tour --provider real asks them."
        )
    return questions


def _print_summary(console: Console, runs: Sequence[NotebookRun], report: Path) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("Expected behaviour", ratio=1)
    table.add_column("Evidence", ratio=1, style="dim")
    for run in runs:
        table.add_row(_mark(run.passed), f"[bold]{escape(run.title)}[/]", "")
        for check in run.checks:
            table.add_row(
                _mark(check.held), f"  {escape(check.expected)}", escape(check.evidence)
            )
        if run.error:
            where = f"  cell {run.failed_cell} of {run.executed.name}"
            table.add_row(_mark(False), where, escape(run.error))
    console.print(table)
    checks = [check for run in runs for check in run.checks]
    held = sum(check.held for check in checks)
    console.print(
        f"\n{held} of {len(checks)} expected behaviours held in {len(runs)} notebooks, "
        f"{sum(run.seconds for run in runs):.0f} s."
    )
    console.print(f"Report: {report}", soft_wrap=True)


def _mark(good: bool) -> str:
    return "[green]✓[/]" if good else "[red]✗[/]"
