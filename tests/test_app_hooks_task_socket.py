"""A task over Socket.IO: what the front end sees, and what it loses."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from fake_application import TASK, FakeApplication, fake_application
from serving_app import serving
from wrong_places import refusing, silent, unresolvable

from kit.app.hooks import (
    HookChange,
    MessagesChanged,
    PartsReset,
    TaskSocket,
    socket_connection,
    use_task_socket,
)
from kit.errors import ConfigError, KitError


@pytest.fixture
async def application() -> AsyncIterator[FakeApplication]:
    async with fake_application() as application:
        yield application


@pytest.fixture
async def hook(application: FakeApplication) -> AsyncIterator[TaskSocket]:
    async with await use_task_socket(TASK, socket_url=application.url) as hook:
        yield hook


async def seen(hook: TaskSocket, name: str, count: int = 1) -> None:
    await hook.until(lambda hook: hook.event_counts()[name] >= count, timeout=10)


# --- joining ----------------------------------------------------------------------


async def test_it_joins_and_has_the_history(application: FakeApplication) -> None:
    application.store("user", "Hi", clientMessageId="c1")
    application.store("assistant", "Hello")
    async with await use_task_socket(TASK, socket_url=application.url) as hook:
        assert hook.is_connected
        assert hook.connection == "connected"
        assert not hook.is_streaming
        assert [row["role"] for row in hook.messages] == ["USER", "ASSISTANT"]
        assert hook.messages[1]["content"] == "Hello"
    assert application.sent[:2] == [
        ("join-task", {"taskId": TASK}),
        ("get-chat-history", {"taskId": TASK, "complete": False}),
    ]
    assert str(hook.connection) == "closed"


@pytest.mark.parametrize("place", [refusing, silent, unresolvable])
async def test_a_wrong_socket_url_is_told_within_five_seconds(place: Any) -> None:
    async with place() as url:
        started = time.monotonic()
        with pytest.raises(ConfigError, match=f"No Socket.IO server answers at {url}"):
            await use_task_socket(TASK, socket_url=url)
        assert time.monotonic() - started < 5


async def test_a_server_without_socketio_is_told() -> None:
    async with serving(web.Application()) as url:
        with pytest.raises(ConfigError, match=r"(?s)Unexpected status code 404.*Check"):
            await use_task_socket(TASK, socket_url=url)


async def test_a_url_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match=r"server answers at nowhere"):
        await use_task_socket(TASK, socket_url="nowhere")


async def test_a_server_that_does_not_know_tasks_is_told(
    application: FakeApplication,
) -> None:
    application.answers = False
    with pytest.raises(KitError, match="did not send the history of task"):
        await use_task_socket(TASK, socket_url=application.url, timeout=0.2)


async def test_a_refused_task_says_why(application: FakeApplication) -> None:
    application.answers = False

    async def refuse() -> None:
        await application.received("join-task")
        await application.emit("message-error", {"error": "there is no task"})

    refusing = asyncio.create_task(refuse())
    with pytest.raises(KitError, match="cannot be joined: there is no task"):
        await use_task_socket(TASK, socket_url=application.url)
    await refusing


async def test_it_knows_how_long_the_newest_chunk_took(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("a")  # as the guide's server does: without a time
    await seen(hook, "stream-chunk")
    assert hook.delivery is None
    for number, sent_at in enumerate(["soon", time.time() * 1000], start=2):
        chunk = {"type": "content", "content": "b", "sentAt": sent_at}
        await application.emit("stream-chunk", chunk)
        await seen(hook, "stream-chunk", number)
    assert hook.streaming_text() == "abb"
    assert hook.delivery is not None
    assert 0 <= hook.delivery.seconds < 60
    assert hook.delivery.arrived <= time.time()


# --- a reply ----------------------------------------------------------------------


async def test_parts_grow_while_chunks_come(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("Hel", "lo")
    await hook.until(lambda hook: hook.streaming_text() == "Hello", timeout=5)
    assert hook.is_streaming
    assert hook.streaming_parts_order == ["text-0"]
    assert hook.streaming_parts_map["text-0"]["type"] == "text"
    assert [event.name for event in hook.events[-2:]] == ["stream-chunk"] * 2
    assert hook.events[-1].time <= time.time()


async def test_stream_complete_drops_the_parts_and_fetches_the_history(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("Hello")
    await seen(hook, "stream-chunk")
    changes: list[HookChange] = []
    hook.observe(changes.append)
    application.store("assistant", "He", metadata={"isStreaming": True, "parts": []})
    await application.complete()
    await seen(hook, "chat-history", 2)
    assert not hook.is_streaming
    assert hook.streaming_parts_order == []
    assert hook.messages[-1]["content"] == "He"  # older than what the parts showed
    assert changes.index(PartsReset()) < changes.index(MessagesChanged())


async def test_chunks_sent_while_it_is_away_are_lost(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("one ")
    await seen(hook, "stream-chunk")
    await hook.disconnect()
    assert not hook.is_connected
    assert hook.connection == "disconnected"
    assert not hook.is_streaming
    await application.say("two ")
    await hook.connect()
    await seen(hook, "chat-history", 2)
    assert not hook.is_streaming
    await application.say("three")
    await hook.until(lambda hook: hook.streaming_text() == "one three", timeout=5)
    assert hook.is_streaming
    names = [event.name for event in hook.events]
    assert names.count("connect") == 2
    assert names.count("disconnect") == 1


async def test_a_lost_connection_comes_back_by_itself(
    application: FakeApplication, hook: TaskSocket
) -> None:
    application.store("user", "Meanwhile")
    await application.drop_clients()
    await hook.until(lambda hook: hook.connection == "reconnecting", timeout=5)
    await hook.until(lambda hook: hook.messages, timeout=10)
    assert hook.is_connected
    assert application.names().count("join-task") == 2


async def test_an_error_is_shown_and_ends_the_reply(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("So far")
    error = {"type": "error", "error": "overloaded", "finishReason": "error"}
    await application.emit("stream-chunk", error)
    await hook.until(lambda hook: hook.error, timeout=5)
    assert hook.error == "overloaded"
    assert not hook.is_streaming
    await application.emit("stream-error", {"error": "it failed"})
    await hook.until(lambda hook: hook.error == "it failed", timeout=5)


async def test_the_server_may_restore_a_stream(
    application: FakeApplication, hook: TaskSocket
) -> None:
    chunks = [{"type": "content", "content": "so far"}]
    state = {"chunks": chunks, "isStreaming": True, "totalChunks": 1}
    await application.emit("stream-state", state)
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    assert hook.streaming_text() == "so far"


# --- sending and stopping ---------------------------------------------------------


async def test_a_message_is_sent_and_shown_at_once(
    application: FakeApplication, hook: TaskSocket
) -> None:
    client_message_id = await hook.send_message("Hi", model="gpt-5")
    assert await application.received("user-message") == {
        "taskId": TASK,
        "message": "Hi",
        "llmModel": "gpt-5",
        "clientMessageId": client_message_id,
    }
    (row,) = hook.messages
    assert row["content"] == "Hi"
    assert row["role"] == "USER"

    application.store("user", "Hi", clientMessageId=client_message_id)
    await application.complete()
    await seen(hook, "chat-history", 2)
    assert [row["_id"] for row in hook.messages] == ["sql-1"]


async def test_the_server_is_told_what_becomes_of_a_second_message(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await hook.send_message("Hi", when_active="queue")
    assert (await application.received("user-message"))["whenActive"] == "queue"


async def test_sending_waits_until_the_server_is_done(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.set_status("RUNNING")
    await hook.until(lambda hook: hook.task_status == "RUNNING", timeout=5)
    sending = asyncio.create_task(hook.send_message("Next"))
    await application.say("a", "b")
    await seen(hook, "stream-chunk", 2)
    assert "user-message" not in application.names()
    await application.set_status("COMPLETED")
    await sending
    await application.received("user-message")


async def test_sending_without_a_connection_says_so(hook: TaskSocket) -> None:
    await hook.disconnect()
    with pytest.raises(KitError, match=r"user-message was not sent.*\(disconnected\)"):
        await hook.send_message("Hi")
    assert hook.messages == []
    with pytest.raises(KitError, match="stop-stream was not sent"):
        await hook.stop_stream()


def sent_ids(application: FakeApplication) -> list[str]:
    return [
        payload["clientMessageId"]
        for name, payload in application.sent
        if name == "user-message"
    ]


async def test_a_message_that_is_not_answered_may_be_sent_again(
    application: FakeApplication, hook: TaskSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_connection, "ANSWER_TIMEOUT", 0.1)
    application.hears.clear()
    with pytest.raises(KitError, match=r"user-message may not have arrived.*answer"):
        await hook.send_message("Hi")
    assert hook.messages == []
    # A connection that says nothing counts as lost; a new one takes its place.
    assert hook.connection == "reconnecting"
    application.hears.set()
    await hook.until(lambda hook: hook.is_connected, timeout=10)
    monkeypatch.undo()
    again = await hook.send_message("Hi")
    assert sent_ids(application) == [again, again]
    assert await hook.send_message("Hi") != again, "it had arrived: this is another"


async def sent_unheard(
    application: FakeApplication, hook: TaskSocket
) -> asyncio.Task[str]:
    """A message that has come, and is not acknowledged until `application.hears`."""
    application.hears.clear()
    sending = asyncio.create_task(hook.send_message("Hi"))
    await application.received("user-message")
    return sending


async def test_a_connection_that_breaks_before_the_answer_is_told(
    application: FakeApplication, hook: TaskSocket
) -> None:
    sending = await sent_unheard(application, hook)
    await application.drop_clients()
    with pytest.raises(KitError, match="was lost before it answered"):
        await sending


async def test_what_was_on_its_way_already_is_no_answer(
    application: FakeApplication, hook: TaskSocket
) -> None:
    """Such as the status that it is told on joining again, of the turn before."""
    sending = await sent_unheard(application, hook)
    await application.set_status("COMPLETED")
    await seen(hook, "task-status-updated")
    assert not sending.done()
    application.hears.set()
    assert await sending in sent_ids(application)


async def test_the_answer_to_one_event_is_none_to_another(
    application: FakeApplication, hook: TaskSocket
) -> None:
    sending = await sent_unheard(application, hook)
    stopping = asyncio.create_task(hook.stop_stream())
    holding = application.hears
    application.hears = asyncio.Event()
    holding.set()
    await sending
    await application.received("stop-stream")
    assert not stopping.done()
    application.hears.set()
    await stopping


async def test_a_server_that_acknowledges_nothing_shows_that_it_hears() -> None:
    """As the guide's own application: what it sends then is its answer."""
    async with (
        fake_application(acknowledges=False) as application,
        await use_task_socket(TASK, socket_url=application.url) as hook,
    ):
        sending = asyncio.create_task(hook.send_message("Hi"))
        await application.received("user-message")
        assert not sending.done()
        await application.set_status("RUNNING")
        assert await sending in sent_ids(application)


