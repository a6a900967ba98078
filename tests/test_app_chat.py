"""The three forms of answering a message, and what surrounds them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from kit.app.chat import ChatService, UserMessage
from kit.app.convex_chat import ConvexChat
from kit.app.convex_replies import ConvexReply
from kit.app.flags import Mode
from kit.app.history import History, MessageMetadata, Role
from kit.app.llm_service import LLMService, StreamChunk
from kit.app.locked_task import LockedTask
from kit.app.runs import Runs, WhenActive
from kit.app.tasks import Tasks
from kit.app.workspace import Workspace
from kit.errors import (
    DatabaseError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
    KitError,
    ReplyOutOfSight,
)

GONE = DeploymentUnreachable("http://127.0.0.1:1", "refused")
STREAM_EVENTS = {"stream-chunk", "stream-complete", "stream-error"}


def content(text: str) -> StreamChunk:
    return {"type": "content", "content": text}


COMPLETE: StreamChunk = {"type": "complete", "finishReason": "stop"}
Step = StreamChunk | Exception | asyncio.Event | Callable[[], Awaitable[None]]


class FakeLLM(LLMService):
    """Streams `reply`: chunks, exceptions to raise, events and others to wait for."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__({})
        self._changed = changed
        self.reply: list[Step] = [
            content("Hel"),
            content("lo"),
            COMPLETE,
        ]
        self.asked: list[list[str]] = []
        self.closed = 0

    async def create_message_stream(
        self, system_prompt: str, messages: Any, model: str, api_keys: Any = None
    ) -> AsyncGenerator[StreamChunk, None]:
        self.asked.append([message["content"] for message in messages])
        self._changed()
        try:
            for step in self.reply:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif callable(step):
                    await step()
                else:
                    yield step
        finally:
            self.closed += 1


CALL = {
    "id": "t1",
    "type": "tool-call",
    "toolCallId": "t1",
    "toolName": "calculator",
    "argsText": '{"expression": "1+1"}',
    "state": "input-available",
}


def convex_reply(
    status: Literal["complete", "stopped", "failed"],
    text: str,
    finish_reason: str,
    error: str | None = None,
    message_id: str = "m1",
) -> ConvexReply:
    """A tool call, and the text if there is any."""
    said = {"id": "text-0", "type": "text", "text": text, "state": "done"}
    row = {
        "_id": message_id,
        "_creationTime": 1_700_000_000_000.0,
        "role": "ASSISTANT",
        "content": text,
        "parts": [CALL, said] if text else [],
        "llmModel": "m",
        "sequence": 1.0,
        "status": status,
        "finishReason": finish_reason,
    }
    return ConvexReply(message_id, status, text, row, error)


