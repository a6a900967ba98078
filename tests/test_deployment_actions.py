"""Actions through a real executor process: outcomes, and what happens when it dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deployment_fixture import FUNCTIONS

from kit.deployment.actions import TRANSIENT, ActionOutcome, Actions
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.functions import FunctionRegistry
from kit.deployment.identity import UserIdentity

Running = Callable[..., AbstractAsyncContextManager[Actions]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    registry = FunctionRegistry.load(FUNCTIONS)
    database = Database.open(tmp_path / "data", registry.schema)
    yield Engine(database, registry)
    database.close()


@pytest.fixture
def running(engine: Engine) -> Running:
    """Actions with an executor, for the time of a block."""

    @asynccontextmanager
    async def running(
        functions: Path = FUNCTIONS, *options: str
    ) -> AsyncIterator[Actions]:
        actions = Actions(engine, [functions], options=options)
        actions.start()
        try:
            yield actions
        finally:
            await actions.aclose()

    return running


@pytest.fixture
async def actions(running: Running) -> AsyncIterator[Actions]:
    async with running() as actions:
        yield actions


def value(outcome: ActionOutcome) -> Any:
    assert outcome.error is None, outcome.error
    assert outcome.value_json is not None
    return msgspec.json.decode(outcome.value_json)


def error(outcome: ActionOutcome) -> str:
    assert outcome.error is not None
    assert outcome.value_json is None
    return outcome.error.message


NOTE = {"channel": "a", "body": "x"}


async def test_an_action_that_comes_before_the_executor_is_ready_waits(
    actions: Actions,
) -> None:
    outcome = await actions.run(
        "work:inner", {"value": {"a": [1, None]}}, internal=True
    )
    assert value(outcome) == {"a": [1.0, None]}


async def test_special_values_cross_the_pipe(actions: Actions) -> None:
    given = {"$integer": "BwAAAAAAAAA="}
    outcome = await actions.run("notes:echoByAction", {"value": given})
    assert value(outcome) == given
    text = "line\nbreak \u2028 π " + "x" * 1_000_000
    assert value(await actions.run("notes:echoByAction", {"value": text})) == text


async def test_many_actions_run_at_once(actions: Actions) -> None:
    outcomes = await asyncio.gather(
        *(actions.run("work:wait", {"seconds": 0.2}) for _ in range(50))
    )
    assert [value(outcome) for outcome in outcomes] == [0.2] * 50


async def test_an_action_reads_and_writes_through_functions(
    actions: Actions, engine: Engine
) -> None:
    note_id = value(await actions.run("work:addThroughMutation", NOTE))
    assert len(note_id) == 32
    outcome = await actions.run("work:readBack", {"channel": "a"})
    assert value(outcome) == ["x"]
    assert outcome.log_lines == ["[LOG] 'reading' 'a'"]
    assert engine.run_query("notes:list", {"channel": "a"}).value_json == '["x"]'


async def test_an_action_calls_an_internal_action(actions: Actions) -> None:
    assert value(await actions.run("work:nested", {"value": 1.0})) == [1.0]


async def test_who_calls_an_action_calls_what_it_calls(actions: Actions) -> None:
    ann = UserIdentity.of({"subject": "ann"})
    args = {"channel": "a"}
    outcome = await actions.run("users:signByAction", args, identity=ann)
    assert value(outcome) == ["ann"] * 4
    assert value(await actions.run("users:signByAction", args)) == [None] * 4


async def test_an_internal_action_is_not_for_clients(actions: Actions) -> None:
    outcome = await actions.run("work:inner", {"value": 1.0})
    assert error(outcome) == "Could not find public function for 'work:inner'."


@pytest.mark.parametrize(
    ("path", "args", "why"),
    [
        ("work:wait", {"seconds": "1"}, "ArgumentValidationError: "),
        ("work:wait", [], "ArgumentValidationError: Expected to receive an object"),
        ("work:nothing", {}, "Could not find public function for 'work:nothing'."),
        ("no such path!", {}, "no such path! is not a valid path"),
        ("notes:list", {}, "Trying to execute notes.js:list as Action"),
        ("work:wrongResult", {}, "ReturnsValidationError: "),
        ("work:noValue", {}, "Uncaught Error: "),
        ("work:leave", {}, "Uncaught SystemExit: enough"),
    ],
)
async def test_what_is_wrong_is_told(
    actions: Actions, path: str, args: Any, why: str
) -> None:
    assert error(await actions.run(path, args)).startswith(why)


async def test_an_exception_brings_its_frames_and_data(actions: Actions) -> None:
    outcome = await actions.run("work:refuse", {"data": {"code": 1.0}})
    assert outcome.error is not None
    assert outcome.error.message == "Uncaught ConvexError: refused"
    assert outcome.error.data_json == '{"code":1.0}'
    assert "at refuse (functions/work.py:" in outcome.error.frames[0]


async def test_an_action_may_catch_what_a_mutation_raises(actions: Actions) -> None:
    outcome = await actions.run("work:catchRefusal", {"data": {"code": 1.0}})
    assert value(outcome) == {"caught": {"code": 1.0}}


async def test_an_uncaught_failure_of_a_mutation_is_the_actions(
    actions: Actions,
) -> None:
    args = {"path": "notes:refuse", "args": {"data": 7.0}}
    outcome = await actions.run("work:callMutation", args)
    assert error(outcome).startswith("Uncaught ConvexError: ")
    assert outcome.error is not None and outcome.error.data_json == "7.0"
    args = {"path": "notes:crash", "args": {}}
    assert "RuntimeError: boom" in error(await actions.run("work:callMutation", args))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("path", "A function path must be a string"),
        ("args", "Invalid arguments"),
        ("delay", "`delayMs` must be non-negative"),
        ("time", "must be a finite number"),
        ("target", "no exported function nothing found"),
        ("job", "The id of a job must be a string"),
    ],
)
async def test_misuse_of_ctx_fails_the_action_only(
    actions: Actions, call: str, why: str
) -> None:
    assert why in error(await actions.run("work:misuse", {"call": call}))
    assert actions.starts == 1


async def test_an_action_schedules(actions: Actions, engine: Engine) -> None:
    args = {**NOTE, "delay": 60_000.0}
    job_id = value(await actions.run("work:addLater", args))
    assert value_of_job(engine, job_id) == {"kind": "pending"}
    due = engine.next_due_ms()
    assert due is not None


def value_of_job(engine: Engine, job_id: str) -> Any:
    found = engine.run_query("notes:job", {"id": job_id}).value_json
    assert found is not None
    return msgspec.json.decode(found)


async def test_printing_breaks_nothing(
    actions: Actions, capfd: pytest.CaptureFixture[str]
) -> None:
    assert value(await actions.run("work:printing", {})) == ""
    assert value(await actions.run("work:inner", {"value": 1.0}, internal=True)) == 1.0
    await until(lambda: "raw" in capfd.readouterr().err)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.01)


async def test_the_environment_reaches_the_action(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_TEST", "here")
    async with running() as actions:
        outcome = await actions.run("work:environment", {"name": "KIT_TEST"})
        assert value(outcome) == "here"


async def test_a_dead_executor_fails_its_actions_and_is_replaced(
    actions: Actions,
) -> None:
    first = value(await actions.run("work:process", {}))
    waiting = asyncio.create_task(actions.run("work:wait", {"seconds": 60.0}))
    await asyncio.sleep(0)
    assert (await actions.run("work:die", {})).error == TRANSIENT
    assert (await waiting).error == TRANSIENT
    assert value(await actions.run("work:process", {})) != first
    assert actions.starts == 2


async def test_a_killed_executor_is_replaced(actions: Actions) -> None:
    pid = int(value(await actions.run("work:process", {})))
    os.kill(pid, signal.SIGKILL)
    outcome = await actions.run("work:wait", {"seconds": 60.0})
    assert outcome.error == TRANSIENT  # it came before the death was noticed
    assert value(await actions.run("work:process", {})) != pid


async def test_an_executor_that_does_not_start_says_why(
    running: Running, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "notes.py").write_text("import nothing_of_this_name\n")
    async with running(broken) as actions:
        message = error(await actions.run("work:process", {}))
        assert message.startswith(
            "Transient error while executing action: the executor did not start. "
        )
        assert "No module named 'nothing_of_this_name'" in message

        # It is tried again, so a repaired folder needs no restart.
        (broken / "notes.py").unlink()
        work = (FUNCTIONS / "work.py").read_text()
        (broken / "work.py").write_text(work)
        while (outcome := await actions.run("work:process", {})).error is not None:
            assert "did not start" in outcome.error.message
        assert value(outcome) > 0
        assert actions.starts > 1


async def test_an_action_that_takes_too_long_is_stopped(running: Running) -> None:
    async with running(FUNCTIONS, "--time-limit", "0.1") as actions:
        outcome = await actions.run("work:wait", {"seconds": 60.0})
        assert error(outcome) == (
            "Function execution timed out (maximum duration: 0.1s)"
        )


async def test_an_action_that_blocks_the_others_ends_with_the_process(
    running: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(FUNCTIONS, "--block-limit", "0.5") as actions:
        blocked = asyncio.create_task(actions.run("work:block", {"seconds": 600.0}))
        assert (await blocked).error == TRANSIENT
        # What comes after it is run by another one.
        assert value(await actions.run("work:wait", {"seconds": 0.6})) == 0.6
    told = capfd.readouterr().err
    assert "Timeout (0:00:00.500000)!" in told
    assert "in block" in told


async def test_a_cancelled_caller_does_not_stop_the_action(
    actions: Actions, engine: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    args = {**NOTE, "gate": str(gate)}
    caller = asyncio.create_task(actions.run("work:addWhenOpen", args))
    await until(Path(f"{gate}.started").exists)
    caller.cancel()
    gate.touch()
    await until(
        lambda: engine.run_query("notes:list", {"channel": "a"}).value_json == '["x"]'
    )


async def test_closing_ends_the_process_and_what_runs(running: Running) -> None:
    async with running() as actions:
        pid = int(value(await actions.run("work:process", {})))
        waiting = asyncio.create_task(actions.run("work:wait", {"seconds": 60.0}))
        blocked = asyncio.create_task(actions.run("work:block", {"seconds": 60.0}))
        await asyncio.sleep(0)
    assert (await waiting).error == TRANSIENT
    assert (await blocked).error == TRANSIENT
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    late = await actions.run("work:process", {})
    assert "the deployment is stopping" in error(late)


async def test_closing_before_it_was_ready_fails_who_waits(running: Running) -> None:
    async with running() as actions:
        waiting = asyncio.create_task(actions.run("work:process", {}))
        await asyncio.sleep(0)
    assert "the deployment is stopping" in error(await waiting)
