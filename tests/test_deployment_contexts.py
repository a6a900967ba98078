import math
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import (
    COMMON,
    Args,
    Ctx,
    error_of,
    mutate,
    open_engine,
    query,
    registry_of,
)

from kit.deployment import functions as f
from kit.deployment.contexts import time_in_ms
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.failures import UsageError


def test_time_stands_still_within_a_function(tmp_path: Path) -> None:
    @f.query()
    async def q_now(ctx: Ctx, args: Args) -> Any:
        first = ctx.now()
        started = time.monotonic()
        while time.monotonic() - started < 0.005:
            pass
        return [first, ctx.now(), await ctx.auth.get_user_identity()]

    registry = registry_of(q_now=q_now)
    database = Database.open(tmp_path)
    first, second, identity = query(Engine(database, registry), "q_now")
    database.close()
    assert first == second
    assert first == math.floor(first)
    assert abs(first - time.time() * 1000) < 60_000
    assert identity is None


def test_a_function_may_be_scheduled_at_a_datetime(tmp_path: Path) -> None:
    due = datetime(2027, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)

    @f.mutation()
    async def schedule(ctx: Ctx, args: Args) -> Any:
        job_id = await ctx.scheduler.run_at(due, "m:add", {})
        return (await ctx.db.system.get(job_id))["scheduledTime"]

    with open_engine(tmp_path, schedule=schedule, **COMMON) as engine:
        assert mutate(engine, "schedule") == due.timestamp() * 1000.0


def test_a_time_is_a_datetime_with_its_zone_or_a_number_of_ms() -> None:
    east = datetime(2027, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert time_in_ms(east) == time_in_ms(datetime(2027, 1, 1, tzinfo=UTC))
    assert time_in_ms(5) == 5.0
    with pytest.raises(UsageError, match="has no time zone"):
        time_in_ms(datetime(2027, 1, 1))  # noqa: DTZ001
    for nothing in ("5", None, True):
        with pytest.raises(UsageError, match="must be a datetime, or a timestamp"):
            time_in_ms(nothing)


@pytest.mark.parametrize("name", ["storage", "meta"])
def test_what_is_not_offered_is_told(tmp_path: Path, name: str) -> None:
    @f.mutation()
    async def use(ctx: Ctx, args: Args) -> Any:
        return getattr(ctx, name)

    with open_engine(tmp_path, use=use) as engine:
        message = error_of(engine, "use")
        assert f"(`ctx.{name}`): not offered by the embedded deployment" in message