class FakeConvex(ConvexChat):
    """Convex that does what `streams` does with each message."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.streams: Callable[[], Awaitable[ConvexReply]] = self.complete
        self.asked: list[dict[str, Any]] = []
        self.stops = 0
        self.stop_fails_with: Exception | None = None
        self.stopped = asyncio.Event()
        self.begins = True
        self.looks = 0

    async def complete(self) -> ConvexReply:
        return convex_reply("complete", "from Convex", "stop")

    async def until_stopped(self) -> ConvexReply:
        await self.stopped.wait()
        return convex_reply("stopped", "fr", "aborted")

    async def gone(self) -> ConvexReply:
        raise GONE

    async def stream_chat_with_tools(self, **kwargs: Any) -> ConvexReply:
        self.asked.append(kwargs)
        self._changed()
        return await self.streams()

    async def has_begun(self, task_id: str, client_message_id: str) -> bool:
        self.looks += 1
        self._changed()
        asked = [call["client_message_id"] for call in self.asked]
        return self.begins and client_message_id in asked

    async def stop_task(self, task_id: str) -> None:
        if self.stop_fails_with is not None:
            raise self.stop_fails_with
        self.stops += 1
        self.stopped.set()


class FailingHistory(History):
    """A real history whose methods named in `fails` find the disk full."""

    fails: frozenset[str] = frozenset()
    before_copy: Callable[[], Awaitable[None]] | None = None

    async def add_message(
        self, task_id: str, role: Role, content: str, **kwargs: Any
    ) -> str | None:
        if f"add {role}" in self.fails:
            raise DatabaseError("the disk is full")
        return await super().add_message(task_id, role, content, **kwargs)

    async def update_message(
        self, message_id: str, content: str, metadata: MessageMetadata
    ) -> None:
        if "update" in self.fails:
            raise DatabaseError("the disk is full")
        await super().update_message(message_id, content, metadata)

    @asynccontextmanager
    async def locked(self, task_id: str) -> AsyncIterator[LockedTask]:
        if self.before_copy is not None:
            await self.before_copy()
        if "copy" in self.fails:
            raise DatabaseError("the disk is full")
        async with super().locked(task_id) as task:
            yield task


class QuietWorkspace(Workspace):
    async def run_turn(self, task_id: str, prompt: str) -> None:
        await self._emit("terminal-output", {"taskId": task_id, "entry": prompt})


class Application:
    """A chat service with its task, on fakes and a real SQLite file."""

    def __init__(
        self, mode: Mode, history: FailingHistory, folder: Path, stop_timeout: float
    ) -> None:
        self.history = history
        self._changed = asyncio.Event()
        self.llm = FakeLLM(self._changed.set)
        self.convex = FakeConvex(self._changed.set)
        self.events: list[tuple[str, Any]] = []
        self.out_of_sight: list[tuple[str, str]] = []
        self.at_event: dict[str, Callable[[], Awaitable[None]]] = {}
        with_convex = None if mode == "before" else self.convex
        self.tasks = Tasks(history, self.emit, with_convex)
        self.chat = ChatService(
            mode,
            history=history,
            tasks=self.tasks,
            llm_service=self.llm,
            convex=with_convex,
            workspace=QuietWorkspace(folder, self._emit_sidecar),
            emit=self.emit,
            runs=Runs(),
            on_out_of_sight=lambda *reply: self.out_of_sight.append(reply),
            write_interval=60,
            stop_timeout=stop_timeout,
        )
        self.task_id = ""

    async def emit(self, task_id: str, event: str, payload: Any) -> None:
        self.events.append((event, payload))
        self._changed.set()
        if event in self.at_event:
            await self.at_event.pop(event)()

    async def _emit_sidecar(self, event: str, payload: dict[str, Any]) -> None:
        await self.emit(payload["taskId"], event, payload)

    async def answer(self, text: str = "hello", **kwargs: Any) -> None:
        await self.chat.process_message(UserMessage(self.task_id, text, **kwargs))

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_status(self, status: str) -> None:
        await self.until(lambda: status in self.statuses)

    @property
    def names(self) -> list[str]:
        return [event for event, _ in self.events]

    @property
    def statuses(self) -> list[str]:
        return [p["status"] for event, p in self.events if event == STATUS]

    @property
    def text(self) -> str:
        chunks = [p for event, p in self.events if event == "stream-chunk"]
        return "".join(chunk.get("content", "") for chunk in chunks)

    async def stored(self) -> list[tuple[str, str]]:
        messages = await self.history.messages(self.task_id)
        return [(message["role"], message["content"]) for message in messages]

    async def until_row(self) -> None:
        """Wait until the reply has a row in SQL."""
        while (await self.stored())[-1][0] != "assistant":
            pass

    async def last_metadata(self) -> MessageMetadata:
        return (await self.history.messages(self.task_id))[-1]["metadata"]


STATUS = "task-status-updated"


class Make(Protocol):
    async def __call__(
        self, mode: Mode, *, stop_timeout: float = ...
    ) -> Application: ...


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    history = await FailingHistory.open(f"sqlite:///{tmp_path / 'history.db'}")
    made: list[Application] = []

    async def application(mode: Mode, *, stop_timeout: float = 5) -> Application:
        app = Application(mode, history, tmp_path, stop_timeout)
        app.task_id = await history.create_task("t")
        made.append(app)
        return app

    yield application
    for app in made:
        await app.chat.close()
    await history.close()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "kit")
    return caplog


# --- before -----------------------------------------------------------------------


async def test_before_streams_over_socketio_and_stores_in_sql(make: Make) -> None:
    app = await make("before")
    await app.answer("hello")
    assert [name for name in app.names if name != "terminal-output"] == [
        STATUS,
        "stream-chunk",
        "stream-chunk",
        "stream-chunk",
        "stream-complete",
        "stream-complete",
        STATUS,
    ]
    assert app.statuses == ["RUNNING", "COMPLETED"]
    assert app.text == "Hello"
    assert await app.stored() == [("user", "hello"), ("assistant", "Hello")]
    times = [p["sentAt"] for event, p in app.events if event == "stream-chunk"]
    assert times == sorted(times)
    assert abs(times[-1] / 1000 - time.time()) < 60


async def test_before_hands_the_history_to_the_model(make: Make) -> None:
    app = await make("before")
    await app.answer("one")
    await app.answer("two")
    assert app.llm.asked == [["one"], ["one", "Hello", "two"]]


async def test_before_says_stream_complete_before_the_last_write(make: Make) -> None:
    """A client that fetches the history then sees a reply that still streams."""
    app = await make("before")
    seen: list[tuple[bool, str]] = []

    async def fetch_history() -> None:
        metadata = await app.last_metadata()
        seen.append((metadata["isStreaming"], (await app.stored())[-1][1]))

    app.llm.reply = [content("Hel"), app.until_row, content("lo"), COMPLETE]
    app.at_event["stream-complete"] = fetch_history
    await app.answer()
    await fetch_history()
    assert seen == [(True, "Hel"), (False, "Hello")]


async def test_before_leaves_sql_behind_while_it_streams(make: Make) -> None:
    app = await make("before")
    held = asyncio.Event()
    app.llm.reply = [content("a"), app.until_row, content("b"), content("c"), held]
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: app.text == "abc")
    assert (await app.stored())[-1] == ("assistant", "a")
    await app.chat.stop(app.task_id)
    assert (await app.stored())[-1] == ("assistant", "abc")


async def test_before_a_provider_error_fails_the_task_and_keeps_the_text(
    make: Make,
) -> None:
    app = await make("before")
    error: StreamChunk = {"type": "error", "error": "cut", "finishReason": "error"}
    app.llm.reply = [content("half"), error]
    await app.answer()
    assert app.statuses == ["RUNNING", "FAILED"]
    assert app.events[-1][1]["errorMessage"] == "cut"
    assert app.events[-2] == ("message-error", {"error": "cut"})
    *_, (_, told) = [each for each in app.events if each[0] == "stream-chunk"]
    assert {**told, "sentAt": 0} == {**error, "sentAt": 0}
    assert app.names.count("stream-complete") == 1
    assert (await app.stored())[-1] == ("assistant", "half")
    assert (await app.last_metadata())["finishReason"] == "error"


async def test_before_an_unforeseen_failure_is_a_stream_error_without_its_insides(
    make: Make, log: pytest.LogCaptureFixture
) -> None:
    app = await make("before")
    app.llm.reply = [content("half"), RuntimeError("insides")]
    await app.answer()
    assert app.statuses == ["RUNNING", "FAILED"]
    (told,) = [p["error"] for event, p in app.events if event == "stream-error"]
    assert "insides" not in str(app.events)
    assert "Its log says why" in told
    assert "insides" in log.text
    assert (await app.last_metadata())["isStreaming"] is False


async def test_before_a_last_write_that_fails_is_told(make: Make) -> None:
    app = await make("before")
    app.history.fails = frozenset({"update"})
    app.llm.reply = [content("a"), app.until_row, content("b"), COMPLETE]
    await app.answer()
    assert app.statuses == ["RUNNING", "FAILED"]
    assert ("stream-error", {"error": "the disk is full"}) in app.events


@pytest.mark.parametrize("mode", ["before", "option-1"])
async def test_the_same_message_is_not_answered_twice(make: Make, mode: Mode) -> None:
    app = await make(mode)
    await app.answer(client_message_id="c1")
    await app.answer(client_message_id="c1")
    assert len(app.llm.asked) + len(app.convex.asked) == 1
    # Told again, for whoever missed it.
    assert app.statuses == ["RUNNING", "COMPLETED", "COMPLETED"]
    assert "message-error" not in app.names


async def test_a_message_sent_again_while_it_is_answered_changes_nothing(
    make: Make,
) -> None:
    app = await make("before")
    app.llm.reply = [content("half"), held := asyncio.Event(), COMPLETE]
    message = UserMessage(app.task_id, "hello")
    app.chat.submit(message)
    await app.until(lambda: app.text == "half")
    app.chat.submit(message)
    held.set()
    await app.until_status("COMPLETED")
    assert (app.statuses, app.names.count("message-error")) == (
        *(["RUNNING", "COMPLETED"],),
        0,
    )
    assert len(app.llm.asked) == 1


async def test_a_message_that_nobody_answered_is_answered_when_sent_again(
    make: Make,
) -> None:
    """As when the server was killed between the two."""
    app = await make("option-1")
    await app.history.add_message(
        *(app.task_id, "user", "hello"), llm_model="m", client_message_id="c1"
    )
    await app.answer("hello", client_message_id="c1")
    assert await app.stored() == [("user", "hello"), ("assistant", "from Convex")]


async def test_an_id_that_was_used_for_another_message_is_refused(make: Make) -> None:
    app = await make("before")
    await app.answer("hello", client_message_id="c1")
    await app.answer("and now?", client_message_id="c1")
    assert len(app.llm.asked) == 1
    event, payload = app.events[-1]
    assert event == "message-error"
    assert "used for another message" in payload["error"]


async def test_a_message_that_cannot_be_stored_is_not_accepted(make: Make) -> None:
    app = await make("before")
    app.history.fails = frozenset({"add user"})
    await app.answer()
    ((event, payload),) = app.events
    assert event == "message-error"
    assert "not accepted. the disk is full" in payload["error"]


# --- Option 1 ---------------------------------------------------------------------


async def test_option_1_on_success_convex_answers_and_the_loop_is_skipped(
    make: Make, log: pytest.LogCaptureFixture
) -> None:
    app = await make("option-1")
    await app.answer("hello", model="m", client_message_id="c1")
    assert app.llm.asked == []
    assert not STREAM_EVENTS & set(app.names)
    assert app.statuses == ["RUNNING", "COMPLETED"]
    (asked,) = app.convex.asked
    assert (asked["prompt"], asked["model"]) == ("hello", "m")
    assert asked["client_message_id"] == "c1"
    assert f"[CHAT] TESTING Convex streaming for task {app.task_id}" in log.messages
    assert "[CHAT] Convex streaming SUCCESS! MessageId: m1" in log.messages


async def test_option_1_keeps_sql_whole_for_fallback_and_rollback(make: Make) -> None:
    app = await make("option-1")
    await app.answer("hello")
    assert await app.stored() == [("user", "hello"), ("assistant", "from Convex")]
    assert (await app.history.messages(app.task_id))[-1]["id"] == "m1"
    assert await app.last_metadata() == {
        "isStreaming": False,
        "parts": [
            {
                "type": "tool-call",
                "toolCallId": "t1",
                "toolName": "calculator",
                "args": {"expression": "1+1"},
            },
            {"type": "text", "text": "from Convex"},
        ],
        "finishReason": "stop",
    }


async def test_option_1_stores_no_reply_that_was_stopped_before_its_first_word(
    make: Make,
) -> None:
    app = await make("option-1")

    async def silent() -> ConvexReply:
        return convex_reply("stopped", "", "aborted")

    app.convex.streams = silent
    await app.answer("hello")
    assert await app.stored() == [("user", "hello")]


async def test_option_1_falls_back_to_socketio_if_nothing_was_begun(
    make: Make, log: pytest.LogCaptureFixture
) -> None:
    app = await make("option-1")
    app.convex.streams = app.convex.gone
    await app.answer("hello")
    assert app.llm.asked == [["hello"]]
    assert app.text == "Hello"
    assert app.statuses == ["RUNNING", "COMPLETED"]
    fell_back = "[CHAT] Convex streaming failed, falling back to Socket.IO: "
    assert f"{fell_back}{GONE}" in log.messages
    assert await app.stored() == [("user", "hello"), ("assistant", "Hello")]


async def test_option_1_does_not_answer_again_what_was_begun_and_failed(
    make: Make,
) -> None:
    app = await make("option-1")

    async def failed() -> ConvexReply:
        return convex_reply("failed", "hal", "error", "anthropic: overloaded")

    app.convex.streams = failed
    await app.answer("hello")
    assert app.llm.asked == []
    assert app.statuses == ["RUNNING", "FAILED"]
    assert app.events[-2] == ("message-error", {"error": "anthropic: overloaded"})
    assert await app.stored() == [("user", "hello"), ("assistant", "hal")]


async def test_option_1_does_not_answer_what_may_have_been_begun(make: Make) -> None:
    app = await make("option-1")

    async def lost() -> ConvexReply:
        raise ReplyOutOfSight("Convex went away")

    app.convex.streams = lost
    await app.answer("hello", client_message_id="c1")
    assert app.llm.asked == []
    assert app.statuses == ["RUNNING", "FAILED"]
    assert app.out_of_sight == [(app.task_id, "c1")]


async def test_option_1_says_that_a_message_was_sent_before(make: Make) -> None:
    """Convex may have begun its reply for another server, and be away now."""
    app = await make("option-1")
    await app.answer("new", client_message_id="c0")
    await app.history.add_message(
        *(app.task_id, "user", "hello"), llm_model="m", client_message_id="c1"
    )
    await app.answer("hello", client_message_id="c1")
    assert [asked["sent_before"] for asked in app.convex.asked] == [False, True]


async def test_option_1_a_fallback_that_was_begun_is_not_begun_again(
    make: Make,
) -> None:
    """Its row is there before the model is asked, whatever becomes of the server."""
    app = await make("option-1")
    app.convex.streams = app.convex.gone
    app.llm.reply = [asyncio.Event()]
    answering = asyncio.create_task(app.answer("hello", client_message_id="c1"))
    await app.until(lambda: bool(app.llm.asked))
    assert await app.stored() == [("user", "hello"), ("assistant", "")]
    assert (await app.last_metadata())["isStreaming"] is True
    await app.answer("hello", client_message_id="c1")
    assert len(app.llm.asked) == 1
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert await app.last_metadata() == {
        "isStreaming": False,
        "parts": [],
        "finishReason": "aborted",
    }


async def test_option_1_a_copy_that_cannot_be_stored_does_not_fail_the_reply(
    make: Make, log: pytest.LogCaptureFixture
) -> None:
    app = await make("option-1")
    app.history.fails = frozenset({"copy"})
    await app.answer()
    assert app.statuses == ["RUNNING", "COMPLETED"]
    assert "the disk is full" in log.text


# --- Option 2 ---------------------------------------------------------------------


async def test_option_2_nothing_of_the_reply_goes_over_socketio_or_into_sql(
    make: Make, log: pytest.LogCaptureFixture
) -> None:
    app = await make("option-2")
    await app.answer("hello")
    assert set(app.names) == {STATUS, "terminal-output"}
    assert app.statuses == ["RUNNING", "COMPLETED"]
    assert app.llm.asked == []
    assert await app.stored() == []
    task_id = app.task_id
    assert f"[CHAT] Starting Convex streaming for task {task_id}" in log.messages
    completed = f"[CHAT] Convex streaming completed for task {task_id}, messageId: m1"
    assert completed in log.messages


async def test_option_2_fails_when_convex_cannot_be_reached(make: Make) -> None:
    app = await make("option-2")
    app.convex.streams = app.convex.gone
    await app.answer()
    assert app.llm.asked == []
    assert app.statuses == ["RUNNING", "FAILED"]
    assert not STREAM_EVENTS & set(app.names)
    assert app.events[-2] == ("message-error", {"error": str(GONE)})


# --- one at a time ------------------------------------------------------------------


async def test_a_second_message_is_refused_until_the_first_has_ended(
    make: Make,
) -> None:
    app = await make("before")
    held = asyncio.Event()
    app.llm.reply = [content("a"), held, COMPLETE]
    app.chat.submit(UserMessage(app.task_id, "one"))
    with pytest.raises(KitError, match="Stop it"):
        app.chat.submit(UserMessage(app.task_id, "two"))
    held.set()
    await app.until_status("COMPLETED")
    await asyncio.sleep(0)
    app.chat.submit(UserMessage(app.task_id, "three"))


class Held:
    """Replies of Convex's, each of which ends when it is let."""

    def __init__(self, app: Application) -> None:
        self.endings: list[asyncio.Future[ConvexReply]] = []
        app.convex.streams = self.stream

    async def stream(self) -> ConvexReply:
        ending = asyncio.get_running_loop().create_future()
        self.endings.append(ending)
        return await asyncio.shield(ending)

    def end(
        self, number: int, status: Literal["complete", "stopped"] = "complete"
    ) -> None:
        reply = convex_reply(status, f"reply {number}", "stop", message_id=f"m{number}")
        self.endings[number - 1].set_result(reply)


