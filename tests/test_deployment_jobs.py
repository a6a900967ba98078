from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import (
    COMMON,
    NOW,
    SCHEMA,
    Args,
    Clock,
    Commits,
    Ctx,
    Options,
    error_of,
    mutate,
    open_engine,
    query,
    texts,
)

from kit.deployment import functions as f
from kit.deployment.engine import Engine, FunctionFailure
from kit.deployment.ids import encode_id
from kit.values import v


@f.mutation(args={"after": v.number(), "path": v.string(), "args": v.any()})
async def schedule(ctx: Ctx, args: Args) -> Any:
    return await ctx.scheduler.run_after(args["after"], args["path"], args["args"])


@f.mutation(args={"id": v.any()})
async def cancel(ctx: Ctx, args: Args) -> None:
    await ctx.scheduler.cancel(args["id"])


@f.query(args={"id": v.id("_scheduled_functions")})
async def q_job(ctx: Ctx, args: Args) -> Any:
    return await ctx.db.system.get(args["id"])


@f.internal_mutation()
async def fail(ctx: Ctx, args: Args) -> None:
    await ctx.db.insert("notes", {"text": "lost"})
    raise Exception("boom")


@f.internal_action()
async def act(ctx: Ctx, args: Args) -> None: ...


JOBS = {
    **COMMON,
    "schedule": schedule,
    "cancel": cancel,
    "q_job": q_job,
    "fail": fail,
    "act": act,
}
MS = NOW * 1000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    with open_engine(tmp_path, SCHEMA, Options(clock=clock), **JOBS) as engine:
        yield engine


def put(engine: Engine, path: str, after: float = 0, **args: Any) -> str:
    job: str = mutate(engine, "schedule", after=after, path=path, args=args)
    return job


