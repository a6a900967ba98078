"""`kit drill`: many runs, side by side where that is honest, and what they came to.

Runs whose faults are their own share one deployment and one provider, four at a time.
Runs that kill processes have lanes to themselves, one run at a time. Run number k of
`--seed S` has seed S + k: `--runs 1 --seed <its seed>` plays the same plan again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from kit.drill.history import RunSeen
from kit.drill.invariants import INVARIANTS, Violation, check
from kit.drill.lane import SENTINEL, Lane
from kit.drill.picture import timeline
from kit.drill.producer import carry_out_producer
from kit.drill.run import carry_out
from kit.drill.schedule import Plan, Reach, plan
from kit.drill.summary import figures, results, table
from kit.errors import ConfigError

__all__ = ["carry_out_all", "drill"]

SHARING = 4
"""Runs at a time on the lane that they share."""
PROCESS_LANES = 2
LOG = "drill.log"
PRODUCERS = 2
"""Producer runs at a time."""

OnRun = Callable[[RunSeen], None]


def drill(*, runs: int, seed: int, out: Path | None = None) -> int:
    """Carry out `runs` plans, print what they came to; 0 only without a violation.

    `out` gets `results.json`, `timeline.svg`, the picture of one run, and `drill.log`,
    what clients said of the connections that they lost. Raises ConfigError, and
    StackError when a process does not start.
    """
    if runs < 1:
        raise ConfigError(f"--runs is {runs}: give the number of runs, 1 or more.")
    if out is not None:
        _make(out)
    plans = [plan(seed + number) for number in range(runs)]
    console = Console()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kit-drill-") as name:
        folder = Path(name)
        with _log_into(folder / LOG), _progress(console, runs) as on_run:
            seen = asyncio.run(carry_out_all(plans, folder, on_run))
        violations = [found for run in seen for found in check(run, SENTINEL)]
        violations += keys_in_files(folder)
        if out is not None:
            shutil.copy(folder / LOG, out / LOG)
    seconds = time.monotonic() - started
    _print(console, seen, violations, seconds)
    if out is not None:
        _write(out, seen, violations, seconds)
        console.print(f"Results: {out.resolve()}", soft_wrap=True)
    return 1 if violations else 0


async def carry_out_all(
    plans: Sequence[Plan], folder: Path, on_run: OnRun = lambda _: None
) -> list[RunSeen]:
    """Carry out the plans; what was seen, in the order of the plans.

    `folder` gets databases and logs. Raises StackError when a process does not start.
    """
    queues: dict[Reach, list[Plan]] = {"stream": [], "process": [], "producer": []}
    for one in reversed(plans):
        queues[one.reach].append(one)
    seen: list[RunSeen] = []

    def note(run: RunSeen) -> None:
        seen.append(run)
        on_run(run)

    async def produce() -> None:
        while queues["producer"]:
            one = queues["producer"].pop()
            note(await carry_out_producer(one, folder / f"producer-{one.seed}"))

    async def use_lane(name: str, queue: list[Plan], at_a_time: int) -> None:
        lane = Lane(folder / name)
        await lane.start()

        async def work() -> None:
            while queue:
                note(await carry_out(queue.pop(), lane))

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(at_a_time):
                    workers.create_task(work())
        finally:
            await lane.aclose()

    work = [produce() for _ in range(PRODUCERS)]
    if queues["stream"]:
        work.append(use_lane("shared", queues["stream"], SHARING))
    own = range(min(PROCESS_LANES, len(queues["process"])))
    work += [use_lane(f"own-{number}", queues["process"], 1) for number in own]
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    order = {one.seed: number for number, one in enumerate(plans)}
    return sorted(seen, key=lambda run: order[run.plan.seed])


def keys_in_files(folder: Path) -> list[Violation]:
    """Keys that were given with messages, found in a database or a log."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            matches = re.findall(SENTINEL.encode() + rb"(\d*)", path.read_bytes())
            for number in sorted({int(match or 0) for match in matches}):
                what = f"a key is in {path.relative_to(folder)}"
                found.append(Violation(number, "no key is kept", what))
    return found


# --- output -------------------------------------------------------------------------


@contextlib.contextmanager
def _log_into(path: Path) -> Iterator[None]:
    """What clients log of lost connections goes into a file, not through the bar."""
    handler = logging.FileHandler(path)
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def _progress(console: Console, runs: int) -> Iterator[OnRun]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress("runs", *columns, console=console) as bar:
        task = bar.add_task("runs", total=runs)

        def on_run(run: RunSeen) -> None:
            bar.advance(task)
            for found in check(run, SENTINEL):
                bar.console.print(_line(found), soft_wrap=True)

        yield on_run


def _line(found: Violation) -> str:
    return f"[red]✗[/] seed {found.seed}: {found.invariant}: {escape(found.what)}"


def _print(
    console: Console,
    runs: Sequence[RunSeen],
    violations: Sequence[Violation],
    seconds: float,
) -> None:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("Fault")
    for name in ("planned", "in time"):
        shown.add_column(name, justify="right")
    shown.add_column("lost")
    shown.add_column("violations", justify="right")
    for row in table(runs, violations):
        if row.planned:
            shown.add_row(
                row.what,
                str(row.planned),
                str(row.struck),
                f"[red]{row.lost} characters[/]" if row.lost else "nothing",
                f"[red]{row.violations}[/]" if row.violations else "0",
            )
    console.print(shown)
    for name, times in figures(runs).items():
        console.print(
            f"{name}: after {times['median']:.2f} s, at most {times['longest']:.2f} s "
            f"({times['count']:g} times)"
        )
    for seed in sorted({found.seed for found in violations}):
        for found in violations:
            if found.seed == seed:
                console.print(_line(found), soft_wrap=True)
        console.print(f"  again: kit drill --runs 1 --seed {seed}")
    viewers = sum(len(run.viewers) for run in runs)
    replies = sum(len(run.replies) for run in runs)
    console.print(
        f"{len(runs)} runs, {replies} replies, {viewers} viewers, "
        f"{len(INVARIANTS) + 2} invariants: {len(violations)} violations, "
        f"{seconds:.0f} s."
    )


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot write results to {out}: {error.strerror}. "
            "Choose another folder with --out."
        ) from None


def _write(
    out: Path,
    runs: Sequence[RunSeen],
    violations: Sequence[Violation],
    seconds: float,
) -> None:
    text = json.dumps(results(runs, violations, seconds), indent=1, ensure_ascii=False)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")
    picture = timeline(_telling(runs, violations))
    (out / "timeline.svg").write_text(picture, encoding="utf-8")


def _telling(runs: Sequence[RunSeen], violations: Sequence[Violation]) -> RunSeen:
    """The run to draw: one that failed, else a kill with much to see around it."""
    failed = {found.seed for found in violations}

    def weight(run: RunSeen) -> tuple[bool, bool, int]:
        killed = any(
            seen.struck
            and seen.fault.phase == "during"
            and seen.fault.kind in ("kill-deployment", "kill-executor")
            for seen in run.faults
        )
        frames = sum(len(viewer.frames) for viewer in run.viewers)
        return run.plan.seed in failed, killed, frames

    return max(runs, key=weight)
