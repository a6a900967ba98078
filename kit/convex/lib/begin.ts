/** Beginning a reply: its prompt, its message, its stream; once per message sent. */
import { v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { vMessageStatus } from "../schema";
import { endIfDead } from "./endings";
import { refusal } from "./errors";
import { thousands } from "./format";
import { requireTask } from "./owners";
import { findByClientId, newestMessage, streamIdOf } from "./stored";
import { streamsOf } from "./streams";
import { keepSweeping } from "./sweeps";
import { utf8Length } from "./text";

const MAX_PROMPT_BYTES = 512 * 1024;

/** What a reply is begun with. */
export const beginningFields = {
  taskId: v.id("tasks"),
  prompt: v.string(),
  model: v.string(),
  llmModel: v.optional(v.string()),
  clientMessageId: v.optional(v.string()),
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
 * With a `clientMessageId` that was sent before, nothing is begun: what it began then
 * is returned, `reused`. Throws NotFound, StreamActive, ClientMessageIdTaken,
 * BadArguments, Unauthenticated.
 */
export async function beginReply(ctx: MutationCtx, request: Beginning): Promise<Begun> {
  const { taskId, prompt, clientMessageId, leaseMs } = request;
  const task = await requireTask(ctx, taskId);
  checkRequest(request);
  if (clientMessageId !== undefined) {
    const known = await findByClientId(ctx, taskId, clientMessageId);
    if (known !== null) return await reuse(ctx, known, prompt);
  }
  await refuseSecondStream(ctx, taskId);

  const now = Date.now();
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
    status: "streaming",
    promptMessageId,
  });
  const streamId = await openStream(ctx, task, messageId, leaseMs, now);
  await ctx.db.patch("chatMessages", messageId, { streamId });
  await ctx.db.patch("tasks", taskId, {
    status: "RUNNING",
    errorMessage: undefined,
  });
  return {
    promptMessageId,
    messageId,
    streamId,
    epoch: 1,
    status: "streaming",
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

/** One reply at a time; a stopping one and a dead producer's do not count. */
async function refuseSecondStream(
  ctx: MutationCtx,
  taskId: Id<"tasks">,
): Promise<void> {
  for (const stream of await streamsOf(ctx, taskId, "streaming")) {
    if (await endIfDead(ctx, stream)) continue;
    throw refusal(
      "StreamActive",
      "The reply to an earlier message of this task is still being written. " +
        "Stop it first (streaming:stopTask), or wait for its end.",
      { taskId, messageId: stream.messageId, streamId: stream._id },
    );
  }
}

async function nextSequence(ctx: QueryCtx, taskId: Id<"tasks">): Promise<number> {
  const last = await newestMessage(ctx, taskId);
  return last === null ? 0 : last.sequence + 1;
}

async function openStream(
  ctx: MutationCtx,
  { _id: taskId, ownerId }: Doc<"tasks">,
  messageId: Id<"chatMessages">,
  leaseMs: number,
  now: number,
): Promise<Id<"streams">> {
  const streamId = await ctx.db.insert("streams", {
    taskId,
    messageId,
    epoch: 1,
    state: "streaming",
    leaseMs,
    startedAt: now,
    ...(ownerId !== undefined && { ownerId }),
  });
  await ctx.db.insert("streamHeads", {
    streamId,
    epoch: 1,
    nextSeq: 0,
    bytes: 0,
    beatAt: now,
  });
  await ctx.scheduler.runAfter(leaseMs, internal.streaming.watchdog, {
    streamId,
  });
  await keepSweeping(ctx);
  return streamId;
}