def job(engine: Engine, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = query(engine, "q_job", id=job_id)
    return found


def test_a_scheduled_mutation_runs_once_when_it_is_due(
    engine: Engine, clock: Clock
) -> None:
    job_id = put(engine, "m:add", 1500, text="later")
    assert engine.next_due_ms() == MS + 1500
    assert engine.due_jobs(MS + 1499) == []
    (due,) = engine.due_jobs(MS + 1500)
    assert (due.id, due.path, due.kind) == (job_id, "m:add", "mutation")
    assert (due.args_json, due.scheduled_time) == ('{"text":"later"}', MS + 1500)
    pending = job(engine, job_id)
    assert {name: pending[name] for name in ("name", "args", "state")} == {
        "name": "m.js:add",
        "args": [{"text": "later"}],
        "state": {"kind": "pending"},
    }
    assert "completedTime" not in pending

    clock.now += 2
    outcome = engine.run_job(job_id)
    assert outcome is not None
    assert outcome.timestamp == engine.latest_timestamp
    assert texts(engine) == ["later"]
    done = job(engine, job_id)
    assert (done["state"], done["completedTime"]) == ({"kind": "success"}, MS + 2000)
    assert engine.run_job(job_id) is None
    assert texts(engine) == ["later"]
    assert engine.next_due_ms() is None


def test_the_hook_tells_the_earliest_due_time(tmp_path: Path) -> None:
    @f.mutation()
    async def two(ctx: Ctx, args: Args) -> None:
        await ctx.scheduler.run_after(500, "m:add", {})
        await ctx.scheduler.run_at(MS + 100, "m:add", {})

    commits = Commits()
    with open_engine(
        tmp_path, SCHEMA, Options(commits=commits), two=two, **COMMON
    ) as engine:
        mutate(engine, "two")
        assert commits.due == [MS + 100]


def test_jobs_are_due_in_the_order_of_their_times(engine: Engine) -> None:
    late, early = put(engine, "m:add", 200), put(engine, "m:add", 100)
    assert [due.id for due in engine.due_jobs(MS + 500)] == [early, late]
    assert [due.id for due in engine.due_jobs(MS + 500, limit=1)] == [early]


def test_a_scheduled_mutation_that_fails_is_undone_and_noted(engine: Engine) -> None:
    job_id = put(engine, "m:fail")
    outcome = engine.run_job(job_id)
    assert outcome is not None and outcome.error is not None
    assert outcome.timestamp is None
    state = job(engine, job_id)["state"]
    assert state["kind"] == "failed"
    assert state["error"].startswith("Uncaught Error: boom\n")
    assert texts(engine) == []
    assert engine.due_jobs(MS + 1) == []


def test_a_job_that_used_up_the_limits_is_noted_too(tmp_path: Path) -> None:
    @f.internal_mutation()
    async def exhaust(ctx: Ctx, args: Args) -> None:
        for n in range(0, 10_000, 2):
            await ctx.db.get(encode_id(10001, n.to_bytes(16, "big")))

    with open_engine(tmp_path, SCHEMA, exhaust=exhaust, **JOBS) as engine:
        job_id = put(engine, "m:exhaust")
        engine.run_job(job_id)
        assert "Too many reads" in job(engine, job_id)["state"]["error"]


def test_jobs_survive_a_restart(tmp_path: Path) -> None:
    with open_engine(tmp_path, SCHEMA, **JOBS) as engine:
        job_id = put(engine, "m:add", 10, text="x")
    with open_engine(tmp_path, SCHEMA, **JOBS) as engine:
        assert [due.id for due in engine.due_jobs(MS + 10)] == [job_id]
        engine.run_job(job_id)
    with open_engine(tmp_path, SCHEMA, **JOBS) as engine:
        assert texts(engine) == ["x"]
        assert engine.next_due_ms() is None


def test_a_job_whose_function_is_gone_fails(tmp_path: Path) -> None:
    with open_engine(tmp_path, SCHEMA, **JOBS) as engine:
        job_id = put(engine, "m:add")
    with open_engine(tmp_path, SCHEMA, q_job=q_job) as engine:
        (due,) = engine.due_jobs(MS)
        assert due.kind == "mutation"
        engine.run_job(due.id)
        assert "Could not find public function" in job(engine, job_id)["state"]["error"]


def test_a_query_cannot_be_a_job(engine: Engine) -> None:
    job_id = put(engine, "m:q_all")
    engine.run_job(job_id)
    assert (
        "as Mutation, but it is defined as Query"
        in (job(engine, job_id)["state"]["error"])
    )


def test_a_scheduled_action_is_claimed_once(engine: Engine) -> None:
    job_id = put(engine, "m:act")
    assert engine.due_jobs(MS)[0].kind == "action"
    assert engine.claim_action(job_id)
    assert not engine.claim_action(job_id)
    assert job(engine, job_id)["state"] == {"kind": "inProgress"}
    assert engine.due_jobs(MS) == []
    engine.finish_action(job_id, None)
    assert job(engine, job_id)["state"] == {"kind": "success"}
    failing = put(engine, "m:act")
    engine.claim_action(failing)
    engine.finish_action(failing, FunctionFailure("Uncaught Error: no"))
    assert job(engine, failing)["state"] == {
        "kind": "failed",
        "error": "Uncaught Error: no\n",
    }


def test_an_action_that_was_running_at_the_end_fails_at_the_start(
    tmp_path: Path,
) -> None:
    with open_engine(tmp_path, SCHEMA, **JOBS) as engine:
        job_id = put(engine, "m:act")
        engine.claim_action(job_id)
    with open_engine(tmp_path, SCHEMA, **JOBS) as engine:
        assert job(engine, job_id)["state"] == {
            "kind": "failed",
            "error": "Transient error while executing action",
        }
        assert engine.due_jobs(MS + 1000) == []


def test_a_canceled_job_never_runs(engine: Engine) -> None:
    job_id = put(engine, "m:add")
    mutate(engine, "cancel", id=job_id)
    assert job(engine, job_id)["state"] == {"kind": "canceled"}
    assert engine.due_jobs(MS + 1) == []
    assert engine.run_job(job_id) is None
    # Once more does nothing, nor does it for a job that has ended.
    mutate(engine, "cancel", id=job_id)
    done = put(engine, "m:add")
    engine.run_job(done)
    assert engine.cancel(done) is None
    assert job(engine, done)["state"] == {"kind": "success"}


def test_a_canceled_action_goes_on_but_schedules_nothing(engine: Engine) -> None:
    job_id = put(engine, "m:act")
    engine.claim_action(job_id)
    before = engine.schedule("m:add", {}, MS, by_job=job_id)
    assert isinstance(before, str)
    assert job(engine, before)["state"] == {"kind": "pending"}
    assert engine.cancel(job_id) is None
    after = engine.schedule("m:add", {}, MS, by_job=job_id)
    assert isinstance(after, str)
    assert job(engine, after)["state"] == {"kind": "canceled"}
    engine.finish_action(job_id, None)
    assert job(engine, job_id)["state"] == {"kind": "canceled"}


def test_an_action_schedules_at_once(engine: Engine) -> None:
    job_id = engine.schedule("m:add", {"n": {"$integer": "KgAAAAAAAAA="}}, MS + 5)
    assert isinstance(job_id, str)
    (due,) = engine.due_jobs(MS + 5)
    assert due.args_json == '{"n":{"$integer":"KgAAAAAAAAA="}}'
    refused = engine.schedule("nope:x", {}, MS)
    assert refused == FunctionFailure(
        "Uncaught Error: Attempted to schedule function at nonexistent path: nope.js"
    )
    wrong = engine.cancel("x")
    assert wrong is not None
    assert "Invalid scheduled function ID. The ID must be an ID on" in wrong.message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"path": "nope:x"},
            "Attempted to schedule function at nonexistent path: nope.js",
        ),
        (
            {"path": "m:nope"},
            (
                "Attempted to schedule function, but no exported function nope found "
                "in the file: m.js. Did you forget to export it?"
            ),
        ),
        ({"path": "a b:c"}, "a b:c is not a valid path to a Convex function. "),
        ({"after": -1}, "`delayMs` must be non-negative"),
        ({"after": {"$float": "AAAAAAAA8H8="}}, "`delayMs` must be a finite number"),
        ({"after": 6 * 366 * 86_400_000}, " is more than 5 years in the future"),
    ],
)
def test_what_cannot_be_scheduled_is_told(
    engine: Engine, args: dict[str, Any], message: str
) -> None:
    given = {"after": 0, "path": "m:add", "args": {}, **args}
    error = engine.run_mutation("m:schedule", given).error
    assert error is not None
    assert message in error.message
    assert engine.next_due_ms() is None


