"""Carries out a plan, step by step, and collects what comes of it.

Ways take turns: each load is run in one way after the other, and again for the next
round, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.bench.adapters import adapter_costs
from kit.bench.append_cost import append_costs
from kit.bench.deployment_speed import deployment_speed
from kit.bench.fan_out import fan_out
from kit.bench.figures import figures_of
from kit.bench.lab import Lab
from kit.bench.load import Load, Run
from kit.bench.physical_limits import commits, echoes
from kit.bench.plan import Plan
from kit.bench.presence import away, join_late
from kit.bench.results import Interval, Results, machine
from kit.bench.start_up import import_seconds, tour
from kit.bench.ways.convex import KitConvex
from kit.bench.written import Written, deltas_of, written_by_guide, written_by_kit
from kit.errors import KitError

__all__ = ["Measurement", "OnStep", "Step"]

OnStep = Callable[[str], None]
"""Called with what is measured next."""

GUIDE_TEXT = "guide-text"
"""The guide's way without a part for each token; measured for its bytes only."""
KIT_BILLED = "kit-billed"
"""The kit with the flush interval that it has on Convex; likewise."""
LONG_TASK_TOKENS = 60
FAN_OUT_TOKENS = 150


@dataclass(frozen=True)
class Step:
    title: str
    work: Callable[[], Awaitable[None]]


