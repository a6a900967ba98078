"""The embedded deployment by itself: mutations per second, start-up, idle memory."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from kit.bench.sync_link import SyncLink
from kit.bench.usage import UsageMeter, children_of
from kit.bench.ways.convex import FUNCTIONS
from kit.stack import ServerProcess

__all__ = ["DeploymentSpeed", "deployment_speed"]

CONNECTIONS = 8
IN_FLIGHT = 8
"""Mutations that each connection has under way."""
SETTLE = 1.0
"""Seconds after which a deployment that nobody uses counts as idle."""


@dataclass(frozen=True)
class DeploymentSpeed:
    mutations_per_second: float
    deployment_cores: float
    """Processor seconds per second that the deployment used meanwhile."""
    client_cores: float
    """The same of this process, which asked."""
    ready_seconds: float
    """From the start of the process to its first answer, the median."""
    idle_mb: float
    """Resident memory of the deployment."""
    idle_executor_mb: float
    """That of the process beside it, in which actions run."""


async def deployment_speed(
    folder: Path, *, seconds: float, starts: int
) -> DeploymentSpeed:
    """Start a deployment so often, then have it store small rows for so long."""
    server = ServerProcess(
        "bench's deployment",
        [
            *("kit.deployment", "--data", str(folder / "speed")),
            *("--functions", str(FUNCTIONS), "--log-level", "WARNING"),
        ],
        log=folder / "speed.log",
        env={"PYTHONUNBUFFERED": "1"},
    )
    ready = []
    try:
        for _ in range(starts):
            await server.stop()
            started = time.perf_counter()
            await server.start()
            ready.append(time.perf_counter() - started)
        await asyncio.sleep(SETTLE)
        pid = server.pid or 0
        executors = children_of(pid, "kit.deployment.executor")
        idle = _megabytes([pid])
        idle_executor = _megabytes(executors)
        async with UsageMeter({"deployment": pid, "client": os.getpid()}) as meter:
            rate = await _mutations_per_second(server.url, seconds)
        usage = meter.usage
        return DeploymentSpeed(
            rate,
            usage["deployment"].cpu_seconds / seconds,
            usage["client"].cpu_seconds / seconds,
            median(ready),
            idle,
            idle_executor,
        )
    finally:
        await server.stop()


async def _mutations_per_second(url: str, seconds: float) -> float:
    links = [SyncLink(url) for _ in range(CONNECTIONS)]
    done = 0
    try:
        for link in links:
            await link.open()
        started = time.monotonic()
        ends_at = started + seconds

        async def work(link: SyncLink) -> None:
            nonlocal done
            while time.monotonic() < ends_at:
                await link.mutation("notes:add", {"body": "a small row of this bench"})
                done += 1

        async with asyncio.TaskGroup() as workers:
            for link in links:
                for _ in range(IN_FLIGHT):
                    workers.create_task(work(link))
        return done / (time.monotonic() - started)
    finally:
        for link in links:
            await link.close()


def _megabytes(pids: Sequence[int]) -> float:
    resident: int = sum(psutil.Process(pid).memory_info().rss for pid in pids)
    return resident / 1e6
