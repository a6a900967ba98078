"""A task: who knows it, and what became of its newest reply."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doctor_helpers import PlayedConvex, case, http, played

from kit.app.flags import Mode
from kit.client import Deployment
from kit.doctor.findings import Finding
from kit.doctor.queries import Queries
from kit.doctor.task import STUCK_AFTER, look_at_task
from kit.stack import Stack

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Everything running, the flag on."""
    async with await Stack.start(pace=0, app=False) as stack:
        stack.set_flags(realtime=True)
        await stack.app.start()
        yield stack


async def look(
    stack: Stack, task: str | None, mode: Mode = "option-1"
) -> dict[str, Finding]:
    async with http() as requests:
        queries = Queries(requests, stack.deployment_url)
        examined = case(app_url=stack.app.url, task=task)
        findings = await look_at_task(examined, requests, queries, None, mode)
    return {finding.subject: finding for finding in findings}


async def answer(deployment: Deployment, task_id: str, model: str) -> None:
    """Have the task answered, and wait for the end."""
    args = {"taskId": task_id, "prompt": "Hello", "model": model}
    await deployment.mutation("streaming:send", args)
    async for rows in deployment.subscribe("messages:byTask", {"taskId": task_id}):
        if rows and rows[-1]["status"] not in ("streaming", "stopping"):
            return


async def test_a_task_is_where_it_should_be_or_it_is_told_who_has_it(
    stack: Stack,
) -> None:
    task_id = await stack.create_task("Both have it")
    found = await look(stack, task_id)
    assert found["task"].state == "ok"
    assert found["task"].seen.count("“Both have it”, INITIALIZING.") == 2
    assert found["newest-reply"].state == "skipped"

    async with Deployment(stack.deployment_url) as deployment:
        only = await deployment.mutation("tasks:create", {"title": "Convex has it"})
    assert (await look(stack, only))["task"].state == "ok"
    assert (await look(stack, only, "before"))["task"].fault == "task-only-in-convex"
    assert (await look(stack, only, "before"))["task"].fault == (
        "task-only-in-convex"
    ), "looking took nothing over into SQL"

    for nonsense in ("nonsense", "", "../messages", task_id[:-1], "ünïcode"):
        unknown = (await look(stack, nonsense))["task"]
        assert unknown.fault == "task-unknown", nonsense
        assert "not the id of a task" in unknown.seen
        assert f"{only} (“Convex has it”)" in unknown.remedy

    stack.set_flags(realtime=False)
    await stack.app.restart()
    before = await stack.create_task("SQL has it")
    assert (await look(stack, before, "before"))["task"].state == "ok"
    assert (await look(stack, before))["task"].fault == "task-only-in-sql"


async def test_a_task_that_is_gone(stack: Stack) -> None:
    async with Deployment(stack.deployment_url) as deployment:
        task_id = await deployment.mutation("tasks:create", {"title": "Gone"})
        await deployment.mutation("tasks:remove", {"taskId": task_id})
    finding = (await look(stack, task_id))["task"]
    assert finding.fault == "task-unknown"
    assert "no such task, or no longer" in finding.seen


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("claude-opus-5-5", None),
        ("claude-scripted-http-401", "reply-key-refused"),
        ("claude-scripted-eof", "reply-broke-off"),
        ("claude-scripted-http-404", "reply-failed"),
        ("gpt-scripted-http-402", "reply-failed"),
    ],
)
async def test_the_newest_reply_tells_how_it_ended(
    stack: Stack, model: str, fault: str | None
) -> None:
    async with Deployment(stack.deployment_url) as deployment:
        older = await deployment.mutation("tasks:create", {"title": "Older"})
        await answer(deployment, older, "claude-scripted-http-500")
        task_id = await deployment.mutation("tasks:create", {"title": "Newer"})
        await answer(deployment, task_id, model)
        # The newest task that was answered, not the newest of all.
        await deployment.mutation("tasks:create", {"title": "Not answered"})
        for asked in (task_id, None):
            reply = (await look(stack, asked))["newest-reply"]
            assert (reply.fault, reply.place) == (fault, task_id)
        assert (await look(stack, older))["newest-reply"].fault == "reply-failed"
        await answer(deployment, older, "claude-opus-5-5")
        mended = (await look(stack, older))["newest-reply"]
        assert mended.state == "ok"
        assert "Before it: failed (server)." in mended.seen


