from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.cron_times import CronExpression, first_run, next_run

MINUTE = 60_000.0
HOUR = 60 * MINUTE
EVERY_MINUTE = {"type": "interval", "seconds": 60.0}


def ms(text: str) -> float:
    """`2023-02-28 08:35` in UTC, as ms since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000.0


def shown(time: float) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def runs(expression: str, after: str, count: int) -> list[str]:
    time, found = ms(after), []
    for _ in range(count):
        time = CronExpression.parse(expression).after(time)
        found.append(shown(time))
    return found


# --- intervals and what was missed ----------------------------------------------


def test_an_interval_runs_at_once_and_then_keeps_its_beat() -> None:
    now = ms("2023-03-01 08:35") + 5
    assert first_run(EVERY_MINUTE, now) == now
    assert next_run(EVERY_MINUTE, now, now) == (now + MINUTE, False)
    assert next_run(EVERY_MINUTE, now, now + 59_999) == (now + MINUTE, False)
    assert next_run(EVERY_MINUTE, now, now + MINUTE) == (now + MINUTE, False)


def test_runs_that_were_missed_are_not_made_up_for() -> None:
    now = ms("2023-03-01 08:35")
    years_later = now + 10 * 365 * 24 * HOUR + 1
    assert next_run(EVERY_MINUTE, now, years_later) == (years_later - 1 + MINUTE, True)
    hourly = {"type": "cron", "cron": "5 * * * *"}
    late = next_run(hourly, ms("2023-03-01 08:05"), ms("2023-03-04 10:04"))
    assert late == (ms("2023-03-04 10:05"), True)
    in_time = next_run(hourly, ms("2023-03-01 08:05"), ms("2023-03-01 09:05"))
    assert in_time == (ms("2023-03-01 09:05"), False)
    just_now = next_run(hourly, ms("2023-03-01 08:05"), ms("2023-03-01 10:05"))
    assert just_now == (ms("2023-03-01 10:05"), True)


def test_an_expression_waits_for_its_time() -> None:
    hourly = {"type": "cron", "cron": "5 * * * *"}
    assert first_run(hourly, ms("2023-03-01 08:04")) == ms("2023-03-01 08:05")
    # Its own minute has begun.
    assert first_run(hourly, ms("2023-03-01 08:05")) == ms("2023-03-01 09:05")


# --- expressions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # The first five are Convex's own tests of its schedules.
        ("5 * * * *", "2023-03-01 08:35", ["2023-03-01 09:05", "2023-03-01 10:05"]),
        ("30 8 * * *", "2023-02-28 08:35", ["2023-03-01 08:30", "2023-03-02 08:30"]),
        ("30 12 * * 2", "2023-02-28 08:35", ["2023-02-28 12:30", "2023-03-07 12:30"]),
        ("30 12 1 * *", "2023-02-28 08:35", ["2023-03-01 12:30", "2023-04-01 12:30"]),
        ("0 12 * * 1,5", "2023-02-28 08:35", ["2023-03-03 12:00", "2023-03-06 12:00"]),
        ("* * * * *", "2023-12-31 23:58", ["2023-12-31 23:59", "2024-01-01 00:00"]),
        ("*/20 1-2 * * *", "2023-01-01 01:30", ["2023-01-01 01:40"]),
        ("50/5 * * * *", "2023-01-01 00:51", ["2023-01-01 00:55", "2023-01-01 01:50"]),
        (
            "0 22-2/2 * * *",
            "2023-01-01 21:00",
            ["2023-01-01 22:00", "2023-01-02 00:00"],
        ),
        ("0 0 * jan,Mar fri-sun", "2023-01-09 00:00", ["2023-01-13 00:00"]),
        ("0 0 31 * *", "2023-01-31 00:00", ["2023-03-31 00:00", "2023-05-31 00:00"]),
        ("0 0 29 2 *", "2096-02-29 00:00", ["2104-02-29 00:00"]),
        # Either day will do when both are given.
        ("0 0 13 * 5", "2023-01-01 00:00", ["2023-01-06 00:00", "2023-01-13 00:00"]),
        ("0 0 20 * MON", "2023-02-13 00:00", ["2023-02-20 00:00", "2023-02-27 00:00"]),
        # A step over all days is a list of days.
        ("0 0 */30 * 0", "2023-01-01 00:00", ["2023-01-08 00:00"]),
        ("0 0 L * *", "2024-02-01 00:00", ["2024-02-29 00:00", "2024-03-31 00:00"]),
        ("0 0 L-3 * *", "2023-02-01 00:00", ["2023-02-25 00:00", "2023-03-28 00:00"]),
        ("0 0 LW * *", "2023-04-01 00:00", ["2023-04-28 00:00", "2023-05-31 00:00"]),
        ("0 0 L-2W * *", "2023-07-01 00:00", ["2023-07-28 00:00", "2023-08-29 00:00"]),
        ("0 0 15W * *", "2023-04-01 00:00", ["2023-04-14 00:00", "2023-05-15 00:00"]),
        ("0 0 1W * *", "2023-03-31 00:00", ["2023-04-03 00:00", "2023-05-01 00:00"]),
        ("0 0 31W * *", "2023-04-01 00:00", ["2023-05-31 00:00", "2023-07-31 00:00"]),
        ("0 0 * * L", "2023-01-01 00:00", ["2023-01-07 00:00", "2023-01-14 00:00"]),
        ("0 0 * * 5L", "2023-01-01 00:00", ["2023-01-27 00:00", "2023-02-24 00:00"]),
        ("0 0 * * FRI#5", "2023-01-01 00:00", ["2023-03-31 00:00"]),
        ("0 0 * * 0#1", "2023-01-01 00:00", ["2023-02-05 00:00", "2023-03-05 00:00"]),
    ],
)
def test_an_expression_runs_when_it_says(
    expression: str, after: str, expected: list[str]
) -> None:
    assert runs(expression, after, len(expected)) == expected


RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """A field's text, and the values that it stands for."""
    everything = set(range(low, high + 1))
    if draw(st.booleans()):
        return "*", everything
    texts, values = [], set()
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(
            (draw(st.integers(low, high)), draw(st.integers(low, high)))
        )
        step = draw(st.integers(1, high - low))
        match draw(st.sampled_from(["one", "range", "step", "from", "all"])):
            case "one":
                texts.append(f"{start}")
                values.add(start)
            case "range":
                texts.append(f"{start}-{end}")
                values.update(range(start, end + 1))
            case "step":
                texts.append(f"{start}-{end}/{step}")
                values.update(range(start, end + 1, step))
            case "from":
                texts.append(f"{start}/{step}")
                values.update(range(start, high + 1, step))
            case "all":
                texts.append(f"*/{step}")
                values.update(range(low, high + 1, step))
    return ",".join(texts), values


