"""Messages and live parts from Convex: the swap, the stop, joining late, outages."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_convex import Raise
from fake_streaming import TASK, FakeStreaming, fake_streaming
from wrong_places import refusing

from kit.app.hooks import (
    HookChange,
    MessagesChanged,
    MessageStreaming,
    PartsChanged,
    PartsReset,
    use_message_streaming,
)
from kit.app.runs import WhenActive
from kit.client import Deployment
from kit.errors import ConfigError, DeploymentUnreachable, FunctionError


@pytest.fixture
async def server() -> AsyncIterator[FakeStreaming]:
    async with fake_streaming() as server:
        yield server


@pytest.fixture
async def deployment(server: FakeStreaming) -> AsyncIterator[Deployment]:
    async with Deployment(server.url) as deployment:
        yield deployment


@pytest.fixture
async def hook(deployment: Deployment) -> AsyncIterator[MessageStreaming]:
    async with await use_message_streaming(TASK, deployment=deployment) as hook:
        yield hook


class Frames:
    """What an observer can see at each change: live text, and the reply's own."""

    def __init__(self, hook: MessageStreaming) -> None:
        self.seen: list[tuple[str, str, bool]] = []
        self.changes: list[HookChange] = []
        self._hook = hook
        hook.observe(self._look)

    def _look(self, change: HookChange) -> None:
        hook = self._hook
        stored = hook.messages[-1]["content"] if hook.messages else ""
        self.seen.append((hook.streaming_text(), stored, hook.is_streaming))
        self.changes.append(change)


async def test_it_begins_with_the_messages_there_are(
    server: FakeStreaming, deployment: Deployment
) -> None:
    server.add_row(role="USER", content="Hi", status="complete")
    async with await use_message_streaming(TASK, deployment=deployment) as hook:
        assert hook.messages == server.rows
        assert not hook.is_streaming
        assert hook.connection == "connected"
    assert str(hook.connection) == "closed"
    assert deployment.state == "connected"