async def test_a_reply_being_written(stack: Stack) -> None:
    async with Deployment(stack.deployment_url) as deployment:
        task_id = await deployment.mutation("tasks:create", {"title": "Slow"})
        model = "claude-scripted-text:tokens=5000,pace=20"
        args = {"taskId": task_id, "prompt": "Hello", "model": model}
        await deployment.mutation("streaming:send", args)
        reply = (await look(stack, task_id))["newest-reply"]
        assert reply.state == "ok"
        assert "Being written since" in reply.seen
        await deployment.mutation("streaming:stopTask", {"taskId": task_id})


async def test_before_the_migration_sql_tells_of_a_failed_reply(stack: Stack) -> None:
    from kit.app.hooks import use_task_socket

    stack.set_flags(realtime=False)
    await stack.app.restart()
    task_id = await stack.create_task("Before")
    async with await use_task_socket(task_id, socket_url=stack.app.url) as chat:
        await chat.send_message("Hello", model="claude-scripted-http-401")
        await chat.until(lambda chat: chat.task_status == "FAILED", timeout=30)
    reply = (await look(stack, task_id, "before"))["newest-reply"]
    assert reply.fault == "reply-key-refused"


# --- without an application, without a deployment, and with odd ones -----------------


async def look_at(
    functions: dict[str, Any], task: str | None = "t", hides: bool = False
) -> dict[str, Finding]:
    async with played(PlayedConvex(functions, hides=hides)) as url, http() as requests:
        queries = Queries(requests, url)
        findings = await look_at_task(
            case(task=task), requests, queries, None, "option-1"
        )
    return {finding.subject: finding for finding in findings}


TASK = {"_id": "t", "title": "x" * 100, "status": "RUNNING"}


def row(**fields: Any) -> dict[str, Any]:
    began = (time.time() - STUCK_AFTER - 60) * 1000
    return {"role": "ASSISTANT", "_creationTime": began, **fields}


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([], "skipped"),
        ([{"role": "USER"}], "skipped"),
        ("no list", "skipped"),
        ([row(status="streaming")], "reply-stuck"),
        ([row(status="stopping")], "reply-stuck"),
        ([row(status="stopped")], "ok"),
        ([row(status="failed")], "reply-failed"),
        ([row(status="failed", errorKind="interrupted")], "reply-broke-off"),
        ([row(status="failed"), {"role": "USER"}], "reply-failed"),
    ],
)
async def test_what_the_rows_say(rows: Any, outcome: str) -> None:
    found = await look_at(
        {"tasks:get": lambda _: TASK, "messages:byTask": lambda _: rows}
    )
    assert found["task"].state == "ok"
    assert "…”, RUNNING." in found["task"].seen, "a long title is cut"
    reply = found["newest-reply"]
    assert (reply.fault or reply.state) == outcome


async def test_what_is_hidden_is_not_known() -> None:
    found = await look_at({"tasks:get": "query"}, hides=True)
    assert found["task"].state == "skipped"
    assert "could not tell" in found["task"].seen
    assert found["newest-reply"].state == "skipped"


async def test_without_anybody_to_ask_nothing_is_known() -> None:
    async with http() as requests:
        for task in ("t", None):
            found = await look_at_task(case(task=task), requests, None, None, None)
            assert {finding.state for finding in found} == {"skipped"}
    found_all = await look_at({"tasks:list": lambda _: []}, task=None)
    assert {finding.state for finding in found_all.values()} == {"skipped"}
