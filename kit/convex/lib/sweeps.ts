/**
 * The sweep for dead producers, which runs while replies are being written.
 *
 * A watchdog job per stream ends replies whose producer died. The sweep finds streams
 * that their watchdog missed, because its job failed, and starts another.
 *
 * The first reply that begins schedules the sweep, a sweep schedules the next one, and
 * none is scheduled any more when no reply is being written: a deployment where nothing
 * happens pays for nothing. One row in `sweeps` says when the next one is due. `crons`
 * looks after a chain that broke.
 */
import { internal } from "../_generated/api";
import type { MutationCtx, QueryCtx } from "../_generated/server";

const SWEEP_INTERVAL_MS = 60_000;

/**
 * Make sure that a sweep is due; `after` is the due time of the one that runs now.
 *
 * A sweep that is an interval late counts as lost. Should it come after all, it is no
 * longer the one in the row, and ends at once: there is never more than one chain.
 */
export async function keepSweeping(ctx: MutationCtx, after?: number): Promise<void> {
  const row = await ctx.db.query("sweeps").first();
  const now = Date.now();
  const dueAt = now + SWEEP_INTERVAL_MS;
  if (row === null) {
    await ctx.db.insert("sweeps", { dueAt });
  } else if (row.dueAt === after || row.dueAt + SWEEP_INTERVAL_MS < now) {
    await ctx.db.patch("sweeps", row._id, { dueAt });
  } else {
    return;
  }
  await ctx.scheduler.runAt(dueAt, internal.streaming.sweep, { dueAt });
}

/** Whether the sweep that was due then is the one in the row. */
export async function isCurrent(ctx: QueryCtx, dueAt: number): Promise<boolean> {
  const row = await ctx.db.query("sweeps").first();
  return row?.dueAt === dueAt;
}

/** No more sweeps until the next reply begins. */
export async function endSweeping(ctx: MutationCtx): Promise<void> {
  const row = await ctx.db.query("sweeps").first();
  if (row !== null) await ctx.db.delete("sweeps", row._id);
}
