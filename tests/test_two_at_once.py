"""Several messages at the very same moment: over HTTP, and through the application.

What each policy does, step by step, is in `scenarios/policies.json`; in any order, in
test_streams_stateful. Here clients race, and the scripted provider tells what it was
asked and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from kit.app.hooks import HybridTask, use_hybrid_task
from kit.client import Deployment
from kit.client.background import cancel
from kit.errors import ConvexFunctionError, DeploymentError
from kit.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SHORT = "claude-scripted-text:tokens=20,pace=200"
ENDLESS = "claude-scripted-stall:at=2"
PROMPTS = [f"prompt {number}" for number in range(8)]
UNFINISHED = ("queued", "streaming", "stopping")


class Race:
    """A task, everything that a viewer saw of it, and those who send to it."""

    def __init__(self, stack: Stack, deployment: Deployment, task_id: str) -> None:
        self.stack = stack
        self.deployment = deployment
        self.task_id = task_id
        self.frames: list[list[str]] = []
        self.replies: list[dict[str, Any]] = []
        self.asked_before = 0  # the provider, by the races before this one
        self._news = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        args = {"taskId": self.task_id}
        async for rows in self.deployment.subscribe("messages:byTask", args):
            self.replies = rows[1::2]
            self.frames.append([row["status"] for row in self.replies])
            self._news.set()

    async def close(self) -> None:
        """Leave nothing behind that asks the provider, or takes a job's place."""
        await self.deployment.mutation("streaming:stopTask", {"taskId": self.task_id})
        await self.until_all_ended(len(self.replies))
        await cancel(self._watching)

    async def send(self, prompt: str, model: str, **more: Any) -> Any:
        """What `streaming:send` answers, or the refusal's code."""
        args = {"taskId": self.task_id, "prompt": prompt, "model": model, **more}
        try:
            return await self.deployment.mutation("streaming:send", args)
        except ConvexFunctionError as error:
            assert isinstance(error.data, dict)
            return error.data["code"]

    async def ask(self, prompt: str, model: str, **more: Any) -> Any:
        args = {"taskId": self.task_id, "prompt": prompt, "model": model, **more}
        return await self.deployment.action("streaming:streamChatWithTools", args)

    async def until(self, *statuses: str) -> None:
        """Until these are the statuses of the replies."""
        while [row["status"] for row in self.replies] != [*statuses]:
            self._news.clear()
            await self._news.wait()

    async def until_all_ended(self, count: int) -> None:
        while len(self.replies) < count or any(
            row["status"] in UNFINISHED for row in self.replies
        ):
            self._news.clear()
            await self._news.wait()

    async def until_text(self) -> None:
        """Until the first reply has some."""
        page = {"streamId": self.replies[0]["streamId"], "page": 0}
        async for value in self.deployment.subscribe("streaming:read", page):
            if any("text-delta" in str(delta) for delta in value["deltas"]):
                return

    async def asked(self) -> list[dict[str, Any]]:
        """What the provider was asked, in order."""
        return (await self.stack.provider_log())[self.asked_before :]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    """Without the application."""
    env = {"KIT_LEASE_MS": "5000"}
    async with await Stack.start(app=False, pace=0, deployment_env=env) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def race(stack: Stack) -> AsyncIterator[Race]:
    async with Deployment(stack.deployment_url) as deployment:
        task_id = await deployment.mutation("tasks:create", {"title": "A race"})
        race = Race(stack, deployment, task_id)
        race.asked_before = len(await stack.provider_log())
        yield race
        await race.close()


async def test_of_those_that_may_be_rejected_one_is_answered(race: Race) -> None:
    sent = await asyncio.gather(*(race.send(p, ENDLESS) for p in PROMPTS))
    assert sent.count("StreamActive") == 7
    await race.until("streaming")
    await race.until_text()
    assert len(await race.asked()) == 1