async def test_why_the_last_message_has_no_reply_is_shown(
    application: FakeApplication, hook: TaskSocket
) -> None:
    """Known from the task's status alone, after a server was killed."""
    application.store("user", "Hi", clientMessageId="c1")
    await application.drop_clients()
    await seen(hook, "chat-history", 2)
    failed = {"taskId": TASK, "status": "FAILED", "errorMessage": "it was ended"}
    await application.emit("task-status-updated", failed)
    await hook.until(lambda hook: hook.error == "it was ended", timeout=5)
    await hook.send_message("And now?")
    assert hook.error is None


async def test_a_stop_shows_at_once(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("a")
    await hook.until(lambda hook: hook.is_streaming, timeout=5)
    await hook.stop_stream()
    assert not hook.is_streaming
    assert await application.received("stop-stream") == {"taskId": TASK}
    await application.say("b")
    await hook.until(lambda hook: hook.streaming_text() == "ab", timeout=5)
    assert not hook.is_streaming


# --- what the sidecar sends -------------------------------------------------------


async def test_status_terminal_and_files_are_kept(
    application: FakeApplication, hook: TaskSocket
) -> None:
    start = len(hook.events)
    await application.set_status("RUNNING")
    await application.emit("terminal-output", {"taskId": TASK, "entry": {"data": "$"}})
    await application.emit("fs-change", {"taskId": TASK, "path": "a.py"})
    change = {"type": "fs-change", "fsChange": {"path": "b.py"}}
    await application.emit("stream-chunk", change)
    await hook.until(lambda hook: len(hook.fs_changes) == 2, timeout=5)
    assert hook.task_status == "RUNNING"
    assert hook.status_since(start) == "RUNNING"
    assert hook.status_since(len(hook.events)) is None
    assert hook.terminal == [{"data": "$"}]
    assert [change["path"] for change in hook.fs_changes] == ["a.py", "b.py"]
    await application.emit("terminal-history", {"taskId": TASK, "entries": []})
    await hook.until(lambda hook: hook.terminal == [], timeout=5)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("stream-chunk", None),
        ("stream-chunk", {"type": "content"}),
        ("stream-chunk", {"type": "tool-call", "toolCall": 5}),
        ("chat-history", {"messages": [{"role": "user"}]}),
        ("chat-history", []),
        ("task-status-updated", "RUNNING"),
        ("stream-state", {}),
        ("no-such-event", {"x": 1}),
    ],
)
async def test_a_malformed_event_changes_nothing(
    application: FakeApplication,
    hook: TaskSocket,
    name: str,
    payload: Any,
) -> None:
    await application.emit(name, payload)
    await application.say("still here")
    await hook.until(lambda hook: hook.streaming_text() == "still here", timeout=5)
    assert hook.messages == []
    assert hook.task_status is None