@pytest.mark.parametrize("mode", ["option-1", "option-2"])
@pytest.mark.parametrize("when_active", ["queue", "interrupt"])
async def test_convex_is_given_a_second_message_with_what_becomes_of_it(
    make: Make, mode: Mode, when_active: WhenActive
) -> None:
    app = await make(mode)
    held = Held(app)
    one = UserMessage(app.task_id, "one")
    two = UserMessage(app.task_id, "two", when_active=when_active)
    three = UserMessage(app.task_id, "three", when_active="queue")
    runs = [app.chat.submit(message) for message in (one, two, three)]
    assert app.chat.submit(two) is runs[1], "sent again, it is the same one"
    await app.until(lambda: len(held.endings) == 3)
    asked = [(call["prompt"], call["when_active"]) for call in app.convex.asked]
    assert asked == [("one", "reject"), ("two", when_active), ("three", "queue")]
    held.end(1, "stopped" if when_active == "interrupt" else "complete")
    held.end(2)
    for run in runs[:2]:
        assert run.answering is not None
        await run.answering
    assert set(app.statuses) == {"RUNNING"}, "one is still being answered"
    held.end(3)
    await app.until_status("COMPLETED")
    assert app.statuses[-2:] == ["RUNNING", "COMPLETED"]
    assert app.names.count("message-error") == 0
    # SQL has them in the order in which they were answered, not in which they came.
    replies = [("assistant", f"reply {number}") for number in (1, 2, 3)]
    questions = [("user", text) for text in ("one", "two", "three")]
    in_sql = [m for turn in zip(questions, replies, strict=True) for m in turn]
    assert await app.stored() == (in_sql if mode == "option-1" else [])


