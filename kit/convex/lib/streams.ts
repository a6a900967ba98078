/**
 * Streams: one reply being written each. What is needed to find and to check them.
 *
 * A stream is streaming, then maybe stopping, then done, and never goes back. `streams`
 * and the assistant's message change together, in one transaction, at begin (`begin`),
 * stop and end (`endings`). What the reply consists of is in its log (`log`).
 */
import { v, type Infer } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";
import { refusal } from "./errors";
import { general } from "./format";

/** What a producer is told, whatever it asked. */
export const vAnswer = v.object({
  status: v.union(
    v.literal("ok"),
    v.literal("closed"),
    v.literal("fenced"),
    v.literal("gap"),
    v.literal("full"),
  ),
  stop: v.boolean(),
  nextSeq: v.number(),
});

export type Answer = Infer<typeof vAnswer>;

/** The row that appends and heartbeats write. No viewer's query may read it. */
export async function headOf(
  ctx: QueryCtx,
  streamId: Id<"streams">,
): Promise<Doc<"streamHeads">> {
  const head = await ctx.db
    .query("streamHeads")
    .withIndex("by_stream", (q) => q.eq("streamId", streamId))
    .unique();
  if (head === null) throw new Error(`Stream ${streamId} has no head.`);
  return head;
}

/** Both rows of a stream. Throws NotFound. */
export async function streamAndHead(
  ctx: QueryCtx,
  streamId: Id<"streams">,
): Promise<[stream: Doc<"streams">, head: Doc<"streamHeads">]> {
  const stream = await ctx.db.get("streams", streamId);
  if (stream === null) {
    throw refusal("NotFound", `There is no stream ${streamId}.`);
  }
  return [stream, await headOf(ctx, streamId)];
}

/** The streams of a task that are not done. */
export async function liveStreams(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
): Promise<Doc<"streams">[]> {
  const streaming = await streamsOf(ctx, taskId, "streaming");
  return [...streaming, ...(await streamsOf(ctx, taskId, "stopping"))];
}

/** A task has one stream that is streaming at most, and few that are stopping. */
export async function streamsOf(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
  state: "streaming" | "stopping",
): Promise<Doc<"streams">[]> {
  return await ctx.db
    .query("streams")
    .withIndex("by_task_state", (q) => q.eq("taskId", taskId).eq("state", state))
    .collect();
}

/** Why a producer with this epoch may not write any more; null if it may. */
export function refusedStatus(
  stream: Doc<"streams">,
  epoch: number,
): "fenced" | "closed" | null {
  if (epoch > stream.epoch) {
    throw refusal(
      "BadArguments",
      `The stream is at epoch ${general(stream.epoch)}; ` +
        `nobody was given ${general(epoch)}.`,
    );
  }
  if (epoch < stream.epoch) return "fenced";
  return stream.state === "done" ? "closed" : null;
}

export function answer(
  status: Answer["status"],
  stream: Doc<"streams">,
  nextSeq: number,
): Answer {
  return { status, stop: stream.state === "stopping", nextSeq };
}
