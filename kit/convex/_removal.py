"""Removing a task: its messages, and what their replies were streamed in.

A transaction deletes as much as fits well within what Convex lets one read and write;
`tasks:removeContent` does the rest, transaction after transaction.
"""

from __future__ import annotations

from typing import Any

from kit.convex._endings import end_if_dead
from kit.convex._errors import refusal
from kit.convex._streams import equal, head_of, live_streams, streams_of
from kit.values import size_of

__all__ = ["refuse_while_streaming", "remove_content"]

ROOM = 4 * 1024 * 1024
"""Bytes that one transaction deletes, about; it may read 16 MiB."""
ROW_COST = 8 * 1024
"""What a row counts beside its size, so that 512 small ones fill a transaction."""
BATCH = 4


async def refuse_while_streaming(ctx: Any, task_id: str) -> None:
    """Raise StreamActive if a reply is being written; a dead producer's does not count.

    A stopping one does: its producer may still have something to append. So does one
    that is queued.
    """
    queued = await streams_of(ctx, task_id, "queued")
    for stream in queued + await live_streams(ctx, task_id):
        if await end_if_dead(ctx, stream):
            continue
        raise refusal(
            "StreamActive",
            "A reply of this task is still being written. Stop it first "
            "(streaming:stopTask), and wait for its end.",
            taskId=task_id,
            messageId=stream["messageId"],
            streamId=stream["_id"],
        )


async def remove_content(ctx: Any, task_id: str) -> None:
    """Delete what belongs to a task, and have the rest deleted, if there is any."""
    if not await _remove_what_fits(ctx, task_id):
        await ctx.scheduler.run_after(0, "tasks:removeContent", {"taskId": task_id})


async def _remove_what_fits(ctx: Any, task_id: str) -> bool:
    """True if that was all."""
    room = _Room(ctx)
    while streams := await _rows(ctx, "streams", "by_task_state", "taskId", task_id):
        for stream in streams:
            if not await room.clear(
                "streamDeltas", "by_stream_seq", "streamId", stream["_id"]
            ):
                return False
            await room.delete(await head_of(ctx, stream["_id"]))
            await room.delete(stream)
    while messages := await _rows(
        ctx, "chatMessages", "by_task_sequence", "taskId", task_id
    ):
        for message in messages:
            if not await room.clear(
                "messageParts", "by_message", "messageId", message["_id"]
            ):
                return False
            await room.delete(message)
    return True


class _Room:
    """What a transaction may still delete."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._left = ROOM

    async def clear(self, table: str, index: str, field: str, value: str) -> bool:
        """Delete the rows with this value; False if there is no room for all."""
        while self._left > 0:
            rows = await _rows(self._ctx, table, index, field, value)
            for row in rows:
                await self.delete(row)
            if len(rows) < BATCH:
                return True
        return False

    async def delete(self, row: dict[str, Any]) -> None:
        await self._ctx.db.delete(row["_id"])
        self._left -= ROW_COST + size_of(row)


async def _rows(
    ctx: Any, table: str, index: str, field: str, value: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        await ctx.db.query(table).with_index(index, equal(field, value)).take(BATCH)
    )
    return rows