async def test_a_second_message_goes_to_convex_after_the_first_has_begun(
    make: Make,
) -> None:
    """However close they come: Convex answers in the order in which it gets them."""
    app = await make("option-1")
    held = Held(app)
    app.convex.begins = False
    app.chat.submit(UserMessage(app.task_id, "one"))
    second = app.chat.submit(UserMessage(app.task_id, "two", when_active="queue"))
    await app.until(lambda: len(held.endings) == 1 and app.convex.looks > 2)
    assert [call["prompt"] for call in app.convex.asked] == ["one"]
    assert not second.accepted.is_set()
    app.convex.begins = True
    await app.until(lambda: len(held.endings) == 2)
    await app.chat.close()


@pytest.mark.parametrize("when_active", ["queue", "interrupt"])
async def test_beside_a_reply_of_the_application_no_message_is_taken(
    make: Make, when_active: WhenActive
) -> None:
    app = await make("before")
    app.llm.reply = [content("a"), asyncio.Event(), COMPLETE]
    app.chat.submit(UserMessage(app.task_id, "one"))
    two = UserMessage(app.task_id, "two", when_active=when_active)
    with pytest.raises(KitError, match="Only a reply that Convex streams can be"):
        app.chat.submit(two)
    await app.chat.close()


async def test_beside_a_fallback_no_message_is_taken(make: Make) -> None:
    """Neither one that comes during it, nor one that came while Convex was tried."""
    app = await make("option-1")
    hold = asyncio.Event()

    async def gone() -> ConvexReply:
        await hold.wait()
        raise GONE

    app.convex.streams = gone
    app.convex.begins = False
    app.llm.reply = [content("a"), asyncio.Event(), COMPLETE]
    app.chat.submit(UserMessage(app.task_id, "one"))
    app.chat.submit(UserMessage(app.task_id, "two", when_active="queue"))
    await app.until(lambda: bool(app.convex.asked))
    hold.set()
    await app.until(lambda: "message-error" in app.names)
    (refusal,) = [p["error"] for event, p in app.events if event == "message-error"]
    assert "Only a reply that Convex streams" in refusal
    with pytest.raises(KitError, match="Only a reply that Convex streams"):
        app.chat.submit(UserMessage(app.task_id, "three", when_active="interrupt"))
    await app.chat.stop(app.task_id)
    assert app.llm.asked == [["one"]]
    assert await app.stored() == [("user", "one"), ("assistant", "a")]


