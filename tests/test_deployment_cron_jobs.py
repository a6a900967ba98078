import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import (
    COMMON,
    NOW,
    SCHEMA,
    Args,
    Clock,
    Ctx,
    error_of,
    mutate,
    registry_of,
    texts,
)

from kit.deployment import functions as f
from kit.deployment.actions import ActionOutcome
from kit.deployment.crons import Crons, cron_jobs
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.failures import FunctionFailure
from kit.deployment.scheduler import Scheduler
from kit.deployment.tables import CRON_JOBS
from kit.deployment.transaction import Transaction
from kit.errors import DatabaseError
from kit.values import JsonValue

MS = NOW * 1000.0
MINUTE = 60_000.0


@f.internal_mutation()
async def fail(ctx: Ctx, args: Args) -> None:
    await ctx.db.insert("notes", {"text": "lost"})
    raise Exception("boom")


@f.internal_action()
async def act(ctx: Ctx, args: Args) -> None: ...


@f.mutation()
async def look(ctx: Ctx, args: Args) -> Any:
    return await ctx.db.system.query(CRON_JOBS).collect()


@f.mutation()
async def cancel(ctx: Ctx, args: Args) -> None:
    await ctx.scheduler.cancel(args["id"])


FUNCTIONS = {**COMMON, "fail": fail, "act": act, "look": look, "cancel": cancel}


def every_minute(path: str = "m:add", text: str = "x") -> Crons:
    crons = cron_jobs()
    crons.interval("tidy up", {"minutes": 1}, path, {"text": text})
    return crons


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def opened(
    folder: Path, clock: Clock, crons: Crons, engine_type: type[Engine] = Engine
) -> Iterator[Engine]:
    registry = replace(registry_of(SCHEMA, **FUNCTIONS), crons=crons.jobs)
    database = Database.open(folder, registry.schema, now=clock)
    try:
        yield engine_type(database, registry, now=clock)
    finally:
        database.close()


def stored(engine: Engine) -> list[dict[str, Any]]:
    transaction = Transaction(engine._database, NOW)
    table = transaction.table(CRON_JOBS)
    assert table is not None
    documents = transaction.scan(table.by_id, (b"", b"\xff" * 17))
    transaction.end()
    return documents


def run_due(engine: Engine, clock: Clock) -> int:
    """Run what is due, as the scheduler does; how many that was."""
    due = engine.due_jobs(clock.now * 1000.0)
    for job in due:
        if job.kind == "action":
            assert engine.claim_action(job.id)
            engine.finish_action(job.id, None)
        else:
            engine.run_job(job.id)
    return len(due)


def test_a_job_runs_at_once_and_again_and_again(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute()) as engine:
        (due,) = engine.due_jobs(MS)
        assert (due.path, due.kind, due.scheduled_time) == ("m:add", "mutation", MS)
        assert due.args_json == '{"text":"x"}'
        for _ in range(3):
            assert run_due(engine, clock) == 1
            assert run_due(engine, clock) == 0
            clock.now += 60
        assert texts(engine) == ["x", "x", "x"]
        assert engine.next_due_ms() == MS + 3 * MINUTE


def test_a_restart_neither_loses_nor_repeats_a_run(
    tmp_path: Path, clock: Clock
) -> None:
    for run in range(4):
        with opened(tmp_path, clock, every_minute()) as engine:
            assert run_due(engine, clock) == (run % 2 == 0)
            assert len(stored(engine)) == 1
        clock.now += 30
    with opened(tmp_path, clock, every_minute()) as engine:
        assert texts(engine) == ["x", "x"]


def test_a_run_that_is_not_stored_is_still_due(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute()) as engine:
        (due,) = engine.due_jobs(MS)
        engine._database._sqlite.execute("PRAGMA max_page_count = 1")
        with pytest.raises(DatabaseError):
            for _ in range(1000):
                engine.run_job(due.id)
        ran = len(texts(engine))
        engine._database._sqlite.execute("PRAGMA max_page_count = 100000")
    with opened(tmp_path, clock, every_minute()) as engine:
        assert len(texts(engine)) == ran


def test_runs_that_were_missed_come_to_one(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute()) as engine:
        run_due(engine, clock)
    clock.now += 3600 + 1
    with opened(tmp_path, clock, every_minute()) as engine:
        assert run_due(engine, clock) == 1
        assert run_due(engine, clock) == 0
        assert engine.next_due_ms() == MS + 61 * MINUTE


def test_a_run_that_fails_is_undone_and_the_next_one_comes(
    tmp_path: Path, clock: Clock
) -> None:
    with opened(tmp_path, clock, every_minute("m:fail")) as engine:
        (due,) = engine.due_jobs(MS)
        outcome = engine.run_job(due.id)
        assert outcome is not None and outcome.error is not None
        assert texts(engine) == []
        assert engine.next_due_ms() == MS + MINUTE


