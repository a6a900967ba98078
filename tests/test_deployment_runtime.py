"""The parts put together: requests in, outcomes out, followers told."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from deployment_fixture import FUNCTIONS
from msgspec import Raw

from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.functions import FunctionRegistry
from kit.deployment.runtime import Runtime

NOTE = Raw(b'[{"channel":"a","body":"x"}]')
BAD = Raw(b"[{},{}]")


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    registry = FunctionRegistry.load(FUNCTIONS)
    database = Database.open(tmp_path, registry.schema)
    runtime = Runtime(Engine(database, registry), [FUNCTIONS])
    runtime.start()
    yield runtime
    await runtime.aclose()
    database.close()


class Follower:
    def __init__(self) -> None:
        self.told: list[int] = []
        self.event = asyncio.Event()

    def query_changed(self, query_id: int) -> None:
        self.told.append(query_id)
        self.event.set()


async def test_a_mutation_has_told_the_followers_when_it_returns(
    runtime: Runtime,
) -> None:
    follower = Follower()
    args = Raw(b'[{"channel":"a"}]')
    query = runtime.subscriptions.subscribe("notes:list", args, follower, 5)
    runtime.subscriptions.refresh(query)
    assert query.result.value == "[]"
    assert runtime.mutation("notes:add", NOTE).error is None
    assert follower.told == [5]
    runtime.subscriptions.refresh(query)
    assert query.result.value == runtime.query("notes:list", args).value_json == '["x"]'


async def test_an_action_runs_and_tells_the_followers(runtime: Runtime) -> None:
    follower = Follower()
    args = Raw(b'[{"channel":"a"}]')
    query = runtime.subscriptions.subscribe("notes:list", args, follower, 5)
    runtime.subscriptions.refresh(query)
    outcome = await runtime.action("work:addThroughMutation", NOTE)
    assert outcome.error is None
    assert follower.told == [5]


async def test_a_scheduled_function_runs_soon(runtime: Runtime) -> None:
    follower = Follower()
    channel = Raw(b'{"channel":"a"}')
    query = runtime.subscriptions.subscribe("notes:list", channel, follower, 0)
    runtime.subscriptions.refresh(query)
    args = Raw(b'{"channel":"a","body":"x","delay":0}')
    assert runtime.mutation("notes:addLater", args).error is None
    await follower.event.wait()
    runtime.subscriptions.refresh(query)
    assert query.result.value == '["x"]'


async def test_arguments_that_cannot_be_read_are_a_failure_of_each_kind(
    runtime: Runtime,
) -> None:
    for outcome in (
        runtime.query("notes:list", BAD),
        runtime.mutation("notes:add", BAD),
        await runtime.action("work:wait", BAD),
    ):
        assert outcome.value_json is None
        assert outcome.error is not None
        assert "Instead received 2 arguments" in outcome.error.message


async def test_work_that_was_handed_over_outlives_who_did(runtime: Runtime) -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    runtime.spawn(work())
    await done.wait()


async def test_the_log_tells_runs_without_what_they_are_about(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "kit")
    runtime.mutation("notes:add", Raw(b'[{"channel":"s3cret","body":"x"}]'))
    runtime.mutation("notes:refuse", Raw(b'[{"data":"s3cret"}]'))
    runtime.query("notes:list", Raw(b'[{"channel":{"s3cret":1}}]'))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("mutation notes:add: done in ")
    assert lines[1].endswith(" ms: Uncaught ConvexError")
    assert lines[2].endswith(" ms: ArgumentValidationError")
    assert "s3cret" not in caplog.text
