"""The sweep for dead producers, which runs while replies are being written.

A watchdog job per stream ends replies whose producer died. The sweep finds streams
that their watchdog missed, because its job failed or was lost, and starts another.

The first reply that begins schedules the sweep, a sweep schedules the next one, and
none is scheduled any more when no reply is being written: a deployment where nothing
happens pays for nothing. One row in `sweeps` says when the next one is due. `crons`
looks after a chain that broke.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SWEEP_INTERVAL_MS", "end_sweeping", "is_current", "keep_sweeping"]

SWEEP_INTERVAL_MS = 60_000.0


async def keep_sweeping(ctx: Any, *, after: float | None = None) -> None:
    """Make sure that a sweep is due; `after` is the due time of the one that runs now.

    A sweep that is an interval late counts as lost. Should it come after all, it is no
    longer the one in the row, and ends at once: there is never more than one chain.
    """
    row = await ctx.db.query("sweeps").first()
    due = ctx.now() + SWEEP_INTERVAL_MS
    if row is None:
        await ctx.db.insert("sweeps", {"dueAt": due})
    elif row["dueAt"] == after or row["dueAt"] + SWEEP_INTERVAL_MS < ctx.now():
        await ctx.db.patch(row["_id"], {"dueAt": due})
    else:
        return
    await ctx.scheduler.run_at(due, "streaming:sweep", {"dueAt": due})


async def is_current(ctx: Any, due: float) -> bool:
    """Whether the sweep that was due then is the one in the row."""
    row = await ctx.db.query("sweeps").first()
    return row is not None and row["dueAt"] == due


async def end_sweeping(ctx: Any) -> None:
    """No more sweeps until the next reply begins."""
    row = await ctx.db.query("sweeps").first()
    if row is not None:
        await ctx.db.delete(row["_id"])