class Measurement:
    """One plan being carried out; `folder` gets databases and logs.

    `await run(on_step)` takes the `steps` one after the other. Cancelled, it stops its
    processes; what was measured until then is in `results`.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.results = Results(machine=machine())
        self._folder = folder
        names = self._counted_ways(0) if plan.byte_lengths else plan.ways
        self._lab = Lab(folder / "lab", names=names)
        self._runs: list[Run] = []
        self._long_runs: list[Run] = []
        self.steps = list(self._steps())

    async def run(self, on_step: OnStep = lambda title: None) -> Results:
        """Take all steps; `on_step` is called with the title of each one that begins.

        A way that gives up under a load is among the `failures` of the results. Raises
        StackError when a process does not start at first.
        """
        started = time.monotonic()
        on_step("starting the processes")
        try:
            async with self._lab:
                for step in self.steps:
                    on_step(step.title)
                    begun = time.monotonic()
                    try:
                        await step.work()
                    except KitError as error:  # a way may give up under a load
                        self.results.failures.append((step.title, str(error)))
                    seconds = round(time.monotonic() - begun, 1)
                    self.results.steps.append((step.title, seconds))
        finally:
            self.results.streams = figures_of(self._runs)
            self.results.histories = figures_of(self._long_runs)
            self.results.seconds = time.monotonic() - started
        return self.results

    def _steps(self) -> Iterator[Step]:
        yield from self._streams()
        yield from self._bytes()
        yield from self._presence()
        yield from self._histories()
        yield from self._intervals()
        yield from self._alone()

    # --- replies side by side -----------------------------------------------------

    def _streams(self) -> Iterator[Step]:
        for index, load in enumerate(self.plan.loads):
            for _ in range(1 if index else self.plan.rounds):
                for way in self._ways(load.tokens):
                    yield Step(f"{load}: {way}", self._stream(way, load))

    def _ways(self, tokens: int) -> list[str]:
        long = tokens > self.plan.longest_guide
        return [way for way in self.plan.ways if way != "guide" or not long]

    def _stream(self, way: str, load: Load) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            self._runs.append(await self._lab.run(way, load))

        return work

    def _histories(self) -> Iterator[Step]:
        for count in self.plan.histories:
            for way in self.plan.ways:
                if self._lab.ways[way].stores:
                    title = f"a task of {count:,} messages: {way}"
                    yield Step(title, self._with_history(way, count))

    def _with_history(self, way: str, count: int) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            task = await self._lab.ways[way].create_long_task(count)
            load = Load(LONG_TASK_TOKENS, history=count, count_bytes=True)
            self._long_runs.append(await self._lab.run(way, load, [task]))

        return work

    # --- bytes --------------------------------------------------------------------

    def _bytes(self) -> Iterator[Step]:
        for length in self.plan.byte_lengths:
            yield Step(f"bytes of {length:,} tokens", self._byte_step(length))

    def _byte_step(self, length: int) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            names = self._counted_ways(length)
            load = Load(length, self.plan.byte_pace, count_bytes=True)
            # At the same time: what is counted does not depend on the machine's haste.
            counted = await asyncio.gather(*(self._count(way, load) for way in names))
            self.results.bytes += figures_of(run for run, _ in counted)
            self.results.written += [written for _, written in counted if written]

        return work

    def _counted_ways(self, tokens: int) -> list[str]:
        names = self._ways(tokens)
        more = {"guide": GUIDE_TEXT, "kit": KIT_BILLED}
        return names + [more[name] for name in names if name in more]

    async def _count(self, name: str, load: Load) -> tuple[Run, Written | None]:
        way = self._lab.ways[name]
        task = await way.create_task()
        run = await self._lab.run(name, load, [task])
        tokens = run.seen[0].reply.tokens
        if isinstance(way, KitConvex):
            deltas = await deltas_of(way.asker, task)
            return run, await asyncio.to_thread(written_by_kit, name, deltas, tokens)
        if name.startswith("guide"):
            parts = name == "guide"
            written = await asyncio.to_thread(written_by_guide, tokens, parts=parts)
            return run, written
        return run, None

    # --- viewers that come and go ---------------------------------------------------

    def _presence(self) -> Iterator[Step]:
        load = self.plan.absence
        if load is None:
            return
        seconds = self.plan.absence_seconds

        async def work() -> None:
            ways = self.plan.ways
            await self._lab.forget_replies()
            late = (join_late(self._lab, way, load) for way in ways)
            gone = (away(self._lab, way, load, seconds) for way in ways)
            seen = await asyncio.gather(*late, *gone)
            self.results.late = seen[: len(ways)]
            self.results.away = seen[len(ways) :]

        yield Step("viewers that join late, or are away", work)

    # --- the kit alone --------------------------------------------------------------

    def _intervals(self) -> Iterator[Step]:
        for milliseconds in self.plan.intervals_ms:
            title = f"flush interval of {milliseconds:g} ms"
            yield Step(title, self._interval(milliseconds))

    def _interval(self, milliseconds: float) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            lab = Lab(
                self._folder / f"interval-{milliseconds:g}",
                names=("kit",),
                kit_environment={"KIT_FLUSH_INTERVAL_MS": f"{milliseconds:g}"},
            )
            async with lab:
                way = lab.ways["kit"]
                assert isinstance(way, KitConvex)
                task = await way.create_task()
                load = Load(self.plan.interval_tokens, count_bytes=True)
                run = await lab.run("kit", load, [task])
                appends = len(await deltas_of(way.asker, task))
            (figures,) = figures_of([run])
            self.results.intervals.append(
                Interval(milliseconds, figures, appends / load.tokens)
            )

        return work

    def _alone(self) -> Iterator[Step]:
        plan, results, folder = self.plan, self.results, self._folder

        async def many_viewers() -> None:
            results.fan_out = await fan_out(
                folder / "fan-out", plan.fan_out, tokens=FAN_OUT_TOKENS, pace=50.0
            )

        async def mutations() -> None:
            results.deployment = await deployment_speed(
                folder, seconds=plan.mutation_seconds, starts=plan.starts
            )

        async def appends() -> None:
            for count in plan.append_counts:
                found = await asyncio.to_thread(append_costs, count, plan.appends)
                results.append_costs += found

        async def adapters() -> None:
            results.adapters = await adapter_costs(
                self._lab.provider.url, tokens=plan.adapter_tokens, rounds=plan.starts
            )

        async def probes() -> None:
            results.echo = await echoes(folder, plan.probes)
            results.commit = await asyncio.to_thread(commits, plan.probes)
            results.import_seconds = await asyncio.to_thread(
                import_seconds, plan.starts
            )

        async def whole_tour() -> None:
            results.tour = await tour()

        for wanted, title, work in (
            (plan.fan_out, "many viewers of one reply", many_viewers),
            (plan.mutation_seconds, "the deployment by itself", mutations),
            (plan.appends, "what an append costs", appends),
            (plan.adapter_tokens, "the provider adapters", adapters),
            (plan.probes, "what the machine allows", probes),
            (plan.tour, "a tour of all notebooks", whole_tour),
        ):
            if wanted:
                yield Step(title, work)
