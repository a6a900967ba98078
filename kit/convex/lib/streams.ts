/**
 * Streams: one reply being written each. What is needed to find and to check them.
 *
 * A stream may be queued, then is streaming, then maybe stopping, then done, and never
 * goes back. `streams` and the assistant's message change together, in one transaction,
 * at begin (`begin`), stop and end (`endings`). What the reply consists of is in its log
 * (`log`).
 */
import { v, type Infer } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import { internal } from "../_generated/api";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { jobFields } from "../schema";
import { refusal } from "./errors";
import { general } from "./format";

/** What a producer is told, whatever it asked. */
export const vAnswer = v.object({
  status: v.union(
    v.literal("ok"),
    v.literal("queued"),
    v.literal("closed"),
    v.literal("fenced"),
    v.literal("gap"),
    v.literal("full"),
  ),
  stop: v.boolean(),
  nextSeq: v.number(),
});

const vJob = v.object(jobFields);

/** What the deployment is to produce a reply with. */
export type StoredJob = Infer<typeof vJob>;

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

/** The streams of a task that are being written or stopping. */
export async function liveStreams(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
): Promise<Doc<"streams">[]> {
  const streaming = await streamsOf(ctx, taskId, "streaming");
  return [...streaming, ...(await streamsOf(ctx, taskId, "stopping"))];
}

/**
 * Those of a task in this state, in the order in which they were accepted.
 *
 * One at most is streaming, few are stopping, and so many may be queued.
 */
export async function streamsOf(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
  state: "queued" | "streaming" | "stopping",
): Promise<Doc<"streams">[]> {
  return await ctx.db
    .query("streams")
    .withIndex("by_task_state", (q) => q.eq("taskId", taskId).eq("state", state))
    .collect();
}

/** Why a producer with this epoch may not write, or not yet; null if it may. */
export function refusedStatus(
  stream: Doc<"streams">,
  epoch: number,
): "fenced" | "closed" | "queued" | null {
  if (epoch > stream.epoch) {
    throw refusal(
      "BadArguments",
      `The stream is at epoch ${general(stream.epoch)}; ` +
        `nobody was given ${general(epoch)}.`,
    );
  }
  if (epoch < stream.epoch) return "fenced";
  switch (stream.state) {
    case "done":
      return "closed";
    case "queued":
      return "queued";
    default:
      return null;
  }
}

export function answer(
  status: Answer["status"],
  stream: Doc<"streams">,
  nextSeq: number,
): Answer {
  return { status, stop: stream.state === "stopping", nextSeq };
}

/** Have the deployment produce this reply, with its own keys. */
export async function scheduleGeneration(
  ctx: MutationCtx,
  { _id, messageId, epoch }: Pick<Doc<"streams">, "_id" | "messageId" | "epoch">,
  { model, systemPrompt, tools }: StoredJob,
): Promise<void> {
  await ctx.scheduler.runAfter(0, internal.streaming.generate, {
    streamId: _id,
    messageId,
    epoch,
    model,
    tools,
    ...(systemPrompt !== undefined && { systemPrompt }),
  });
}
