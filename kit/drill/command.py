"""`kit drill`: `run_drill` with a bar, printed; results into a folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from kit.drill.history import RunSeen
from kit.drill.invariants import Violation
from kit.drill.result import make_folder
from kit.drill.runner import OnRun, run_drill

__all__ = ["drill"]


def drill(*, runs: int, seed: int, out: Path | None = None) -> int:
    """Carry out a drill, print what it came to; 0 only without a violation.

    `out` gets `results.json`, `timeline.svg`, the picture of one run, and `drill.log`,
    what clients said of the connections that they lost. Raises what `run_drill` and
    `DrillResult.save` raise.
    """
    if out is not None:
        make_folder(out)  # now, and not when all runs are over
    console = Console()
    with _progress(console, runs) as on_run:
        result = asyncio.run(run_drill(runs=runs, seed=seed, on_run=on_run))
    console.print(str(result), markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        result.save(out)
        console.print(f"Results: {out.resolve()}", soft_wrap=True)
    return 1 if result.violations else 0


@contextlib.contextmanager
def _progress(console: Console, runs: int) -> Iterator[OnRun]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress("runs", *columns, console=console) as bar:
        task = bar.add_task("runs", total=runs)

        def on_run(_: RunSeen, violations: list[Violation]) -> None:
            bar.advance(task)
            for found in violations:
                said = f"seed {found.seed}: {found.invariant}: {found.what}"
                bar.console.print(f"[red]✗[/] {escape(said)}", soft_wrap=True)

        yield on_run
