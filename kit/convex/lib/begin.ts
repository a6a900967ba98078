/** Beginning a reply: its prompt, its message, its stream; once per message sent. */
import type { WithoutSystemFields } from "convex/server";
import { v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { vMessageStatus, vWhenActive } from "../schema";
import { endIfDead, stopAll } from "./endings";
import { refusal } from "./errors";
import { thousands } from "./format";
import { requireTask } from "./owners";
import { findByClientId, newestMessage, streamIdOf } from "./stored";
import { scheduleGeneration, type StoredJob, streamsOf } from "./streams";
import { keepSweeping } from "./sweeps";
import { utf8Length } from "./text";

const MAX_PROMPT_BYTES = 512 * 1024;
/** Of a queued message, whose system prompt is stored until its turn. */
const MAX_SYSTEM_PROMPT_BYTES = 512 * 1024;
/**
 * Messages that may be queued in a task: with their replies, fewer than a viewer lists
 * of it, so that it always sees the one that is being written.
 */
const MAX_QUEUED = 16;

/** What a reply is begun with. */
export const beginningFields = {
  taskId: v.id("tasks"),
  prompt: v.string(),
  model: v.string(),
  llmModel: v.optional(v.string()),
  clientMessageId: v.optional(v.string()),
  whenActive: v.optional(vWhenActive),
  leaseMs: v.number(),
};
const vBeginning = v.object(beginningFields);

export type Beginning = Infer<typeof vBeginning>;

export const vBegun = v.object({
  promptMessageId: v.id("chatMessages"),
  messageId: v.id("chatMessages"),
  streamId: v.id("streams"),
  epoch: v.number(),
  status: vMessageStatus,
  reused: v.boolean(),
});

export type Begun = Infer<typeof vBegun>;

/**
 * Store the prompt and an empty reply, and open the stream of its deltas.
 *
 * The reply is `streaming`; or `queued`, if it has to wait and `whenActive` says so.
 * Its producer is the caller, who keeps its lease from now on; or, with a `job`, a
 * `streaming:generate` that is scheduled when it is the reply's turn.
 *
 * With a `clientMessageId` that was sent before, nothing is begun: what it began then
 * is returned, `reused`. Throws NotFound, StreamActive, QueueFull,
 * ClientMessageIdTaken, BadArguments, Unauthenticated.
 */
export async function beginReply(
  ctx: MutationCtx,
  request: Beginning,
  job?: StoredJob,
): Promise<Begun> {
  const { taskId, prompt, clientMessageId, whenActive = "reject" } = request;
  const { ownerId } = await requireTask(ctx, taskId);
  checkRequest(request);
  if (clientMessageId !== undefined) {
    const known = await findByClientId(ctx, taskId, clientMessageId);
    if (known !== null) return await reuse(ctx, known, prompt);
  }
  const waits = await mustWait(ctx, taskId, whenActive);
  const state = waits ? "queued" : "streaming";

  const sequence = await nextSequence(ctx, taskId);
  const message = { taskId, llmModel: request.llmModel ?? request.model };
  const promptMessageId = await ctx.db.insert("chatMessages", {
    ...message,
    role: "USER",
    content: prompt,
    status: "complete",
    sequence,
    ...(clientMessageId !== undefined && { clientMessageId }),
  });
  const messageId = await ctx.db.insert("chatMessages", {
    ...message,
    role: "ASSISTANT",
    content: "",
    sequence: sequence + 1,
    status: state,
    promptMessageId,
  });
  const stream = {
    taskId,
    messageId,
    epoch: 1,
    state,
    leaseMs: request.leaseMs,
    startedAt: Date.now(),
    ...(ownerId !== undefined && { ownerId }),
  } as const;
  const streamId = await openStream(ctx, stream, job);
  await ctx.db.patch("chatMessages", messageId, { streamId });
  if (state === "streaming") {
    await ctx.db.patch("tasks", taskId, {
      status: "RUNNING",
      errorMessage: undefined,
    });
  }
  return {
    promptMessageId,
    messageId,
    streamId,
    epoch: 1,
    status: state,
    reused: false,
  };
}

function checkRequest({ prompt, clientMessageId }: Beginning): void {
  if (prompt.trim() === "") {
    throw refusal("BadArguments", "The prompt is blank: `prompt` needs some text.");
  }
  const size = utf8Length(prompt);
  if (size > MAX_PROMPT_BYTES) {
    throw refusal(
      "BadArguments",
      `The prompt has ${thousands(size)} bytes; a message may have ` +
        `${thousands(MAX_PROMPT_BYTES)}. Send it in parts.`,
    );
  }
  if (clientMessageId === "") {
    throw refusal(
      "BadArguments",
      "`clientMessageId` is empty: give each message an id of its own, or none.",
    );
  }
}

async function reuse(
  ctx: QueryCtx,
  [prompt, reply]: [Doc<"chatMessages">, Doc<"chatMessages">],
  promptText: string,
): Promise<Begun> {
  if (prompt.content !== promptText) {
    throw refusal(
      "ClientMessageIdTaken",
      "This clientMessageId was sent before with another prompt. Use a new id " +
        "for each message.",
      { messageId: reply._id },
    );
  }
  const streamId = streamIdOf(reply);
  const stream = await ctx.db.get("streams", streamId);
  if (stream === null) throw refusal("NotFound", `There is no stream ${streamId}.`);
  return {
    promptMessageId: prompt._id,
    messageId: reply._id,
    streamId,
    epoch: stream.epoch,
    status: reply.status,
    reused: true,
  };
}

/**
 * Do what the caller wants with earlier replies; true if this one is to be queued.
 *
 * A dead producer's reply is no hindrance. One that is stopping is none either, unless
 * something is queued: whoever queues waits for its end.
 */
async function mustWait(
  ctx: MutationCtx,
  taskId: Id<"tasks">,
  whenActive: Infer<typeof vWhenActive>,
): Promise<boolean> {
  if (whenActive === "interrupt") {
    await stopAll(ctx, taskId);
  } else {
    for (const stream of await streamsOf(ctx, taskId, "streaming")) {
      await endIfDead(ctx, stream);
    }
  }
  const stopping = await streamsOf(ctx, taskId, "stopping");
  const queued = await streamsOf(ctx, taskId, "queued");
  const [active] = [...(await streamsOf(ctx, taskId, "streaming")), ...queued];
  if (whenActive === "queue" && (active !== undefined || stopping.length > 0)) {
    refuseLongQueue(taskId, queued);
    return true;
  }
  if (active !== undefined) {
    throw refusal(
      "StreamActive",
      "The reply to an earlier message of this task is still being written. " +
        "Stop it first (streaming:stopTask), or wait for its end.",
      { taskId, messageId: active.messageId, streamId: active._id },
    );
  }
  for (const stream of stopping) {
    await ctx.db.patch("streams", stream._id, { overtaken: true });
  }
  return false;
}

function refuseLongQueue(taskId: Id<"tasks">, queued: Doc<"streams">[]): void {
  if (queued.length < MAX_QUEUED) return;
  throw refusal(
    "QueueFull",
    `${MAX_QUEUED} messages of this task are queued already. Wait until one has ` +
      "begun to be answered, or drop them (streaming:stopTask).",
    { taskId },
  );
}

async function nextSequence(ctx: QueryCtx, taskId: Id<"tasks">): Promise<number> {
  const last = await newestMessage(ctx, taskId);
  return last === null ? 0 : last.sequence + 1;
}

async function openStream(
  ctx: MutationCtx,
  stream: WithoutSystemFields<Doc<"streams">>,
  job: StoredJob | undefined,
): Promise<Id<"streams">> {
  const { epoch, leaseMs, startedAt } = stream;
  const waits = stream.state === "queued";
  const jobId = waits && job && (await ctx.db.insert("queuedJobs", checkedJob(job)));
  const streamId = await ctx.db.insert("streams", {
    ...stream,
    ...(jobId && { jobId }),
  });
  await ctx.db.insert("streamHeads", {
    streamId,
    epoch,
    nextSeq: 0,
    bytes: 0,
    beatAt: startedAt,
  });
  if (!waits && job !== undefined) {
    await scheduleGeneration(ctx, { ...stream, _id: streamId }, job);
  }
  if (!jobId) {
    // It has, or is about to have, a producer.
    await ctx.scheduler.runAfter(leaseMs, internal.streaming.watchdog, { streamId });
  }
  await keepSweeping(ctx);
  return streamId;
}

function checkedJob(job: StoredJob): StoredJob {
  const size = utf8Length(job.systemPrompt ?? "");
  if (size > MAX_SYSTEM_PROMPT_BYTES) {
    throw refusal(
      "BadArguments",
      `The system prompt has ${thousands(size)} bytes; that of a queued message may ` +
        `have ${thousands(MAX_SYSTEM_PROMPT_BYTES)}.`,
    );
  }
  return job;
}
