"""`kit bench`: carries out a plan, shows its progress, writes down what came of it.

Writes `results.json`, `bench.md` with all tables, and the pictures as SVG. A target
that was missed is no failure of the command, which may run on any machine.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from kit.bench.measure import Measurement, OnStep
from kit.bench.pictures import pictures
from kit.bench.plan import FULL, QUICK
from kit.bench.results import Results
from kit.bench.table import Table, as_markdown
from kit.bench.tables import tables
from kit.bench.targets import targets
from kit.bench.terminal import print_table
from kit.errors import ConfigError

__all__ = ["bench"]


def bench(*, quick: bool = False, strict: bool = False, out: Path | None = None) -> int:
    """Measure, print the tables, write the results.

    `out` is a folder, `runs/<time>-bench` if not given. Returns 0 once all was
    measured, the kit has nowhere given up and nothing that it streamed was lost; with
    `strict`, only if no target was missed. Raises ConfigError before anything runs,
    StackError when a process does not start. Interrupted, it stops its processes, and
    writes what it has.
    """
    out = _make(out)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        measurement = Measurement(QUICK if quick else FULL, Path(folder))
        try:
            with _progress(console, len(measurement.steps)) as on_step:
                asyncio.run(measurement.run(on_step))
        finally:
            results = measurement.results
            shown = tables(results)
            _write(out, results, shown)
    for table in shown:
        if not table.is_detail:
            print_table(console, table)
    lost = sum(found.lost for found in results.streams if found.way == "kit")
    failed = [what for what, _ in results.failures if what.endswith(": kit")]
    missed = [row for row in targets(results) if row.met is False]
    met = sum(row.met is True for row in targets(results))
    console.print(
        f"{met} targets met, {len(missed)} missed; {lost} characters lost by the kit; "
        f"{results.seconds:.0f} s."
    )
    console.print(f"Results: {out}", soft_wrap=True)
    return 1 if lost or failed or (strict and missed) else 0


def _make(out: Path | None) -> Path:
    time = datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    folder = out or Path("runs") / f"{time}-bench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot write results to {folder}: {error.strerror}. "
            "Choose another folder with --out."
        ) from None
    return folder.resolve()


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[OnStep]:
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        # One more: the processes are started before the first step.
        task = bar.add_task("", total=steps + 1)
        begun = 0

        def on_step(title: str) -> None:
            nonlocal begun
            bar.update(task, description=escape(title), completed=begun)
            begun += 1

        yield on_step
        bar.update(task, description="done", completed=steps + 1)


def _write(out: Path, results: Results, shown: Sequence[Table]) -> None:
    text = json.dumps(results.as_json(), indent=1, ensure_ascii=False)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")
    drawn = pictures(results)
    for name, picture in drawn.items():
        (out / f"{name}.svg").write_text(picture + "\n", encoding="utf-8")
    links = [f"![{name}]({name}.svg)\n" for name in drawn]
    page = "\n".join([*map(as_markdown, shown), *links])
    (out / "bench.md").write_text(page, encoding="utf-8")
