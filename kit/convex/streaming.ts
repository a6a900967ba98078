/**
 * Streaming a reply: ask for one, follow it, stop it; and what its producer calls.
 *
 * For clients: `streamChatWithTools`, `send`, `read`, `catchUp`, `cancelStream`,
 * `stopTask`. All else is internal: only actions and the scheduler reach it.
 *
 * One reply at a time is written in a task. What becomes of a message that is sent
 * meanwhile is for its sender to say, by `whenActive`:
 *
 * | whenActive | the message | the reply being written | what was queued |
 * |---|---|---|---|
 * | `reject` (or none) | is refused: `StreamActive` | goes on | stays |
 * | `interrupt` | is answered now | is stopped, its text kept | is dropped: `stopped` |
 * | `queue` | is stored, `queued`; `QueueFull` beyond 16 | goes on | comes before it |
 *
 * Queued messages are answered in the order in which they were accepted, each when all
 * earlier replies of the task have ended, in whatever way. `stopTask` stops the reply
 * and drops the queue; `cancelStream` ends just the one message.
 *
 * A viewer lists `messages:byTask`. For a row that is `streaming`, it makes one
 * `catchUp` call from 0, then subscribes to the page of `read` that holds the next seq,
 * moves on to the next page when that one is full, and ignores what it has seen. When
 * the row is final, the row has the parts.
 */
import { v, type Infer } from "convex/values";
import { internal } from "./_generated/api";
import {
  action,
  internalAction,
  internalMutation,
  internalQuery,
  mutation,
  query,
} from "./_generated/server";
import {
  type Begun,
  beginningFields,
  type Beginning,
  beginReply,
  vBegun,
} from "./lib/begin";
import {
  finalize as finalizeReply,
  requestStop,
  stopAll,
  sweepStreams,
  watch,
} from "./lib/endings";
import { wholeNumber } from "./lib/errors";
import {
  append as appendDelta,
  beat,
  catchUp as catchUpFrom,
  deleteLog,
  MAX_LOG_DELTAS,
  pageOf,
  vDelta,
} from "./lib/log";
import { ownStream, requireMessage, requireTask } from "./lib/owners";
import { checkedRequest, type Request } from "./lib/requests";
import { readSettings, type Settings } from "./lib/settings";
import { historyBefore, resultOf, vHistory, vResult } from "./lib/stored";
import { vAnswer } from "./lib/streams";
import { endSweeping, isCurrent, keepSweeping } from "./lib/sweeps";
import {
  vChunk,
  vErrorKind,
  vFinishReason,
  vMessageStatus,
  vOutcome,
  vUsage,
} from "./schema";

// --- asking for a reply -----------------------------------------------------------

const vReply = v.object({
  success: v.boolean(),
  messageId: v.id("chatMessages"),
  promptMessageId: v.id("chatMessages"),
  streamId: v.id("streams"),
  reused: v.boolean(),
  ...vResult.fields,
});

/**
 * Answer a prompt, and return when the reply has ended.
 *
 * Arguments: `taskId`, `prompt`, `model`, `systemPrompt?`, `llmModel?` (the name to
 * show), `apiKeys?` (`openrouter`, `anthropic`, `openai`), `clientMessageId?`, `tools?`
 * (names of built-in tools; none if absent), `whenActive?` (`reject`, `interrupt`,
 * `queue`: see the module).
 *
 * Called again with the same `clientMessageId`, it starts nothing: it follows the first
 * reply to its end and returns that, `reused`.
 *
 * `success` is false when the message has failed: `error` says why, as a key that the
 * provider refuses, and `errorKind` says it for programs (`vErrorKind`); text that came
 * before is kept. A reply that somebody stopped is a success with status `stopped`.
 * Nothing was begun, and a ConvexError thrown, when the arguments cannot be used, the
 * task does not exist, or an earlier reply has not ended and `whenActive` does not help
 * (`StreamActive`, `QueueFull`).
 *
 * Queued, it waits for its turn, because its keys are nowhere else: that counts as time
 * of the action, which is limited. Should it die, the message fails after its lease,
 * and the next one's turn comes.
 */
