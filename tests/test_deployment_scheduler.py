"""Scheduled functions: when they run, how often, and what stops them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment_fixture import FUNCTIONS, deployment_process

from kit.deployment.actions import TRANSIENT, ActionOutcome
from kit.deployment.database import Database
from kit.deployment.engine import Engine, Job
from kit.deployment.failures import FunctionFailure
from kit.deployment.functions import FunctionRegistry
from kit.deployment.scheduler import PARALLELISM, Scheduler
from kit.errors import DatabaseError
from kit.values import JsonValue


class Clock:
    """Time in seconds since the epoch: stands still unless the test lets it pass."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.passing = False

    def __call__(self) -> float:
        return time.time() if self.passing else self.now


class HeldActions:
    """Runs actions until the test lets them end."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[ActionOutcome]] = {}
        self.most = 0

    async def run(
        self, path: str, args: JsonValue, *, internal: bool, job_id: str | None
    ) -> ActionOutcome:
        assert internal
        assert job_id is not None
        assert isinstance(args, dict)
        name = str(args["body"])
        self.running[name] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.running))
        try:
            return await self.running[name]
        finally:
            del self.running[name]

    def end(self, name: str, error: FunctionFailure | None = None) -> None:
        value = None if error else "null"
        self.running[name].set_result(ActionOutcome(value, error))


class FailingEngine(Engine):
    """Its disk can be full."""

    full = False

    def due_jobs(self, now_ms: float, limit: int = 8) -> list[Job]:
        if self.full:
            raise DatabaseError("the disk is full")
        return super().due_jobs(now_ms, limit)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[FailingEngine]:
    registry = FunctionRegistry.load(FUNCTIONS)
    database = Database.open(tmp_path, registry.schema)
    yield FailingEngine(database, registry, now=clock)
    database.close()


@pytest.fixture
def actions() -> HeldActions:
    return HeldActions()


@pytest.fixture
async def scheduler(
    engine: FailingEngine, actions: HeldActions, clock: Clock
) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(engine, actions, now=clock)
    engine.on_schedule = lambda due_ms: scheduler.wake()
    scheduler.start()
    yield scheduler
    await scheduler.aclose()


def schedule(
    engine: Engine, body: str, *, delay: float = 0.0, path: str = "notes:addLater"
) -> str:
    """Have a mutation schedule; the id of the job."""
    args: Any = {"channel": "a", "body": body, "delay": delay}
    return str(value(engine.run_mutation(path, args).value_json))


def schedule_action(engine: Engine, body: str, *, delay: float = 0.0) -> str:
    return schedule(engine, body, delay=delay, path="notes:addLaterByAction")


def notes(engine: Engine) -> Any:
    return value(engine.run_query("notes:list", {"channel": "a"}).value_json)


def state(engine: Engine, job_id: str) -> Any:
    return value(engine.run_query("notes:job", {"id": job_id}).value_json)


def value(text: str | None) -> Any:
    assert text is not None
    return json.loads(text)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("scheduler")
async def test_a_mutation_runs_when_it_is_due_and_not_before(
    engine: FailingEngine, clock: Clock, scheduler: Scheduler
) -> None:
    later = schedule(engine, "later", delay=5000)
    soon = schedule(engine, "soon", delay=1000)
    now = schedule(engine, "now")
    await until(lambda: notes(engine) == ["now"])
    assert state(engine, now) == {"kind": "success"}
    assert state(engine, soon) == state(engine, later) == {"kind": "pending"}
    clock.now += 1.0
    scheduler.wake()
    await until(lambda: notes(engine) == ["now", "soon"])
    clock.now += 10.0
    scheduler.wake()
    await until(lambda: notes(engine) == ["now", "soon", "later"])


@pytest.mark.usefixtures("scheduler")
async def test_it_wakes_by_itself(engine: FailingEngine, clock: Clock) -> None:
    """With time that passes, nobody calls `wake` when it has come."""
    clock.passing = True
    schedule(engine, "soon", delay=50)
    await until(lambda: notes(engine) == ["soon"])


@pytest.mark.usefixtures("scheduler")
async def test_a_failed_mutation_is_marked_and_not_repeated(
    engine: FailingEngine, clock: Clock
) -> None:
    job_id = engine.schedule("notes:crash", {}, clock.now * 1000)
    assert isinstance(job_id, str)
    engine.on_schedule(0)
    await until(lambda: state(engine, job_id)["kind"] == "failed")
    assert "Uncaught RuntimeError: boom" in state(engine, job_id)["error"]


@pytest.mark.usefixtures("scheduler")
async def test_a_canceled_job_never_runs(
    engine: FailingEngine, clock: Clock, scheduler: Scheduler
) -> None:
    job_id = schedule(engine, "canceled", delay=1000)
    engine.run_mutation("notes:cancelJob", {"id": job_id})
    clock.now += 2.0
    schedule(engine, "other")
    await until(lambda: notes(engine) == ["other"])
    assert state(engine, job_id) == {"kind": "canceled"}


@pytest.mark.usefixtures("scheduler")
async def test_an_action_is_in_progress_until_it_ends(
    engine: FailingEngine, actions: HeldActions
) -> None:
    good, bad = schedule_action(engine, "good"), schedule_action(engine, "bad")
    await until(lambda: len(actions.running) == 2)
    assert state(engine, good) == {"kind": "inProgress"}
    actions.end("good")
    actions.end("bad", TRANSIENT)
    await until(lambda: state(engine, good) == {"kind": "success"})
    await until(lambda: state(engine, bad)["kind"] == "failed")
    assert state(engine, bad)["error"] == "Transient error while executing action\n"


@pytest.mark.usefixtures("scheduler")
async def test_actions_wait_for_their_turn_and_mutations_do_not(
    engine: FailingEngine, actions: HeldActions
) -> None:
    for number in range(PARALLELISM + 2):
        schedule_action(engine, str(number))
    await until(lambda: len(actions.running) == PARALLELISM)
    schedule(engine, "mutation")
    schedule(engine, "late mutation", delay=0)
    await until(lambda: len(notes(engine)) == 2)
    assert "8" not in actions.running
    actions.end("3")
    await until(lambda: "8" in actions.running)
    actions.end("8")
    await until(lambda: "9" in actions.running)
    assert actions.most == PARALLELISM


async def test_what_runs_at_the_end_has_failed_at_the_next_start(
    engine: FailingEngine, actions: HeldActions, scheduler: Scheduler
) -> None:
    job_id = schedule_action(engine, "cut off")
    await until(lambda: actions.running)
    await scheduler.aclose()
    assert state(engine, job_id) == {"kind": "inProgress"}
    Engine(engine._database, engine._registry)
    assert state(engine, job_id) == {
        "kind": "failed",
        "error": "Transient error while executing action",
    }


async def test_an_error_of_the_engine_is_survived(
    engine: FailingEngine,
    scheduler: Scheduler,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine.full = True
    schedule(engine, "x")
    await until(lambda: "could not run its jobs" in caplog.text)
    engine.full = False
    scheduler.wake()
    await until(lambda: notes(engine) == ["x"])


def test_jobs_survive_kill_9(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        args = {"channel": "a", "body": "mutation", "delay": 600}
        mutation = deployment.value("mutation", "notes:addLater", args)
        args = {"channel": "a", "body": "action", "delay": 700}
        action = deployment.value("mutation", "notes:addLaterByAction", args)
        deployment.kill()
        deployment.start()
        while len(deployment.value("query", "notes:list", {"channel": "a"})) < 2:
            pass
        found = deployment.value("query", "notes:list", {"channel": "a"})
        assert sorted(found) == ["action", "mutation"]
        for job_id in (mutation, action):
            while deployment.value("query", "notes:job", {"id": job_id}) != {
                "kind": "success"
            }:
                pass
