"""A reply being written: begin, append, stop, finish, and who notices a dead producer.

Plain helpers over `ctx` of a mutation; `streaming` registers them. A stream is
streaming, then maybe stopping, then done, and never goes back. `streams` and the
assistant's message change together, in one transaction, at begin, stop and end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kit.convex._errors import refusal
from kit.convex._messages import (
    MAX_STORED_PARTS,
    chunks_of,
    final_fields,
    reply_to,
)
from kit.convex.crons import keep_sweeping
from kit.deltas import text_bytes
from kit.deployment.functions import UNSET
from kit.parts import Part, PartsFold, Usage

__all__ = [
    "MAX_LOG_DELTAS",
    "Ending",
    "append",
    "beat",
    "begin",
    "catch_up",
    "delete_deltas",
    "deltas",
    "finalize",
    "find_by_client_id",
    "live_streams",
    "request_stop",
    "sweep",
    "watch",
]

STOP_GRACE_MS = 2_000.0
"""How long a producer may take to finalize after a stop."""
WATCHDOG_DELAY_MS = 5_000.0
"""How late a watchdog may be before the sweep replaces it."""
SWEPT_STREAMS = 256
KEEP_DELTAS_MS = 3_600_000.0
"""How long the log of a finished reply is kept, for viewers that are behind."""
DELETE_BATCH = 256

# A reply beyond these could not be folded in one transaction when it ends.
MAX_LOG_BYTES = 4 * 1024 * 1024
MAX_LOG_DELTAS = 8192

CATCH_UP_BYTES = 1024 * 1024
CATCH_UP_DELTAS = 1024
CATCH_UP_BATCH = 64

MAX_PROMPT_BYTES = 512 * 1024

Outcome: TypeAlias = Literal["complete", "stopped", "failed"]

_TASK_STATUS = {"complete": "COMPLETED", "stopped": "STOPPED", "failed": "FAILED"}


# --- begin ------------------------------------------------------------------------


async def begin(ctx: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Store the prompt and an empty reply, and open the stream of its deltas.

    With a `clientMessageId` that was sent before, nothing is begun: what it began then
    is returned, `reused`. Raises NotFound, StreamActive, ClientMessageIdTaken,
    BadArguments.
    """
    task_id, prompt = request["taskId"], request["prompt"]
    if await ctx.db.get(task_id) is None:
        raise refusal("NotFound", f"There is no task {task_id}.", taskId=task_id)
    _check_request(request)
    client_id = request.get("clientMessageId")
    if client_id is not None:
        known = await find_by_client_id(ctx, task_id, client_id)
        if known is not None:
            return await _reuse(ctx, known, prompt)
    await _refuse_second_stream(ctx, task_id)

    now = ctx.now()
    sequence = await _next_sequence(ctx, task_id)
    message = {"taskId": task_id, "llmModel": request.get("llmModel", request["model"])}
    prompt_fields = {"role": "USER", "content": prompt, "status": "complete"}
    if client_id is not None:
        prompt_fields["clientMessageId"] = client_id
    prompt_id = await ctx.db.insert(
        "chatMessages", {**message, **prompt_fields, "sequence": sequence}
    )
    message_id = await ctx.db.insert(
        "chatMessages",
        {
            **message,
            "role": "ASSISTANT",
            "content": "",
            "sequence": sequence + 1,
            "status": "streaming",
            "promptMessageId": prompt_id,
        },
    )
    stream_id = await _open_stream(ctx, task_id, message_id, request["leaseMs"], now)
    await ctx.db.patch(message_id, {"streamId": stream_id})
    await ctx.db.patch(task_id, {"status": "RUNNING", "errorMessage": UNSET})
    return {
        "promptMessageId": prompt_id,
        "messageId": message_id,
        "streamId": stream_id,
        "epoch": 1,
        "status": "streaming",
        "reused": False,
    }


def _check_request(request: dict[str, Any]) -> None:
    if not request["prompt"].strip():
        raise refusal("BadArguments", "The prompt is blank: `prompt` needs some text.")
    size = len(request["prompt"].encode())
    if size > MAX_PROMPT_BYTES:
        raise refusal(
            "BadArguments",
            f"The prompt has {size:,} bytes; a message may have {MAX_PROMPT_BYTES:,}. "
            "Send it in parts.",
        )
    if not request.get("clientMessageId", "id"):
        raise refusal(
            "BadArguments",
            "`clientMessageId` is empty: give each message an id of its own, or none.",
        )


