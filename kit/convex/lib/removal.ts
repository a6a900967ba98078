/**
 * Removing a task: its messages, and what their replies were streamed in.
 *
 * A transaction deletes as much as fits well within what Convex lets one read and
 * write; `tasks:removeContent` does the rest, transaction after transaction.
 */
import { getConvexSize } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id, TableNames } from "../_generated/dataModel";
import type { MutationCtx } from "../_generated/server";
import { endIfDead } from "./endings";
import { refusal } from "./errors";
import { headOf, liveStreams, streamsOf } from "./streams";

/** Bytes that one transaction deletes, about; it may read 16 MiB. */
const ROOM = 4 * 1024 * 1024;
/** What a row counts beside its size, so that 512 small ones fill a transaction. */
const ROW_COST = 8 * 1024;
const BATCH = 4;

/**
 * Throw StreamActive if a reply is being written; a dead producer's does not count.
 *
 * A stopping one does: its producer may still have something to append. So does one
 * that is queued.
 */
export async function refuseWhileStreaming(
  ctx: MutationCtx,
  taskId: Id<"tasks">,
): Promise<void> {
  const queued = await streamsOf(ctx, taskId, "queued");
  for (const stream of [...queued, ...(await liveStreams(ctx, taskId))]) {
    if (await endIfDead(ctx, stream)) continue;
    throw refusal(
      "StreamActive",
      "A reply of this task is still being written. Stop it first " +
        "(streaming:stopTask), and wait for its end.",
      { taskId, messageId: stream.messageId, streamId: stream._id },
    );
  }
}

/** Delete what belongs to a task, and have the rest deleted, if there is any. */
export async function removeContent(
  ctx: MutationCtx,
  taskId: Id<"tasks">,
): Promise<void> {
  if (await removeWhatFits(ctx, taskId)) return;
  await ctx.scheduler.runAfter(0, internal.tasks.removeContent, { taskId });
}

/** True if that was all. */
async function removeWhatFits(ctx: MutationCtx, taskId: Id<"tasks">): Promise<boolean> {
  const room = new Room(ctx);
  for (;;) {
    const streams = await ctx.db
      .query("streams")
      .withIndex("by_task_state", (q) => q.eq("taskId", taskId))
      .take(BATCH);
    if (streams.length === 0) break;
    for (const stream of streams) {
      const deltas = () =>
        ctx.db
          .query("streamDeltas")
          .withIndex("by_stream_seq", (q) => q.eq("streamId", stream._id))
          .take(BATCH);
      if (!(await room.clear("streamDeltas", deltas))) return false;
      await room.delete("streamHeads", await headOf(ctx, stream._id));
      await room.delete("streams", stream);
    }
  }
  for (;;) {
    const messages = await ctx.db
      .query("chatMessages")
      .withIndex("by_task_sequence", (q) => q.eq("taskId", taskId))
      .take(BATCH);
    if (messages.length === 0) return true;
    for (const message of messages) {
      const parts = () =>
        ctx.db
          .query("messageParts")
          .withIndex("by_message", (q) => q.eq("messageId", message._id))
          .take(BATCH);
      if (!(await room.clear("messageParts", parts))) return false;
      await room.delete("chatMessages", message);
    }
  }
}

/** What a transaction may still delete. */
class Room {
  private left = ROOM;

  constructor(private readonly ctx: MutationCtx) {}

  /** Delete the rows that `next` finds; false if there is no room for all. */
  async clear<Table extends TableNames>(
    table: Table,
    next: () => Promise<Doc<Table>[]>,
  ): Promise<boolean> {
    while (this.left > 0) {
      const rows = await next();
      for (const row of rows) await this.delete(table, row);
      if (rows.length < BATCH) return true;
    }
    return false;
  }

  async delete<Table extends TableNames>(table: Table, row: Doc<Table>): Promise<void> {
    await this.ctx.db.delete(table, row._id as Id<Table>);
    this.left -= ROW_COST + getConvexSize(row);
  }
}