async def test_a_second_message_is_not_answered_by_a_fallback_beside_the_first(
    make: Make,
) -> None:
    app = await make("option-1")
    held = Held(app)
    app.chat.submit(UserMessage(app.task_id, "one"))
    await app.until(lambda: len(held.endings) == 1)
    app.convex.streams = app.convex.gone
    second = app.chat.submit(UserMessage(app.task_id, "two", when_active="queue"))
    assert second.answering is not None
    await second.answering
    assert app.events[-1] == (
        "message-error",
        {"error": f"{GONE} Send the message again."},
    )
    assert app.llm.asked == []
    assert set(app.statuses) == {"RUNNING"}
    held.end(1)
    await app.until_status("FAILED")
    replies = [("user", "one"), ("assistant", "reply 1"), ("user", "two")]
    assert await app.stored() == replies


async def test_a_stop_ends_all_that_convex_was_given(make: Make) -> None:
    app = await make("option-1")
    app.convex.streams = app.convex.until_stopped
    for text in ("one", "two"):
        app.chat.submit(UserMessage(app.task_id, text, when_active="queue"))
    await app.until(lambda: len(app.convex.asked) == 2)
    await app.chat.stop(app.task_id)
    assert app.convex.stops == 1
    assert app.statuses[-1] == "STOPPED"
    app.convex.streams = app.convex.complete
    await asyncio.sleep(0)
    await app.answer("three")
    assert app.statuses[-1] == "COMPLETED"