async def test_those_that_queue_are_answered_one_after_the_other(race: Race) -> None:
    """By `send` and by actions, at the same moment."""
    texts = PROMPTS
    await asyncio.gather(
        *(race.send(p, SHORT, whenActive="queue") for p in texts[::2]),
        *(race.ask(p, SHORT, whenActive="queue") for p in texts[1::2]),
    )
    await race.until_all_ended(8)
    assert {row["status"] for row in race.replies} == {"complete"}
    for frame in race.frames:
        assert frame.count("streaming") <= 1
        assert frame == sorted(frame, key=["complete", "streaming", "queued"].index)
    rows = await race.deployment.query("messages:byTask", {"taskId": race.task_id})
    asked = await race.asked()
    assert [entry["prompt"] for entry in asked] == [r["content"] for r in rows[::2]]
    assert sorted(entry["prompt"] for entry in asked) == texts
    for earlier, later in pairwise(asked):
        assert earlier["endedAt"] <= later["receivedAt"]


async def test_of_those_that_interrupt_the_last_is_answered(race: Race) -> None:
    sent = await asyncio.gather(
        *(race.send(p, ENDLESS, whenActive="interrupt") for p in PROMPTS)
    )
    await race.until(*["stopped"] * 7, "streaming")
    assert {begun["status"] for begun in sent} == {"streaming"}
    assert all(frame.count("streaming") <= 1 for frame in race.frames)
    task = await race.deployment.query("tasks:get", {"taskId": race.task_id})
    assert task["status"] == "RUNNING"


async def test_one_message_that_is_sent_many_times_is_answered_once(race: Race) -> None:
    await race.send("first", SHORT)
    prompt = PROMPTS[0]
    more = {"whenActive": "queue", "clientMessageId": "c1"}
    sent = await asyncio.gather(*(race.send(prompt, SHORT, **more) for _ in range(8)))
    assert len({begun["messageId"] for begun in sent}) == 1
    assert [begun["reused"] for begun in sent].count(False) == 1
    await race.until("complete", "complete")
    assert [entry["prompt"] for entry in await race.asked()] == ["first", PROMPTS[0]]


async def test_a_queue_outlives_a_killed_deployment(race: Race) -> None:
    """Who waited in an action is gone, what the deployment was to produce is not."""
    one, two, three, four = PROMPTS[:4]
    await race.send(one, ENDLESS)
    await race.until("streaming")
    await race.until_text()
    waiting = asyncio.create_task(race.ask(two, SHORT, whenActive="queue"))
    await race.until("streaming", "queued")
    await race.send(three, SHORT, whenActive="queue")
    await race.send(four, SHORT, whenActive="queue")
    await race.until("streaming", "queued", "queued", "queued")
    await race.stack.cut_deployment()
    with pytest.raises(DeploymentError):
        await waiting
    await race.stack.restore_deployment()
    await race.until("failed", "failed", "complete", "complete")
    # A prompt without an answer goes to the model with the next one.
    asked = [entry["prompt"] for entry in await race.asked()]
    assert asked == [one, f"{two}\n\n{three}", four]


# --- through the application --------------------------------------------------------


class Chat:
    """The application in one of its forms; each test has a task of its own there."""

    def __init__(self, stack: Stack, option: int) -> None:
        self.stack = stack
        self.option = option

    @asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[HybridTask]]:
        """So many clients of a new task."""
        stack = self.stack
        self._task_id = await stack.create_task("A race")
        self._asked_before = len(await stack.provider_log())
        async with AsyncExitStack() as opened:
            url = stack.deployment_url
            deployment = await opened.enter_async_context(Deployment(url))
            yield [
                await opened.enter_async_context(
                    await use_hybrid_task(
                        self._task_id, deployment=deployment, socket_url=stack.app.url
                    )
                )
                for _ in range(count)
            ]

    async def asked(self) -> list[dict[str, Any]]:
        """What the provider was asked in this task, in order."""
        return (await self.stack.provider_log())[self._asked_before :]

    async def stored(self) -> list[str]:
        """What SQL has of it."""
        stored = await self.stack.stored_messages(self._task_id)
        return [row["content"] for row in stored]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1, 2])
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[Chat]:
    option: int = request.param
    async with await Stack.start(app=False, pace=0) as stack:
        stack.set_flags(realtime=True, option=option)
        await stack.app.start()
        yield Chat(stack, option)


