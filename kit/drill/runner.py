"""Carries out many runs, side by side where that is honest: `run_drill`.

Runs whose faults are their own share one deployment and one provider, four at a time.
Runs that kill processes or go through the application have lanes to themselves, one run
at a time. Run number k of
`seed` S has seed S + k: `run_drill(runs=1, seed=<its seed>)` plays the same plan again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import tempfile
import time
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from pathlib import Path
from typing import Any, TypeVar, get_args

from kit.drill.application_lane import ApplicationLane
from kit.drill.application_run import carry_out_application
from kit.drill.checking import check
from kit.drill.history import RunSeen
from kit.drill.invariants import Violation
from kit.drill.lane import SENTINEL, Lane
from kit.drill.producer import carry_out_producer
from kit.drill.result import DrillResult
from kit.drill.run import carry_out
from kit.drill.schedule import Plan, Reach, plan
from kit.errors import ConfigError

__all__ = ["OnRun", "carry_out_all", "run_drill"]

SHARING = 4
"""Runs at a time on the lane that they share."""
OWN_LANES = 2
"""Lanes of one kind that take one run at a time."""
RUNS_PER_LANE = 3
PRODUCERS = 2
"""Producer runs at a time."""
LOGGERS = ("kit", "asyncio", "socketio", "engineio")

AnyLane = TypeVar("AnyLane", bound=Lane)

OnRun = Callable[[RunSeen, list[Violation]], None]


async def run_drill(
    *, runs: int = 20, seed: int = 1, on_run: OnRun = lambda _, __: None
) -> DrillResult:
    """Break things on purpose in `runs` runs, and check what must hold; what came out.

    ```python
    result = await run_drill(runs=10, seed=1)
    result  # the table of faults and the picture of one run
    ```

    Starts its own deployments, providers, applications and clients in a temporary
    folder, which takes about ten seconds, and then one for each run; cancelled, it
    stops them all before it ends. The same seed plays the same plans.
    `on_run(seen, violations)` is called after each run; what it raises ends the drill.

    A violation is no exception: see `DrillResult.violations`. Raises ConfigError for
    numbers that are none, StackError when a process does not start.
    """
    _check_number("runs", runs, least=1)
    _check_number("seed", seed)
    plans = [plan(seed + number) for number in range(runs)]
    violations: list[Violation] = []

    def note(run: RunSeen) -> None:
        found = check(run, SENTINEL)
        violations.extend(found)
        on_run(run, found)

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kit-drill-") as name:
        folder = Path(name)
        log = folder / "drill.log"
        with _log_into(log):
            seen = await carry_out_all(plans, folder, note)
        violations += await asyncio.to_thread(keys_in_files, folder)
        clients_log = log.read_text(encoding="utf-8")
    violations.sort(key=lambda found: found.seed)
    return DrillResult(seen, violations, time.monotonic() - started, clients_log)


def _check_number(name: str, value: object, *, least: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or (least is not None and int(str(value)) < least):
        wanted = "a whole number" if least is None else f"a whole number from {least}"
        raise ConfigError(f"{name} is {value!r}: give {wanted} up.")


async def carry_out_all(
    plans: Sequence[Plan], folder: Path, note: Callable[[RunSeen], None]
) -> list[RunSeen]:
    """Carry out the plans; what was seen, in the order of the plans.

    `folder` gets databases and logs; `note` is told of each run as it ends. Raises
    StackError when a process does not start. No process outlives it.
    """
    queues: dict[Reach, list[Plan]] = {reach: [] for reach in get_args(Reach)}
    for one in reversed(plans):
        queues[one.reach].append(one)
    seen: list[RunSeen] = []

    def take(run: RunSeen) -> None:
        seen.append(run)
        note(run)

    async def produce() -> None:
        while queues["producer"]:
            one = queues["producer"].pop()
            take(await carry_out_producer(one, folder / f"producer-{one.seed}"))

    async def on_lane(
        lane: AnyLane,
        carry: Callable[[Plan, AnyLane], Awaitable[RunSeen]],
        queue: list[Plan],
        at_a_time: int,
    ) -> None:
        async def work() -> None:
            while queue:
                take(await carry(queue.pop(), lane))

        await lane.start()
        try:
            await _together(work() for _ in range(at_a_time))
        finally:
            await lane.aclose()

    work = [produce() for _ in range(PRODUCERS)]
    if queues["stream"]:
        shared = Lane(folder / "shared")
        work.append(on_lane(shared, carry_out, queues["stream"], SHARING))
    for number in _lanes(queues["process"]):
        own = Lane(folder / f"own-{number}")
        work.append(on_lane(own, carry_out, queues["process"], 1))
    for number in _lanes(queues["application"]):
        options = {one.option for one in queues["application"]}
        app = ApplicationLane(folder / f"application-{number}", options)
        work.append(on_lane(app, carry_out_application, queues["application"], 1))
    await _together(work)
    order = {one.seed: number for number, one in enumerate(plans)}
    return sorted(seen, key=lambda run: order[run.plan.seed])


def _lanes(queue: Sequence[Plan]) -> range:
    """Numbers of lanes: a second one pays only if there is enough to do."""
    return range(min(OWN_LANES, -(-len(queue) // RUNS_PER_LANE)))


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side; the first error ends the others, and is raised when all have ended.

    Not a TaskGroup, which would wrap the error.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)  # cancelled, it waits until all have ended
    finally:
        # Each is cancelled once: a second time would break off its cleaning up.
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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


@contextlib.contextmanager
def _log_into(path: Path) -> Iterator[None]:
    """What clients log of the connections they lose goes into a file, not on stderr."""
    handler = logging.FileHandler(path, encoding="utf-8")
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
