"""What many viewers of one reply cost the deployment: query executions per update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.bench.figures import Figures, figures_of
from kit.bench.lab import Lab
from kit.bench.load import Load
from kit.bench.ways.convex import KitConvex
from kit.bench.written import deltas_of

__all__ = ["FanOut", "fan_out"]

EXECUTION = " query streaming:read: done"


@dataclass(frozen=True)
class FanOut:
    """One reply and its viewers."""

    viewers: int
    appends: int
    executions: int
    """Of the query that viewers follow, whoever caused them."""
    figures: Figures

    @property
    def per_append(self) -> float:
        return self.executions / self.appends


async def fan_out(
    folder: Path, viewers: Sequence[int], *, tokens: int, pace: float
) -> list[FanOut]:
    """Stream one reply to so many viewers, for each number; count in the log.

    In a lab of its own, whose deployment logs every function that it runs.
    """
    found = []
    async with Lab(folder, names=("kit",), kit_log_level="DEBUG") as lab:
        way = lab.ways["kit"]
        assert isinstance(way, KitConvex)
        for count in viewers:
            task = await way.create_task()
            load = Load(tokens, pace, viewers=count, count_bytes=True)
            before = len(way.server.log_lines(EXECUTION))
            run = await lab.run("kit", load, [task])
            executions = len(way.server.log_lines(EXECUTION)) - before
            appends = len(await deltas_of(way.asker, task))
            (figures,) = figures_of([run])
            found.append(FanOut(count, appends, executions, figures))
    return found
