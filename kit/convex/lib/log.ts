/**
 * The log of a reply: deltas, numbered without gaps, each stored once.
 *
 * Appended by the one producer that holds the stream's epoch, read by viewers in pages
 * and from anywhere on, folded when the reply ends, deleted an hour later.
 */
import { v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { vChunk } from "../schema";
import { textBytes } from "./deltas";
import type { Chunk } from "./parts";
import { answer, type Answer, refusedStatus, streamAndHead } from "./streams";

// A reply beyond these could not be folded in one transaction when it ends.
export const MAX_LOG_DELTAS = 8192;
const MAX_LOG_BYTES = 4 * 1024 * 1024;

/** Deltas on a page. Aligned, so that all viewers of a stream share the same pages. */
const PAGE = 4;

const CATCH_UP_BYTES = 1024 * 1024;
const CATCH_UP_DELTAS = 1024;
const CATCH_UP_BATCH = 64;
const DELETE_BATCH = 256;

export const vDelta = v.object({ seq: v.number(), chunks: v.array(vChunk) });

export type StoredDelta = Infer<typeof vDelta>;

/**
 * Add one delta to the log, exactly once, in order.
 *
 * | status | when |
 * |---|---|
 * | fenced | the epoch is over: another producer writes now |
 * | closed | the stream is done |
 * | queued | the reply has to wait for its turn |
 * | ok | added; or had been added before |
 * | gap | `seq` is ahead: `nextSeq` is the one that is missing |
 * | full | the log is as long as one message may be |
 */
export async function append(
  ctx: MutationCtx,
  streamId: Id<"streams">,
  epoch: number,
  seq: number,
  chunks: Chunk[],
): Promise<Answer> {
  const [stream, head] = await streamAndHead(ctx, streamId);
  const refused = refusedStatus(stream, epoch);
  if (refused !== null) return answer(refused, stream, head.nextSeq);
  const { nextSeq } = head;
  if (seq < nextSeq) return answer("ok", stream, nextSeq);
  // Ahead; or not a number, which compares to nothing.
  if (seq !== nextSeq) return answer("gap", stream, nextSeq);
  const bytes = head.bytes + bytesOf(chunks);
  if (bytes > MAX_LOG_BYTES || nextSeq >= MAX_LOG_DELTAS) {
    return answer("full", stream, nextSeq);
  }
  await ctx.db.insert("streamDeltas", { streamId, seq, chunks });
  await ctx.db.patch("streamHeads", head._id, {
    nextSeq: nextSeq + 1,
    bytes,
    beatAt: Date.now(),
  });
  return answer("ok", stream, nextSeq + 1);
}

/** Renew the lease of a producer that has nothing to append, or is queued. */
export async function beat(
  ctx: MutationCtx,
  streamId: Id<"streams">,
  epoch: number,
): Promise<Answer> {
  const [stream, head] = await streamAndHead(ctx, streamId);
  const refused = refusedStatus(stream, epoch);
  if (refused === null || refused === "queued") {
    await ctx.db.patch("streamHeads", head._id, { beatAt: Date.now() });
  }
  return answer(refused ?? "ok", stream, head.nextSeq);
}

/** The deltas of one page, and when the newest of them was written. */
export async function pageOf(
  ctx: QueryCtx,
  streamId: Id<"streams">,
  page: number,
): Promise<{ deltas: StoredDelta[]; writtenAt?: number }> {
  const rows = await rowsFrom(ctx, streamId, page * PAGE, PAGE);
  const last = rows.at(-1);
  return {
    deltas: rows.map(deltaOf),
    ...(last && { writtenAt: last._creationTime }),
  };
}

/** Those with seq `first` to `first + count - 1`, as far as they exist. */
async function rowsFrom(
  ctx: QueryCtx,
  streamId: Id<"streams">,
  first: number,
  count: number,
): Promise<Doc<"streamDeltas">[]> {
  return await ctx.db
    .query("streamDeltas")
    .withIndex("by_stream_seq", (q) =>
      q
        .eq("streamId", streamId)
        .gte("seq", first)
        .lt("seq", first + count),
    )
    .collect();
}

function deltaOf({ seq, chunks }: Doc<"streamDeltas">): StoredDelta {
  return { seq, chunks };
}

/** The deltas from `first` on, and whether there may be more. */
export async function catchUp(
  ctx: QueryCtx,
  streamId: Id<"streams">,
  first: number,
): Promise<[deltas: StoredDelta[], more: boolean]> {
  const found: StoredDelta[] = [];
  let size = 0;
  while (size < CATCH_UP_BYTES && found.length < CATCH_UP_DELTAS) {
    const from = first + found.length;
    const batch = await rowsFrom(ctx, streamId, from, CATCH_UP_BATCH);
    found.push(...batch.map(deltaOf));
    if (batch.length < CATCH_UP_BATCH) return [found, false];
    size += bytesOf(batch.flatMap((delta) => delta.chunks));
  }
  return [found, true];
}

/** All chunks of a stream's log, which `append` keeps below the limits above. */
export async function chunksOf(
  ctx: QueryCtx,
  streamId: Id<"streams">,
): Promise<Chunk[]> {
  const rows = await ctx.db
    .query("streamDeltas")
    .withIndex("by_stream_seq", (q) => q.eq("streamId", streamId))
    .collect();
  return rows.flatMap((row) => row.chunks);
}

/** Delete the log of a finished reply, a batch at a time. */
export async function deleteLog(
  ctx: MutationCtx,
  streamId: Id<"streams">,
): Promise<void> {
  const rows = await ctx.db
    .query("streamDeltas")
    .withIndex("by_stream_seq", (q) => q.eq("streamId", streamId))
    .take(DELETE_BATCH);
  for (const row of rows) await ctx.db.delete("streamDeltas", row._id);
  if (rows.length === DELETE_BATCH) {
    await ctx.scheduler.runAfter(0, internal.streaming.deleteDeltas, {
      streamId,
    });
  }
}

function bytesOf(chunks: Chunk[]): number {
  return chunks.reduce((sum, chunk) => sum + textBytes(chunk), 0);
}
