"""The smoke test against deployments that are well, and that are not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from deployment_fixture import deployment_process
from llm_helpers import scripted
from serving_app import serving
from tokens import auth_config, token

from kit.client import Deployment
from kit.deploy.smoke import STEPS, SmokeTest, Step
from kit.errors import ConfigError
from kit.serving import HOST
from kit.stack import API_KEYS, SCRIPTED_URL, ServerProcess, Stack

CONNECT, CREATE, STREAM, READ_BACK, REMOVE = STEPS

Results = dict[str, Step]


async def smoke(url: str, **options: Any) -> Results:
    """The steps by their names; asserts that each was accounted for, in order."""
    steps = await SmokeTest(url, **options).run()
    assert tuple(step.name for step in steps) == STEPS
    return {step.name: step for step in steps}


def held(results: Results) -> dict[str, bool | None]:
    return {name: step.held for name, step in results.items()}


@asynccontextmanager
async def own_functions(folder: Path, **modules: str) -> AsyncIterator[str]:
    """An embedded deployment with other functions than the kit's; its URL."""
    functions = folder / "functions"
    functions.mkdir()
    for name, source in modules.items():
        (functions / f"{name}.py").write_text(source)
    args = ["kit.deployment", "--data", str(folder / "data")]
    server = ServerProcess(
        "deployment", [*args, "--functions", str(functions)], log=folder / "log", env={}
    )
    try:
        yield await server.start()
    finally:
        await server.stop()


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with await Stack.start(app=False, pace=200.0) as stack:
        yield stack


async def tasks_left(url: str) -> list[object]:
    async with Deployment(url) as deployment:
        return list(await deployment.query("tasks:list"))


async def test_on_the_embedded_deployment_it_holds_and_leaves_nothing(
    stack: Stack,
) -> None:
    begun: list[str] = []
    steps = await SmokeTest(stack.deployment_url).run(begun.append)
    assert {step.name: step.held for step in steps} == dict.fromkeys(STEPS, True)
    assert begun == list(STEPS)
    seen = {step.name: step.seen for step in steps}
    assert "first part after" in seen[STREAM]
    assert "deltas" in seen[READ_BACK]
    assert not any(step.advice for step in steps)
    assert await tasks_left(stack.deployment_url) == []


async def test_kit_deploy_check_prints_the_steps_and_says_if_they_held(
    stack: Stack,
) -> None:
    async def check(*options: str) -> tuple[int | None, str]:
        command = [sys.executable, "-m", "kit.cli", "deploy", "--check", *options]
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, "COLUMNS": "160"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode()
        return process.returncode, printed

    status, printed = await check(f"{stack.deployment_url}/")
    assert status == 0, printed
    for name in STEPS:
        assert f"✓  {name}" in printed
    assert f"5 of 5 steps held on {stack.deployment_url}," in printed
    assert "a mutation takes" in printed
    assert "What it costs at scale" in printed
    assert "A mutation as measured:" in printed

    status, printed = await check(
        stack.deployment_url, "--model", "claude-scripted-http-401"
    )
    assert status == 1, printed
    assert f"✗  {STREAM}" in printed
    assert "  npx convex env set ANTHROPIC_API_KEY\n" in printed
    assert "not tried" in printed
    assert "3 of 5 steps held" in printed
    assert "What it costs at scale" not in printed

    status, printed = await check("here")
    assert status == 2
    assert "not a deployment URL" in printed


async def test_where_nobody_answers(unused_tcp_port: int) -> None:
    results = await smoke(f"http://{HOST}:{unused_tcp_port}")
    assert held(results) == {**dict.fromkeys(STEPS), CONNECT: False}
    assert "nothing listens on that port" in results[CONNECT].seen
    assert ".convex.cloud" in results[CONNECT].advice


async def test_where_something_else_answers() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/{path:.*}", page)
    async with serving(application) as url:
        results = await smoke(url)
    assert held(results) == {**dict.fromkeys(STEPS), CONNECT: False}
    assert "something else than Convex answers there" in results[CONNECT].seen


@pytest.mark.parametrize("url", ["here", "https://happy-animal-123.convex.site", ""])
async def test_what_can_be_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        SmokeTest(url)


NOTES = """
from kit.deployment.functions import query

@query()
async def latest(ctx, args):
    return []
"""


async def test_functions_that_are_not_deployed(tmp_path: Path) -> None:
    async with own_functions(tmp_path, notes=NOTES) as url:
        results = await smoke(url)
    assert held(results) == {**dict.fromkeys(STEPS), CONNECT: True, CREATE: False}
    assert results[CREATE].seen == (
        "tasks:create: Could not find public function for 'tasks:create'."
    )
    assert "run kit deploy" in results[CREATE].advice


OTHER_TASKS = """
from kit.deployment.functions import mutation
from kit.values import v

@mutation(args={"name": v.string()})
async def create(ctx, args):
    return "task"
"""


async def test_other_functions_of_the_same_names(tmp_path: Path) -> None:
    async with own_functions(tmp_path, tasks=OTHER_TASKS) as url:
        results = await smoke(url)
    assert held(results) == {**dict.fromkeys(STEPS), CONNECT: True, CREATE: False}
    assert "ArgumentValidationError" in results[CREATE].seen
    assert "not this kit's" in results[CREATE].advice


