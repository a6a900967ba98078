"""When a cron job is due: intervals and cron expressions, in UTC.

A schedule is JSON, as it is stored: `{"type": "interval", "seconds": 60.0}` or
`{"type": "cron", "cron": "0 7 * * MON-FRI"}`. Times are ms since the epoch. Pure; who
runs what is in `cron_jobs`. Mirrors Convex's `model/src/cron_jobs/next_ts.rs`, and for
expressions its parser, https://github.com/get-convex/saffron: five fields, Sunday is 0,
when days of the month and of the week are both given either will do, and Quartz's `L`,
`W` and `#` for days.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, TypeAlias

__all__ = ["CronExpression", "NextRun", "Schedule", "first_run", "next_run"]

Schedule: TypeAlias = dict[str, Any]
DayRule: TypeAlias = Callable[[date], bool]

MINUTE = 60_000.0  # ms

# The 29th of February is at most eight years after the one before.
DAYS_TO_LOOK_AT = 9 * 366


class NextRun(NamedTuple):
    """When a job is due again."""

    time: float
    missed: bool
    """Whether it was due in between, too."""


def first_run(schedule: Schedule, now: float) -> float:
    """When a new job is due: an interval at once, anything else when it comes."""
    if schedule["type"] == "interval":
        return now
    return CronExpression.parse(schedule["cron"]).after(now)


def next_run(schedule: Schedule, previous: float, now: float) -> NextRun:
    """When a job is due that was due at `previous` last; not before `now`.

    Of the runs that were due meanwhile, none is made up for.
    """
    if schedule["type"] == "interval":
        length = schedule["seconds"] * 1000.0
        steps = max(1, math.ceil((now - previous) / length))
        return NextRun(previous + steps * length, steps > 1)
    expression = CronExpression.parse(schedule["cron"])
    time = expression.after(previous)
    if time >= now:
        return NextRun(time, False)
    return NextRun(expression.at_or_after(now), True)


@dataclass(frozen=True)
class CronExpression:
    """`minute hour day-of-month month day-of-week`; make it with `parse`."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    is_day: DayRule

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> CronExpression:
        """Raises ValueError saying what is wrong with it."""
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(
                f"Invalid cron expression {text!r}: it has {len(fields)} fields, not "
                "minute, hour, day of month, month and day of week"
            )
        try:
            minutes, hours, days, months, weekdays = fields
            parsed = CronExpression(
                text,
                _MINUTE.parse(minutes),
                _HOUR.parse(hours),
                _MONTH.parse(months),
                _day_rule(days, weekdays),
            )
            parsed.after(0.0)
        except ValueError as error:
            raise ValueError(f"Invalid cron expression {text!r}: {error}") from None
        return parsed

    def after(self, time: float) -> float:
        """The first time in a later minute than that of `time`."""
        return self.at_or_after((time // MINUTE + 1) * MINUTE)

    def at_or_after(self, time: float) -> float:
        """The first time that is not before `time`. Raises ValueError for never."""
        start = datetime.fromtimestamp(-(-time // MINUTE) * 60, UTC)
        earliest = (start.hour, start.minute)
        for day in _days_from(start.date()):
            if day.month in self.months and self.is_day(day):
                for moment in product(sorted(self.hours), sorted(self.minutes)):
                    if moment >= earliest:
                        found = datetime.combine(day, clock_time(*moment, tzinfo=UTC))
                        return found.timestamp() * 1000.0
            earliest = (0, 0)
        raise ValueError("there is no such day")


def _days_from(first: date) -> Iterator[date]:
    for number in range(DAYS_TO_LOOK_AT):
        yield first + timedelta(days=number)


# --- fields -------------------------------------------------------------------

_ITEM = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", re.ASCII)


@dataclass(frozen=True)
class _Field:
    """One field of an expression: its name, its range, and names in it."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        """The values that a list of values, ranges and steps stands for."""
        if text == "*":
            return frozenset(range(self.first, self.last + 1))
        return frozenset(
            value for item in text.split(",") for value in self._item(item)
        )

    def value(self, text: str) -> int:
        """The number of a number or a name."""
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.first
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{text!r} is no {self.name}")
        if not self.first <= int(text) <= self.last:
            raise ValueError(f"{self.name} {text} is not {self.first} to {self.last}")
        return int(text)

    def _item(self, text: str) -> list[int]:
        found = _ITEM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no {self.name}, range or step")
        start, end, step = found.groups()
        if start == "*" and (end is not None or step is None):
            raise ValueError(f"{text!r} is no {self.name}, range or step")
        low = self.first if start == "*" else self.value(start)
        if end is not None:
            high = self.value(end)
        else:
            high = low if step is None else self.last
        return self._between(low, high)[:: self._step(step)]

    def _between(self, low: int, high: int) -> list[int]:
        """From `low` to `high`, round the end if that comes before."""
        if low <= high:
            return list(range(low, high + 1))
        return [*range(low, self.last + 1), *range(self.first, high + 1)]

    def _step(self, text: str | None) -> int:
        step = 1 if text is None else int(text)
        if not 1 <= step <= self.last - self.first:
            raise ValueError(f"the step {step} of the {self.name} is out of range")
        return step


_MONTH_NAMES = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_WEEKDAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of the month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTH_NAMES)
_WEEKDAY = _Field("day of the week", 0, 6, _WEEKDAY_NAMES)


# --- days ---------------------------------------------------------------------

_LAST_DAY = re.compile(r"L(?:-(\d+))?(W)?", re.ASCII)
_NEAREST = re.compile(r"(\d+)W", re.ASCII)
_LAST_WEEKDAY = re.compile(r"(\w+)L", re.ASCII)
_NTH_WEEKDAY = re.compile(r"(\w+)#(\d)", re.ASCII)


def _day_rule(days: str, weekdays: str) -> DayRule:
    by_day, by_weekday = _rule_of_days(days), _rule_of_weekdays(weekdays)
    if days == "*":
        return by_weekday
    if weekdays == "*":
        return by_day
    return lambda day: by_day(day) or by_weekday(day)


def _rule_of_days(text: str) -> DayRule:
    if found := _LAST_DAY.fullmatch(text):
        back, nearest = int(found[1] or 0), found[2] is not None
        if back > 30:
            raise ValueError(f"{back} days before the last are too many")
        return lambda day: _is_day_or_nearest(day, _last_of(day) - back, nearest)
    if found := _NEAREST.fullmatch(text):
        wanted = _DAY.value(found[1])
        return lambda day: _is_day_or_nearest(day, wanted, True)
    days = _DAY.parse(text)
    return lambda day: day.day in days


def _rule_of_weekdays(text: str) -> DayRule:
    if text == "L":
        return lambda day: _weekday(day) == _WEEKDAY.last
    if found := _LAST_WEEKDAY.fullmatch(text):
        last = _WEEKDAY.value(found[1])
        return lambda day: _weekday(day) == last and day.day + 7 > _last_of(day)
    if found := _NTH_WEEKDAY.fullmatch(text):
        wanted, nth = _WEEKDAY.value(found[1]), int(found[2])
        if not 1 <= nth <= 5:
            raise ValueError(f"{text!r}: a month has no week {nth}")
        return lambda day: _weekday(day) == wanted and (day.day - 1) // 7 + 1 == nth
    weekdays = _WEEKDAY.parse(text)
    return lambda day: _weekday(day) in weekdays


def _weekday(day: date) -> int:
    """Sunday is 0."""
    return day.isoweekday() % 7


def _last_of(day: date) -> int:
    """The last day of the month of `day`."""
    return calendar.monthrange(day.year, day.month)[1]


def _is_day_or_nearest(day: date, wanted: int, nearest: bool) -> bool:
    """Whether `day` is day `wanted` of its month, or the working day nearest to it."""
    if not 1 <= wanted <= _last_of(day):
        return False
    if nearest:
        weekday = _weekday(day.replace(day=wanted))
        if weekday == 6:
            wanted += 2 if wanted == 1 else -1
        elif weekday == 0:
            wanted += -2 if wanted == _last_of(day) else 1
    return day.day == wanted