def test_an_action_is_not_begun_while_it_runs(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute("m:act")) as engine:
        (due,) = engine.due_jobs(MS)
        assert due.kind == "action"
        assert engine.claim_action(due.id)
        assert not engine.claim_action(due.id)
        clock.now += 90
        assert engine.due_jobs(clock.now * 1000) == []
        assert engine.next_due_ms() is None
        engine.finish_action(due.id, FunctionFailure("Uncaught Error: no"))
        assert engine.next_due_ms() == MS + 2 * MINUTE


def test_an_action_that_was_running_at_the_end_is_not_run_again(
    tmp_path: Path, clock: Clock
) -> None:
    with opened(tmp_path, clock, every_minute("m:act")) as engine:
        (due,) = engine.due_jobs(MS)
        engine.claim_action(due.id)
    with opened(tmp_path, clock, every_minute("m:act")) as engine:
        assert engine.due_jobs(MS) == []
        assert engine.next_due_ms() == MS + MINUTE


def test_jobs_follow_crons_py(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute()) as engine:
        run_due(engine, clock)
        (before,) = stored(engine)
    changed = every_minute("m:act", "y")
    changed.hourly("on the hour", {"minuteUTC": 0}, "m:add")
    with opened(tmp_path, clock, changed) as engine:
        first, second = sorted(stored(engine), key=lambda job: job["_creationTime"])
        assert first == {**before, "name": "m.js:act", "args": [{"text": "y"}]}
        assert second["cron"] == "on the hour"
        assert second["scheduledTime"] % 3_600_000 == 0
    slower = cron_jobs()
    slower.interval("tidy up", {"hours": 1}, "m:add")
    with opened(tmp_path, clock, slower) as engine:
        (only,) = stored(engine)
        assert (only["_id"], only["cron"]) == (before["_id"], "tidy up")
        assert engine.next_due_ms() == MS + 60 * MINUTE
    with opened(tmp_path, clock, cron_jobs()) as engine:
        assert stored(engine) == []


def test_a_schedule_that_is_changed_before_the_first_run_begins_afresh(
    tmp_path: Path, clock: Clock
) -> None:
    hourly = cron_jobs()
    hourly.hourly("tidy up", {"minuteUTC": 0}, "m:add")
    with opened(tmp_path, clock, hourly) as engine:
        assert engine.due_jobs(MS) == []
    clock.now += 5
    with opened(tmp_path, clock, every_minute()) as engine:
        assert engine.next_due_ms() == MS + 5000


def test_a_start_without_changes_writes_nothing(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute()) as engine:
        timestamp = engine.latest_timestamp
    with opened(tmp_path, clock, every_minute()) as engine:
        assert engine.latest_timestamp == timestamp


def test_jobs_of_both_kinds_run_in_the_order_of_their_times(
    tmp_path: Path, clock: Clock
) -> None:
    with opened(tmp_path, clock, every_minute(text="cron")) as engine:
        first = engine.schedule("m:add", {"text": "before"}, MS - 10)
        last = engine.schedule("m:add", {"text": "after"}, MS + 10)
        due = engine.due_jobs(MS + 20)
        assert [due[0].id, due[2].id] == [first, last]
        assert [job.id for job in engine.due_jobs(MS + 20, limit=1)] == [first]
        assert engine.next_due_ms() == MS - 10


def test_functions_do_not_reach_cron_jobs(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path, clock, every_minute()) as engine:
        (due,) = engine.due_jobs(MS)
        assert "_cron_jobs is out of reach for functions" in error_of(engine, "look")
        assert "_scheduled_functions" in error_of(engine, "cancel", id=due.id)
        mutate(engine, "add", text="y")
        assert engine.next_due_ms() == MS


class Watched(Engine):
    """Tells when a job has been run."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ran = asyncio.Event()

    def run_job(self, job_id: str) -> Any:
        outcome = super().run_job(job_id)
        self.ran.set()
        return outcome


class Acting:
    """Runs actions by noting that they ran."""

    def __init__(self) -> None:
        self.ran = asyncio.Event()

    async def run(
        self, path: str, args: JsonValue, *, internal: bool, job_id: str | None
    ) -> ActionOutcome:
        assert (path, json.dumps(args), internal) == ("m:act", '{"text": "x"}', True)
        self.ran.set()
        return ActionOutcome("null", None)


@pytest.mark.timeout(10)
async def test_the_scheduler_runs_them(tmp_path: Path, clock: Clock) -> None:
    crons = every_minute()
    crons.interval("act", {"hours": 1}, "m:act", {"text": "x"})
    with opened(tmp_path, clock, crons, Watched) as engine:
        assert isinstance(engine, Watched)
        acting = Acting()
        scheduler = Scheduler(engine, acting, now=clock)
        scheduler.start()
        for _ in range(3):
            await engine.ran.wait()
            engine.ran.clear()
            clock.now += 60
            scheduler.wake()
        await acting.ran.wait()
        await scheduler.aclose()
        assert len(texts(engine)) >= 3
