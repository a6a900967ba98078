"""What an action's `ctx` asks of the deployment."""

import math
import time
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from kit.deployment.action_context import ActionCtx
from kit.deployment.failures import UsageError
from kit.deployment.identity import UserIdentity
from kit.values import ConvexInt64, JsonValue, Value


class Asked:
    """A deployment that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def call(
        self, kind: Literal["query", "mutation", "action"], path: str, args: JsonValue
    ) -> Value:
        self.calls.append((kind, path, args))
        return len(self.calls)

    async def schedule(self, path: str, args: JsonValue, due_ms: float) -> str:
        self.calls.append((path, args, due_ms))
        return "job"

    async def cancel(self, job_id: str) -> None:
        self.calls.append((job_id,))


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_functions_are_called_with_convex_json(asked: Asked) -> None:
    ctx = ActionCtx(asked)
    assert await ctx.run_query("m:q", {"n": ConvexInt64(7)}) == 1
    assert await ctx.run_mutation("m:m", {"n": 7}) == 2
    assert await ctx.run_action("m:a") == 3
    assert asked.calls == [
        ("query", "m:q", {"n": {"$integer": "BwAAAAAAAAA="}}),
        ("mutation", "m:m", {"n": 7.0}),
        ("action", "m:a", {}),
    ]


async def test_jobs_are_scheduled_and_canceled(asked: Asked) -> None:
    ctx = ActionCtx(asked)
    before = time.time() * 1000
    assert await ctx.scheduler.run_after(1000, "m:m", {"a": None}) == "job"
    path, args, due_ms = asked.calls[0]
    assert (path, args) == ("m:m", {"a": None})
    assert before + 1000 <= due_ms <= time.time() * 1000 + 1000
    await ctx.scheduler.run_at(5, "m:m")
    await ctx.scheduler.run_at(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "m:m")
    await ctx.scheduler.cancel("job")
    assert asked.calls[1:] == [("m:m", {}, 5.0), ("m:m", {}, 60_000.0), ("job",)]


async def test_what_cannot_be_meant_is_refused_before_it_is_asked(
    asked: Asked,
) -> None:
    ctx: Any = ActionCtx(asked)
    with pytest.raises(UsageError, match="A function path must be a string, not 5"):
        await ctx.run_query(5)
    with pytest.raises(UsageError, match="Invalid arguments"):
        await ctx.run_mutation("m:m", {"x": object()})
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    for due in (math.nan, math.inf, "soon", None, True, naive):
        with pytest.raises(UsageError, match=r"The invoke time (must|has no)"):
            await ctx.scheduler.run_at(due, "m:m")
    with pytest.raises(UsageError, match="must be non-negative"):
        await ctx.scheduler.run_after(-1, "m:m")
    with pytest.raises(UsageError, match="The id of a job must be a string"):
        await ctx.scheduler.cancel(None)
    assert asked.calls == []


async def test_who_calls_is_told(asked: Asked) -> None:
    assert await ActionCtx(asked).auth.get_user_identity() is None
    ctx = ActionCtx(asked, UserIdentity.of({"subject": "ann"}))
    assert await ctx.auth.get_user_identity() == {"subject": "ann"}


@pytest.mark.parametrize("name", ["storage", "meta", "vector_search"])
async def test_what_is_not_offered_is_told(asked: Asked, name: str) -> None:
    with pytest.raises(UsageError, match="not offered by the embedded deployment"):
        getattr(ActionCtx(asked), name)


async def test_time_passes(asked: Asked) -> None:
    ctx: Any = ActionCtx(asked)
    assert abs(ctx.now() - time.time() * 1000) < 5000
    assert ctx.now() == int(ctx.now())
