"""What the kit costs before anything is streamed: its import, and a whole tour."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

__all__ = ["Tour", "import_seconds", "tour"]

_TIMED = (
    "import time; started = time.perf_counter(); import kit; "
    "print(time.perf_counter() - started)"
)
SAMPLE_INTERVAL = 0.2  # s


def import_seconds(times: int) -> float:
    """How long `import kit` takes in a fresh interpreter, the median."""
    found = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", _TIMED], capture_output=True, text=True, check=True
        )
        found.append(float(done.stdout))
    return median(found)


@dataclass(frozen=True)
class Tour:
    """A run of `kit tour`."""

    passed: bool
    seconds: float
    peak_mb: float
    """Of all its processes together, the highest sample."""


async def tour(*names: str) -> Tour:
    """Run it, all notebooks or those named; a minute or more."""
    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kit.cli", "tour", *names),
            *("--out", str(Path(folder) / "tour")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        peak = 0.0
        try:
            while process.returncode is None:
                peak = max(peak, _family_megabytes(process.pid))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SAMPLE_INTERVAL):
                        await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        return Tour(process.returncode == 0, time.monotonic() - started, peak)


def _family_megabytes(pid: int) -> float:
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total / 1e6
