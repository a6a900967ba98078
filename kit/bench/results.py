"""All that a bench has measured, as it is kept in `results.json`."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psutil

from kit.bench.adapters import AdapterCost
from kit.bench.append_cost import AppendCost
from kit.bench.deployment_speed import DeploymentSpeed
from kit.bench.fan_out import FanOut
from kit.bench.figures import Figures
from kit.bench.load import Load
from kit.bench.presence import Presence
from kit.bench.seen import Latency
from kit.bench.start_up import Tour
from kit.bench.written import Written

__all__ = ["Interval", "Results", "machine"]


@dataclass(frozen=True)
class Interval:
    """The kit with another flush interval."""

    milliseconds: float
    figures: Figures
    appends_per_token: float


@dataclass
class Results:
    """What was not measured is empty or None."""

    machine: dict[str, Any] = field(default_factory=dict)
    streams: list[Figures] = field(default_factory=list)
    histories: list[Figures] = field(default_factory=list)
    bytes: list[Figures] = field(default_factory=list)
    """Of replies whose viewers connected through a counting relay."""
    written: list[Written] = field(default_factory=list)
    late: list[Presence] = field(default_factory=list)
    away: list[Presence] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    fan_out: list[FanOut] = field(default_factory=list)
    append_costs: list[AppendCost] = field(default_factory=list)
    deployment: DeploymentSpeed | None = None
    echo: Latency | None = None
    commit: Latency | None = None
    import_seconds: float | None = None
    adapters: list[AdapterCost] = field(default_factory=list)
    tour: Tour | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Steps in which a way gave up, and what it said."""
    steps: list[tuple[str, float]] = field(default_factory=list)
    """What was measured in which order, and the seconds that it took."""
    seconds: float = 0.0

    def figures(self, way: str, **load: Any) -> Figures | None:
        """The way's figures under the first load that has these fields."""
        return next(self.matching(way, **load), None)

    def matching(self, way: str, **load: Any) -> Iterator[Figures]:
        """Those of each such load, as they were run."""
        for found in self.streams:
            if found.way == way and _fits(found.load, load):
                yield found

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _fits(load: Load, fields: dict[str, Any]) -> bool:
    return all(getattr(load, name) == value for name, value in fields.items())


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    packages = (
        "convex-streaming-kit",
        "aiohttp",
        "convex",
        "openai",
        "python-socketio",
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": psutil.cpu_count(),
        "memoryGB": round(psutil.virtual_memory().total / 1e9, 1),
        "load": [round(value, 2) for value in psutil.getloadavg()],
        "packages": {name: version(name) for name in packages},
    }
