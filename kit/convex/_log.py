"""The log of a reply: deltas, numbered without gaps, each stored once.

Appended by the one producer that holds the stream's epoch, read by viewers in pages
and from anywhere on, folded when the reply ends, deleted an hour later.
"""

from __future__ import annotations

from typing import Any

from kit.convex._streams import answer, equal, refused_status, stream_and_head
from kit.deltas import text_bytes

__all__ = [
    "MAX_LOG_DELTAS",
    "append",
    "beat",
    "catch_up",
    "chunks_of",
    "delete_deltas",
    "page",
]

# A reply beyond these could not be folded in one transaction when it ends.
MAX_LOG_BYTES = 4 * 1024 * 1024
MAX_LOG_DELTAS = 8192

PAGE = 4
"""Deltas on a page. Aligned, so that all viewers of a stream share the same pages."""

CATCH_UP_BYTES = 1024 * 1024
CATCH_UP_DELTAS = 1024
CATCH_UP_BATCH = 64
DELETE_BATCH = 256


async def append(
    ctx: Any, stream_id: str, epoch: float, seq: float, chunks: list[Any]
) -> dict[str, Any]:
    """Add one delta to the log, exactly once, in order.

    | status | when |
    |---|---|
    | fenced | the epoch is over: another producer writes now |
    | closed | the stream is done |
    | queued | the reply has to wait for its turn |
    | ok | added; or had been added before |
    | gap | `seq` is ahead: `nextSeq` is the one that is missing |
    | full | the log is as long as one message may be |
    """
    stream, head = await stream_and_head(ctx, stream_id)
    refused = refused_status(stream, epoch)
    if refused is not None:
        return answer(refused, stream, head["nextSeq"])
    next_seq = head["nextSeq"]
    if seq < next_seq:
        return answer("ok", stream, next_seq)
    if seq != next_seq:  # ahead; or not a number, which compares to nothing
        return answer("gap", stream, next_seq)
    size = head["bytes"] + sum(map(text_bytes, chunks))
    if size > MAX_LOG_BYTES or next_seq >= MAX_LOG_DELTAS:
        return answer("full", stream, next_seq)
    await ctx.db.insert(
        "streamDeltas", {"streamId": stream_id, "seq": seq, "chunks": chunks}
    )
    next_seq += 1.0
    await ctx.db.patch(
        head["_id"], {"nextSeq": next_seq, "bytes": size, "beatAt": ctx.now()}
    )
    return answer("ok", stream, next_seq)


async def beat(ctx: Any, stream_id: str, epoch: float) -> dict[str, Any]:
    """Renew the lease of a producer that has nothing to append, or is queued."""
    stream, head = await stream_and_head(ctx, stream_id)
    refused = refused_status(stream, epoch)
    if refused in (None, "queued"):
        await ctx.db.patch(head["_id"], {"beatAt": ctx.now()})
    return answer(refused or "ok", stream, head["nextSeq"])


async def page(ctx: Any, stream_id: str, number: int) -> dict[str, Any]:
    """The deltas of one page, and when the newest of them was written."""
    rows = await _rows(ctx, stream_id, number * PAGE, PAGE)
    found: dict[str, Any] = {"deltas": [_delta(row) for row in rows]}
    if rows:
        found["writtenAt"] = rows[-1]["_creationTime"]
    return found


async def _rows(
    ctx: Any, stream_id: str, first: int, count: int
) -> list[dict[str, Any]]:
    """Those with seq `first` to `first + count - 1`, as far as they exist."""
    rows: list[dict[str, Any]] = (
        await ctx.db.query("streamDeltas")
        .with_index(
            "by_stream_seq",
            lambda q: (
                q.eq("streamId", stream_id).gte("seq", first).lt("seq", first + count)
            ),
        )
        .collect()
    )
    return rows


def _delta(row: dict[str, Any]) -> dict[str, Any]:
    return {"seq": row["seq"], "chunks": row["chunks"]}


async def catch_up(
    ctx: Any, stream_id: str, first: int
) -> tuple[list[dict[str, Any]], bool]:
    """The deltas from `first` on, and whether there may be more."""
    found: list[dict[str, Any]] = []
    size = 0
    while size < CATCH_UP_BYTES and len(found) < CATCH_UP_DELTAS:
        batch = await _rows(ctx, stream_id, first + len(found), CATCH_UP_BATCH)
        found += map(_delta, batch)
        if len(batch) < CATCH_UP_BATCH:
            return found, False
        size += sum(text_bytes(chunk) for row in batch for chunk in row["chunks"])
    return found, True


async def chunks_of(ctx: Any, stream_id: str) -> list[Any]:
    """All chunks of a stream's log."""
    rows = (
        await ctx.db.query("streamDeltas")
        .with_index("by_stream_seq", equal("streamId", stream_id))
        .collect()
    )
    return [chunk for row in rows for chunk in row["chunks"]]


async def delete_deltas(ctx: Any, stream_id: str) -> None:
    """Delete the log of a finished reply, a batch at a time."""
    rows = (
        await ctx.db.query("streamDeltas")
        .with_index("by_stream_seq", equal("streamId", stream_id))
        .take(DELETE_BATCH)
    )
    for row in rows:
        await ctx.db.delete(row["_id"])
    if len(rows) == DELETE_BATCH:
        await ctx.scheduler.run_after(
            0, "streaming:deleteDeltas", {"streamId": stream_id}
        )
