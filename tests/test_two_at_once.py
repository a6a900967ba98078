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

from kit.app.hooks import HybridTask, use_hybrid_task
from kit.client import Deployment
from kit.client.background import cancel
from kit.errors import ConvexFunctionError, DeploymentError
from kit.stack import Stack

pytestmark = pytest.mark.timeout(120)

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
        self._news = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        args = {"taskId": self.task_id}
        async for rows in self.deployment.subscribe("messages:byTask", args):
            self.replies = rows[1::2]
            self.frames.append([row["status"] for row in self.replies])
            self._news.set()

    async def close(self) -> None:
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
        return await self.stack.provider_log()


@asynccontextmanager
async def racing(stack: Stack) -> AsyncIterator[Race]:
    async with Deployment(stack.deployment_url) as deployment:
        task_id = await deployment.mutation("tasks:create", {"title": "A race"})
        race = Race(stack, deployment, task_id)
        try:
            yield race
        finally:
            await race.close()


@pytest.fixture
async def race() -> AsyncIterator[Race]:
    env = {"KIT_LEASE_MS": "5000"}
    async with (
        await Stack.start(app=False, pace=0, deployment_env=env) as stack,
        racing(stack) as race,
    ):
        yield race


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


@asynccontextmanager
async def chatting(option: int, count: int) -> AsyncIterator[tuple[Stack, Any]]:
    """The application, and so many clients of one task."""
    async with await Stack.start(app=False, pace=0) as stack:
        stack.set_flags(realtime=True, option=option)
        await stack.app.start()
        task_id = await stack.create_task("A race")
        async with AsyncExitStack() as clients:
            url = stack.deployment_url
            deployment = await clients.enter_async_context(Deployment(url))
            hooks = [
                await clients.enter_async_context(
                    await use_hybrid_task(
                        task_id, deployment=deployment, socket_url=stack.app.url
                    )
                )
                for _ in range(count)
            ]
            yield stack, hooks


def replies(hook: HybridTask) -> list[str]:
    return [row["status"] for row in hook.messages if row["role"] == "ASSISTANT"]


@pytest.mark.parametrize("option", [1, 2])
async def test_clients_of_the_application_queue_at_the_same_moment(option: int) -> None:
    async with chatting(option, 3) as (stack, hooks):
        await asyncio.gather(
            *(
                hook.send_message(prompt, model=SHORT, when_active="queue")
                for hook, prompt in zip(hooks, PROMPTS, strict=False)
            )
        )
        await hooks[0].until(lambda h: replies(h) == ["complete"] * 3, timeout=60)
        await hooks[0].until(lambda h: h.task_status == "COMPLETED", timeout=20)
        shown = [row["content"] for row in hooks[0].messages]
        log = await stack.provider_log()
        assert [entry["prompt"] for entry in log] == shown[::2]
        assert sorted(shown[::2]) == PROMPTS[:3]
        for earlier, later in pairwise(log):
            assert earlier["endedAt"] <= later["receivedAt"]
        stored = await stack.stored_messages(hooks[0].task_id)
        assert [row["content"] for row in stored] == (shown if option == 1 else [])


@pytest.mark.parametrize("option", [1, 2])
async def test_a_client_of_the_application_interrupts_and_another_is_refused(
    option: int,
) -> None:
    async with chatting(option, 3) as (stack, (one, two, three)):
        await one.send_message(PROMPTS[0], model=ENDLESS)
        await one.until(lambda h: h.streaming_text(), timeout=20)
        await three.send_message("not now", model=SHORT)
        await three.until(lambda h: h.error, timeout=20)
        assert "still being answered" in three.error
        await two.send_message(PROMPTS[1], model=SHORT, when_active="interrupt")
        await two.until(lambda h: replies(h) == ["stopped", "complete"], timeout=20)
        await two.until(lambda h: h.task_status == "COMPLETED", timeout=20)
        log = await stack.provider_log()
        assert [entry["prompt"] for entry in log] == PROMPTS[:2]
        assert log[0]["outcome"] == "disconnected"
        stored = await stack.stored_messages(one.task_id)
        contents = [row["content"] for row in two.messages]
        assert [row["content"] for row in stored] == (contents if option == 1 else [])


@pytest.mark.parametrize("option", [1, 2])
async def test_a_stop_in_the_application_drops_what_is_queued(option: int) -> None:
    async with chatting(option, 2) as (stack, (one, two)):
        await one.send_message(PROMPTS[0], model=ENDLESS)
        await one.until(lambda h: h.streaming_text(), timeout=20)
        await two.send_message(PROMPTS[1], model=SHORT, when_active="queue")
        await two.until(lambda h: replies(h) == ["streaming", "queued"], timeout=20)
        assert two.task_status == "RUNNING"
        await one.stop_stream()
        await one.until(lambda h: replies(h) == ["stopped", "stopped"], timeout=20)
        await one.until(lambda h: h.task_status == "STOPPED", timeout=20)
        assert len(await stack.provider_log()) == 1


async def test_a_queued_message_outlives_the_application() -> None:
    """Convex goes on, and the next server copies what came of it into SQL."""
    async with chatting(1, 1) as (stack, (hook,)):
        slow = "claude-scripted-text:tokens=40,pace=20"
        await hook.send_message(PROMPTS[0], model=slow)
        await hook.until(lambda h: h.streaming_text(), timeout=20)
        await hook.send_message(PROMPTS[1], model=SHORT, when_active="queue")
        await hook.until(lambda h: replies(h) == ["streaming", "queued"], timeout=20)
        await stack.app.kill()
        await stack.app.start()
        await hook.until(lambda h: replies(h) == ["complete"] * 2, timeout=60)
        await hook.until(lambda h: h.task_status == "COMPLETED", timeout=20)
        stored = await stack.stored_messages(hook.task_id)
        contents = [row["content"] for row in hook.streaming.messages]
        assert [row["content"] for row in stored] == contents
        assert len(await stack.provider_log()) == 2