async def find_by_client_id(
    ctx: Any, task_id: str, client_id: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The prompt that was sent with this id, and the reply to it."""
    prompt = (
        await ctx.db.query("chatMessages")
        .with_index(
            "by_task_clientMessageId",
            lambda q: q.eq("taskId", task_id).eq("clientMessageId", client_id),
        )
        .first()
    )
    reply = None if prompt is None else await reply_to(ctx, prompt["_id"])
    return None if prompt is None or reply is None else (prompt, reply)


async def _reuse(
    ctx: Any, known: tuple[dict[str, Any], dict[str, Any]], prompt_text: str
) -> dict[str, Any]:
    prompt, reply = known
    if prompt["content"] != prompt_text:
        raise refusal(
            "ClientMessageIdTaken",
            "This clientMessageId was sent before with another prompt. Use a new id "
            "for each message.",
            messageId=reply["_id"],
        )
    stream = await ctx.db.get(reply["streamId"])
    return {
        "promptMessageId": prompt["_id"],
        "messageId": reply["_id"],
        "streamId": reply["streamId"],
        "epoch": stream["epoch"],
        "status": reply["status"],
        "reused": True,
    }


async def _refuse_second_stream(ctx: Any, task_id: str) -> None:
    """One reply at a time; a stopping one and a dead producer's do not count."""
    for stream in await _streams_of(ctx, task_id, "streaming"):
        if _is_expired(ctx, stream, await head_of(ctx, stream["_id"])):
            await _finish_dead(ctx, stream)
            continue
        raise refusal(
            "StreamActive",
            "The reply to an earlier message of this task is still being written. "
            "Stop it first (streaming:stopTask), or wait for its end.",
            taskId=task_id,
            messageId=stream["messageId"],
            streamId=stream["_id"],
        )


async def _next_sequence(ctx: Any, task_id: str) -> float:
    last = (
        await ctx.db.query("chatMessages")
        .with_index("by_task_sequence", lambda q: q.eq("taskId", task_id))
        .order("desc")
        .first()
    )
    return 0.0 if last is None else last["sequence"] + 1.0


async def _open_stream(
    ctx: Any, task_id: str, message_id: str, lease_ms: float, now: float
) -> str:
    stream_id: str = await ctx.db.insert(
        "streams",
        {
            "taskId": task_id,
            "messageId": message_id,
            "epoch": 1,
            "state": "streaming",
            "leaseMs": lease_ms,
            "startedAt": now,
        },
    )
    head = {"streamId": stream_id, "epoch": 1, "nextSeq": 0, "bytes": 0, "beatAt": now}
    await ctx.db.insert("streamHeads", head)
    await ctx.scheduler.run_after(
        lease_ms, "streaming:watchdog", {"streamId": stream_id}
    )
    await keep_sweeping(ctx)
    return stream_id


# --- append -----------------------------------------------------------------------


async def append(
    ctx: Any, stream_id: str, epoch: float, seq: float, chunks: list[Any]
) -> dict[str, Any]:
    """Add one delta to the log, exactly once, in order.

    | status | when |
    |---|---|
    | fenced | the epoch is over: another producer writes now |
    | closed | the stream is done |
    | ok | added; or had been added before |
    | gap | `seq` is ahead: `nextSeq` is the one that is missing |
    | full | the log is as long as one message may be |
    """
    stream, head = await _stream_and_head(ctx, stream_id)
    refused = _refused(stream, epoch)
    if refused is not None:
        return _reply(refused, stream, head["nextSeq"])
    next_seq = head["nextSeq"]
    if seq < next_seq:
        return _reply("ok", stream, next_seq)
    if seq > next_seq:
        return _reply("gap", stream, next_seq)
    size = head["bytes"] + sum(map(text_bytes, chunks))
    if size > MAX_LOG_BYTES or next_seq >= MAX_LOG_DELTAS:
        return _reply("full", stream, next_seq)
    await ctx.db.insert(
        "streamDeltas", {"streamId": stream_id, "seq": seq, "chunks": chunks}
    )
    next_seq += 1.0
    await ctx.db.patch(
        head["_id"], {"nextSeq": next_seq, "bytes": size, "beatAt": ctx.now()}
    )
    return _reply("ok", stream, next_seq)


async def beat(ctx: Any, stream_id: str, epoch: float) -> dict[str, Any]:
    """Renew the lease of a producer that has nothing to append."""
    stream, head = await _stream_and_head(ctx, stream_id)
    refused = _refused(stream, epoch)
    if refused is None:
        await ctx.db.patch(head["_id"], {"beatAt": ctx.now()})
    return _reply(refused or "ok", stream, head["nextSeq"])


def _refused(
    stream: dict[str, Any], epoch: float
) -> Literal["fenced", "closed"] | None:
    if epoch > stream["epoch"]:
        raise refusal(
            "BadArguments",
            f"The stream is at epoch {stream['epoch']:g}; nobody was given {epoch:g}.",
        )
    if epoch < stream["epoch"]:
        return "fenced"
    return "closed" if stream["state"] == "done" else None


def _reply(status: str, stream: dict[str, Any], next_seq: float) -> dict[str, Any]:
    stop = stream["state"] == "stopping"
    return {"status": status, "stop": stop, "nextSeq": next_seq}


# --- stop and end -----------------------------------------------------------------


async def request_stop(ctx: Any, stream: dict[str, Any]) -> bool:
    """Mark the stream and its message stopping. False if it had already ended.

    The producer learns of it on its next append or heartbeat; should there be none,
    the watchdog finishes in its place.
    """
    if stream["state"] == "streaming":
        await ctx.db.patch(
            stream["_id"], {"state": "stopping", "stop": {"at": ctx.now()}}
        )
        await ctx.db.patch(stream["messageId"], {"status": "stopping"})
        await ctx.scheduler.run_after(
            STOP_GRACE_MS, "streaming:watchdog", {"streamId": stream["_id"]}
        )
    return bool(stream["state"] != "done")


@dataclass(frozen=True)
class Ending:
    """How a reply ended: what is written beside its parts.

    `error` is in words for the user; it becomes an error part, too, unless the log
    already holds it.
    """

    outcome: Outcome
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    error_kind: str = "internal"


async def finalize(
    ctx: Any, stream_id: str, epoch: float, ending: Ending
) -> dict[str, Any]:
    """End the stream as its producer says, unless it has ended, or is another's.

    A stop wins: what somebody asked to stop ends as stopped, even if the producer came
    to its end at the same moment.
    """
    stream, head = await _stream_and_head(ctx, stream_id)
    refused = _refused(stream, epoch)
    if refused is None:
        if stream["state"] == "stopping":
            ending = Ending("stopped", "aborted", usage=ending.usage)
        await _finish(ctx, stream, ending)
    return _reply(refused or "ok", stream, head["nextSeq"])


async def watch(ctx: Any, stream_id: str) -> None:
    """End the stream if its producer is dead or does not stop, or look again later."""
    stream = await ctx.db.get(stream_id)
    if stream is None or stream["state"] == "done":
        return
    due = _due(stream, await head_of(ctx, stream_id))
    if due > ctx.now():
        await ctx.scheduler.run_at(due, "streaming:watchdog", {"streamId": stream_id})
    else:
        await _finish_dead(ctx, stream)


def _due(stream: dict[str, Any], head: dict[str, Any]) -> float:
    """When a silent producer's stream is to be ended for it."""
    lease_ends: float = head["beatAt"] + stream["leaseMs"]
    if "stop" in stream:
        return min(lease_ends, float(stream["stop"]["at"] + STOP_GRACE_MS))
    return lease_ends


def _is_expired(ctx: Any, stream: dict[str, Any], head: dict[str, Any]) -> bool:
    return bool(_due(stream, head) <= ctx.now())


async def sweep(ctx: Any) -> dict[str, int]:
    """Set a new watchdog on streams that should have been ended a while ago.

    Looks at the oldest live streams only: a dead one gets there soon enough.
    """
    live = overdue = 0
    for state in ("streaming", "stopping"):
        streams = (
            await ctx.db.query("streams")
            .with_index("by_state", _equal("state", state))
            .take(SWEPT_STREAMS)
        )
        live += len(streams)
        for stream in streams:
            due = _due(stream, await head_of(ctx, stream["_id"]))
            if due + WATCHDOG_DELAY_MS <= ctx.now():
                overdue += 1
                await ctx.scheduler.run_after(
                    0, "streaming:watchdog", {"streamId": stream["_id"]}
                )
    return {"live": live, "overdue": overdue}


async def _finish_dead(ctx: Any, stream: dict[str, Any]) -> None:
    if stream["state"] == "stopping":
        await _finish(ctx, stream, Ending("stopped", "aborted"))
        return
    seconds = stream["leaseMs"] / 1000
    await _finish(
        ctx,
        stream,
        Ending(
            "failed",
            "interrupted",
            error=f"The reply broke off: nothing came from its producer for "
            f"{seconds:g} s. Send the message again.",
            error_kind="interrupted",
        ),
    )


async def _finish(ctx: Any, stream: dict[str, Any], ending: Ending) -> None:
    """Turn the log into the message's parts and close everything, all at once."""
    parts = await _final_parts(ctx, stream, ending)
    message: dict[str, Any] = {"status": ending.outcome}
    message |= await final_fields(ctx, stream["messageId"], parts)
    if ending.finish_reason is not None:
        message["finishReason"] = ending.finish_reason
    if ending.usage is not None:
        message["usage"] = ending.usage
    if ending.error is not None:
        message["error"] = ending.error
    await ctx.db.patch(stream["messageId"], message)
    await ctx.db.patch(
        stream["_id"],
        {"state": "done", "outcome": ending.outcome, "endedAt": ctx.now()},
    )
    await _free_task(ctx, stream["taskId"], ending)
    await ctx.scheduler.run_after(
        KEEP_DELTAS_MS, "streaming:deleteDeltas", {"streamId": stream["_id"]}
    )


async def _final_parts(ctx: Any, stream: dict[str, Any], ending: Ending) -> list[Part]:
    fold = PartsFold(await chunks_of(ctx, stream["_id"]))
    fold.close("stopped" if ending.outcome == "stopped" else "the reply ended before")
    parts = fold.snapshot()[:MAX_STORED_PARTS]
    shown = {part["errorText"] for part in parts if part["type"] == "error"}
    if ending.error is not None and ending.error not in shown:
        parts.append(
            {
                "id": f"error-{sum(p['type'] == 'error' for p in parts)}",
                "type": "error",
                "errorText": ending.error,
                "kind": ending.error_kind,
            }
        )
    return parts


async def _free_task(ctx: Any, task_id: str, ending: Ending) -> None:
    """Give the task the status of this reply, unless a newer one has begun."""
    if await _streams_of(ctx, task_id, "streaming"):
        return
    await ctx.db.patch(
        task_id,
        {
            "status": _TASK_STATUS[ending.outcome],
            "errorMessage": UNSET if ending.error is None else ending.error,
        },
    )


async def delete_deltas(ctx: Any, stream_id: str) -> None:
    """Delete the log of a finished reply, a batch at a time."""
    deltas = (
        await ctx.db.query("streamDeltas")
        .with_index("by_stream_seq", lambda q: q.eq("streamId", stream_id))
        .take(DELETE_BATCH)
    )
    for delta in deltas:
        await ctx.db.delete(delta["_id"])
    if len(deltas) == DELETE_BATCH:
        await ctx.scheduler.run_after(
            0, "streaming:deleteDeltas", {"streamId": stream_id}
        )


# --- reading ----------------------------------------------------------------------


async def deltas(
    ctx: Any, stream_id: str, first: int, count: int
) -> list[dict[str, Any]]:
    """The deltas with seq `first` to `first + count - 1`, as far as they exist."""
    rows = (
        await ctx.db.query("streamDeltas")
        .with_index(
            "by_stream_seq",
            lambda q: (
                q.eq("streamId", stream_id).gte("seq", first).lt("seq", first + count)
            ),
        )
        .collect()
    )
    return [{"seq": row["seq"], "chunks": row["chunks"]} for row in rows]


async def catch_up(
    ctx: Any, stream_id: str, first: int
) -> tuple[list[dict[str, Any]], bool]:
    """The deltas from `first` on, and whether there may be more."""
    found: list[dict[str, Any]] = []
    size = 0
    while size < CATCH_UP_BYTES and len(found) < CATCH_UP_DELTAS:
        batch = await deltas(ctx, stream_id, first + len(found), CATCH_UP_BATCH)
        found += batch
        if len(batch) < CATCH_UP_BATCH:
            return found, False
        size += sum(text_bytes(chunk) for row in batch for chunk in row["chunks"])
    return found, True


async def head_of(ctx: Any, stream_id: str) -> dict[str, Any]:
    head: dict[str, Any] = (
        await ctx.db.query("streamHeads")
        .with_index("by_stream", _equal("streamId", stream_id))
        .unique()
    )
    return head


async def _stream_and_head(
    ctx: Any, stream_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    stream = await ctx.db.get(stream_id)
    if stream is None:
        raise refusal("NotFound", f"There is no stream {stream_id}.")
    return stream, await head_of(ctx, stream_id)


async def live_streams(ctx: Any, task_id: str) -> list[dict[str, Any]]:
    """The streams of a task that are not done."""
    streaming = await _streams_of(ctx, task_id, "streaming")
    return streaming + await _streams_of(ctx, task_id, "stopping")


async def _streams_of(ctx: Any, task_id: str, state: str) -> list[dict[str, Any]]:
    streams: list[dict[str, Any]] = (
        await ctx.db.query("streams")
        .with_index(
            "by_task_state", lambda q: q.eq("taskId", task_id).eq("state", state)
        )
        .collect()
    )
    return streams


def _equal(field: str, value: str) -> Callable[[Any], Any]:
    return lambda q: q.eq(field, value)
