/** Tables and the validators of what is in them. */
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export const vTaskStatus = v.union(
  v.literal("INITIALIZING"),
  v.literal("RUNNING"),
  v.literal("COMPLETED"),
  v.literal("STOPPED"),
  v.literal("FAILED"),
);
export const vRole = v.union(
  v.literal("USER"),
  v.literal("ASSISTANT"),
  v.literal("SYSTEM"),
);
export const vMessageStatus = v.union(
  v.literal("queued"),
  v.literal("streaming"),
  v.literal("stopping"),
  v.literal("complete"),
  v.literal("stopped"),
  v.literal("failed"),
);
export const vStreamState = v.union(
  v.literal("queued"),
  v.literal("streaming"),
  v.literal("stopping"),
  v.literal("done"),
);
/** What becomes of a message that is sent while an earlier one is being answered. */
export const vWhenActive = v.union(
  v.literal("reject"),
  v.literal("interrupt"),
  v.literal("queue"),
);
export const vOutcome = v.union(
  v.literal("complete"),
  v.literal("stopped"),
  v.literal("failed"),
);
export const vFinishReason = v.union(
  v.literal("stop"),
  v.literal("tool-calls"),
  v.literal("length"),
  v.literal("content-filter"),
  v.literal("error"),
  v.literal("interrupted"),
  v.literal("aborted"),
  v.literal("other"),
);
/**
 * What a reply may fail with. The one list of error kinds: a program goes by them, a
 * person by the text beside. A message, an error part and a tool's failed result hold
 * one each. It is `ERROR_KINDS` of kit/errors.py.
 */
export const vErrorKind = v.union(
  // A model call: what the provider said, or did not.
  v.literal("auth"), // 401, or no key at all
  v.literal("billing"), // 402
  v.literal("forbidden"), // 403
  v.literal("not-found"), // 404: no such model
  v.literal("bad-request"), // 400, 422
  v.literal("too-large"), // 413, context too long
  v.literal("rate-limit"), // 429
  v.literal("overloaded"), // 503, 529
  v.literal("server"), // other 5xx
  v.literal("timeout"), // nothing arrived for too long
  v.literal("connection"), // refused, reset, cut
  v.literal("protocol"), // what arrived is not the provider's format
  v.literal("interrupted"), // the stream, or its producer, ended without the last event
  // A tool call. The reply goes on: the model reads the error.
  v.literal("tool-input"), // the arguments are no JSON object, or too long
  v.literal("tool-unknown"), // there is no such tool
  v.literal("tool-failed"), // it raised, or what it returned is not JSON
  v.literal("tool-timeout"), // it did not answer in time
  v.literal("tool-not-run"), // the reply ended before its result: stopped, failed, cut off
  // The reply.
  v.literal("step-limit"), // the model still asked for tools in its last step
  v.literal("reply-too-long"), // the reply is longer than one message may be
  v.literal("config"), // a setting in the deployment's environment cannot be used
  v.literal("application"), // the application said so over Socket.IO, in words only
  v.literal("internal"), // none of these, so a defect: the log says more
);
/** Tokens as the provider counted them; what it did not say is absent. */
export const vUsage = v.object({
  promptTokens: v.number(),
  completionTokens: v.number(),
  totalTokens: v.number(),
  cachedTokens: v.optional(v.number()),
  reasoningTokens: v.optional(v.number()),
  cost: v.optional(v.number()),
});

/**
 * One event of a reply being written: AI SDK UI chunk names, with final part ids.
 *
 * Tool input and output are JSON text: arbitrary JSON may hold keys, depth or arrays
 * that a document may not. The most frequent chunks first, since a union is tried from
 * its start.
 */
export const vChunk = v.union(
  v.object({ type: v.literal("text-delta"), id: v.string(), delta: v.string() }),
  v.object({
    type: v.literal("reasoning-delta"),
    id: v.string(),
    delta: v.string(),
  }),
  v.object({
    type: v.literal("tool-input-delta"),
    toolCallId: v.string(),
    inputTextDelta: v.string(),
  }),
  v.object({ type: v.literal("text-start"), id: v.string() }),
  v.object({ type: v.literal("text-end"), id: v.string() }),
  // `redactedData` makes it a redacted block: encrypted, whole, without deltas.
  v.object({
    type: v.literal("reasoning-start"),
    id: v.string(),
    redactedData: v.optional(v.string()),
  }),
  v.object({
    type: v.literal("reasoning-end"),
    id: v.string(),
    signature: v.optional(v.string()),
  }),
  v.object({
    type: v.literal("tool-input-start"),
    toolCallId: v.string(),
    toolName: v.string(),
  }),
  // The arguments are complete; `inputText` replaces what the deltas built.
  v.object({
    type: v.literal("tool-input-available"),
    toolCallId: v.string(),
    toolName: v.string(),
    inputText: v.string(),
  }),
  // The arguments cannot be used: not JSON, or cut off.
  v.object({
    type: v.literal("tool-input-error"),
    toolCallId: v.string(),
    toolName: v.string(),
    inputText: v.string(),
    errorText: v.string(),
    errorKind: v.optional(vErrorKind),
  }),
  v.object({
    type: v.literal("tool-output-available"),
    toolCallId: v.string(),
    outputText: v.string(),
  }),
  v.object({
    type: v.literal("tool-output-error"),
    toolCallId: v.string(),
    errorText: v.string(),
    errorKind: v.optional(vErrorKind),
  }),
  v.object({ type: v.literal("start-step") }),
  v.object({
    type: v.literal("finish-step"),
    finishReason: vFinishReason,
    usage: v.optional(vUsage),
    rawFinishReason: v.optional(v.string()),
  }),
  v.object({
    type: v.literal("error"),
    id: v.string(),
    errorText: v.string(),
    kind: vErrorKind,
    retryable: v.optional(v.boolean()),
  }),
  v.object({ type: v.literal("abort"), reason: v.optional(v.string()) }),
  v.object({
    type: v.literal("finish"),
    finishReason: vFinishReason,
    usage: v.optional(vUsage),
  }),
);