# --- waiting ----------------------------------------------------------------------


async def test_until_says_what_it_saw(
    application: FakeApplication, hook: TaskSocket
) -> None:
    await application.say("x" * 50)
    await seen(hook, "stream-chunk")
    await hook.send_message("A question")
    expected = (
        r"within 0.05 s\. Seen: <TaskSocket task-1: connected, streaming, 1 messages, "
        r"the last USER complete 'A question', live parts text-0, .*stream-chunk>"
    )
    with pytest.raises(TimeoutError, match=expected):
        await hook.until(lambda hook: False, timeout=0.05)


async def test_until_raises_what_its_condition_raises(hook: TaskSocket) -> None:
    with pytest.raises(ZeroDivisionError):
        await hook.until(lambda hook: 1 / 0)


async def test_until_sees_a_state_that_does_not_last(
    application: FakeApplication, hook: TaskSocket
) -> None:
    waiting = asyncio.create_task(
        hook.until(lambda hook: hook.streaming_text() == "a", timeout=5)
    )
    await application.say("a", "b", "c")
    await waiting


async def test_closing_ends_who_waits(hook: TaskSocket) -> None:
    waiting = asyncio.create_task(hook.until(lambda hook: False))
    await asyncio.sleep(0)  # lets it begin to wait
    await hook.aclose()
    await hook.aclose()
    with pytest.raises(KitError, match="Closed while waited on"):
        await waiting
    with pytest.raises(KitError, match="has been closed"):
        await hook.connect()


async def test_an_observer_that_fails_does_not_disturb_the_others(
    application: FakeApplication, hook: TaskSocket
) -> None:
    changes: list[HookChange] = []

    def broken(_: HookChange) -> None:
        raise RuntimeError("an observer's own fault")

    hook.observe(broken)
    stop = hook.observe(changes.append)
    await application.say("a")
    await seen(hook, "stream-chunk")
    assert changes
    stop()
    changes.clear()
    await application.say("b")
    await seen(hook, "stream-chunk", 2)
    assert changes == []