async def test_tasks_do_not_wait_for_each_other(make: Make) -> None:
    app = await make("before")
    held = asyncio.Event()
    app.llm.reply = [held, COMPLETE]
    app.chat.submit(UserMessage(app.task_id, "one"))
    await app.until(lambda: bool(app.llm.asked))
    app.llm.reply = [content("b"), COMPLETE]
    app.task_id = await app.history.create_task("second")
    await app.answer("two")
    assert app.text == "b"


# --- stopping -----------------------------------------------------------------------


async def test_a_stopped_reply_keeps_its_text_and_closes_the_provider_call(
    make: Make,
) -> None:
    app = await make("before")
    app.llm.reply = [content("half"), asyncio.Event()]
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: app.text == "half")
    await app.chat.stop(app.task_id)
    assert app.llm.closed == 1
    assert app.statuses == ["RUNNING", "STOPPED"]
    assert app.names.count("stream-complete") == 1
    assert (await app.stored())[-1] == ("assistant", "half")
    metadata = await app.last_metadata()
    assert (metadata["isStreaming"], metadata["finishReason"]) == (False, "aborted")


async def test_stopping_before_the_first_word_ends_the_turn(make: Make) -> None:
    app = await make("before")
    app.llm.reply = [asyncio.Event()]
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: bool(app.llm.asked))
    await app.chat.stop(app.task_id)
    assert app.statuses == ["RUNNING", "STOPPED"]
    assert await app.stored() == [("user", "hello")]