# Functions that answer as the kit's do, but for one thing each.
TASKS = """
from kit.deployment.functions import mutation, query

@mutation()
async def create(ctx, args):
    return await ctx.db.insert("tasks", {})

@query()
async def get(ctx, args):
    return await ctx.db.get(args["taskId"])

@mutation()
async def remove(ctx, args):
    await ctx.db.delete(args["taskId"])
"""
MESSAGES = """
from kit.deployment.functions import query

@query()
async def byTask(ctx, args):
    if await ctx.db.get(args["taskId"]) is None:
        return []
    return await ctx.db.query("rows").collect()
"""
STREAMING = """
from kit.deployment.functions import mutation, query

@mutation()
async def send(ctx, args):
    await ctx.db.insert("rows", {"role": "USER", "content": "?", "status": "complete"})
    reply = {"role": "ASSISTANT", "content": "stored", "status": "complete"}
    await ctx.db.insert("rows", {**reply, "streamId": "s"})

@query()
async def catchUp(ctx, args):
    delta = {"type": "text-delta", "id": "text-0", "delta": "streamed"}
    chunks = [{"type": "text-start", "id": "text-0"}, delta]
    return {"deltas": [{"seq": 0, "chunks": chunks}], "nextSeq": 1, "more": False}
"""


async def test_a_reply_that_is_stored_otherwise_than_it_was_streamed(
    tmp_path: Path,
) -> None:
    modules = {"tasks": TASKS, "messages": MESSAGES, "streaming": STREAMING}
    async with own_functions(tmp_path, **modules) as url:
        results = await smoke(url)
    assert held(results) == {**dict.fromkeys(STEPS, True), READ_BACK: False}
    assert results[STREAM].seen == "complete, too quickly to be seen growing"
    assert results[READ_BACK].seen == "8 characters were streamed, 6 are stored"


async def test_messages_of_another_shape(tmp_path: Path) -> None:
    others = STREAMING.replace('"role"', '"author"')
    modules = {"tasks": TASKS, "messages": MESSAGES, "streaming": others}
    async with own_functions(tmp_path, **modules) as url:
        results = await smoke(url)
    assert held(results)[STREAM] is False
    assert "an answer of another shape" in results[STREAM].seen
    assert "not this kit's" in results[STREAM].advice
    assert results[REMOVE].held


async def test_a_deployment_without_a_key(tmp_path: Path) -> None:
    hidden = {*API_KEYS, SCRIPTED_URL}
    env = {name: os.environ[name] for name in os.environ.keys() - hidden}
    args = ["kit.deployment", "--data", str(tmp_path / "data")]
    server = ServerProcess("deployment", args, log=tmp_path / "log", env=env)
    url = await server.start()
    try:
        results = await smoke(url, model="gpt-6-luna", project=Path("/kit/project"))
    finally:
        await server.stop()
    assert held(results) == {
        **dict.fromkeys(STEPS, True),
        STREAM: False,
        READ_BACK: None,
    }
    assert "no API key for model 'gpt-6-luna'" in results[STREAM].seen
    advice = results[STREAM].advice
    assert "Set this one or that, in /kit/project (it asks for the value):" in advice
    assert "  npx convex env set OPENROUTER_API_KEY\n" in advice
    assert "  npx convex env set OPENAI_API_KEY\n" in advice


async def test_a_model_that_does_not_exist(stack: Stack) -> None:
    results = await smoke(stack.deployment_url, model="vendor/nonsense")
    assert results[STREAM].held is False
    assert results[STREAM].advice == "Choose another model with --model."
    assert results[REMOVE].held


async def test_on_a_deployment_that_asks_it_signs_in(tmp_path: Path) -> None:
    async with scripted() as provider:
        with deployment_process(
            data=tmp_path / "data",
            functions=None,
            options=["--auth", str(auth_config(tmp_path))],
            env={"KIT_SCRIPTED_URL": provider},
        ) as asking:
            results = await smoke(asking.url, env={"KIT_CONVEX_TOKEN": token("ann")})
            assert held(results) == dict.fromkeys(STEPS, True)

            create = (await smoke(asking.url, env={}))[CREATE]
            assert "You are not signed in" in create.seen
            assert "KIT_CONVEX_TOKEN" in create.advice
            over = token("ann", lifetime=-60)
            create = (await smoke(asking.url, env={"KIT_CONVEX_TOKEN": over}))[CREATE]
            assert "KIT_CONVEX_TOKEN" in create.advice
            assert over not in create.seen + create.advice


async def test_a_reply_that_does_not_come_is_stopped_and_removed(stack: Stack) -> None:
    results = await smoke(
        stack.deployment_url, model="claude-scripted-stall", reply_timeout=0.5
    )
    assert held(results) == {
        **dict.fromkeys(STEPS, True),
        STREAM: False,
        READ_BACK: None,
    }
    assert "did not come within 0.5 s" in results[STREAM].seen
    assert "--model" in results[STREAM].advice
    assert await tasks_left(stack.deployment_url) == []


async def test_an_interrupted_test_removes_its_task(stack: Stack) -> None:
    streams = asyncio.Event()

    def note(name: str) -> None:
        if name == STREAM:
            streams.set()

    test = SmokeTest(stack.deployment_url, model="claude-scripted-stall")
    running = asyncio.create_task(test.run(note))
    async with Deployment(stack.deployment_url) as deployment:
        await streams.wait()
        async for tasks in deployment.subscribe("tasks:list"):
            if tasks and tasks[0]["status"] == "RUNNING":
                break
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await deployment.query("tasks:list") == []