export const streamChatWithTools = action({
  args: v.any(), // checked by hand, so that no error shows a key
  returns: vReply,
  handler: async (ctx, args): Promise<Infer<typeof vReply>> => {
    const [request, apiKeys] = checkedRequest(args, { takesKeys: true });
    const settings = readSettings();
    const started: Begun = await ctx.runMutation(
      internal.streaming.begin,
      beginning(request, settings),
    );
    const { messageId, promptMessageId, streamId, reused } = started;
    const { follow, produce, waitForTurn } = await producer();
    if (!reused) {
      const { epoch } = started;
      const { model, systemPrompt, tools = [] } = request;
      const whose = { streamId, messageId, epoch };
      const job = { ...whose, model, systemPrompt, tools, apiKeys, settings };
      if (started.status === "queued") await waitForTurn(ctx, job);
      await produce(ctx, job);
    }
    const result = await follow(ctx, messageId);
    return {
      success: result.status !== "failed",
      messageId,
      promptMessageId,
      streamId,
      reused,
      ...result,
    };
  },
});

/**
 * Begin a reply and schedule its generation; returns at once.
 *
 * Takes what streamChatWithTools takes, without `apiKeys`: the keys are the
 * deployment's own. The reply does not depend on the caller's staying connected, nor
 * does its turn, when it is queued: it is scheduled as the last earlier reply ends.
 */
export const send = mutation({
  args: v.any(), // checked by hand, so that no error shows a key
  returns: vBegun,
  handler: async (ctx, args): Promise<Begun> => {
    const [request] = checkedRequest(args, { takesKeys: false });
    const { model, systemPrompt, tools = [] } = request;
    const job = { model, tools, ...(systemPrompt !== undefined && { systemPrompt }) };
    return await beginReply(ctx, beginning(request, readSettings()), job);
  },
});

function beginning(request: Request, settings: Settings): Beginning {
  const { taskId, prompt, model, llmModel, clientMessageId, whenActive } = request;
  return {
    taskId,
    prompt,
    model,
    ...(llmModel !== undefined && { llmModel }),
    ...(clientMessageId !== undefined && { clientMessageId }),
    ...(whenActive !== undefined && { whenActive }),
    leaseMs: settings.leaseMs,
  };
}

/**
 * The producer, with the AI SDK below it: megabytes that no query or mutation of this
 * module is to load. Convex lets actions import when they run.
 */
function producer(): Promise<typeof import("./lib/generate")> {
  return import("./lib/generate");
}

// --- following it -----------------------------------------------------------------

/**
 * One page of a stream: four deltas, from seq 4 * page on, as far as they exist.
 *
 * `writtenAt`: when the newest of them was, in milliseconds of the epoch. Deltas are
 * deleted an hour after the reply has ended.
 */
export const read = query({
  args: { streamId: v.id("streams"), page: v.number() },
  returns: v.object({ deltas: v.array(vDelta), writtenAt: v.optional(v.number()) }),
  handler: async (ctx, args) => {
    const page = wholeNumber(args.page, "page", 0, MAX_LOG_DELTAS);
    if ((await ownStream(ctx, args.streamId)) === null) return { deltas: [] };
    return await pageOf(ctx, args.streamId, page);
  },
});

/**
 * The deltas from seq `from` on, up to about a mebibyte.
 *
 * Call it again from `nextSeq` while `more`. Not to be subscribed to: it would send all
 * again with each append.
 */
export const catchUp = query({
  args: { streamId: v.id("streams"), from: v.number() },
  returns: v.object({
    deltas: v.array(vDelta),
    nextSeq: v.number(),
    more: v.boolean(),
  }),
  handler: async (ctx, args) => {
    const first = wholeNumber(args.from, "from", 0, MAX_LOG_DELTAS);
    if ((await ownStream(ctx, args.streamId)) === null) {
      return { deltas: [], nextSeq: first, more: false };
    }
    const [deltas, more] = await catchUpFrom(ctx, args.streamId, first);
    const last = deltas.at(-1);
    return { deltas, nextSeq: last ? last.seq + 1 : first, more };
  },
});

// --- stopping it ------------------------------------------------------------------

/**
 * Stop the reply that is this message; `stopping` is false if it had ended.
 *
 * One that is queued is `stopped` at once; those behind it stay queued.
 */
export const cancelStream = mutation({
  args: { messageId: v.id("chatMessages") },
  returns: v.object({ stopping: v.boolean(), status: vMessageStatus }),
  handler: async (ctx, { messageId }) => {
    const { status, streamId } = await requireMessage(ctx, messageId);
    const stream = streamId && (await ctx.db.get("streams", streamId));
    if (!stream) return { stopping: false, status };
    const stopped = await requestStop(ctx, stream);
    return { stopping: stopped !== null, status: stopped ?? status };
  },
});

/**
 * Stop what is being written in a task, and drop what is queued.
 *
 * The messages that are stopping now, and then those that were queued and are now
 * `stopped`: their prompts stay.
 */
