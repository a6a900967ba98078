/**
 * How replies end: by their producer, by a stop, or because their producer is dead.
 *
 * However it comes, the end is one transaction: the log becomes the message's parts,
 * the message and the stream get their final status, the task is free, or begins to be
 * answered the message whose turn it is now.
 */
import type { Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import type { vOutcome } from "../schema";
import { general } from "./format";
import { chunksOf } from "./log";
import {
  type ErrorKind,
  type FinishReason,
  type Part,
  PartsFold,
  type Usage,
} from "./parts";
import { finalFields, MAX_STORED_PARTS } from "./stored";
import {
  answer,
  type Answer,
  headOf,
  liveStreams,
  refusedStatus,
  scheduleGeneration,
  streamAndHead,
  streamsOf,
} from "./streams";

/** How long a producer may take to finalize after a stop. */
const STOP_GRACE_MS = 2_000;
/** How late a watchdog may be before the sweep replaces it. */
const WATCHDOG_DELAY_MS = 5_000;
const SWEPT_STREAMS = 256;
/** How long the log of a finished reply is kept, for viewers that are behind. */
const KEEP_DELTAS_MS = 3_600_000;

const TASK_STATUS = {
  complete: "COMPLETED",
  stopped: "STOPPED",
  failed: "FAILED",
} as const;

/**
 * Stop a reply; the status that its message has now, null if it had ended before.
 *
 * One that is queued is `stopped` at once. One that is being written is `stopping`: its
 * producer learns of it on its next append or heartbeat; should there be none, the
 * watchdog finishes in its place.
 */
export async function requestStop(
  ctx: MutationCtx,
  stream: Doc<"streams">,
): Promise<"stopped" | "stopping" | null> {
  if (stream.state === "done") return null;
  if (stream.state === "queued") {
    await finish(ctx, stream, { outcome: "stopped", finishReason: "aborted" });
    return "stopped";
  }
  if (stream.state === "streaming") {
    await ctx.db.patch("streams", stream._id, {
      state: "stopping",
      stop: { at: Date.now() },
    });
    await ctx.db.patch("chatMessages", stream.messageId, { status: "stopping" });
    await ctx.scheduler.runAfter(STOP_GRACE_MS, internal.streaming.watchdog, {
      streamId: stream._id,
    });
  }
  return "stopping";
}

/** Stop what is being written in a task, and what is queued; their messages. */
export async function stopAll(
  ctx: MutationCtx,
  taskId: Id<"tasks">,
): Promise<Id<"chatMessages">[]> {
  const queued = await streamsOf(ctx, taskId, "queued");
  const live = await liveStreams(ctx, taskId);
  // The queued ones first: none of them is to begin.
  for (const stream of [...queued, ...live]) await requestStop(ctx, stream);
  return [...live, ...queued].map((stream) => stream.messageId);
}

/**
 * How a reply ended: what is written beside its parts.
 *
 * `error` is in words for the user, `errorKind` for programs; they become an error part,
 * too, unless the log already holds it.
 */
export interface Ending {
  outcome: Infer<typeof vOutcome>;
  finishReason?: FinishReason | undefined;
  usage?: Usage | undefined;
  error?: string | undefined;
  errorKind?: ErrorKind | undefined;
}

/**
 * End the stream as its producer says, unless it has ended, or is another's.
 *
 * A stop wins: what somebody asked to stop ends as stopped, even if the producer came
 * to its end at the same moment.
 */
export async function finalize(
  ctx: MutationCtx,
  streamId: Id<"streams">,
  epoch: number,
  ending: Ending,
): Promise<Answer> {
  const [stream, head] = await streamAndHead(ctx, streamId);
  const refused = refusedStatus(stream, epoch);
  if (refused === null) {
    const stopped: Ending = {
      outcome: "stopped",
      finishReason: "aborted",
      usage: ending.usage,
    };
    const isStopping = stream.state === "stopping";
    await finish(ctx, stream, isStopping ? stopped : ending);
  }
  return answer(refused ?? "ok", stream, head.nextSeq);
}

/** End the stream if its producer is dead or does not stop, or look again later. */
export async function watch(ctx: MutationCtx, streamId: Id<"streams">): Promise<void> {
  const stream = await ctx.db.get("streams", streamId);
  if (stream === null || stream.state === "done") return;
  if (await endIfDead(ctx, stream)) return;
  const due = await dueTime(ctx, stream);
  await ctx.scheduler.runAt(due, internal.streaming.watchdog, { streamId });
}

/** End a stream that is not done if its producer is dead, or does not stop. */
export async function endIfDead(
  ctx: MutationCtx,
  stream: Doc<"streams">,
): Promise<boolean> {
  if ((await dueTime(ctx, stream)) > Date.now()) return false;
  if (stream.state === "stopping") {
    await finish(ctx, stream, { outcome: "stopped", finishReason: "aborted" });
    return true;
  }
  const what = stream.state === "queued" ? "was not begun" : "broke off";
  const seconds = general(stream.leaseMs / 1000);
  await finish(ctx, stream, {
    outcome: "failed",
    finishReason: "interrupted",
    error:
      `The reply ${what}: nothing came from its producer for ${seconds} s. ` +
      "Send the message again.",
    errorKind: "interrupted",
  });
  return true;
}

/** When a stream with a silent producer is to be ended for it. */
async function dueTime(ctx: QueryCtx, stream: Doc<"streams">): Promise<number> {
  // It is queued, and gets its producer at its turn.
  if (stream.jobId !== undefined) return Infinity;
  const head = await headOf(ctx, stream._id);
  const leaseEnds = head.beatAt + stream.leaseMs;
  if (stream.stop === undefined) return leaseEnds;
  return Math.min(leaseEnds, stream.stop.at + STOP_GRACE_MS);
}

/**
 * Set a new watchdog on streams that should have been ended a while ago.
 *
 * Looks at the oldest live streams only: a dead one gets there soon enough.
 */
export async function sweepStreams(
  ctx: MutationCtx,
): Promise<{ live: number; overdue: number }> {
  let live = 0;
  let overdue = 0;
  for (const state of ["streaming", "stopping"] as const) {
    const streams = await ctx.db
      .query("streams")
      .withIndex("by_state", (q) => q.eq("state", state))
      .take(SWEPT_STREAMS);
    live += streams.length;
    for (const stream of streams) {
      const due = await dueTime(ctx, stream);
      if (due + WATCHDOG_DELAY_MS > Date.now()) continue;
      overdue += 1;
      await ctx.scheduler.runAfter(0, internal.streaming.watchdog, {
        streamId: stream._id,
      });
    }
  }
  return { live, overdue };
}

/** Turn the log into the message's parts and close everything, all at once. */
async function finish(
  ctx: MutationCtx,
  stream: Doc<"streams">,
  ending: Ending,
): Promise<void> {
  const { outcome, finishReason, usage, error, errorKind = "internal" } = ending;
  const parts = await finalParts(ctx, stream, ending);
  await ctx.db.patch("chatMessages", stream.messageId, {
    status: outcome,
    ...(await finalFields(ctx, stream.messageId, parts)),
    ...(finishReason !== undefined && { finishReason }),
    ...(usage !== undefined && { usage }),
    ...(error !== undefined && { error, errorKind }),
  });
  await ctx.db.patch("streams", stream._id, {
    state: "done",
    outcome,
    endedAt: Date.now(),
    jobId: undefined,
  });
  if (stream.jobId !== undefined) await ctx.db.delete("queuedJobs", stream.jobId);
  if (stream.state !== "queued") {
    await freeTask(ctx, stream, ending);
    await ctx.scheduler.runAfter(KEEP_DELTAS_MS, internal.streaming.deleteDeltas, {
      streamId: stream._id,
    });
  }
  await beginNext(ctx, stream.taskId);
}

async function finalParts(
  ctx: QueryCtx,
  stream: Doc<"streams">,
  ending: Ending,
): Promise<Part[]> {
  const fold = new PartsFold(await chunksOf(ctx, stream._id));
  const isStopped = ending.outcome === "stopped";
  fold.close(isStopped ? "stopped" : "the reply ended before");
  const parts = fold.snapshot().slice(0, MAX_STORED_PARTS);
  const errors = parts.filter((part) => part.type === "error");
  const { error } = ending;
  if (error !== undefined && !errors.some((part) => part.errorText === error)) {
    parts.push({
      id: `error-${errors.length}`,
      type: "error",
      errorText: error,
      kind: ending.errorKind ?? "internal",
    });
  }
  return parts;
}

/**
 * Give the task the status of this reply, unless a newer one has begun.
 *
 * That one may have ended already: a stop leaves its producer some time.
 */
async function freeTask(
  ctx: MutationCtx,
  stream: Doc<"streams">,
  ending: Ending,
): Promise<void> {
  if (stream.overtaken) return;
  await ctx.db.patch("tasks", stream.taskId, {
    status: TASK_STATUS[ending.outcome],
    errorMessage: ending.error,
  });
}

/**
 * Begin the reply that was queued first, if all that were accepted before have ended.
 *
 * In the transaction of the last one's end, so that there is no moment at which a
 * message waits for nothing.
 */
async function beginNext(ctx: MutationCtx, taskId: Id<"tasks">): Promise<void> {
  const stream = await ctx.db
    .query("streams")
    .withIndex("by_task_state", (q) => q.eq("taskId", taskId).eq("state", "queued"))
    .first();
  if (stream === null || (await liveStreams(ctx, taskId)).length > 0) return;
  // Its end begins the one after it.
  if (await endIfDead(ctx, stream)) return;
  const { _id: streamId, jobId } = stream;
  const now = Date.now();
  await ctx.db.patch("streams", streamId, {
    state: "streaming",
    startedAt: now,
    jobId: undefined,
  });
  await ctx.db.patch("chatMessages", stream.messageId, { status: "streaming" });
  await ctx.db.patch("tasks", taskId, { status: "RUNNING", errorMessage: undefined });
  // Its producer is there already, and so is its watchdog.
  if (jobId === undefined) return;
  const head = await headOf(ctx, streamId);
  await ctx.db.patch("streamHeads", head._id, { beatAt: now });
  await ctx.scheduler.runAfter(stream.leaseMs, internal.streaming.watchdog, {
    streamId,
  });
  const job = await ctx.db.get("queuedJobs", jobId);
  if (job === null) throw new Error(`Stream ${streamId} has no job.`);
  await ctx.db.delete("queuedJobs", jobId);
  await scheduleGeneration(ctx, stream, job);
}