async def test_a_stop_at_once_still_ends_in_a_status(make: Make) -> None:
    app = await make("before")
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await asyncio.sleep(0)  # it has begun, and is still storing the message
    await app.chat.stop(app.task_id)
    assert app.statuses[-1] == "STOPPED"
    assert app.llm.asked == []


async def test_a_stop_in_the_last_moment_does_not_swallow_the_end(make: Make) -> None:
    app = await make("option-2")
    app.chat.submit(UserMessage(app.task_id, "hello"))

    async def stop_meanwhile() -> None:
        stopping = asyncio.create_task(app.chat.stop(app.task_id))
        await asyncio.sleep(0)
        assert not stopping.done()

    async def failed() -> ConvexReply:
        raise KitError("overloaded")

    app.convex.streams = failed
    app.at_event["message-error"] = stop_meanwhile
    await app.until_status("FAILED")
    assert app.statuses == ["RUNNING", "FAILED"]


async def test_stopping_an_idle_task_does_not_spoil_its_next_reply(make: Make) -> None:
    app = await make("before")
    await app.chat.stop(app.task_id)
    assert app.events == []
    await app.answer()
    assert app.text == "Hello"


async def test_stopping_an_idle_task_that_convex_does_not_know_is_no_error(
    make: Make,
) -> None:
    app = await make("option-1")
    app.convex.stop_fails_with = FunctionError("streaming:stopTask", "not an id")
    await app.chat.stop(app.task_id)
    assert app.events == []


async def test_stopping_corrects_a_status_that_a_killed_server_left(make: Make) -> None:
    app = await make("before")
    await app.history.set_task_status(app.task_id, "RUNNING")
    await app.chat.stop(app.task_id)
    assert app.statuses == ["STOPPED"]