@given(
    st.tuples(*(fields(low, high) for low, high in RANGES)),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
)
def test_nothing_between_now_and_then_matches(
    drawn: tuple[Any, ...], now: datetime
) -> None:
    texts = [text for text, _ in drawn]
    minutes, hours, days, months, weekdays = (values for _, values in drawn)

    def matches(time: datetime) -> bool:
        is_day = time.day in days
        is_weekday = time.isoweekday() % 7 in weekdays
        if texts[2] == "*" or texts[4] == "*":
            day_fits = is_day and is_weekday
        else:
            day_fits = is_day or is_weekday
        return (
            day_fits
            and time.minute in minutes
            and time.hour in hours
            and time.month in months
        )

    try:
        expression = CronExpression.parse(" ".join(texts))
    except ValueError:
        # Only a day that no month has can never come.
        assert min(days) > 28 and texts[4] == "*"
        return
    found = datetime.fromtimestamp(
        expression.after(now.replace(tzinfo=UTC).timestamp() * 1000) / 1000, UTC
    )
    assert matches(found)
    time = now.replace(second=0, microsecond=0, tzinfo=UTC) + timedelta(minutes=1)
    for _ in range(2000):  # more than a day
        if time >= found:
            return
        assert not matches(time)
        time += timedelta(minutes=1)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("* * * *", "it has 4 fields, not minute, hour, day of month, month and day"),
        ("", "it has 0 fields"),
        ("60 * * * *", "minute 60 is not 0 to 59"),
        ("* 24 * * *", "hour 24 is not 0 to 23"),
        ("* * 0 * *", "day of the month 0 is not 1 to 31"),
        ("* * * 13 *", "month 13 is not 1 to 12"),
        ("0 12 * * 7", "day of the week 7 is not 0 to 6"),
        ("* * * FOO *", "'FOO' is no month"),
        ("JAN * * * *", "'JAN' is no minute"),
        ("1,,2 * * * *", "'' is no minute, range or step"),
        ("*,5 * * * *", "'*' is no minute, range or step"),
        ("*-5 * * * *", "'*-5' is no minute, range or step"),
        ("1-2-3 * * * *", "'1-2-3' is no minute, range or step"),
        ("-5 * * * *", "'-5' is no minute, range or step"),
        ("*/0 * * * *", "the step 0 of the minute is out of range"),
        ("*/60 * * * *", "the step 60 of the minute is out of range"),
        ("* * L-31 * *", "31 days before the last are too many"),
        ("* * 40W * *", "day of the month 40 is not 1 to 31"),
        ("* * * * 1#6", "'1#6': a month has no week 6"),
        ("* * * * 8L", "day of the week 8 is not 0 to 6"),
        ("² * * * *", "'²' is no minute, range or step"),
        ("0 0 30 2 *", "there is no such day"),
        ("0 0 31 4,6,9,11 *", "there is no such day"),
    ],
)
def test_an_expression_that_cannot_be_is_told(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match="Invalid cron expression") as error:
        CronExpression.parse(expression)
    assert problem in str(error.value)
