"""Streams under whatever happens, in any order: the real functions on the real engine.

Producers, viewers, stops, time and crashes are drawn by hypothesis; `stream_model` says
what must come out. Viewers follow as the hooks do: the task's messages, one catch-up,
then pages; and look again only when a subscription says that something has changed.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from convex import ConvexError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from stream_model import (
    KEEP_LOG,
    LIVE,
    MAX_QUEUED,
    AnyChunk,
    ModelReply,
    ModelTask,
    parts_of,
)
from stream_viewers import Deployed, Viewer

from kit.convex import _begin
from kit.deployment.sqlite_file import SqliteFile

# A lost watchdog is replaced by a sweep: each minute, 5 s after the stream was due.
SWEPT_WITHIN = 66_000.0
GENERATE = "streaming.js:generate"
TIMES = [0.0, 1.0, 500.0, 2_000.0, 14_999.0, 15_000.0, 70_000.0, 3_600_000.0]


# --- what models stream -----------------------------------------------------------

texts = st.text(max_size=6) | st.sampled_from(["😀", "e\u0301", "\0", "word "])


def chunk(chunk_type: str, /, **fields: Any) -> st.SearchStrategy[AnyChunk]:
    return st.fixed_dictionaries({"type": st.just(chunk_type), **fields})


text_ids = st.sampled_from(["text-0", "text-1"])
reasoning_ids = st.sampled_from(["reasoning-0", "reasoning-1"])
calls = st.sampled_from(["call-0", "call-1"])
named = {"toolCallId": calls, "toolName": st.sampled_from(["calculator", "t"])}
deltas = chunk("text-delta", id=text_ids, delta=texts)
others = st.one_of(
    chunk("text-start", id=text_ids),
    chunk("text-end", id=text_ids),
    chunk("reasoning-start", id=reasoning_ids),
    chunk("reasoning-start", id=st.just("redacted-reasoning-0"), redactedData=texts),
    chunk("reasoning-delta", id=reasoning_ids, delta=texts),
    chunk("reasoning-end", id=reasoning_ids),
    chunk("reasoning-end", id=reasoning_ids, signature=texts),
    chunk("tool-input-start", **named),
    chunk("tool-input-delta", toolCallId=calls, inputTextDelta=texts),
    chunk("tool-input-available", **named, inputText=texts),
    chunk("tool-input-error", **named, inputText=texts, errorText=texts),
    chunk("tool-output-available", toolCallId=calls, outputText=texts),
    chunk("tool-output-error", toolCallId=calls, errorText=texts),
    chunk(
        "tool-output-error",
        toolCallId=calls,
        errorText=texts,
        errorKind=st.just("tool-failed"),
    ),
    chunk("error", id=st.just("error-0"), errorText=texts, kind=st.just("connection")),
    chunk("start-step"),
    chunk("abort", reason=texts),
    chunk("finish", finishReason=st.just("stop")),
)
batches = st.lists(deltas | others, max_size=4)
endings = st.sampled_from(
    [
        ("complete", {"finishReason": "stop"}),
        ("complete", {}),
        ("stopped", {"finishReason": "aborted"}),
        ("failed", {"finishReason": "error", "error": "no", "errorKind": "auth"}),
        ("failed", {"error": "word "}),
    ]
)


# --- the machine ------------------------------------------------------------------


class Streams(RuleBasedStateMachine):
    """Everything that may happen, one thing at a time."""

    tasks = Bundle("tasks")
    replies = Bundle("replies")
    viewers = Bundle("viewers")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="streams-"))
        self.crashes = 0
        self.deployed = Deployed(self.folder / "0", set())
        self.all_tasks: list[ModelTask] = []
        self.watching: list[Viewer] = []
        self.attentive: list[Viewer] = []
        self.limit = patch.object(_begin, "MAX_QUEUED", MAX_QUEUED)
        self.limit.start()

    @property
    def now(self) -> float:
        return self.deployed.now_ms

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            self.limit.stop()
            self.deployed.close()
            shutil.rmtree(self.folder)

    def _settle(self) -> None:
        """When nothing more is said, every reply ends and every task is free."""
        for _ in range(2 + MAX_QUEUED):
            self.advance(SWEPT_WITHIN)
        for task in self.all_tasks:
            assert not task.live
            assert not task.queued
            if not task.removed:
                self.begin(task, "the last", None, 15_000.0)
                self.finalize(task.replies[-1], ("complete", {}), False)
        self.advance(3_700_000.0)
        self.deployed.lost.clear()
        self.deployed.advance(0.0)
        assert {job["name"] for job in self.deployed.jobs()} <= {GENERATE}
        assert self.deployed.rows("streamDeltas") == []
        assert self.deployed.rows("sweeps") == []
        self.all_is_as_it_must_be()

    # --- people

    @initialize(target=tasks)
    def first_task(self) -> ModelTask:
        task = ModelTask(self.deployed.call("tasks:create", title="t"))
        self.all_tasks.append(task)
        return task

    @rule(target=tasks)
    def create_task(self) -> ModelTask:
        task = ModelTask(self.deployed.call("tasks:create", title="t"))
        self.all_tasks.append(task)
        return task

    @rule(
        target=replies,
        task=tasks,
        prompt=st.sampled_from(["one", "two"]),
        client_id=st.none() | st.sampled_from(["c1", "c2", "c3"]),
        lease=st.sampled_from([15_000.0, 1_000.0]),
        when_active=st.sampled_from([None, "reject", "interrupt", "queue", "queue"]),
        by_send=st.booleans(),
    )
    def begin(
        self,
        task: ModelTask,
        prompt: str,
        client_id: str | None,
        lease: float,
        when_active: str | None = None,
        by_send: bool = False,
    ) -> Any:
        """By `send`, the deployment is the producer; otherwise whoever begins."""
        known = list(task.replies)
        args: dict[str, Any]
        args = {"taskId": task.task_id, "prompt": prompt, "model": "m"}
        if by_send:
            lease = 15_000.0
        else:
            args["leaseMs"] = lease
        if client_id is not None:
            args["clientMessageId"] = client_id
        if when_active is not None:
            args["whenActive"] = when_active
        path = "streaming:send" if by_send else "streaming:begin"
        expected = task.begin(
            prompt,
            client_id,
            lease,
            self.now,
            when_active=when_active or "reject",
            by_send=by_send,
        )
        if isinstance(expected, str):
            self.refused(expected, path, args)
            return multiple()
        begun = self.deployed.call(path, args)
        if expected not in known:
            expected.stream_id = begun["streamId"]
            expected.message_id = begun["messageId"]
        prompt_id = begun.pop("promptMessageId")
        assert begun == {
            "messageId": expected.message_id,
            "streamId": expected.stream_id,
            "epoch": float(expected.epoch),
            "status": expected.status,
            "reused": expected in known,
        }
        if client_id is not None:
            assert self.deployed.call(
                "messages:byClientMessageId",
                {"taskId": task.task_id, "clientMessageId": client_id},
            ) == {
                "promptMessageId": prompt_id,
                "messageId": expected.message_id,
                "streamId": expected.stream_id,
                "status": expected.status,
            }
        return multiple() if expected in known else expected

    @rule(
        target=replies,
        task=tasks,
        is_cancelled=st.booleans(),
        last=st.sampled_from(["reject", "interrupt", "queue"]),
        by_send=st.booleans(),
    )
    def several_at_once(
        self, task: ModelTask, is_cancelled: bool, last: str, by_send: bool
    ) -> Any:
        """The reply that is written may be cancelled meanwhile."""
        before = list(task.replies)
        self.begin(task, "one", None, 15_000.0, "queue", by_send)
        self.begin(task, "two", None, 15_000.0, "queue", not by_send)
        if is_cancelled and task.live:
            self.cancel(task.live[0])
        self.begin(task, "three", None, 15_000.0, last, by_send)
        return multiple(*task.replies[len(before) :])

    @rule(task=tasks)
    def stop_task(self, task: ModelTask) -> None:
        if task.removed:
            self.refused("NotFound", "streaming:stopTask", {"taskId": task.task_id})
            return
        stopped = self.deployed.call("streaming:stopTask", taskId=task.task_id)
        expected = [reply.message_id for reply in task.stop(self.now)]
        assert sorted(stopped["messageIds"]) == sorted(expected)

    @rule(reply=replies)
    def cancel(self, reply: ModelReply) -> None:
        args = {"messageId": reply.message_id}
        if reply.task.removed:
            self.refused("NotFound", "streaming:cancelStream", args)
            return
        stopping = reply.stop(self.now)
        assert self.deployed.call("streaming:cancelStream", args) == {
            "stopping": stopping,
            "status": reply.status,
        }

    @rule(task=tasks)
    def remove_task(self, task: ModelTask) -> None:
        args = {"taskId": task.task_id}
        refusal = task.remove(self.now)
        if refusal is not None:
            self.refused(refusal, "tasks:remove", args)
        else:
            self.deployed.call("tasks:remove", args)

    # --- producers

    @rule(
        reply=replies,
        offset=st.sampled_from([0, 0, 0, 0, -1, -2, 1, 3]),
        chunks=batches,
        is_old=st.sampled_from([False, False, False, True]),
    )
    def append(
        self, reply: ModelReply, offset: int, chunks: list[AnyChunk], is_old: bool
    ) -> None:
        seq = max(len(reply.log) + offset, 0)
        epoch = reply.epoch - is_old
        args = {"streamId": reply.stream_id, "epoch": epoch}
        args |= {"seq": seq, "chunks": chunks}
        if reply.task.removed:
            self.refused("NotFound", "streaming:append", args)
            return
        answer = self.deployed.call("streaming:append", args)
        assert answer == reply.append(epoch, seq, chunks, self.now)

    @rule(reply=replies, bursts=st.lists(batches, min_size=4, max_size=9))
    def append_pages(self, reply: ModelReply, bursts: list[list[AnyChunk]]) -> None:
        for chunks in bursts:
            self.append(reply, 0, chunks, False)

    @rule(reply=replies, is_old=st.booleans())
    def heartbeat(self, reply: ModelReply, is_old: bool) -> None:
        epoch = reply.epoch - is_old
        args = {"streamId": reply.stream_id, "epoch": epoch}
        if reply.task.removed:
            self.refused("NotFound", "streaming:heartbeat", args)
            return
        answer = self.deployed.call("streaming:heartbeat", args)
        assert answer == reply.beat(epoch, self.now)

    @rule(reply=replies, ending=endings, is_old=st.sampled_from([False, False, True]))
    def finalize(
        self, reply: ModelReply, ending: tuple[str, dict[str, Any]], is_old: bool
    ) -> None:
        outcome, more = ending
        epoch = reply.epoch - is_old
        args = {"streamId": reply.stream_id, "epoch": epoch, "outcome": outcome}
        if reply.task.removed:
            self.refused("NotFound", "streaming:finalize", {**args, **more})
            return
        answer = self.deployed.call("streaming:finalize", args, **more)
        assert answer == reply.finalize(epoch, outcome, more, self.now)

    @rule(reply=replies)
    def another_producer_takes_over(self, reply: ModelReply) -> None:
        if not reply.task.removed:
            reply.epoch += 1
            fields = {"epoch": reply.epoch}
            self.deployed.call("test:patch", id=reply.stream_id, fields=fields)

    # --- time and trouble

    @rule(milliseconds=st.sampled_from(TIMES))
    def advance(self, milliseconds: float) -> None:
        started = self.now
        self.deployed.advance(milliseconds)
        for task in self.all_tasks:
            self._end_the_dead(task, started)
        if self.now - SWEPT_WITHIN >= started:
            live = [reply for task in self.all_tasks for reply in task.live]
            assert all(reply.due + SWEPT_WITHIN > self.now for reply in live)

    def _end_the_dead(self, task: ModelTask, started: float) -> None:
        """One after the other: what is queued begins as the last one before it ends."""
        while True:
            ends = {
                self._dead_at(reply, started): reply
                for reply in reversed(task.live + task.queued)
            }
            at = min(ends, default=math.inf)
            if at > self.now:
                break
            assert ends[at].end_if_dead(at)

    def _dead_at(self, reply: ModelReply, started: float) -> float:
        """When it was ended for its producer; the row says, if it has no watchdog."""
        if not reply.loose:
            return max(reply.due, started)
        stream = self._stream(reply)
        return float(stream["endedAt"]) if stream["state"] == "done" else math.inf

    @rule(milliseconds=st.sampled_from(TIMES))
    def jobs_are_late(self, milliseconds: float) -> None:
        """As when the deployment was down."""
        self.deployed.turn(milliseconds)

    @rule()
    def watchdogs_are_lost(self) -> None:
        self.deployed.lose_watchdogs()
        for task in self.all_tasks:
            for reply in task.live + task.queued:
                reply.loose = True

    @rule()
    def crash(self) -> None:
        """The process is killed: what it has written is what there is."""
        self._reopen(self._copied())

    @rule(reply=replies, chunks=batches, committed=st.booleans())
    def crash_in_an_append(
        self, reply: ModelReply, chunks: list[AnyChunk], committed: bool
    ) -> None:
        """Killed before or after the commit: nobody knows, so it is sent again."""
        if reply.task.removed:
            return
        seq = len(reply.log)
        args = {"streamId": reply.stream_id, "epoch": reply.epoch}
        args |= {"seq": seq, "chunks": chunks}
        copies = []
        commit = SqliteFile.commit

        def copying(file: SqliteFile) -> None:
            if committed:
                commit(file)
            copies.append(self._copied())
            if not committed:
                commit(file)

        with patch.object(SqliteFile, "commit", copying):
            self.deployed.call("streaming:append", args)
        self._reopen(copies[-1] if copies else self._copied())
        self.append(reply, 0, chunks, False)

    def _copied(self) -> Path:
        self.crashes += 1
        copy = self.folder / str(self.crashes)
        shutil.copytree(self.deployed.folder, copy)
        return copy

    def _reopen(self, folder: Path) -> None:
        crashed = self.deployed
        crashed.close()
        self.deployed = Deployed(folder, crashed.lost)
        self.deployed.turn(crashed.now_ms - self.deployed.now_ms)
        for viewer in self.watching:
            viewer.reconnect(self.deployed)

    # --- viewers

    @rule(target=viewers, task=tasks, attentive=st.booleans())
    def join(self, task: ModelTask, attentive: bool) -> Viewer:
        """An attentive one looks after each thing that happens."""
        viewer = Viewer(self.deployed, task.task_id)
        self.watching.append(viewer)
        if attentive:
            self.attentive.append(viewer)
        viewer.look()
        return viewer

    @rule(viewer=viewers)
    def look(self, viewer: Viewer) -> None:
        viewer.look()

    # --- what must hold

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        for task in self.all_tasks:
            self._check_task(task)
        for viewer in self.attentive:
            viewer.look()
        for viewer in self.watching:
            self._check_viewer(viewer)

    def _check_task(self, task: ModelTask) -> None:
        rows = self.deployed.call("messages:byTask", taskId=task.task_id, limit=200)
        if task.removed:
            assert rows == []
            assert self.deployed.call("tasks:get", taskId=task.task_id) is None
            return
        assert [row["sequence"] for row in rows] == [*range(len(rows))]
        prompts, replies = rows[::2], rows[1::2]
        for prompt, reply, model in zip(prompts, replies, task.replies, strict=True):
            assert (prompt["role"], prompt["content"]) == ("USER", model.prompt)
            assert reply["promptMessageId"] == prompt["_id"]
            assert (reply["_id"], reply["streamId"]) == (
                model.message_id,
                model.stream_id,
            )
            shown = {name: reply[name] for name in SHOWN if name in reply}
            assert shown == model.row()
            self._check_log(model)
        self._check_turns(task)
        stored = self.deployed.call("tasks:get", taskId=task.task_id)
        assert stored["status"] == task.status
        assert stored.get("errorMessage") == task.error

    def _check_turns(self, task: ModelTask) -> None:
        """One is written at a time; nothing waits for nothing or is produced twice."""
        statuses = [reply.status for reply in task.replies]
        assert statuses.count("streaming") <= 1
        if "queued" in statuses:
            assert task.live
            assert statuses.count("queued") <= MAX_QUEUED
            assert not set(statuses[statuses.index("queued") :]) & set(LIVE)
        produced = [
            job["args"][0]["streamId"]
            for job in self.deployed.jobs()
            if job["name"] == GENERATE
        ]
        for reply in task.replies:
            by_deployment = reply.by_send and reply.begun
            assert produced.count(reply.stream_id) == by_deployment

    def _check_log(self, model: ModelReply) -> None:
        args = {"streamId": model.stream_id, "from": 0}
        found = self.deployed.call("streaming:catchUp", args)["deltas"]
        if found or model.live or model.queued:
            assert [delta["seq"] for delta in found] == [*range(len(model.log))]
            assert [delta["chunks"] for delta in found] == model.log
        else:  # deleted, if there was any
            assert model.ended_at is not None
            assert not model.log or self.now >= model.ended_at + KEEP_LOG

    def _check_viewer(self, viewer: Viewer) -> None:
        """What it has is right, and it is told when there is more."""
        for subscription in viewer.subscriptions:
            if subscription.stale:
                assert viewer.has_news
            else:
                assert subscription.result.value == self.deployed.fresh(subscription)
        if viewer.stream_id is None:
            return
        model = self._reply(viewer.stream_id)
        assert viewer.seen == [c for d in model.log[: viewer.cursor] for c in d]
        assert viewer.fold.snapshot() == parts_of(viewer.seen)
        if not viewer.has_news:
            assert model.live
            assert viewer.cursor == len(model.log)

    def _stream(self, reply: ModelReply) -> dict[str, Any]:
        streams = self.deployed.rows("streams")
        return next(row for row in streams if row["_id"] == reply.stream_id)

    def _reply(self, stream_id: str) -> ModelReply:
        (found,) = (
            reply
            for task in self.all_tasks
            for reply in task.replies
            if reply.stream_id == stream_id
        )
        return found

    def refused(self, code: str, path: str, args: dict[str, Any]) -> None:
        """The call fails, and says why."""
        with pytest.raises(ConvexError) as caught:
            self.deployed.call(path, args)
        assert caught.value.data["code"] == code


SHOWN = (
    *("status", "content", "parts", "finishReason", "usage"),
    *("error", "errorKind"),
)

TestStreams = pytest.mark.timeout(1200)(Streams.TestCase)
TestStreams.settings = settings(stateful_step_count=40)
