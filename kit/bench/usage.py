"""What processes cost: processor time, peak memory, bytes written.

Over `psutil`: resident memory is sampled ten times a second, and the highest sample is
the peak. Bytes written are those that a process hands to `write()` for files and pipes
(Linux only, None elsewhere); what goes into sockets is not among them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from kit.client.background import cancel, spawn

__all__ = ["Usage", "UsageMeter", "children_of"]

SAMPLE_INTERVAL = 0.1  # s


@dataclass(frozen=True)
class Usage:
    """Of one process, over a time."""

    cpu_seconds: float
    peak_mb: float
    written_bytes: int | None


class UsageMeter:
    """`async with UsageMeter({"deployment": pid}) as meter:` then `meter.usage`.

    A process that ends meanwhile keeps what was last seen of it.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes: dict[str, psutil.Process] = {}
        for name, pid in pids.items():
            with contextlib.suppress(psutil.Error):
                self._processes[name] = psutil.Process(pid)
        self._before: dict[str, Usage] = {}
        self._last: dict[str, Usage] = {}

    @property
    def usage(self) -> dict[str, Usage]:
        """By the names given; since the meter was entered."""
        return {
            name: Usage(
                last.cpu_seconds - self._before[name].cpu_seconds,
                last.peak_mb,
                _difference(last.written_bytes, self._before[name].written_bytes),
            )
            for name, last in self._last.items()
        }

    async def __aenter__(self) -> UsageMeter:
        self._sample()
        self._before = dict(self._last)
        self._sampling = spawn(self._keep_sampling(), "usage")
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel(self._sampling)
        self._sample()

    async def _keep_sampling(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL)
            self._sample()

    def _sample(self) -> None:
        for name, process in self._processes.items():
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                megabytes = process.memory_info().rss / 1e6
                earlier = self._last.get(name)
                self._last[name] = Usage(
                    times.user + times.system,
                    max(megabytes, earlier.peak_mb if earlier else 0.0),
                    _written(process),
                )


def _written(process: psutil.Process) -> int | None:
    counters = getattr(process, "io_counters", None)
    if counters is None:
        return None
    written: int = counters().write_chars
    return written


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def children_of(pid: int, containing: str) -> list[int]:
    """The child processes whose command line has `containing` in it."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if containing in " ".join(child.cmdline()):
                    found.append(child.pid)
    return found