async def test_parts_grow_and_the_swap_is_one_step(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    await server.begin()
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    frames = Frames(hook)
    await server.say("Hel")
    await hook.until(lambda hook: hook.streaming_text() == "Hel", timeout=5)
    await server.say("lo")
    await hook.until(lambda hook: hook.streaming_text() == "Hello", timeout=5)
    await server.set_status("complete", "Hello")
    await hook.until(lambda hook: not hook.is_streaming, timeout=5)

    assert hook.messages[-1]["content"] == "Hello"
    assert hook.streaming_parts_order == []
    assert dict(hook.streaming_parts_map) == {}
    live_or_stored = [(live, stored) for live, stored, _ in frames.seen]
    assert set(live_or_stored) == {("Hel", ""), ("Hello", ""), ("", "Hello")}
    grown = [it for it in frames.changes if isinstance(it, PartsChanged)]
    assert {change.message_id for change in grown} == {hook.messages[-1]["_id"]}
    assert frames.changes[-3:-1] == [MessagesChanged(), PartsReset()]


async def test_a_stop_shows_before_the_reply_is_final(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    await server.begin()
    await server.say("Hel")
    await hook.until(lambda hook: hook.streaming_text() == "Hel", timeout=5)
    await hook.stop_stream()
    assert server.calls == [("streaming:stopTask", {"taskId": TASK})]
    await server.set_status("stopping")
    await hook.until(lambda hook: not hook.is_streaming, timeout=5)
    assert hook.is_live
    assert hook.streaming_text() == "Hel"
    await server.say("lo")  # was in flight
    await hook.until(lambda hook: hook.streaming_text() == "Hello", timeout=5)
    await server.set_status("stopped", "Hello")
    await hook.until(lambda hook: not hook.is_live, timeout=5)
    assert hook.streaming_parts_order == []


async def test_a_late_joiner_sees_the_same_parts(
    server: FakeStreaming, hook: MessageStreaming, deployment: Deployment
) -> None:
    await server.begin()
    await server.say(*"abcdefghijk")
    await hook.until(lambda hook: hook.streaming_text() == "abcdefghijk", timeout=5)
    async with await use_message_streaming(TASK, deployment=deployment) as late:
        await late.until(lambda late: late.streaming_text() == "abcdefghijk", timeout=5)
        assert late.streaming_parts_order == hook.streaming_parts_order
        assert dict(late.streaming_parts_map) == dict(hook.streaming_parts_map)


async def test_it_knows_how_long_the_newest_chunks_took(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    await server.begin()
    assert hook.delivery is None
    await server.say("a")  # which may have to be caught up with: no delivery
    await hook.until(lambda hook: hook.streaming_text() == "a", timeout=5)
    before = time.time()
    await server.say("b")
    await hook.until(lambda hook: hook.streaming_text() == "ab", timeout=5)
    assert hook.delivery is not None
    assert before <= hook.delivery.written <= hook.delivery.arrived <= time.time()
    assert hook.delivery.seconds == hook.delivery.arrived - hook.delivery.written
    await server.set_status("complete", "ab")
    await server.begin("And?")
    await hook.until(lambda hook: len(hook.messages) == 4, timeout=5)
    assert hook.delivery is None


async def test_functions_that_tell_no_time_are_followed_all_the_same(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    server.tells_times = False
    await server.begin()
    await server.say(*"abc")
    await hook.until(lambda hook: hook.streaming_text() == "abc", timeout=5)
    assert hook.delivery is None


async def test_the_next_reply_starts_afresh(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    for text in ("first", "second"):
        await server.begin()
        await server.say(text)
        await hook.until(lambda hook: hook.streaming_text(), timeout=5)
        assert hook.streaming_text() == text
        await server.set_status("complete", text)
        await hook.until(lambda hook: not hook.is_live, timeout=5)
    assert [row["content"] for row in hook.messages] == ["Hi", "first", "Hi", "second"]


async def test_after_an_outage_nothing_is_missing_or_twice(
    server: FakeStreaming, hook: MessageStreaming, deployment: Deployment
) -> None:
    await server.begin()
    await server.say("a", "b")
    await hook.until(lambda hook: hook.streaming_text() == "ab", timeout=5)
    await server.convex.go_away()
    await hook.until(lambda hook: hook.connection == "reconnecting", timeout=5)
    await server.say("c", "d", "e", publish=False)
    server.convex.come_back()
    await hook.until(lambda hook: hook.streaming_text() == "abcde", timeout=10)
    await server.say("f")
    await hook.until(lambda hook: hook.streaming_text() == "abcdef", timeout=5)


async def test_what_is_queued_is_listed_and_the_reply_being_written_is_followed(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    await server.begin("one")
    await server.say("first")
    await hook.until(lambda hook: hook.streaming_text() == "first", timeout=5)
    await server.begin("two", status="queued")
    await hook.until(lambda hook: len(hook.messages) == 4, timeout=5)
    assert hook.messages[-1]["status"] == "queued"
    assert hook.is_streaming
    assert hook.streaming_text() == "first"
    server.rows[1] |= {"status": "complete", "content": "first"}
    await server.set_status("streaming")
    await server.say("second")
    await hook.until(lambda hook: hook.streaming_text() == "second", timeout=5)
    assert hook.is_streaming


@pytest.mark.parametrize("when_active", ["interrupt", "queue"])
async def test_convex_is_told_what_becomes_of_a_second_message(
    server: FakeStreaming, hook: MessageStreaming, when_active: WhenActive
) -> None:
    await hook.send_message("Hi", model="m", when_active=when_active)
    ((path, args),) = server.calls
    assert (path, args["whenActive"]) == ("streaming:send", when_active)


async def test_a_message_is_sent_through_convex(
    server: FakeStreaming, deployment: Deployment
) -> None:
    async with await use_message_streaming(
        TASK, deployment=deployment, model="gpt-5", tools=["calculator"]
    ) as hook:
        client_message_id = await hook.send_message("Hi")
    assert server.calls == [
        (
            "streaming:send",
            {
                "taskId": TASK,
                "prompt": "Hi",
                "model": "gpt-5",
                "llmModel": "gpt-5",
                "clientMessageId": client_message_id,
                "tools": ["calculator"],
            },
        )
    ]


class Losing:
    """A deployment that loses the answers to mutations; `has_it` is what it holds."""

    def __init__(
        self,
        server: FakeStreaming,
        deployment: Deployment,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.has_it: Any = None
        self.error: Exception = DeploymentUnreachable(server.url, "lost")
        self.sent: list[str] = []
        server.convex.handlers["messages:byClientMessageId"] = self._look
        monkeypatch.setattr(deployment, "mutation", self._lose)

    async def _look(self, _: Any) -> Any:
        return self.has_it

    async def _lose(self, path: str, args: Any, *, timeout: float) -> Any:
        self.sent.append(args["clientMessageId"])
        raise self.error


@pytest.fixture
def losing(
    server: FakeStreaming, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> Losing:
    return Losing(server, deployment, monkeypatch)


async def test_a_message_that_has_arrived_needs_no_answer(
    losing: Losing, hook: MessageStreaming
) -> None:
    losing.has_it = {"messageId": "m1", "status": "streaming"}
    assert await hook.send_message("Hi", model="m") in losing.sent
    await hook.send_message("Hi", model="m")
    assert len(set(losing.sent)) == 2, "the same text again is another message"


async def test_a_message_that_may_have_arrived_keeps_its_id(
    losing: Losing, hook: MessageStreaming, server: FakeStreaming
) -> None:
    for _ in range(2):
        with pytest.raises(DeploymentUnreachable):
            await hook.send_message("Hi", model="m")
    first, again = losing.sent
    assert first == again
    await server.begin(clientMessageId=first)  # and there it is
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    with pytest.raises(DeploymentUnreachable):
        await hook.send_message("Hi", model="m")
    assert losing.sent[2] != first


async def test_a_message_that_was_refused_is_another_one_next_time(
    losing: Losing, hook: MessageStreaming
) -> None:
    losing.error = FunctionError("streaming:send", "another reply is being written")
    for _ in range(2):
        with pytest.raises(FunctionError, match="another reply"):
            await hook.send_message("Hi", model="m")
    assert len(set(losing.sent)) == 2


async def test_sending_needs_a_model(hook: MessageStreaming) -> None:
    with pytest.raises(ConfigError, match="Give send_message a model"):
        await hook.send_message("Hi")


async def test_a_failing_query_raises_at_the_start(
    server: FakeStreaming, deployment: Deployment
) -> None:
    server.failure = Raise("ArgumentValidationError: not a task")
    with pytest.raises(FunctionError, match="not a task"):
        await use_message_streaming(TASK, deployment=deployment)


async def test_a_query_that_fails_later_shows_and_heals(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    server.failure = Raise("Error: broken for now")
    await server.convex.publish("messages:byTask")
    await hook.until(lambda hook: hook.error, timeout=5)
    assert hook.error is not None
    assert "broken for now" in hook.error
    server.failure = None
    await server.begin()
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    assert str(hook.error) == "None"


async def test_a_deployment_that_is_not_there_raises() -> None:
    async with refusing() as url:
        deployment = Deployment(url)
        with pytest.raises(DeploymentUnreachable):
            await use_message_streaming(TASK, deployment=deployment)
        await deployment.close()


async def test_a_deployment_that_sends_nothing_is_a_timeout(
    server: FakeStreaming, deployment: Deployment
) -> None:
    other = deployment.subscribe("messages:byTask", {"taskId": TASK})
    await anext(other)  # the worker is up
    with pytest.raises(TimeoutError, match="did not send the messages of task"):
        await use_message_streaming(TASK, deployment=deployment, timeout=0)


async def test_a_closed_deployment_shows(
    hook: MessageStreaming, deployment: Deployment
) -> None:
    await deployment.close()
    await hook.until(lambda hook: hook.error, timeout=5)
    assert hook.error == "The deployment was closed."
    assert hook.connection == "closed"


async def test_closing_unsubscribes(
    server: FakeStreaming, hook: MessageStreaming
) -> None:
    await server.begin()
    await server.say("a")
    await hook.until(lambda hook: hook.streaming_text() == "a", timeout=5)
    await hook.aclose()
    async with asyncio.timeout(5):
        while server.convex.subscribed:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)