def test_a_mutation_may_schedule_1000_functions(tmp_path: Path) -> None:
    @f.mutation(args={"n": v.number(), "size": v.number()})
    async def many(ctx: Ctx, args: Args) -> None:
        for _ in range(int(args["n"])):
            await ctx.scheduler.run_after(0, "m:add", {"x": "x" * int(args["size"])})

    with open_engine(tmp_path, SCHEMA, many=many, **COMMON) as engine:
        mutate(engine, "many", n=1000, size=1)
        assert error_of(engine, "many", n=1001, size=1) == (
            "Uncaught Error: Too many functions scheduled by this mutation "
            "(limit: 1000)"
        )
        assert error_of(engine, "many", n=3, size=6 * 2**20) == (
            "Uncaught Error: Too large total size of the arguments of scheduled "
            "functions from this mutation (limit: 16777216 bytes)"
        )


def test_jobs_that_ended_a_week_ago_are_deleted(tmp_path: Path, clock: Clock) -> None:
    with open_engine(tmp_path, SCHEMA, Options(clock=clock), **JOBS) as engine:
        old, waiting = put(engine, "m:add"), put(engine, "m:add", 86_400_000.0 * 30)
        engine.run_job(old)
        clock.now += 8 * 86_400
        fresh = put(engine, "m:add")
        engine.run_job(fresh)
    with open_engine(tmp_path, SCHEMA, Options(clock=clock), **JOBS) as engine:
        assert query(engine, "q_job", id=old) is None
        assert job(engine, fresh)["state"] == {"kind": "success"}
        assert job(engine, waiting)["state"] == {"kind": "pending"}