@pytest.mark.parametrize("mode", ["option-1", "option-2"])
async def test_a_reply_in_convex_is_stopped_there(make: Make, mode: Mode) -> None:
    app = await make(mode)
    app.convex.streams = app.convex.until_stopped
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: bool(app.convex.asked))
    await app.chat.stop(app.task_id)
    assert app.convex.stops == 1
    assert app.statuses == ["RUNNING", "STOPPED"]
    assert not STREAM_EVENTS & set(app.names)


async def test_a_stop_that_comes_before_convex_has_begun_is_repeated(
    make: Make,
) -> None:
    app = await make("option-2")

    class Deaf(asyncio.Event):
        def set(self) -> None:
            if app.convex.stops > 1:
                super().set()

    app.convex.stopped = Deaf()
    app.convex.streams = app.convex.until_stopped
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: bool(app.convex.asked))
    await app.chat.stop(app.task_id)
    assert app.convex.stops == 2
    assert app.statuses == ["RUNNING", "STOPPED"]


async def test_a_reply_that_does_not_stop_is_no_longer_waited_for(make: Make) -> None:
    app = await make("option-2", stop_timeout=0.01)

    async def never() -> ConvexReply:
        await asyncio.Event().wait()
        raise AssertionError

    app.convex.streams = never
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: bool(app.convex.asked))
    await app.chat.stop(app.task_id)
    assert app.statuses == ["RUNNING", "STOPPED"]


async def test_a_stop_that_comes_too_late_does_not_keep_the_copy_from_sql(
    make: Make,
) -> None:
    """The reply has ended in Convex, and is just being written down."""
    app = await make("option-1")
    writing, held = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        writing.set()
        await held.wait()

    app.history.before_copy = hold
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await writing.wait()
    stopping = asyncio.create_task(app.chat.stop(app.task_id))
    await asyncio.sleep(0)
    held.set()
    await stopping
    assert app.statuses == ["RUNNING", "COMPLETED"]
    assert await app.stored() == [("user", "hello"), ("assistant", "from Convex")]


async def test_a_stop_that_convex_does_not_hear_is_raised(make: Make) -> None:
    app = await make("option-2")
    app.convex.stop_fails_with = GONE
    app.convex.streams = app.convex.until_stopped
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: bool(app.convex.asked))
    with pytest.raises(DeploymentError):
        await app.chat.stop(app.task_id)
    app.convex.stopped.set()
    await app.until_status("STOPPED")


async def test_option_1_the_fallback_is_stopped_here(make: Make) -> None:
    app = await make("option-1")
    app.convex.streams = app.convex.gone
    app.llm.reply = [content("half"), asyncio.Event()]
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: app.text == "half")
    await app.chat.stop(app.task_id)
    assert app.convex.stops == 0
    assert app.statuses == ["RUNNING", "STOPPED"]
    assert (await app.stored())[-1] == ("assistant", "half")


async def test_closing_keeps_the_text_of_what_streams_from_here(make: Make) -> None:
    app = await make("before")
    app.llm.reply = [content("half"), asyncio.Event()]
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: app.text == "half")
    await app.chat.close()
    assert app.statuses == ["RUNNING", "STOPPED"]
    assert (await app.stored())[-1] == ("assistant", "half")


async def test_closing_lets_a_reply_in_convex_go_on(
    make: Make, log: pytest.LogCaptureFixture
) -> None:
    app = await make("option-2")
    app.convex.streams = app.convex.until_stopped
    app.chat.submit(UserMessage(app.task_id, "hello"))
    await app.until(lambda: bool(app.convex.asked))
    await app.chat.close()
    assert app.convex.stops == 0
    assert app.statuses == ["RUNNING"]
    assert "goes on in Convex" in log.text


# --- as the notebooks read it ---------------------------------------------------------


def test_the_forms_can_be_read_side_by_side() -> None:
    before = inspect.getsource(ChatService._before).splitlines()
    option_1 = inspect.getsource(ChatService._option_1).splitlines()
    loop = before[
        before.index(
            "        messages = await self._history.messages(message.task_id)"
        ) :
    ]
    assert option_1[-len(loop) :] == loop, "the fallback is the loop as it was"
    for form in (ChatService._before, ChatService._option_1, ChatService._option_2):
        assert len(inspect.getsource(form).splitlines()) < 40