const vGrowth = v.union(v.literal("streaming"), v.literal("done"));
/** One piece of a message; what chunks are folded into. */
export const vPart = v.union(
  v.object({
    id: v.string(),
    type: v.literal("text"),
    text: v.string(),
    state: vGrowth,
  }),
  v.object({
    id: v.string(),
    type: v.literal("reasoning"),
    text: v.string(),
    signature: v.optional(v.string()),
    state: vGrowth,
  }),
  v.object({
    id: v.string(),
    type: v.literal("redacted-reasoning"),
    data: v.string(),
  }),
  v.object({
    id: v.string(),
    type: v.literal("tool-call"),
    toolCallId: v.string(),
    toolName: v.string(),
    argsText: v.string(),
    state: v.union(
      v.literal("input-streaming"),
      v.literal("input-available"),
      v.literal("input-error"),
    ),
    errorText: v.optional(v.string()),
    errorKind: v.optional(vErrorKind),
  }),
  v.object({
    id: v.string(),
    type: v.literal("tool-result"),
    toolCallId: v.string(),
    toolName: v.string(),
    resultText: v.string(),
    isError: v.boolean(),
    errorKind: v.optional(vErrorKind),
  }),
  v.object({
    id: v.string(),
    type: v.literal("error"),
    errorText: v.string(),
    kind: vErrorKind,
  }),
);

/** What `streaming:generate` needs to know, beside whose reply it is. */
export const jobFields = {
  model: v.string(),
  systemPrompt: v.optional(v.string()),
  tools: v.array(v.string()),
};
export const taskFields = {
  title: v.string(),
  status: vTaskStatus,
  errorMessage: v.optional(v.string()),
  // The `tokenIdentifier` of whoever created it; nobody's without.
  ownerId: v.optional(v.string()),
};
export const messageFields = {
  taskId: v.id("tasks"),
  role: vRole,
  content: v.string(),
  parts: v.optional(v.array(vPart)),
  llmModel: v.optional(v.string()),
  sequence: v.number(),
  status: vMessageStatus,
  finishReason: v.optional(vFinishReason),
  usage: v.optional(vUsage),
  error: v.optional(v.string()),
  errorKind: v.optional(vErrorKind),
  clientMessageId: v.optional(v.string()),
  promptMessageId: v.optional(v.id("chatMessages")),
  streamId: v.optional(v.id("streams")),
};

export default defineSchema({
  // One conversation each: written rarely.
  tasks: defineTable(taskFields).index("by_ownerId", ["ownerId"]),
  // What a viewer lists: a reply is written at its begin, stop and end.
  chatMessages: defineTable(messageFields)
    .index("by_task_sequence", ["taskId", "sequence"])
    .index("by_task_clientMessageId", ["taskId", "clientMessageId"])
    .index("by_promptMessageId", ["promptMessageId"]),
  // Parts too large for their message's document. A long text spans several rows:
  // neighbours with the same part id.
  messageParts: defineTable({
    messageId: v.id("chatMessages"),
    index: v.number(),
    part: vPart,
  }).index("by_message", ["messageId", "index"]),
  // One reply: written when it is queued, at begin, stop and end.
  streams: defineTable({
    taskId: v.id("tasks"),
    messageId: v.id("chatMessages"),
    // The task's: whoever follows the stream is spared a look at the task.
    ownerId: v.optional(v.string()),
    epoch: v.number(),
    state: vStreamState,
    outcome: v.optional(vOutcome),
    stop: v.optional(v.object({ at: v.number() })),
    leaseMs: v.number(),
    startedAt: v.number(),
    endedAt: v.optional(v.number()),
    // A later reply of the task had begun before this one ended.
    overtaken: v.optional(v.boolean()),
    // What the deployment is to produce at its turn; only while it is queued.
    jobId: v.optional(v.id("queuedJobs")),
  })
    .index("by_task_state", ["taskId", "state"])
    .index("by_message", ["messageId"])
    .index("by_state", ["state"]),
  // Apart from the streams, because a system prompt may be large.
  queuedJobs: defineTable(jobFields),
  // Written at every append. No query that a viewer follows may read it.
  streamHeads: defineTable({
    streamId: v.id("streams"),
    epoch: v.number(),
    nextSeq: v.number(),
    bytes: v.number(),
    beatAt: v.number(),
  }).index("by_stream", ["streamId"]),
  // The log of chunks: inserted at every append, never changed.
  streamDeltas: defineTable({
    streamId: v.id("streams"),
    seq: v.number(),
    chunks: v.array(vChunk),
  }).index("by_stream_seq", ["streamId", "seq"]),
  // One row: when the next sweep for dead producers is due.
  sweeps: defineTable({ dueAt: v.number() }),
});
