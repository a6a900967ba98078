"""Streams: one reply being written each. What is needed to find and to check them.

A stream may be queued, then is streaming, then maybe stopping, then done, and never
goes back. `streams` and the assistant's message change together, in one transaction, at
begin (`_begin`), stop and end (`_endings`). What the reply consists of is in its log
(`_log`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from kit.convex._errors import refusal

__all__ = [
    "answer",
    "equal",
    "head_of",
    "live_streams",
    "refused_status",
    "schedule_generation",
    "stream_and_head",
    "streams_of",
]


async def head_of(ctx: Any, stream_id: str) -> dict[str, Any]:
    """The row that appends and heartbeats write. No viewer's query may read it."""
    head: dict[str, Any] = (
        await ctx.db.query("streamHeads")
        .with_index("by_stream", equal("streamId", stream_id))
        .unique()
    )
    return head


async def stream_and_head(
    ctx: Any, stream_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both rows of a stream. Raises NotFound."""
    stream = await ctx.db.get(stream_id)
    if stream is None:
        raise refusal("NotFound", f"There is no stream {stream_id}.")
    return stream, await head_of(ctx, stream_id)


async def live_streams(ctx: Any, task_id: str) -> list[dict[str, Any]]:
    """The streams of a task that are being written or stopping."""
    streaming = await streams_of(ctx, task_id, "streaming")
    return streaming + await streams_of(ctx, task_id, "stopping")


async def streams_of(ctx: Any, task_id: str, state: str) -> list[dict[str, Any]]:
    """Those of a task in this state, in the order in which they were accepted."""
    streams: list[dict[str, Any]] = (
        await ctx.db.query("streams")
        .with_index(
            "by_task_state", lambda q: q.eq("taskId", task_id).eq("state", state)
        )
        .collect()
    )
    return streams


def equal(field: str, value: str) -> Callable[[Any], Any]:
    """The index range of rows that have this value in an index's first field."""
    return lambda q: q.eq(field, value)


def refused_status(
    stream: dict[str, Any], epoch: float
) -> Literal["fenced", "closed", "queued"] | None:
    """Why a producer with this epoch may not write, or not yet; None if it may."""
    if epoch > stream["epoch"]:
        raise refusal(
            "BadArguments",
            f"The stream is at epoch {stream['epoch']:g}; nobody was given {epoch:g}.",
        )
    if epoch < stream["epoch"]:
        return "fenced"
    match stream["state"]:
        case "done":
            return "closed"
        case "queued":
            return "queued"
        case _:
            return None


def answer(status: str, stream: dict[str, Any], next_seq: float) -> dict[str, Any]:
    """What a producer is told, whatever it asked."""
    stop = stream["state"] == "stopping"
    return {"status": status, "stop": stop, "nextSeq": next_seq}


async def schedule_generation(
    ctx: Any, stream: dict[str, Any], job: dict[str, Any]
) -> None:
    """Have the deployment produce this reply, with its own keys."""
    args = {name: value for name, value in job.items() if not name.startswith("_")}
    args["streamId"] = stream["_id"]
    args["messageId"] = stream["messageId"]
    args["epoch"] = stream["epoch"]
    await ctx.scheduler.run_after(0, "streaming:generate", args)
