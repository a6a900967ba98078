"""What a killed server left behind, and what the next one makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from kit.app.convex_replies import ConvexReplies, ConvexReply, status_of
from kit.app.flags import Mode
from kit.app.history import History, MessageMetadata
from kit.app.recovery import Recovery
from kit.app.runs import Runs
from kit.app.tasks import Tasks
from kit.errors import DatabaseError, KitError, ReplyOutOfSight


def convex_reply(
    status: Literal["complete", "stopped", "failed"],
    text: str,
    error: str | None = None,
    message_id: str = "m1",
) -> ConvexReply:
    row = {
        "_id": message_id,
        "_creationTime": 1_700_000_000_000.0,
        "role": "ASSISTANT",
        "content": text,
        "parts": [{"id": "text-0", "type": "text", "text": text, "state": "done"}],
        "llmModel": "m",
        "sequence": 1.0,
        "status": status,
        "finishReason": "stop",
    }
    return ConvexReply(message_id, status, text, row, error)


COMPLETE = convex_reply("complete", "from Convex")
AWAY = ReplyOutOfSight("Convex went away.")


class FakeReplies(ConvexReplies):
    """Replies by `clientMessageId`, or what is raised for them; `hold` delays."""

    def __init__(self) -> None:
        self.held: dict[str, ConvexReply | KitError] = {}
        self.last: str | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def find(self, task_id: str, client_message_id: str) -> ConvexReply | None:
        await self.hold.wait()
        found = self.held.get(client_message_id)
        if isinstance(found, KitError):
            raise found
        return found

    async def last_client_message_id(self, task_id: str) -> str | None:
        return self.last


class Left:
    """A history with one task that was left RUNNING."""

    def __init__(self, history: History, task_id: str) -> None:
        self.history = history
        self.task_id = task_id
        self.convex = FakeReplies()
        self.runs = Runs()
        self.events: list[tuple[str, Any]] = []
        self.out_of_sight: list[tuple[str, str]] = []

    async def emit(self, task_id: str, event: str, payload: Any) -> None:
        self.events.append((event, payload))

    async def begin(self, mode: Mode) -> None:
        tasks = Tasks(self.history, self.emit)
        await Recovery(
            mode,
            history=self.history,
            tasks=tasks,
            convex=self.convex,
            runs=self.runs,
            on_out_of_sight=lambda *reply: self.out_of_sight.append(reply),
        ).begin()

    async def recover(self, mode: Mode) -> tuple[str, str | None]:
        """The task's status afterwards, and its error."""
        await self.begin(mode)
        for run in self.runs.of(self.task_id):
            assert run.answering is not None
            await run.answering
        await asyncio.sleep(0)
        assert self.task_id not in self.runs
        return await self.status()

    async def status(self) -> tuple[str, str | None]:
        task = await self.history.task(self.task_id)
        assert task is not None
        return task["status"], task.get("errorMessage")

    async def ask(self, client_message_id: str = "c1") -> None:
        await self.history.add_message(
            *(self.task_id, "user", "hello"),
            llm_model="m",
            client_message_id=client_message_id,
        )

    async def reply(self, metadata: MessageMetadata) -> None:
        await self.history.add_message(
            *(self.task_id, "assistant", "hal"), llm_model="m", metadata=metadata
        )

    async def stored(self) -> list[tuple[str, str]]:
        messages = await self.history.messages(self.task_id)
        return [(message["role"], message["content"]) for message in messages]


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[Left]:
    history = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    task_id = await history.create_task("t")
    await history.set_task_status(task_id, "RUNNING")
    yield Left(history, task_id)
    await history.close()


async def test_option_1_gets_the_reply_that_went_on_in_convex(left: Left) -> None:
    await left.ask()
    left.convex.held = {"c1": COMPLETE}
    assert await left.recover("option-1") == ("COMPLETED", None)
    assert await left.stored() == [("user", "hello"), ("assistant", "from Convex")]
    (event, told), *more = left.events
    assert (event, told["status"], more) == ("task-status-updated", "COMPLETED", [])


@pytest.mark.parametrize("last_is_there", [True, False])
async def test_option_1_gets_the_replies_to_messages_that_were_queued(
    left: Left, last_is_there: bool
) -> None:
    await left.ask("c0")
    await left.reply({"isStreaming": False, "parts": [], "finishReason": "stop"})
    for client_message_id in ("c1", "c2", "c3"):
        await left.ask(client_message_id)
    left.convex.held = {
        "c0": convex_reply("complete", "not again", message_id="m0"),
        "c1": convex_reply("complete", "one", message_id="m1"),
        "c2": convex_reply("failed", "two", "no credit", message_id="m2"),
    }
    if last_is_there:
        left.convex.held["c3"] = convex_reply("stopped", "three", message_id="m3")
    status, error = await left.recover("option-1")
    assert status == ("STOPPED" if last_is_there else "FAILED")
    assert ("before the reply was begun" in (error or "")) is not last_is_there
    question = ("user", "hello")
    turns = [question, ("assistant", "hal"), question, ("assistant", "one"), question]
    turns += [("assistant", "two"), question]
    assert await left.stored() == turns + [("assistant", "three")] * last_is_there


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (convex_reply("stopped", "fr"), ("STOPPED", None)),
        (convex_reply("failed", "fr", "no credit"), ("FAILED", "no credit")),
    ],
)
async def test_option_1_gets_what_there_is_of_a_reply_that_did_not_end_well(
    left: Left, reply: ConvexReply, status: tuple[str, str | None]
) -> None:
    await left.ask()
    left.convex.held = {"c1": reply}
    assert await left.recover("option-1") == status
    assert (await left.stored())[-1] == ("assistant", "fr")


