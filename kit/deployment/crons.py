"""What a functions folder's `crons.py` imports: `cron_jobs`.

```python
crons = cron_jobs()
crons.interval("tidy up", {"minutes": 1}, "streaming:sweep")
crons.daily("say hello", {"hourUTC": 17, "minuteUTC": 30}, "greetings:send", {"n": 1})
```

Only the description is here: `cron_times` knows when a schedule is due, `cron_jobs`
keeps the jobs. Times are in UTC. Mirrors `cronJobs` of Convex's `convex/server`, with
its error texts.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from kit.deployment.cron_times import CronExpression, Schedule
from kit.deployment.paths import FunctionPath, parse_path
from kit.values import Value, from_json, to_json

__all__ = ["CronJob", "Crons", "cron_jobs"]

Args: TypeAlias = Mapping[str, Any]

WEEKDAYS = (
    *("sunday", "monday", "tuesday", "wednesday"),
    *("thursday", "friday", "saturday"),
)
SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


@dataclass(frozen=True)
class CronJob:
    """What is to be run again and again, and when."""

    path: FunctionPath
    args: Value
    """The one argument object."""
    schedule: Schedule


def cron_jobs() -> Crons:
    """No cron jobs yet: `crons = cron_jobs()` in `crons.py`."""
    return Crons()


class Crons:
    """The cron jobs of a deployment; each method adds one.

    A job has a name of its own, and runs a mutation or an action, named by its path.
    Each raises ValueError or TypeError for what cannot be.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, CronJob] = {}
        """By name."""

    def interval(
        self,
        name: str,
        schedule: Mapping[str, int],
        path: str,
        args: Args | None = None,
    ) -> None:
        """Every so many `{"seconds": n}`, minutes or hours, beginning at once."""
        given = [unit for unit in SECONDS if schedule.get(unit) is not None]
        if len(given) != 1:
            raise ValueError("Must specify one of seconds, minutes, or hours")
        count = _whole(schedule[given[0]])
        if count is None or count <= 0:
            raise ValueError("Interval must be an integer greater than 0")
        seconds = float(count * SECONDS[given[0]])
        self._add(name, {"type": "interval", "seconds": seconds}, path, args)

    def hourly(self, name: str, *schedule_path_and_args: Any) -> None:
        """`hourly(name, {"minuteUTC": 30}, path, args)`: once an hour.

        Without a minute, or without the schedule altogether, the minute is one that
        is picked by the name.
        """
        schedule, *rest = schedule_path_and_args or ({},)
        if isinstance(schedule, str):
            schedule, rest = {}, [schedule, *rest]
        self._add_at(name, f"{_minute(name, schedule)} * * * *", *rest)

    def daily(
        self,
        name: str,
        schedule: Mapping[str, int],
        path: str,
        args: Args | None = None,
    ) -> None:
        """Once a day, at `{"hourUTC": 17, "minuteUTC": 30}`; for the minute see
        `hourly`."""
        self._add_at(name, f"{_time(name, schedule)} * * *", path, args)

    def weekly(
        self,
        name: str,
        schedule: Mapping[str, Any],
        path: str,
        args: Args | None = None,
    ) -> None:
        """Once a week: as `daily`, with `"dayOfWeek": "monday"`."""
        weekday = schedule.get("dayOfWeek")
        if weekday not in WEEKDAYS:
            raise ValueError('Day of week must be a string like "monday".')
        time = _time(name, schedule)
        self._add_at(name, f"{time} * * {WEEKDAYS.index(weekday)}", path, args)

    def monthly(
        self,
        name: str,
        schedule: Mapping[str, int],
        path: str,
        args: Args | None = None,
    ) -> None:
        """Once a month: as `daily`, with `"day": 1`. A month may lack the day."""
        day = _number(schedule, "day", "Day of month", 1, 31)
        self._add_at(name, f"{_time(name, schedule)} {day} * *", path, args)

    def cron(self, name: str, cron: str, path: str, args: Args | None = None) -> None:
        """When an expression such as `"15 7 * * *"` says so; Sunday is 0."""
        if not isinstance(cron, str):
            raise TypeError(f"A cron expression is a string, not {cron!r}")
        self._add_at(name, cron, path, args)

    def _add_at(
        self, name: str, expression: str, path: Any = None, args: Args | None = None
    ) -> None:
        text = CronExpression.parse(expression).text
        self._add(name, {"type": "cron", "cron": text}, path, args)

    def _add(self, name: str, schedule: Schedule, path: str, args: Args | None) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[ -~]*", name):
            raise ValueError(
                f"Invalid cron identifier {name}: use ASCII letters that are not "
                "control characters"
            )
        if name in self.jobs:
            raise ValueError(f"Cron identifier registered twice: {name}")
        if not isinstance(path, str):
            raise TypeError(
                f"Cron job {name!r} needs the path of a function, not {path!r}"
            )
        if not isinstance(args, Mapping | None):
            raise TypeError(
                f"The arguments of cron job {name!r} are an object, not {args!r}"
            )
        values = from_json(to_json(dict(args or {})))
        self.jobs[name] = CronJob(parse_path(path), values, schedule)


def _time(name: str, schedule: Mapping[str, Any]) -> str:
    """Minute and hour, as in a cron expression."""
    hour = _number(schedule, "hourUTC", "Hour of day", 0, 23)
    return f"{_minute(name, schedule)} {hour}"


def _minute(name: str, schedule: Mapping[str, Any]) -> int:
    if schedule.get("minuteUTC") is None:
        # Spread over the hour, and the same after each start.
        return zlib.crc32(name.encode()) % 60
    return _number(schedule, "minuteUTC", "Minute of hour", 0, 59)


def _number(
    schedule: Mapping[str, Any], field: str, what: str, low: int, high: int
) -> int:
    number = _whole(schedule.get(field))
    if number is None or not low <= number <= high:
        raise ValueError(f"{what} must be an integer from {low} to {high}")
    return number


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        return None
    return int(value)
