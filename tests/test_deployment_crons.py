import math
from collections.abc import Callable
from typing import Any

import pytest

from kit.deployment.crons import Crons, cron_jobs
from kit.deployment.paths import FunctionPath
from kit.values import ConvexInt64


@pytest.fixture
def crons() -> Crons:
    return cron_jobs()


def schedule_of(crons: Crons, name: str = "c") -> dict[str, Any]:
    return crons.jobs[name].schedule


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [({"seconds": 30}, 30.0), ({"minutes": 2.0}, 120.0), ({"hours": 1}, 3600.0)],
)
def test_an_interval_is_in_seconds_minutes_or_hours(
    crons: Crons, schedule: Any, seconds: float
) -> None:
    crons.interval("c", schedule, "m:f")
    assert schedule_of(crons) == {"type": "interval", "seconds": seconds}


@pytest.mark.parametrize(
    ("add", "expression"),
    [
        (lambda c: c.hourly("c", {"minuteUTC": 30}, "m:f"), "30 * * * *"),
        (
            lambda c: c.daily("c", {"hourUTC": 17, "minuteUTC": 0}, "m:f"),
            "0 17 * * *",
        ),
        (
            lambda c: c.weekly(
                "c", {"dayOfWeek": "tuesday", "hourUTC": 0, "minuteUTC": 5}, "m:f"
            ),
            "5 0 * * 2",
        ),
        (
            lambda c: c.monthly("c", {"day": 31, "hourUTC": 1, "minuteUTC": 2}, "m:f"),
            "2 1 31 * *",
        ),
        (lambda c: c.cron("c", "15 7 * * MON", "m:f"), "15 7 * * MON"),
    ],
)
def test_anything_else_is_an_expression(
    crons: Crons, add: Callable[[Crons], None], expression: str
) -> None:
    add(crons)
    assert schedule_of(crons) == {"type": "cron", "cron": expression}


def test_a_minute_that_is_not_given_is_picked_by_the_name(crons: Crons) -> None:
    crons.hourly("c", "m:f", {"n": 1})
    crons.hourly("d", {}, "m:f", {"n": 1})
    crons.daily("e", {"hourUTC": 3}, "m:f")
    minutes = {name: schedule_of(crons, name)["cron"].split()[0] for name in "cde"}
    assert all(0 <= int(minute) < 60 for minute in minutes.values())
    assert len(set(minutes.values())) > 1
    assert crons.jobs["c"].args == crons.jobs["d"].args == {"n": 1.0}
    again = cron_jobs()
    again.hourly("c", "m:f")
    assert schedule_of(again) == schedule_of(crons)


def test_a_job_has_a_path_and_arguments(crons: Crons) -> None:
    crons.interval("c", {"hours": 1}, "dir/m.js:f", {"n": 1, "i": ConvexInt64(2)})
    crons.interval("d", {"hours": 1}, "m")
    assert crons.jobs["c"].path == FunctionPath("dir/m", "f")
    assert crons.jobs["c"].args == {"n": 1.0, "i": ConvexInt64(2)}
    assert crons.jobs["d"].path == FunctionPath("m", "default")
    assert crons.jobs["d"].args == {}


@pytest.mark.parametrize(
    ("add", "problem"),
    [
        (
            lambda c: c.interval("c", {}, "m:f"),
            "Must specify one of seconds, minutes, or hours",
        ),
        (
            lambda c: c.interval("c", {"hours": 1, "minutes": 1}, "m:f"),
            "Must specify one of seconds, minutes, or hours",
        ),
        *(
            (
                lambda c, n=n: c.interval("c", {"minutes": n}, "m:f"),
                "Interval must be an integer greater than 0",
            )
            for n in (0, -1, 1.5, True, "1", math.nan)
        ),
        (
            lambda c: c.hourly("c", {"minuteUTC": 60}, "m:f"),
            "Minute of hour must be an integer from 0 to 59",
        ),
        (
            lambda c: c.daily("c", {}, "m:f"),
            "Hour of day must be an integer from 0 to 23",
        ),
        (
            lambda c: c.daily("c", {"hourUTC": 24}, "m:f"),
            "Hour of day must be an integer from 0 to 23",
        ),
        (
            lambda c: c.weekly("c", {"dayOfWeek": "Mon", "hourUTC": 1}, "m:f"),
            'Day of week must be a string like "monday".',
        ),
        (
            lambda c: c.monthly("c", {"day": 0, "hourUTC": 1}, "m:f"),
            "Day of month must be an integer from 1 to 31",
        ),
        (lambda c: c.cron("c", "* * *", "m:f"), "Invalid cron expression '* * *': it"),
        (lambda c: c.cron("c", None, "m:f"), "A cron expression is a string, not None"),
        (
            lambda c: c.interval("ä", {"hours": 1}, "m:f"),
            "Invalid cron identifier ä: use ASCII letters that are not control chara",
        ),
        (
            lambda c: [c.cron("c", "* * * * *", "m:f") for _ in range(2)],
            "Cron identifier registered twice: c",
        ),
        (lambda c: c.hourly("c"), "Cron job 'c' needs the path of a function, not Non"),
        (lambda c: c.hourly("c", {}, 5), "Cron job 'c' needs the path of a function,"),
        (lambda c: c.hourly("c", "a b:f"), "can only contain alphanumeric characters"),
        (lambda c: c.hourly("c", "m:f", 5), "The arguments of cron job 'c' are an obj"),
        (lambda c: c.hourly("c", "m:f", {"a": {1}}), "set is not a supported Convex t"),
    ],
)
def test_what_cannot_be_is_told(
    crons: Crons, add: Callable[[Crons], None], problem: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        add(crons)
    assert problem in str(error.value)
