"""The hybrid: Convex's replies, the fallback's replies, one chat."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_application import TASK, FakeApplication, fake_application
from fake_convex import Raise
from fake_streaming import FakeStreaming, fake_streaming
from wrong_places import refusing

from kit.app.hooks import HookChange, HybridTask, MessageStreaming, use_hybrid_task
from kit.app.hooks.hybrid_task import merge
from kit.client import Deployment
from kit.errors import ConfigError, DeploymentError, KitError


@pytest.fixture
async def convex() -> AsyncIterator[FakeStreaming]:
    async with fake_streaming() as convex:
        yield convex


@pytest.fixture
async def application() -> AsyncIterator[FakeApplication]:
    async with fake_application() as application:
        yield application


@pytest.fixture
async def deployment(convex: FakeStreaming) -> AsyncIterator[Deployment]:
    async with Deployment(convex.url) as deployment:
        yield deployment


@pytest.fixture
async def hook(
    application: FakeApplication, deployment: Deployment
) -> AsyncIterator[HybridTask]:
    async with await use_hybrid_task(
        TASK, deployment=deployment, socket_url=application.url
    ) as hook:
        yield hook


def contents(hook: HybridTask) -> list[str]:
    return [row["content"] for row in hook.messages]


class Frames:
    """The whole chat at each change: stored contents, and what is live."""

    def __init__(self, hook: HybridTask) -> None:
        self.seen: list[tuple[list[str], str, bool]] = []
        self._hook = hook
        hook.observe(self._look)

    def _look(self, _: HookChange) -> None:
        hook = self._hook
        self.seen.append((contents(hook), hook.streaming_text(), hook.is_streaming))


# --- Convex answers ---------------------------------------------------------------


async def test_with_convex_on_it_is_connected_sends_and_stops(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    assert hook.is_connected
    assert hook.connection == "connected"
    client_message_id = await hook.send_message("Hi", model="gpt-5")
    sent = await application.received("user-message")
    assert sent["clientMessageId"] == client_message_id
    assert sent["llmModel"] == "gpt-5"

    await convex.begin(clientMessageId=client_message_id)
    await convex.say("Hello")
    await hook.until(lambda hook: hook.streaming_text() == "Hello", timeout=5)
    assert hook.is_streaming
    assert contents(hook) == ["Hi", ""]
    await hook.stop_stream()
    assert convex.calls == [("streaming:stopTask", {"taskId": TASK})]
    await application.received("stop-stream")


async def test_a_second_message_goes_at_once_with_what_is_to_become_of_it(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    await application.set_status("RUNNING")
    await convex.begin()
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    await hook.send_message("Wait", when_active="interrupt")
    assert (await application.received("user-message"))["whenActive"] == "interrupt"


async def test_what_convex_has_is_not_shown_again_from_the_history(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    client_message_id = await hook.send_message("Hi")
    assert contents(hook) == ["Hi"]
    await convex.begin(clientMessageId=client_message_id)
    await convex.set_status("complete", "Hello")
    await hook.until(lambda hook: contents(hook) == ["Hi", "Hello"], timeout=5)
    application.store("user", "Hi", clientMessageId=client_message_id)
    application.store("assistant", "Hello", id=convex.rows[-1]["_id"])
    await application.emit("stream-complete")
    await hook.until(lambda hook: len(hook.socket.messages) == 2, timeout=5)
    assert contents(hook) == ["Hi", "Hello"]


async def test_other_data_comes_from_the_socket(
    application: FakeApplication, hook: HybridTask
) -> None:
    await application.set_status("RUNNING")
    await application.emit("terminal-output", {"taskId": TASK, "entry": {"data": "$"}})
    await application.emit("fs-change", {"taskId": TASK, "path": "a.py"})
    await hook.until(lambda hook: hook.fs_changes, timeout=5)
    assert hook.task_status == hook.status_since(0) == "RUNNING"
    assert hook.terminal == [{"data": "$"}]
    assert hook.event_counts()["fs-change"] == 1
    assert hook.events[-1].name == "fs-change"


# --- the fallback -----------------------------------------------------------------


async def test_a_reply_by_the_fallback_shows_and_swaps_in_one_step(
    application: FakeApplication, hook: HybridTask
) -> None:
    client_message_id = await hook.send_message("Hi")
    application.store("user", "Hi", clientMessageId=client_message_id)
    frames = Frames(hook)
    await application.say("Hel", "lo")
    await hook.until(lambda hook: hook.streaming_text() == "Hello", timeout=5)
    assert hook.is_streaming
    assert hook.streaming_parts_order == ["text-0"]

    application.store("assistant", "He", metadata={"isStreaming": True})
    await application.complete()  # the guide's server sends it before its last write
    await hook.until(lambda hook: len(hook.socket._history) == 2, timeout=5)
    assert hook.streaming_text() == "Hello"
    application.history[-1] |= {"content": "Hello", "metadata": {}}
    await application.emit("stream-complete")
    await hook.until(lambda hook: not hook.is_streaming, timeout=5)

    assert contents(hook) == ["Hi", "Hello"]
    assert hook.streaming_parts_order == []
    stages = [(stored, live) for stored, live, _ in frames.seen]
    assert stages[-1] == (["Hi", "Hello"], "")
    for stored, live in stages:
        assert (stored == ["Hi", "Hello"]) == (live == "")
    assert {streams for _, live, streams in frames.seen if live} == {True}


async def test_what_a_fallback_answers_shows_to_others_as_well(
    application: FakeApplication, hook: HybridTask
) -> None:
    """Over Socket.IO nobody is told what somebody else has sent."""
    application.store("user", "Hi", clientMessageId="somebody-elses")
    await application.say("Hel", "lo")
    await hook.until(lambda hook: contents(hook) == ["Hi"], timeout=5)
    assert hook.streaming_text() == "Hello"
    assert application.names().count("get-chat-history") == 2


async def test_the_fallback_shows_while_convex_was_cut_off_mid_reply(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    await convex.begin()
    await convex.say("cut o")
    await hook.until(lambda hook: hook.streaming_text() == "cut o", timeout=5)
    await convex.convex.go_away()
    await hook.until(lambda hook: hook.connection == "reconnecting", timeout=5)
    await application.say("Again")
    await hook.until(lambda hook: hook.streaming_text() == "Again", timeout=5)
    assert hook.is_connected


async def test_a_failed_fallback_keeps_its_text_and_says_why(
    application: FakeApplication, hook: HybridTask
) -> None:
    client_message_id = await hook.send_message("Hi")
    application.store("user", "Hi", clientMessageId=client_message_id)
    await application.say("So far")
    error = {"type": "error", "error": "overloaded", "finishReason": "error"}
    await application.emit("stream-chunk", error)
    await hook.until(lambda hook: hook.error == "overloaded", timeout=5)
    parts = [
        {"type": "text", "text": "So far"},
        {"type": "error", "error": "overloaded"},
    ]
    metadata = {"finishReason": "error", "parts": parts}
    application.store("assistant", "So far", metadata=metadata)
    await application.emit("message-error", {"error": "overloaded"})
    await hook.until(lambda hook: hook.messages[-1]["status"] == "failed", timeout=5)
    assert not hook.is_streaming
    assert hook.streaming_parts_order == []
    assert contents(hook) == ["Hi", "So far"]


async def test_a_reply_that_ended_while_it_was_away_is_whole(
    application: FakeApplication, hook: HybridTask
) -> None:
    client_message_id = await hook.send_message("Hi")
    application.store("user", "Hi", clientMessageId=client_message_id)
    await application.say("Hel")
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    await application.drop_clients()
    await hook.until(lambda hook: hook.connection == "reconnecting", timeout=5)
    application.store("assistant", "Hello")
    await hook.until(lambda hook: contents(hook) == ["Hi", "Hello"], timeout=10)
    assert hook.streaming_parts_order == []


# --- stopping and starting when something is away ---------------------------------


async def test_a_stop_that_reaches_the_application_is_enough(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    async def broken(_: Any) -> None:
        raise Raise("Error: no")

    convex.convex.handlers["streaming:stopTask"] = broken
    await hook.stop_stream()
    await application.received("stop-stream")
    await hook.socket.disconnect()
    with pytest.raises(KitError, match="stop-stream was not sent"):
        await hook.stop_stream()


async def test_a_stop_that_reaches_convex_is_enough_for_its_reply(
    convex: FakeStreaming, hook: HybridTask
) -> None:
    await hook.socket.disconnect()
    await hook.stop_stream()
    assert convex.calls == [("streaming:stopTask", {"taskId": TASK})]


async def test_a_fallback_is_not_stopped_by_convex(
    application: FakeApplication, hook: HybridTask
) -> None:
    await application.say("a")
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    await hook.socket.disconnect()
    with pytest.raises(KitError, match="stop-stream was not sent"):
        await hook.stop_stream()


@pytest.mark.parametrize("missing", ["application", "deployment"])
async def test_it_starts_with_both_or_not_at_all(
    application: FakeApplication, convex: FakeStreaming, missing: str
) -> None:
    async with refusing() as nowhere:
        urls = {"application": application.url, "deployment": convex.url}
        urls[missing] = nowhere
        deployment = Deployment(urls["deployment"])
        with pytest.raises((ConfigError, DeploymentError), match=nowhere):
            await use_hybrid_task(
                TASK, deployment=deployment, socket_url=urls["application"]
            )
        await deployment.close()


async def test_closing_closes_both(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    streaming: MessageStreaming = hook.streaming
    waiting = asyncio.create_task(hook.until(lambda hook: False))
    await asyncio.sleep(0)  # lets it begin to wait
    await hook.aclose()
    with pytest.raises(KitError, match="Closed while waited on"):
        await waiting
    assert streaming.connection == hook.socket.connection == hook.connection == "closed"


# --- merging ----------------------------------------------------------------------


def row(row_id: str, at: float, role: str = "USER", **fields: Any) -> dict[str, Any]:
    return {"_id": row_id, "_creationTime": at, "role": role, **fields}


def test_turns_that_only_the_history_has_are_put_in_by_time() -> None:
    convex = [
        row("c1", 1, clientMessageId="a"),
        row("c2", 2, "ASSISTANT"),
        row("c3", 7, clientMessageId="c"),
    ]
    stored = [
        row("s1", 1.5, clientMessageId="a"),
        row("c2", 2.5, "ASSISTANT"),
        row("s3", 4, clientMessageId="b"),
        row("s4", 5, "ASSISTANT"),
        row("s5", 7.5, clientMessageId="c"),
    ]
    merged = merge(convex, stored)
    assert [it["_id"] for it in merged] == ["c1", "c2", "s3", "s4", "c3"]


def test_without_such_turns_convex_has_it_alone() -> None:
    convex = [row("c1", 1, clientMessageId="a"), row("c2", 2, "ASSISTANT")]
    assert merge(convex, []) is convex
    assert merge(convex, [row("s1", 1, clientMessageId="a")]) is convex


def test_messages_from_before_the_migration_stay() -> None:
    stored = [row("s1", 1), row("s2", 2, "ASSISTANT")]
    assert merge([row("c1", 3, clientMessageId="a")], stored) == [
        *stored,
        row("c1", 3, clientMessageId="a"),
    ]


# --- a server that is killed ------------------------------------------------------


@pytest.mark.parametrize("has_it", [False, True])
async def test_a_message_that_went_with_its_server_is_missed(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask, has_it: bool
) -> None:
    """The server had acknowledged it; only Convex knows whether it was passed on."""
    asked: list[Any] = []

    async def look(args: Any) -> Any:
        asked.append(args)
        return {"messageId": "m1", "status": "streaming"} if has_it else None

    convex.convex.handlers["messages:byClientMessageId"] = look
    client_message_id = await hook.send_message("Is anybody there?")
    assert contents(hook) == ["Is anybody there?"]
    await application.drop_clients()
    await hook.until(lambda hook: hook.event_counts()["chat-history"] == 2, timeout=10)
    assert asked == [], "nobody knows yet how the task is"
    await application.set_status("COMPLETED")
    await hook.until(lambda hook: contents(hook) == [], timeout=5)
    assert [args["clientMessageId"] for args in asked] == [client_message_id]
    if has_it:
        assert hook.error is None
        return
    assert hook.error == "“Is anybody there?” has not arrived. Send it again."
    assert await hook.send_message("Is anybody there?") == client_message_id
    assert hook.error is None


async def test_a_message_that_convex_shows_is_not_missed(
    convex: FakeStreaming, application: FakeApplication, hook: HybridTask
) -> None:
    client_message_id = await hook.send_message("Hi")
    await convex.begin(clientMessageId=client_message_id)
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    await application.drop_clients()
    await hook.until(lambda hook: hook.event_counts()["chat-history"] == 2, timeout=10)
    await application.set_status("COMPLETED")
    await hook.until(lambda hook: hook.task_status == "COMPLETED", timeout=5)
    assert hook.socket.unheard == []
    assert hook.error is None
