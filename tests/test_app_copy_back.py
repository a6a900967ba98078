"""Copying back, from the real functions to a real database: SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError
from convex_functions import Failed, Functions
from databases import history, postgres_url, url
from deployment_fixture import DeploymentProcess, deployment_process
from tokens import auth_config, token

import kit.app.copy_back
from kit.app.convex_rows import stored_message
from kit.app.copy_back import copy_back, copy_between
from kit.app.copy_report import TaskCopy
from kit.app.history import History, Message
from kit.app.locked_task import LockedTask
from kit.cli import main
from kit.client import Deployment
from kit.errors import (
    ConfigError,
    ConvexFunctionError,
    DatabaseError,
    DeploymentUnreachable,
    FunctionError,
)

__all__ = ["history", "postgres_url", "url"]  # fixtures

CALL = {
    "type": "tool-input-available",
    "toolCallId": "c1",
    "toolName": "search",
    "inputText": '{"query": "é", "$n": 1}',
}


class Convex:
    """The functions, as a client calls them; and what happens on a deployment."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.before_query: Callable[[str], None] = lambda path: None

    async def query(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        self.before_query(path)
        try:
            return self.functions.call(path, args)
        except ConvexError as error:
            raise ConvexFunctionError(path, str(error), error.data) from None
        except Failed as error:
            raise FunctionError(path, str(error)) from None

    async def mutation(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        raise AssertionError("copying back changes nothing on Convex")

    async def action(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        raise AssertionError("copying back generates nothing")

    def task(self, title: str = "t") -> str:
        self.functions.turn(1000)
        created: str = self.functions.call("tasks:create", title=title)
        return created

    def begin(self, task_id: str, prompt: str, **more: Any) -> Any:
        self.functions.turn(1000)
        args = {"taskId": task_id, "prompt": prompt, "model": "m", "leaseMs": 9e9}
        return self.functions.call("streaming:begin", args, **more)

    def append(self, begun: Any, *chunks: Any, seq: int = 0) -> None:
        stream = {"streamId": begun["streamId"], "epoch": 1}
        self.functions.call("streaming:append", stream, seq=seq, chunks=list(chunks))

    def end(self, begun: Any, outcome: str = "complete", **more: Any) -> None:
        self.functions.turn(1000)
        stream = {"streamId": begun["streamId"], "epoch": 1}
        self.functions.call("streaming:finalize", stream, outcome=outcome, **more)

    def turn(self, task_id: str, prompt: str, text: str = "", **more: Any) -> Any:
        """One message and its reply, which has ended."""
        ending = {k: more.pop(k) for k in ("outcome", "error", "usage") if k in more}
        begun = self.begin(task_id, prompt, **more)
        if text:
            self.append(begun, {"type": "text-delta", "id": "text-0", "delta": text})
        self.end(begun, **ending)
        return begun

    def row(self, message_id: str) -> Any:
        rows = self.functions.rows("chatMessages")
        return next(row for row in rows if row["_id"] == message_id)


@pytest.fixture
def convex(tmp_path: Path) -> Iterator[Convex]:
    functions = Functions(tmp_path / "convex")
    yield Convex(functions)
    functions.close()


async def copied(convex: Convex, history: History, task_id: str) -> TaskCopy:
    (task,) = (await copy_back(convex, history, task_ids=[task_id])).tasks
    return task


async def texts(history: History, task_id: str) -> list[str]:
    messages = await history.messages(task_id)
    assert [m["sequence"] for m in messages] == list(range(1, len(messages) + 1))
    return [m["content"] for m in messages]


def counts(task: TaskCopy) -> tuple[int, int, int, int, int]:
    return (
        task.on_convex,
        task.already_there,
        task.copied,
        len(task.unfinished),
        task.comparison.only_in_sql,
    )


# --- what is copied ---------------------------------------------------------------


async def test_a_conversation_on_convex_alone_is_copied_whole(
    convex: Convex, history: History
) -> None:
    task_id = convex.task("Rollback\0")
    usage = {"promptTokens": 1.0, "completionTokens": 2.0, "totalTokens": 3.0}
    convex.turn(task_id, "one", "two", clientMessageId="c1", usage=usage)
    begun = convex.begin(task_id, "tool?")
    outcome = {"type": "tool-output-available", "toolCallId": "c1"}
    convex.append(begun, CALL, {**outcome, "outputText": '[1, {"a": null}]'})
    convex.append(begun, {"type": "text-delta", "id": "text-0", "delta": "3"}, seq=1)
    convex.end(begun, finishReason="stop")
    task = await copied(convex, history, task_id)
    assert counts(task) == (4, 0, 4, 0, 0)
    assert task.complete
    assert await texts(history, task_id) == ["one", "two", "tool?", "3"]
    prompt, reply, _, tool = await history.messages(task_id)
    assert prompt["clientMessageId"] == "c1"
    assert "metadata" not in prompt
    assert reply["metadata"]["usage"] == {
        "promptTokens": 1,
        "completionTokens": 2,
        "totalTokens": 3,
    }
    expected = stored_message(convex.row(begun["messageId"]))
    assert tool == {**expected, "sequence": 4}
    assert [part["type"] for part in tool["metadata"]["parts"]] == [
        *("tool-call", "tool-result", "text")
    ]
    stored = await history.task(task_id)
    assert stored is not None
    assert (stored["title"], stored["status"]) == ("Rollback\ufffd", "COMPLETED")
    created = convex.functions.call("tasks:get", taskId=task_id)["_creationTime"]
    assert stored["createdAt"].startswith("2023-11-14T22:13:21")
    assert created == 1_700_000_001_000.0


async def test_copying_again_finds_everything_there(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    convex.turn(task_id, "one", "two")
    await copied(convex, history, task_id)
    before = await history.messages(task_id)
    task = await copied(convex, history, task_id)
    assert counts(task) == (2, 2, 0, 0, 0)
    assert task.complete
    assert await history.messages(task_id) == before


async def test_replies_that_were_stopped_or_failed_are_copied_as_such(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    convex.turn(task_id, "q1", "half", outcome="stopped")
    convex.turn(task_id, "q2", outcome="stopped")
    convex.turn(task_id, "q3", "some", outcome="failed", error="overloaded")
    task = await copied(convex, history, task_id)
    assert task.complete
    assert await texts(history, task_id) == ["q1", "half", "q2", "", "q3", "some"]
    replies = (await history.messages(task_id))[1::2]
    reasons = [reply["metadata"]["finishReason"] for reply in replies]
    assert reasons == ["aborted", "aborted", "error"]
    assert replies[2]["metadata"]["parts"] == [
        {"type": "text", "text": "some"},
        {"type": "error", "error": "overloaded", "finishReason": "error"},
    ]
    stored = await history.task(task_id)
    assert stored is not None
    assert (stored["status"], stored["errorMessage"]) == ("FAILED", "overloaded")


async def test_what_option_1_left_out_is_put_where_it_belongs(
    convex: Convex, history: History
) -> None:
    """SQL has the prompts, the finished reply, and a turn that fell back."""
    task_id = convex.task()
    await history.create_task("t", task_id=task_id)

    async def user(text: str) -> None:
        await history.add_message(
            task_id, "user", text, llm_model="m", client_message_id=text
        )

    await user("q1")
    done = convex.turn(task_id, "q1", "a1", clientMessageId="q1")
    reply = stored_message(convex.row(done["messageId"]))
    await history.add_message(
        task_id,
        "assistant",
        reply["content"],
        llm_model=reply["llmModel"],
        metadata=reply["metadata"],
        message_id=reply["id"],
    )
    await user("q2")
    convex.turn(task_id, "q2", clientMessageId="q2", outcome="failed", error="no")
    await user("q3")
    await history.add_message(task_id, "assistant", "fell back", llm_model="m")
    await user("q4")
    convex.turn(task_id, "q4", clientMessageId="q4", outcome="stopped")
    task = await copied(convex, history, task_id)
    assert counts(task) == (6, 4, 2, 0, 2)
    assert task.complete
    said = ["q1", "a1", "q2", "", "q3", "fell back", "q4", ""]
    assert await texts(history, task_id) == said
    errors = (await history.messages(task_id))[3]["metadata"]["parts"]
    assert [part["error"] for part in errors] == ["no"]


async def test_turns_over_socketio_before_and_after_stay_in_place(
    convex: Convex, history: History
) -> None:
    """Clocks are the same here: the turns of SQL are from now, Convex's from 2023."""
    task_id = convex.task()
    convex.turn(task_id, "q1", "a1")
    await copied(convex, history, task_id)
    await history.add_message(task_id, "user", "rolled back", llm_model="m")
    await history.add_message(task_id, "assistant", "indeed", llm_model="m")
    convex.functions.turn(10 * 365 * 24 * 3_600_000)
    convex.turn(task_id, "forward", "again")
    task = await copied(convex, history, task_id)
    assert counts(task) == (4, 2, 2, 0, 2)
    assert await texts(history, task_id) == [
        *("q1", "a1", "rolled back", "indeed", "forward", "again")
    ]


async def test_the_status_of_a_newer_turn_in_sql_is_not_touched(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    convex.turn(task_id, "q1", outcome="failed", error="no")
    await history.create_task("t", task_id=task_id)
    await history.add_message(task_id, "user", "now", llm_model="m")
    await history.set_task_status(task_id, "RUNNING")
    await copied(convex, history, task_id)
    assert await texts(history, task_id) == ["q1", "", "now"]
    stored = await history.task(task_id)
    assert stored is not None
    assert stored["status"] == "RUNNING"


async def test_a_reply_that_is_being_written_is_left_until_it_has_ended(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    begun = convex.begin(task_id, "q1")
    convex.append(begun, {"type": "text-delta", "id": "text-0", "delta": "half"})
    task = await copied(convex, history, task_id)
    assert counts(task) == (1, 0, 1, 1, 0)
    assert not task.complete
    (left,) = task.unfinished
    assert (left.message_id, left.status) == (begun["messageId"], "streaming")
    assert "copy again when it has ended" in "".join(task.remarks())
    await history.add_message(task_id, "user", "meanwhile", llm_model="m")
    convex.end(begun)
    task = await copied(convex, history, task_id)
    assert counts(task) == (2, 1, 1, 0, 1)
    assert task.complete
    assert await texts(history, task_id) == ["q1", "half", "meanwhile"]


async def test_all_tasks_are_copied_whatever_their_number_and_length(
    convex: Convex, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit.app.copy_back, "TASKS_PER_PAGE", 10)
    empty = [convex.task(f"t{number}") for number in range(25)]
    long = convex.task("long")
    for number in range(60):
        convex.turn(long, f"q{number}", f"a{number}")
    report = await copy_back(convex, history)
    assert [task.task_id for task in report.tasks] == [*empty, long]
    assert (report.copied, report.complete) == (120, True)
    said = [text for n in range(60) for text in (f"q{n}", f"a{n}")]
    assert await texts(history, long) == said
    for task_id in empty:
        stored = await history.task(task_id)
        assert stored is not None
        assert stored["status"] == "INITIALIZING"


async def test_very_large_replies_and_results_are_copied_whole(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    begun = convex.begin(task_id, "large")
    output = '"' + "ü" * 100_000 + '"'
    result = {"type": "tool-output-available", "toolCallId": "c1", "outputText": output}
    convex.append(begun, CALL, result)
    for seq in range(1, 5):
        delta = {"type": "text-delta", "id": "text-0", "delta": str(seq) * 500_000}
        convex.append(begun, delta, seq=seq)
    convex.end(begun)
    task = await copied(convex, history, task_id)
    assert task.complete
    _, reply = await history.messages(task_id)
    assert reply["content"] == "".join(str(seq) * 500_000 for seq in range(1, 5))
    assert reply["metadata"]["parts"][1]["result"] == "ü" * 100_000


async def test_only_the_tasks_that_are_asked_for_are_copied(
    convex: Convex, history: History
) -> None:
    mine, other = convex.task("mine"), convex.task("other")
    for task_id in (mine, other):
        convex.turn(task_id, "q", "a")
    report = await copy_back(convex, history, task_ids=[mine, mine])
    assert [task.title for task in report.tasks] == ["mine"]
    assert await history.task(other) is None


async def test_a_task_that_only_sql_knows_has_nothing_to_copy(
    convex: Convex, history: History
) -> None:
    task_id = await history.create_task("before the flag")
    await history.add_message(task_id, "user", "hello", llm_model="m")
    task = await copied(convex, history, task_id)
    assert (task.title, counts(task)) == ("before the flag", (0, 0, 0, 0, 1))
    assert task.complete


async def test_the_tasks_of_users_are_copied_for_an_admin_only(
    convex: Convex, history: History
) -> None:
    task_id = convex.task("Ann's")
    convex.turn(task_id, "q", "a")
    owned = {"ownerId": "https://issuer|ann"}
    convex.functions.call("test:patch", id=task_id, fields=owned)
    assert (await copy_back(convex, history)).tasks == []
    with pytest.raises(ConfigError, match="as far as it shows its tasks to this"):
        await copy_back(convex, history, task_ids=[task_id])
    report = await copy_back(convex, history, of_everybody=True)
    assert (report.copied, report.complete) == (2, True)
    assert await texts(history, task_id) == ["q", "a"]


async def test_a_dry_run_says_what_would_be_copied_and_writes_nothing(
    convex: Convex, history: History
) -> None:
    known, new = convex.task("known"), convex.task("new")
    for task_id in (known, new):
        convex.turn(task_id, "q", "a")
    await history.create_task("known", task_id=known)
    report = await copy_back(convex, history, dry_run=True)
    assert [counts(task) for task in report.tasks] == [(2, 0, 2, 0, 0)] * 2
    assert (report.copied, report.complete) == (4, False)
    assert await history.messages(known) == []
    assert await history.task(new) is None
    await copy_back(convex, history)
    again = await copy_back(convex, history, dry_run=True)
    assert (again.copied, again.complete) == (0, True)


# --- what goes wrong --------------------------------------------------------------


async def test_differences_are_found_and_named(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    begun = convex.turn(task_id, "q", "a")
    await copied(convex, history, task_id)
    await history.update_message(begun["messageId"], "b", {"isStreaming": False})
    task = await copied(convex, history, task_id)
    assert (task.copied, task.complete) == (0, False)
    assert begun["messageId"] in task.comparison.differences[0]
    assert any("differs in content" in text for text in task.comparison.differences)
    assert task.comparison.convex_digest != task.comparison.sql_digest


async def test_an_id_that_another_task_has_stops_that_task_only(
    convex: Convex, history: History
) -> None:
    first, second = convex.task("first"), convex.task("second")
    taken = convex.turn(first, "q", "a")["messageId"]
    convex.turn(second, "q", "a")
    other = await history.create_task("other")
    await history.add_message(other, "user", "x", llm_model="m", message_id=taken)
    report = await copy_back(convex, history)
    assert [task.copied for task in report.tasks] == [0, 2]
    assert not report.complete
    assert taken in str(report.tasks[0].problem)
    assert await history.task(first) is None
    assert await texts(history, second) == ["q", "a"]


async def test_a_task_is_copied_wholly_or_not_at_all(
    convex: Convex, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, broken = convex.task("done"), convex.task("broken")
    for task_id in (done, broken):
        convex.turn(task_id, "q1", "a1")
    await history.create_task("broken", task_id=broken)
    await history.add_message(broken, "user", "q2", llm_model="m")
    set_status = LockedTask.set_status

    async def crash(self: LockedTask, *args: Any) -> None:
        await set_status(self, *args)
        if self._task_id == broken:
            raise DatabaseError("the disk is full")

    # The older turn goes before the one in SQL; another ends the task.
    convex.functions.turn(10 * 365 * 24 * 3_600_000)
    convex.turn(broken, "q3", "a3")
    with monkeypatch.context() as patched:
        patched.setattr(LockedTask, "set_status", crash)
        with pytest.raises(DatabaseError, match="the disk is full"):
            await copy_back(convex, history)
    assert await texts(history, done) == ["q1", "a1"]
    assert await texts(history, broken) == ["q2"]
    report = await copy_back(convex, history)
    assert [task.copied for task in report.tasks] == [0, 4]
    assert report.complete
    assert await texts(history, broken) == ["q1", "a1", "q2", "q3", "a3"]


async def test_a_copy_that_is_broken_off_goes_on_the_next_time(
    convex: Convex, history: History
) -> None:
    tasks = [convex.task(str(number)) for number in range(3)]
    for task_id in tasks:
        convex.turn(task_id, "q", "a")
    seen: list[str] = []

    def go_away(path: str) -> None:
        seen.append(path)
        if len(seen) == 4:
            raise DeploymentUnreachable("http://127.0.0.1:1", "gone")

    convex.before_query = go_away
    with pytest.raises(DeploymentUnreachable):
        await copy_back(convex, history)
    convex.before_query = lambda path: None
    first = await history.messages(tasks[0])
    assert len(first) == 2
    report = await copy_back(convex, history)
    assert [task.copied for task in report.tasks] == [0, 2, 2]
    assert report.complete
    assert await history.messages(tasks[0]) == first


async def test_a_cancelled_copy_leaves_no_half_task(
    convex: Convex, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = convex.task()
    convex.turn(task_id, "q", "a")
    arrange = LockedTask.arrange
    arranged = asyncio.Event()

    async def hang(self: LockedTask, messages: list[Message]) -> None:
        await arrange(self, messages)
        arranged.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(LockedTask, "arrange", hang)
        copying = asyncio.create_task(copy_back(convex, history))
        await arranged.wait()
        copying.cancel()
        with suppress(asyncio.CancelledError):
            await copying
    assert await history.task(task_id) is None
    assert (await copied(convex, history, task_id)).copied == 2


async def test_an_application_that_goes_on_writing_loses_nothing(
    convex: Convex, history: History
) -> None:
    task_id = convex.task()
    await history.create_task("t", task_id=task_id)
    for number in range(30):
        convex.turn(task_id, f"q{number}", f"a{number}")

    async def write() -> None:
        for number in range(20):
            await history.add_message(task_id, "user", f"new{number}", llm_model="m")

    report, _ = await asyncio.gather(copy_back(convex, history), write())
    assert report.tasks[0].copied == 60
    said = await texts(history, task_id)
    old = [text for n in range(30) for text in (f"q{n}", f"a{n}")]
    assert said == [*old, *(f"new{n}" for n in range(20))]


async def test_a_task_that_nobody_knows_is_an_error(
    convex: Convex, history: History
) -> None:
    gone = convex.task()
    convex.functions.call("test:delete", id=gone)
    for unknown in ("nope", gone):
        with pytest.raises(ConfigError, match=f"no task '{unknown}', neither"):
            await copy_back(convex, history, task_ids=[unknown])
        assert await history.task(unknown) is None


async def test_a_deployment_without_the_functions_says_what_to_do(
    convex: Convex, history: History
) -> None:
    def older(path: str) -> None:
        raise FunctionError(path, "Could not find public function.\nDid you forget?")

    convex.before_query = older
    with pytest.raises(ConfigError, match=r"function\. Did you .* kit deploy"):
        await copy_back(convex, history)


async def test_a_database_that_fails_is_an_error(
    convex: Convex, tmp_path: Path
) -> None:
    task_id = convex.task()
    convex.turn(task_id, "q", "a")
    file = tmp_path / "history.db"
    history = await History.open(f"sqlite:///{file}")
    await history.close()
    file.write_text("overwritten, " * 1000)
    with pytest.raises(DatabaseError, match="not a database"):
        await copy_back(convex, history)
    await history.close()


async def test_two_urls_that_do_not_answer_are_told_apart(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    missing = f"sqlite:///{tmp_path / 'missing.db'}"
    with pytest.raises(ConfigError, match=r"missing\.db cannot be used"):
        await copy_between(nobody, missing)
    assert not (tmp_path / "missing.db").exists()
    history = await History.open(missing)
    await history.close()
    with pytest.raises(DeploymentUnreachable, match=r"127\.0\.0\.1:9"):
        await copy_between(nobody, missing)


# --- by chance --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happened_both_are_whole_and_in_order(
    convex: Convex, tmp_path: Path, seed: int
) -> None:
    """Turns here, there, in both, fallen back, failed, unfinished; copied in between.

    The clock of Convex is some hours off. What each store had keeps its order.
    """
    chance = random.Random(seed)
    history = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    task_id = convex.task()
    await history.create_task("t", task_id=task_id)
    unfinished: list[Any] = []
    wrote: list[str] = []

    async def in_sql(text: str, role: Any = "user", **more: Any) -> None:
        await history.add_message(task_id, role, text, llm_model="m", **more)
        wrote.append(text)

    for number in range(25):
        prompt = f"q{number}"
        match chance.choice(["sql", "convex", "both", "open", "end", "copy"]):
            case "sql":
                await in_sql(prompt)
                await in_sql(f"a{number}", "assistant")
            case "convex" if not unfinished:
                outcome = chance.choice(["complete", "stopped", "failed"])
                convex.turn(task_id, prompt, f"a{number}", outcome=outcome)
            case "both" if not unfinished:
                await in_sql(prompt, client_message_id=prompt)
                convex.turn(task_id, prompt, f"a{number}", clientMessageId=prompt)
            case "open" if not unfinished:
                unfinished.append(convex.begin(task_id, prompt))
            case "end" if unfinished:
                convex.end(unfinished.pop(), chance.choice(["complete", "failed"]))
            case "copy":
                task = await copied(convex, history, task_id)
                assert len(task.unfinished) == len(unfinished)
                assert task.comparison.equal
    while unfinished:
        convex.end(unfinished.pop())
    task = await copied(convex, history, task_id)
    assert task.complete
    said = await texts(history, task_id)
    on_convex = convex.functions.call("messages:page", taskId=task_id, limit=200)
    for row in on_convex["messages"]:
        assert said.count(row["content"]) >= 1
    assert [text for text in said if text in wrote] == wrote
    assert len(said) == task.on_convex + task.comparison.only_in_sql
    assert (await copied(convex, history, task_id)).copied == 0
    await history.close()


# --- the command ------------------------------------------------------------------


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[DeploymentProcess]:
    """The kit's functions, with no model to ask: each reply fails at once."""
    env = {"OPENROUTER_API_KEY": "", "ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": ""}
    with deployment_process(data=tmp_path, functions=None, env=env) as process:
        yield process


def test_the_command_copies_and_its_status_says_whether_all_is_the_same(
    deployment: DeploymentProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task_id = deployment.value("mutation", "tasks:create", {"title": "By hand"})
    message = {"taskId": task_id, "prompt": "Hi", "model": "claude-opus-5-5"}
    deployment.value("mutation", "streaming:send", message)
    while True:
        rows = deployment.value("query", "messages:byTask", {"taskId": task_id})
        if rows[-1]["status"] == "failed":
            break

    def command(*options: str, history: str = "history.db") -> tuple[int, str, str]:
        urls = ["--deployment-url", deployment.url]
        urls += ["--history-url", f"sqlite:///{tmp_path / history}"]
        status = main(["copy-back", *urls, *options])
        return status, *capsys.readouterr()

    status, out, err = command()
    assert (status, out) == (2, "")
    assert "history.db cannot be used: No such file" in err

    asyncio.run(open_and_close(f"sqlite:///{tmp_path / 'history.db'}"))
    status, out, _ = command("--dry-run")
    assert status == 1
    assert out.startswith("2 of 2 messages would be copied")
    status, out, _ = command("--task", task_id)
    assert status == 0
    assert out.startswith("2 of 2 messages copied")
    assert f"By hand ({task_id})" in out
    status, out, _ = command()
    assert status == 0
    assert out.startswith("0 of 2 messages copied")
    status, _, err = command("--task", "nope")
    assert status == 2
    assert "no task 'nope'" in err
    deployment.kill()
    status, _, err = command()
    assert status == 2
    assert f"No Convex deployment answers at {deployment.url}" in err


async def test_what_is_copied_is_what_the_user_of_the_token_has(tmp_path: Path) -> None:
    with deployment_process(
        data=tmp_path / "data",
        functions=None,
        options=["--auth", str(auth_config(tmp_path))],
    ) as deployment:
        for name in ("ann", "bob"):
            await create_task_of(deployment.url, name)
        history_url = f"sqlite:///{tmp_path / 'history.db'}"
        await open_and_close(history_url)
        env = {"KIT_CONVEX_TOKEN": token("ann")}
        report = await copy_between(deployment.url, history_url, env=env)
        assert [task.title for task in report.tasks] == ["ann's"]
        with pytest.raises(ConvexFunctionError, match="You are not signed in"):
            await copy_between(deployment.url, history_url, env={})


def test_the_command_copies_what_all_users_have_for_an_admin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sentinel-" + "k" * 32
    history_url = f"sqlite:///{tmp_path / 'history.db'}"
    asyncio.run(open_and_close(history_url))
    with deployment_process(
        data=tmp_path,
        functions=None,
        env={"KIT_ADMIN_KEY": key},
        options=["--auth", str(auth_config(tmp_path))],
    ) as deployment:
        asyncio.run(create_task_of(deployment.url, "ann"))
        arguments = ["copy-back", "--deployment-url", deployment.url]
        arguments += ["--history-url", history_url]
        assert main(arguments) == 2
        assert "You are not signed in" in capsys.readouterr().err
        monkeypatch.setenv("KIT_CONVEX_ADMIN_KEY", key)
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert out.startswith("0 of 0 messages copied")
        assert "ann's" in out
        assert key not in out + err


async def create_task_of(url: str, name: str) -> None:
    async with Deployment(url, token=token(name)) as user:
        await user.mutation("tasks:create", {"title": f"{name}'s"})


async def open_and_close(url: str) -> None:
    await (await History.open(url)).close()


async def test_a_copy_that_is_killed_leaves_whole_tasks_and_goes_on_the_next_time(
    tmp_path: Path,
) -> None:
    key = "k" * 32
    file = tmp_path / "history.db"
    await open_and_close(f"sqlite:///{file}")
    with deployment_process(
        data=tmp_path, functions=None, env={"KIT_ADMIN_KEY": key}
    ) as process:
        async with Deployment(process.url, admin_key=key) as deployment:
            tasks = [await write_turns(deployment, str(n)) for n in range(12)]
        urls = ["--deployment-url", process.url, "--history-url", f"sqlite:///{file}"]
        command = [sys.executable, "-m", "kit.cli", "copy-back", *urls]
        env = {**os.environ, "KIT_CONVEX_ADMIN_KEY": key}
        copying = await asyncio.create_subprocess_exec(
            *command, env=env, stdout=asyncio.subprocess.DEVNULL
        )
        history = await History.open(f"sqlite:///{file}")
        while await history.task(tasks[2]) is None:
            assert copying.returncode is None, "it ended before it was killed"
        copying.kill()
        await copying.wait()
        lengths = [len(await history.messages(task_id)) for task_id in tasks]
        assert set(lengths) <= {0, TURNS * 2}
        assert lengths == sorted(lengths, reverse=True)
        report = await copy_between(
            process.url, f"sqlite:///{file}", env={"KIT_CONVEX_ADMIN_KEY": key}
        )
        await history.close()
    assert report.complete
    assert [task.copied for task in report.tasks] == [
        TURNS * 2 - length for length in lengths
    ]


TURNS = 10


async def write_turns(deployment: Deployment, title: str) -> str:
    """A task with some turns that have ended; it takes an admin."""
    created = await deployment.mutation("tasks:create", {"title": title})
    for number in range(TURNS):
        args = {"taskId": created, "prompt": str(number), "model": "m", "leaseMs": 9e9}
        begun = await deployment.mutation("streaming:begin", args)
        stream = {"streamId": begun["streamId"], "epoch": 1}
        delta = {"type": "text-delta", "id": "text-0", "delta": "word " * 2000}
        await deployment.mutation(
            "streaming:append", {**stream, "seq": 0, "chunks": [delta]}
        )
        await deployment.mutation(
            "streaming:finalize", {**stream, "outcome": "complete"}
        )
    return str(created)