def replies(hook: HybridTask) -> list[str]:
    return [row["status"] for row in hook.messages if row["role"] == "ASSISTANT"]


async def test_clients_of_the_application_queue_at_the_same_moment(chat: Chat) -> None:
    async with chat.clients(3) as hooks:
        await asyncio.gather(
            *(
                hook.send_message(prompt, model=SHORT, when_active="queue")
                for hook, prompt in zip(hooks, PROMPTS, strict=False)
            )
        )
        await hooks[0].until(lambda h: replies(h) == ["complete"] * 3, timeout=60)
        await hooks[0].until(lambda h: h.task_status == "COMPLETED", timeout=20)
        shown = [row["content"] for row in hooks[0].messages]
        log = await chat.asked()
        assert [entry["prompt"] for entry in log] == shown[::2]
        assert sorted(shown[::2]) == PROMPTS[:3]
        for earlier, later in pairwise(log):
            assert earlier["endedAt"] <= later["receivedAt"]
        assert await chat.stored() == (shown if chat.option == 1 else [])


async def test_a_client_of_the_application_interrupts_and_another_is_refused(
    chat: Chat,
) -> None:
    async with chat.clients(3) as (one, two, three):
        await one.send_message(PROMPTS[0], model=ENDLESS)
        await one.until(lambda h: h.streaming_text(), timeout=20)
        await three.send_message("not now", model=SHORT)
        await three.until(lambda h: h.error, timeout=20)
        assert "still being answered" in str(three.error)
        await two.send_message(PROMPTS[1], model=SHORT, when_active="interrupt")
        await two.until(lambda h: replies(h) == ["stopped", "complete"], timeout=20)
        await two.until(lambda h: h.task_status == "COMPLETED", timeout=20)
        log = await chat.asked()
        assert [entry["prompt"] for entry in log] == PROMPTS[:2]
        assert log[0]["outcome"] == "disconnected"
        contents = [row["content"] for row in two.messages]
        assert await chat.stored() == (contents if chat.option == 1 else [])


async def test_a_stop_in_the_application_drops_what_is_queued(chat: Chat) -> None:
    async with chat.clients(2) as (one, two):
        await one.send_message(PROMPTS[0], model=ENDLESS)
        await one.until(lambda h: h.streaming_text(), timeout=20)
        await two.send_message(PROMPTS[1], model=SHORT, when_active="queue")
        await two.until(lambda h: replies(h) == ["streaming", "queued"], timeout=20)
        assert two.task_status == "RUNNING"
        await one.stop_stream()
        await one.until(lambda h: replies(h) == ["stopped", "stopped"], timeout=20)
        await one.until(lambda h: h.task_status == "STOPPED", timeout=20)
        assert len(await chat.asked()) == 1


@pytest.mark.parametrize("chat", [1], indirect=True)
async def test_a_queued_message_outlives_the_application(chat: Chat) -> None:
    """Convex goes on, and the next server copies what came of it into SQL."""
    async with chat.clients(1) as (hook,):
        slow = "claude-scripted-text:tokens=40,pace=20"
        await hook.send_message(PROMPTS[0], model=slow)
        await hook.until(lambda h: h.streaming_text(), timeout=20)
        await hook.send_message(PROMPTS[1], model=SHORT, when_active="queue")
        await hook.until(lambda h: replies(h) == ["streaming", "queued"], timeout=20)
        await chat.stack.app.kill()
        await chat.stack.app.start()
        await hook.until(lambda h: replies(h) == ["complete"] * 2, timeout=60)
        await hook.until(lambda h: h.task_status == "COMPLETED", timeout=20)
        contents = [row["content"] for row in hook.streaming.messages]
        assert await chat.stored() == contents
        assert len(await chat.asked()) == 2
