"""How replies end: by their producer, by a stop, or because their producer is dead.

However it comes, the end is one transaction: the log becomes the message's parts, the
message and the stream get their final status, the task is free, or begins to be
answered the message whose turn it is now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kit.convex._log import chunks_of
from kit.convex._messages import MAX_STORED_PARTS, final_fields
from kit.convex._streams import (
    answer,
    equal,
    head_of,
    live_streams,
    refused_status,
    schedule_generation,
    stream_and_head,
    streams_of,
)
from kit.deployment.functions import UNSET
from kit.errors import ErrorKind
from kit.parts import Part, PartsFold, Usage

__all__ = [
    "Ending",
    "end_if_dead",
    "finalize",
    "request_stop",
    "stop_all",
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

Outcome: TypeAlias = Literal["complete", "stopped", "failed"]

_TASK_STATUS = {"complete": "COMPLETED", "stopped": "STOPPED", "failed": "FAILED"}


async def request_stop(ctx: Any, stream: dict[str, Any]) -> str | None:
    """Stop a reply; the status that its message has now, None if it had ended before.

    One that is queued is `stopped` at once. One that is being written is `stopping`:
    its producer learns of it on its next append or heartbeat; should there be none, the
    watchdog finishes in its place.
    """
    if stream["state"] == "done":
        return None
    if stream["state"] == "queued":
        await _finish(ctx, stream, Ending("stopped", "aborted"))
        return "stopped"
    if stream["state"] == "streaming":
        await ctx.db.patch(
            stream["_id"], {"state": "stopping", "stop": {"at": ctx.now()}}
        )
        await ctx.db.patch(stream["messageId"], {"status": "stopping"})
        await ctx.scheduler.run_after(
            STOP_GRACE_MS, "streaming:watchdog", {"streamId": stream["_id"]}
        )
    return "stopping"


async def stop_all(ctx: Any, task_id: str) -> list[str]:
    """Stop what is being written in a task, and what is queued; their messages."""
    queued = await streams_of(ctx, task_id, "queued")
    live = await live_streams(ctx, task_id)
    # The queued ones first: none of them is to begin.
    for stream in queued + live:
        await request_stop(ctx, stream)
    return [stream["messageId"] for stream in live + queued]


@dataclass(frozen=True)
class Ending:
    """How a reply ended: what is written beside its parts.

    `error` is in words for the user, `error_kind` for programs; they become an error
    part, too, unless the log already holds it.
    """

    outcome: Outcome
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    error_kind: ErrorKind = "internal"


async def finalize(
    ctx: Any, stream_id: str, epoch: float, ending: Ending
) -> dict[str, Any]:
    """End the stream as its producer says, unless it has ended, or is another's.

    A stop wins: what somebody asked to stop ends as stopped, even if the producer came
    to its end at the same moment.
    """
    stream, head = await stream_and_head(ctx, stream_id)
    refused = refused_status(stream, epoch)
    if refused is None:
        if stream["state"] == "stopping":
            ending = Ending("stopped", "aborted", usage=ending.usage)
        await _finish(ctx, stream, ending)
    return answer(refused or "ok", stream, head["nextSeq"])


async def watch(ctx: Any, stream_id: str) -> None:
    """End the stream if its producer is dead or does not stop, or look again later."""
    stream = await ctx.db.get(stream_id)
    if stream is None or stream["state"] == "done":
        return
    if not await end_if_dead(ctx, stream):
        due = await _due(ctx, stream)
        await ctx.scheduler.run_at(due, "streaming:watchdog", {"streamId": stream_id})


async def end_if_dead(ctx: Any, stream: dict[str, Any]) -> bool:
    """End a stream that is not done if its producer is dead, or does not stop."""
    if await _due(ctx, stream) > ctx.now():
        return False
    if stream["state"] == "stopping":
        await _finish(ctx, stream, Ending("stopped", "aborted"))
        return True
    queued = stream["state"] == "queued"
    error = (
        f"The reply {'was not begun' if queued else 'broke off'}: nothing came from "
        f"its producer for {stream['leaseMs'] / 1000:g} s. Send the message again."
    )
    await _finish(
        ctx,
        stream,
        Ending("failed", "interrupted", error=error, error_kind="interrupted"),
    )
    return True


async def _due(ctx: Any, stream: dict[str, Any]) -> float:
    """When a stream with a silent producer is to be ended for it."""
    if "jobId" in stream:
        return math.inf  # it is queued, and gets its producer at its turn
    head = await head_of(ctx, stream["_id"])
    lease_ends: float = head["beatAt"] + stream["leaseMs"]
    if "stop" in stream:
        return min(lease_ends, float(stream["stop"]["at"] + STOP_GRACE_MS))
    return lease_ends


async def sweep(ctx: Any) -> dict[str, int]:
    """Set a new watchdog on streams that should have been ended a while ago.

    Looks at the oldest live streams only: a dead one gets there soon enough.
    """
    live = overdue = 0
    for state in ("streaming", "stopping"):
        streams = (
            await ctx.db.query("streams")
            .with_index("by_state", equal("state", state))
            .take(SWEPT_STREAMS)
        )
        live += len(streams)
        for stream in streams:
            if await _due(ctx, stream) + WATCHDOG_DELAY_MS <= ctx.now():
                overdue += 1
                await ctx.scheduler.run_after(
                    0, "streaming:watchdog", {"streamId": stream["_id"]}
                )
    return {"live": live, "overdue": overdue}


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
        message |= {"error": ending.error, "errorKind": ending.error_kind}
    await ctx.db.patch(stream["messageId"], message)
    await ctx.db.patch(
        stream["_id"],
        {
            "state": "done",
            "outcome": ending.outcome,
            "endedAt": ctx.now(),
            "jobId": UNSET,
        },
    )
    if "jobId" in stream:
        await ctx.db.delete(stream["jobId"])
    if stream["state"] != "queued":
        await _free_task(ctx, stream, ending)
        await ctx.scheduler.run_after(
            KEEP_DELTAS_MS, "streaming:deleteDeltas", {"streamId": stream["_id"]}
        )
    await _begin_next(ctx, stream["taskId"])


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


async def _free_task(ctx: Any, stream: dict[str, Any], ending: Ending) -> None:
    """Give the task the status of this reply, unless a newer one has begun.

    That one may have ended already: a stop leaves its producer some time.
    """
    if "overtaken" in stream:
        return
    await ctx.db.patch(
        stream["taskId"],
        {
            "status": _TASK_STATUS[ending.outcome],
            "errorMessage": UNSET if ending.error is None else ending.error,
        },
    )


async def _begin_next(ctx: Any, task_id: str) -> None:
    """Begin the reply that was queued first, if all that were accepted before ended.

    In the transaction of the last one's end, so that there is no moment at which a
    message waits for nothing.
    """
    queued = ctx.db.query("streams").with_index(
        "by_task_state", lambda q: q.eq("taskId", task_id).eq("state", "queued")
    )
    stream = await queued.first()
    if stream is None or await live_streams(ctx, task_id):
        return
    if await end_if_dead(ctx, stream):
        return  # its end has begun the one after it
    now = ctx.now()
    await ctx.db.patch(
        stream["_id"], {"state": "streaming", "startedAt": now, "jobId": UNSET}
    )
    await ctx.db.patch(stream["messageId"], {"status": "streaming"})
    await ctx.db.patch(task_id, {"status": "RUNNING", "errorMessage": UNSET})
    if "jobId" not in stream:
        return  # its producer is there already, and so is its watchdog
    head = await head_of(ctx, stream["_id"])
    await ctx.db.patch(head["_id"], {"beatAt": now})
    await ctx.scheduler.run_after(
        stream["leaseMs"], "streaming:watchdog", {"streamId": stream["_id"]}
    )
    job = await ctx.db.get(stream["jobId"])
    await ctx.db.delete(stream["jobId"])
    await schedule_generation(ctx, stream, job)