@pytest.mark.parametrize("mode", ["option-1", "option-2"])
async def test_a_message_that_was_not_begun_can_be_sent_again(
    left: Left, mode: Mode
) -> None:
    await left.ask()
    left.convex.last = "c1"
    status, error = await left.recover(mode)
    assert status == "FAILED"
    assert error is not None
    assert "Send the message again" in error


async def test_a_copy_that_was_made_already_is_not_made_again(left: Left) -> None:
    await left.ask()
    left.convex.held = {"c1": COMPLETE}
    await left.recover("option-1")
    await left.history.set_task_status(left.task_id, "RUNNING")
    assert await left.recover("option-1") == ("COMPLETED", None)
    assert len(await left.stored()) == 2


@pytest.mark.parametrize(
    ("reason", "status"),
    [("stop", "COMPLETED"), ("aborted", "STOPPED"), ("error", "FAILED")],
)
async def test_a_fallback_that_had_ended_needs_only_its_status(
    left: Left, reason: str, status: str
) -> None:
    await left.ask()
    await left.reply({"isStreaming": False, "parts": [], "finishReason": reason})
    assert (await left.recover("option-1"))[0] == status


async def test_a_fallback_that_nobody_writes_any_more_ends(left: Left) -> None:
    """And keeps its text; Convex is not asked, and does not answer again."""
    await left.ask()
    await left.reply({"isStreaming": True, "parts": [{"type": "text", "text": "hal"}]})
    left.convex.held = {"c1": COMPLETE}
    status, error = await left.recover("option-1")
    assert (status, "is kept" in str(error)) == ("FAILED", True)
    assert await left.stored() == [("user", "hello"), ("assistant", "hal")]
    metadata = (await left.history.messages(left.task_id))[-1]["metadata"]
    assert metadata["isStreaming"] is False
    assert metadata["finishReason"] == "interrupted"
    assert metadata["parts"] == [{"type": "text", "text": "hal"}]


async def test_an_earlier_reply_is_not_taken_for_this_one(left: Left) -> None:
    await left.ask("c0")
    await left.reply({"isStreaming": False, "finishReason": "stop"})
    await left.ask("c1")
    left.convex.held = {"c0": KitError("not this one"), "c1": COMPLETE}
    assert await left.recover("option-1") == ("COMPLETED", None)


async def test_option_2_asks_convex_which_message_was_the_last(left: Left) -> None:
    left.convex.last = "c1"
    left.convex.held = {"c1": COMPLETE}
    assert await left.recover("option-2") == ("COMPLETED", None)
    assert await left.stored() == []


@pytest.mark.parametrize("mode", ["option-1", "option-2"])
async def test_a_task_without_any_message_is_freed(left: Left, mode: Mode) -> None:
    assert (await left.recover(mode))[0] == "FAILED"


async def test_a_convex_that_is_away_frees_the_task_and_says_so(left: Left) -> None:
    await left.ask()
    left.convex.held = {"c1": AWAY}
    assert await left.recover("option-1") == ("FAILED", "Convex went away.")
    assert left.out_of_sight == [(left.task_id, "c1")], "somebody looks on"


async def test_tasks_that_are_not_running_are_left_alone(left: Left) -> None:
    await left.history.set_task_status(left.task_id, "STOPPED")
    assert await left.recover("option-1") == ("STOPPED", None)
    assert left.events == []


async def test_a_task_is_busy_until_it_is_known(left: Left) -> None:
    """A server that ends before leaves it to the next one; a stop ends it."""
    await left.ask()
    left.convex.hold.clear()
    await left.begin("option-1")
    (run,) = left.runs.of(left.task_id)
    assert run.in_convex
    await left.runs.cancel_all()
    assert left.task_id not in left.runs
    assert await left.status() == ("RUNNING", None)

    await left.begin("option-1")
    (run,) = left.runs.of(left.task_id)
    await asyncio.sleep(0)  # it has begun
    run.stop_requested = True
    await run.cancel()
    assert await left.status() == ("STOPPED", None)


async def test_a_database_that_fails_does_not_keep_the_server_from_starting(
    left: Left, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> list[str]:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(left.history, "running_tasks", fail)
    await left.begin("option-1")
    assert "the disk is full" in caplog.text


def test_a_reply_that_failed_has_no_status_but_a_reason() -> None:
    assert status_of(COMPLETE) == "COMPLETED"
    with pytest.raises(KitError, match="no credit"):
        status_of(convex_reply("failed", "", "no credit"))