export const stopTask = mutation({
  args: { taskId: v.id("tasks") },
  returns: v.object({ messageIds: v.array(v.id("chatMessages")) }),
  handler: async (ctx, { taskId }) => {
    await requireTask(ctx, taskId);
    return { messageIds: await stopAll(ctx, taskId) };
  },
});

// --- what a producer calls --------------------------------------------------------

/**
 * Store the prompt and an empty reply, and open its stream; or find them again.
 *
 * For whom the action that calls it was called, which is its producer. If the reply is
 * `queued`, heartbeats keep its lease, and say `queued` until it is its turn.
 */
export const begin = internalMutation({
  args: beginningFields,
  returns: vBegun,
  handler: async (ctx, args) => await beginReply(ctx, args),
});

/** Add one delta, exactly once, in order. Every answer says if a stop is wanted. */
export const append = internalMutation({
  args: {
    streamId: v.id("streams"),
    epoch: v.number(),
    seq: v.number(),
    chunks: v.array(vChunk),
  },
  returns: vAnswer,
  handler: async (ctx, { streamId, epoch, seq, chunks }) =>
    await appendDelta(ctx, streamId, epoch, seq, chunks),
});

/** Say that the producer lives, though it has nothing to append, or is queued. */
export const heartbeat = internalMutation({
  args: { streamId: v.id("streams"), epoch: v.number() },
  returns: vAnswer,
  handler: async (ctx, { streamId, epoch }) => await beat(ctx, streamId, epoch),
});

/**
 * End the reply: parts, status, usage and the task's status in one transaction.
 *
 * Safe to repeat: the second time it is `closed`.
 */
export const finalize = internalMutation({
  args: {
    streamId: v.id("streams"),
    epoch: v.number(),
    outcome: vOutcome,
    finishReason: v.optional(vFinishReason),
    usage: v.optional(vUsage),
    error: v.optional(v.string()),
    errorKind: v.optional(vErrorKind),
  },
  returns: vAnswer,
  handler: async (ctx, { streamId, epoch, ...ending }) =>
    await finalizeReply(ctx, streamId, epoch, ending),
});

/** What the model is to know before it writes this message. */
export const context = internalQuery({
  args: { messageId: v.id("chatMessages") },
  returns: vHistory,
  handler: async (ctx, { messageId }) => await historyBefore(ctx, messageId),
});

/** What the reply came to; only the status says something before its end. */
export const result = internalQuery({
  args: { messageId: v.id("chatMessages") },
  returns: vResult,
  handler: async (ctx, { messageId }) => await resultOf(ctx, messageId),
});

/** Produce a reply that `send` asked for, with the keys of the environment. */
export const generate = internalAction({
  args: {
    streamId: v.id("streams"),
    messageId: v.id("chatMessages"),
    epoch: v.number(),
    model: v.string(),
    systemPrompt: v.optional(v.string()),
    tools: v.array(v.string()),
  },
  returns: v.null(),
  handler: async (ctx, args) => {
    const { produce } = await producer();
    await produce(ctx, { ...args, apiKeys: {}, settings: readSettings() });
    return null;
  },
});

// --- what the scheduler calls -----------------------------------------------------

/** End a reply whose producer is silent for too long, or does not stop. */
export const watchdog = internalMutation({
  args: { streamId: v.id("streams") },
  returns: v.null(),
  handler: async (ctx, { streamId }) => {
    await watch(ctx, streamId);
    return null;
  },
});

/**
 * Find streams that their watchdog has missed, and set another one on them.
 *
 * `dueAt` marks a run of the chain of sweeps: it schedules the next one.
 */
export const sweep = internalMutation({
  args: { dueAt: v.optional(v.number()) },
  returns: v.object({ live: v.number(), overdue: v.number() }),
  handler: async (ctx, { dueAt }) => {
    if (dueAt !== undefined && !(await isCurrent(ctx, dueAt))) {
      return { live: 0, overdue: 0 };
    }
    const found = await sweepStreams(ctx);
    if (dueAt !== undefined && found.live > 0) await keepSweeping(ctx, dueAt);
    else if (dueAt !== undefined) await endSweeping(ctx);
    return found;
  },
});

/** Delete the log of a reply that has ended; the message has its parts. */
export const deleteDeltas = internalMutation({
  args: { streamId: v.id("streams") },
  returns: v.null(),
  handler: async (ctx, { streamId }) => {
    await deleteLog(ctx, streamId);
    return null;
  },
});
