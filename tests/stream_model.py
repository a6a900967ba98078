"""What streams of replies must do, as plain data: the reference of the stateful test.

Nothing here is taken from the functions or from `kit.parts`: lists of chunks, dicts of
parts, times in ms, and the rules of the documentation once more, as simply as can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

STOP_GRACE = 2_000.0
KEEP_LOG = 3_600_000.0
TASK_STATUS = {"complete": "COMPLETED", "stopped": "STOPPED", "failed": "FAILED"}
LIVE = ("streaming", "stopping")
MAX_QUEUED = 3
"""As the test sets it."""

AnyChunk = dict[str, Any]
AnyPart = dict[str, Any]


def parts_of(chunks: list[AnyChunk]) -> list[AnyPart]:
    """What a log of chunks amounts to."""
    parts: dict[str, AnyPart] = {}

    def text(part_id: str, kind: str) -> AnyPart:
        new = {"id": part_id, "type": kind, "text": "", "state": "streaming"}
        return parts.setdefault(part_id, new)

    def call(call_id: str, name: str) -> AnyPart:
        new = {
            "id": call_id,
            "type": "tool-call",
            "toolCallId": call_id,
            "toolName": name,
            "argsText": "",
            "state": "input-streaming",
        }
        return parts.setdefault(call_id, new)

    for chunk in chunks:
        kind, _, event = chunk["type"].partition("-")
        match kind, event:
            case "reasoning", "start" if "redactedData" in chunk:
                part = {"id": chunk["id"], "type": "redacted-reasoning"}
                parts[chunk["id"]] = {**part, "data": chunk["redactedData"]}
            case "text" | "reasoning", "start":
                text(chunk["id"], kind)
            case "text" | "reasoning", "delta":
                text(chunk["id"], kind)["text"] += chunk["delta"]
            case "text" | "reasoning", "end" if chunk["id"] in parts:
                parts[chunk["id"]]["state"] = "done"
                if "signature" in chunk:
                    parts[chunk["id"]]["signature"] = chunk["signature"]
            case "tool", "input-start":
                call(chunk["toolCallId"], chunk["toolName"])
            case "tool", "input-delta":
                call(chunk["toolCallId"], "")["argsText"] += chunk["inputTextDelta"]
            case "tool", "input-available" | "input-error":
                known = call(chunk["toolCallId"], chunk["toolName"])
                known |= {"toolName": chunk["toolName"], "state": event}
                known["argsText"] = chunk["inputText"]
                errors = ("errorText", "errorKind")
                known |= {k: v for k, v in chunk.items() if k in errors}
            case "tool", "output-available":
                _put_result(parts, chunk["toolCallId"], chunk["outputText"], False)
            case "tool", "output-error":
                told = {k: v for k, v in chunk.items() if k == "errorKind"}
                _put_result(
                    parts, chunk["toolCallId"], chunk["errorText"], True, **told
                )
            case "error", "":
                words = {"errorText": chunk["errorText"], "kind": chunk["kind"]}
                parts[chunk["id"]] = {"id": chunk["id"], "type": "error", **words}
            case _:
                pass
    return list(parts.values())


def _put_result(
    parts: dict[str, AnyPart], call_id: str, text: str, is_error: bool, **told: Any
) -> None:
    parts[f"{call_id}-result"] = {
        "id": f"{call_id}-result",
        "type": "tool-result",
        "toolCallId": call_id,
        "toolName": parts.get(call_id, {}).get("toolName", ""),
        "resultText": text,
        "isError": is_error,
        **told,
    }


def closed(open_parts: list[AnyPart], reason: str) -> list[AnyPart]:
    """The parts of a reply that goes no further."""
    parts = {part["id"]: dict(part) for part in open_parts}
    for part_id, part in list(parts.items()):
        if part.get("state") == "streaming":
            part["state"] = "done"
        elif part.get("state") == "input-streaming":
            not_run = {"errorText": reason, "errorKind": "tool-not-run"}
            part |= {"state": "input-error", **not_run}
        elif part.get("state") == "input-available" and (
            f"{part_id}-result" not in parts
        ):
            _put_result(parts, part_id, reason, True, errorKind="tool-not-run")
    return list(parts.values())


def content_of(parts: list[AnyPart]) -> str:
    return "".join(part["text"] for part in parts if part["type"] == "text")


@dataclass
class ModelReply:
    """One reply: what was accepted, how it stands."""

    task: ModelTask
    prompt: str
    client_id: str | None
    lease: float
    beat_at: float
    by_send: bool = False
    """The deployment is its producer, once it has begun."""
    stream_id: str = ""
    message_id: str = ""
    epoch: int = 1
    status: str = "queued"
    begun: bool = False
    stop_at: float | None = None
    ended_at: float | None = None
    log: list[list[AnyChunk]] = field(default_factory=list)
    parts: list[AnyPart] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    # Its watchdog was lost: when it ends depends on the sweep.
    loose: bool = False

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def queued(self) -> bool:
        return self.status == "queued"

    @property
    def chunks(self) -> list[AnyChunk]:
        return [chunk for delta in self.log for chunk in delta]

    @property
    def due(self) -> float:
        """When somebody else may end it."""
        if self.queued and self.by_send:
            return math.inf
        lease_ends = self.beat_at + self.lease
        if self.stop_at is None:
            return lease_ends
        return min(lease_ends, self.stop_at + STOP_GRACE)

    def answer(self, status: str) -> dict[str, Any]:
        """What its producer is told."""
        stop = self.status == "stopping"
        return {"status": status, "stop": stop, "nextSeq": float(len(self.log))}

    def refused(self, epoch: int) -> dict[str, Any] | None:
        if epoch < self.epoch:
            return self.answer("fenced")
        if self.queued:
            return self.answer("queued")
        return None if self.live else self.answer("closed")

    def append(
        self, epoch: int, seq: int, chunks: list[AnyChunk], now: float
    ) -> dict[str, Any]:
        if (refused := self.refused(epoch)) is not None:
            return refused
        if seq > len(self.log):
            return self.answer("gap")
        if seq == len(self.log):
            self.log.append(chunks)
            self.beat_at = now
        return self.answer("ok")

    def beat(self, epoch: int, now: float) -> dict[str, Any]:
        if self.queued and epoch == self.epoch:
            self.beat_at = now
        if (refused := self.refused(epoch)) is not None:
            return refused
        self.beat_at = now
        return self.answer("ok")

    def begin(self, now: float) -> None:
        self.status, self.begun = "streaming", True
        if self.by_send:
            self.beat_at, self.loose = now, False
        self.task.status, self.task.error = "RUNNING", None

    def stop(self, now: float) -> bool:
        if self.queued:
            self.end("stopped", {"finishReason": "aborted"}, now)
            return True
        if self.status == "streaming":
            self.status, self.stop_at = "stopping", now
        return self.live

    def finalize(
        self, epoch: int, outcome: str, more: dict[str, Any], now: float
    ) -> dict[str, Any]:
        if (refused := self.refused(epoch)) is not None:
            return refused
        answer = self.answer("ok")
        if self.status == "stopping":
            outcome, more = "stopped", {"finishReason": "aborted"}
        self.end(outcome, more, now)
        return answer

    def end_if_dead(self, now: float) -> bool:
        if self.due > now:
            return False
        if self.status == "stopping":
            self.end("stopped", {"finishReason": "aborted"}, now)
            return True
        what = "was not begun" if self.queued else "broke off"
        error = (
            f"The reply {what}: nothing came from its producer for "
            f"{self.lease / 1000:g} s. Send the message again."
        )
        more = {"finishReason": "interrupted", "error": error}
        self.end("failed", more | {"errorKind": "interrupted"}, now)
        return True

    def end(self, outcome: str, more: dict[str, Any], now: float) -> None:
        begun = [reply for reply in self.task.replies if reply.begun]
        self.status, self.ended_at = outcome, now
        reason = "stopped" if outcome == "stopped" else "the reply ended before"
        self.parts = closed(parts_of(self.chunks), reason)
        self.more = more
        if "error" in more:
            self.more = {"errorKind": "internal", **more}
        errors = [part for part in self.parts if part["type"] == "error"]
        error = more.get("error")
        if error is not None and error not in [part["errorText"] for part in errors]:
            self.parts.append(
                {
                    "id": f"error-{len(errors)}",
                    "type": "error",
                    "errorText": error,
                    "kind": more.get("errorKind", "internal"),
                }
            )
        if begun[-1] is self:
            self.task.status = TASK_STATUS[outcome]
            self.task.error = error
        self.task.begin_next(now)

    def row(self) -> dict[str, Any]:
        """The fields of its message that say how it stands."""
        if self.parts is None:
            return {"status": self.status, "content": ""}
        parts = {"content": content_of(self.parts), "parts": self.parts}
        return {"status": self.status, **parts, **self.more}


@dataclass
class ModelTask:
    """A conversation."""

    task_id: str
    status: str = "INITIALIZING"
    error: str | None = None
    replies: list[ModelReply] = field(default_factory=list)
    removed: bool = False

    @property
    def live(self) -> list[ModelReply]:
        return [reply for reply in self.replies if reply.live]

    @property
    def queued(self) -> list[ModelReply]:
        return [reply for reply in self.replies if reply.queued]

    def begin(
        self,
        prompt: str,
        client_id: str | None,
        lease: float,
        now: float,
        *,
        when_active: str = "reject",
        by_send: bool = False,
    ) -> ModelReply | str:
        """The reply, new or known, or the code of the refusal."""
        if self.removed:
            return "NotFound"
        for reply in self.replies:
            if client_id is not None and reply.client_id == client_id:
                same = reply.prompt == prompt
                return reply if same else "ClientMessageIdTaken"
        saved = [(each, dict(vars(each))) for each in (self, *self.replies)]
        refusal = self._make_way(when_active, now)
        if refusal is not None:
            for each, fields in saved:
                vars(each).update(fields)
            return refusal
        asked = ModelReply(self, prompt, client_id, lease, now, by_send)
        self.replies.append(asked)
        if when_active != "queue" or not (self.live or self.queued[:-1]):
            asked.begin(now)
        return asked

    def _make_way(self, when_active: str, now: float) -> str | None:
        """The code of the refusal, or None."""
        if when_active == "interrupt":
            self.stop(now)
            return None
        for reply in self.live:
            if reply.status == "streaming":
                reply.end_if_dead(now)
        if when_active == "queue":
            return "QueueFull" if len(self.queued) >= MAX_QUEUED else None
        going_on = [reply.status != "stopping" for reply in self.live + self.queued]
        return "StreamActive" if any(going_on) else None

    def begin_next(self, now: float) -> None:
        if self.queued and not self.live:
            first = self.queued[0]
            if not first.end_if_dead(now):
                first.begin(now)

    def stop(self, now: float) -> list[ModelReply]:
        """What is stopping or was queued."""
        stopped = self.live + self.queued
        for reply in reversed(stopped):
            reply.stop(now)
        return stopped

    def remove(self, now: float) -> str | None:
        """The code of the refusal, or None."""
        if self.removed:
            return "NotFound"
        if any(reply.due > now for reply in self.live + self.queued):
            return "StreamActive"
        for reply in self.queued + self.live:
            reply.end_if_dead(now)
        self.removed = True
        return None
