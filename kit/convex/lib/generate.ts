/**
 * The producer: asks the model and writes its reply into a stream, to its end.
 *
 * Runs in an action, of Convex's default runtime. Everything durable goes through
 * `streaming:append`, `heartbeat` and `finalize`; what this holds in memory is the part
 * of a reply that is on its way. Keys are in here and in the model layer only: texts
 * that leave are cleared of them.
 */
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import type { ActionCtx } from "../_generated/server";
import { streamReply } from "./agent";
import { sleep } from "./alarm";
import type { Ending } from "./endings";
import { refusal } from "./errors";
import { general } from "./format";
import { Conversation } from "./llm/conversation";
import { ConfigError, ModelError } from "./llm/errors";
import { keysIn, route } from "./llm/route";
import { redact } from "./llm/secret";
import {
  addUsage,
  type Chunk,
  type ErrorKind,
  type FinishReason,
  type Usage,
} from "./parts";
import type { ApiKeys } from "./requests";
import { environment, type Settings } from "./settings";
import { type History, isUnfinished, type Result } from "./stored";
import type { Answer } from "./streams";
import { firstCodePoints } from "./text";
import { toolsNamed } from "./tools";
import { callPatiently, DeltaWriter, HEARTBEAT_INTERVAL_MS } from "./writer";

/** How long a stop waits for what is under way to end. */
const CLOSE_WITHIN_MS = 800;
const MAX_ERROR_LENGTH = 500;
/** How long a repeated call waits for the reply it follows. */
const FOLLOW_FOR_MS = 570_000;

/** A reply to produce. */
export interface Job {
  streamId: Id<"streams">;
  messageId: Id<"chatMessages">;
  epoch: number;
  model: string;
  systemPrompt?: string | undefined;
  tools: string[];
  apiKeys: ApiKeys;
  settings: Settings;
}

/** What the reader has seen so far, for the end of the reply. */
class Progress {
  usage: Usage | undefined;
  finishReason: FinishReason | undefined;
  error: string | undefined;
  errorKind: ErrorKind = "internal";

  note(chunk: Chunk): void {
    switch (chunk.type) {
      case "finish-step":
        this.usage = addUsage(this.usage, chunk.usage);
        break;
      case "error":
        this.error = chunk.errorText;
        this.errorKind = chunk.kind;
        break;
      case "finish":
        this.finishReason = chunk.finishReason;
        break;
    }
  }

  fail(error: string, kind: ErrorKind): void {
    this.error = error;
    this.errorKind = kind;
    this.finishReason = "error";
  }
}

/**
 * Keep the lease of a reply that is queued, until it is its turn or has ended.
 *
 * Throws when the deployment cannot be reached any more.
 */
export async function waitForTurn(ctx: ActionCtx, job: Job): Promise<void> {
  const { streamId, epoch } = job;
  const { leaseMs } = job.settings;
  for (;;) {
    const answer = await callPatiently(
      (): Promise<Answer> =>
        ctx.runMutation(internal.streaming.heartbeat, { streamId, epoch }),
      (leaseMs * 2) / 3,
    );
    if (answer.status !== "queued") return;
    await sleep(Math.min(HEARTBEAT_INTERVAL_MS, leaseMs / 3));
  }
}

/**
 * Generate the reply, append it while it grows, finalize it.
 *
 * Returns when the stream is done, or is no longer ours. What goes wrong on the way to
 * and at the model becomes the message's error and is not thrown. Throws only when the
 * deployment cannot be reached any more: its watchdog then ends the reply, as it does
 * when the action runs into Convex's time limit.
 */
export async function produce(ctx: ActionCtx, job: Job): Promise<void> {
  const { streamId, epoch } = job;
  const { flushIntervalMs, leaseMs } = job.settings;
  const progress = new Progress();
  const writer = new DeltaWriter(
    {
      append: (seq, chunks): Promise<Answer> =>
        ctx.runMutation(internal.streaming.append, {
          streamId,
          epoch,
          seq,
          chunks,
        }),
      heartbeat: (): Promise<Answer> =>
        ctx.runMutation(internal.streaming.heartbeat, { streamId, epoch }),
    },
    {
      flushIntervalMs,
      heartbeatIntervalMs: Math.min(HEARTBEAT_INTERVAL_MS, leaseMs / 3),
      retryForMs: (leaseMs * 2) / 3,
    },
  );
  try {
    await writer.beat(); // it may have been stopped before it began
    if (!mustEnd(writer)) await readUntilStopped(ctx, job, writer, progress);
  } finally {
    await writer.close();
  }
  if (writer.state === "closed" || writer.state === "fenced") return;
  const ending = { streamId, epoch, ...endingOf(writer, progress) };
  await callPatiently(
    (): Promise<Answer> => ctx.runMutation(internal.streaming.finalize, ending),
    leaseMs,
  );
}

/** Whether to end the reading: the reply was stopped, or the stream is lost. */
function mustEnd(writer: DeltaWriter): boolean {
  return writer.stopRequested || writer.state !== "open";
}

/** Read the model's reply until it ends, is stopped, or the stream is lost. */
async function readUntilStopped(
  ctx: ActionCtx,
  job: Job,
  writer: DeltaWriter,
  progress: Progress,
): Promise<void> {
  const stopping = new AbortController();
  const signalled = new Promise<void>((resolve) => {
    writer.onSignal = resolve;
    if (mustEnd(writer)) resolve();
  });
  const reading = read(ctx, job, writer, progress, stopping.signal);
  await Promise.race([reading, signalled]);
  stopping.abort();
  const closed = new AbortController();
  const late = sleep(CLOSE_WITHIN_MS, closed.signal);
  await Promise.race([reading, late]);
  closed.abort();
  if (writer.stopRequested) {
    await writer.write({ type: "abort", reason: "stopped" });
  }
}

/** Pull the reply's chunks into the writer. Never throws. */
async function read(
  ctx: ActionCtx,
  job: Job,
  writer: DeltaWriter,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const given = Object.values(job.apiKeys).filter((key) => key !== undefined);
  const secrets = [...given, ...keysIn(environment)];
  try {
    const chosen = route(job.model, job.apiKeys, environment);
    const history: History = await ctx.runQuery(internal.streaming.context, {
      messageId: job.messageId,
    });
    const tools = toolsNamed(job.tools);
    const conversation = new Conversation({
      route: chosen,
      system: systemOf(job.systemPrompt, history.system),
      turns: history.turns,
      tools,
      signal,
    });
    const { toolTimeoutMs, maxSteps } = job.settings;
    const options = { toolTimeoutMs, maxSteps, secrets };
    for await (const chunk of streamReply(conversation, tools, signal, options)) {
      if (signal.aborted) return;
      progress.note(chunk);
      if (!(await writer.write(chunk))) return;
    }
  } catch (error) {
    if (signal.aborted) return; // what was cut off says nothing
    if (error instanceof ModelError) {
      progress.fail(redact(error.message, secrets), error.kind);
    } else if (error instanceof ConfigError) {
      progress.fail(redact(error.message, secrets), "config");
    } else {
      const shown =
        error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      const text = redact(`The reply could not be produced: ${shown}`, secrets);
      console.error(text);
      progress.fail(text, "internal");
    }
  }
}

function systemOf(given: string | undefined, stored: string): string | undefined {
  return [given, stored].filter(Boolean).join("\n\n") || undefined;
}

function endingOf(writer: DeltaWriter, progress: Progress): Ending {
  const usage = progress.usage && { usage: progress.usage };
  if (writer.state === "full") {
    const text = "The reply is longer than a message may be. Ask for less at once.";
    progress.fail(text, "reply-too-long");
  } else if (writer.state === "failed") {
    const { error } = writer;
    const cause = error instanceof Error ? error.message : String(error);
    const text = `The reply could not be saved: ${cause}`;
    progress.fail(firstCodePoints(text, MAX_ERROR_LENGTH), "internal");
  } else if (writer.stopRequested) {
    return { ...usage, outcome: "stopped", finishReason: "aborted" };
  }
  const finishReason = progress.finishReason ?? "other";
  if (finishReason !== "error" && finishReason !== "interrupted") {
    return { ...usage, outcome: "complete", finishReason };
  }
  return {
    ...usage,
    outcome: "failed",
    finishReason,
    error: progress.error ?? "The model call failed.",
    errorKind: progress.errorKind,
  };
}

/**
 * Wait for the end of a reply, whoever writes it; what it came to.
 *
 * Throws StillStreaming after `FOLLOW_FOR_MS`.
 */
export async function follow(
  ctx: ActionCtx,
  messageId: Id<"chatMessages">,
): Promise<Result> {
  const giveUpAt = Date.now() + FOLLOW_FOR_MS;
  for (let delay = 50; ; delay = Math.min(2 * delay, 500)) {
    const result: Result = await ctx.runQuery(internal.streaming.result, {
      messageId,
    });
    if (!isUnfinished(result.status)) return result;
    if (Date.now() > giveUpAt) {
      throw refusal(
        "StillStreaming",
        "The reply is still being written after " +
          `${general(FOLLOW_FOR_MS / 1000)} s. Follow it with messages:byTask.`,
        { messageId },
      );
    }
    await sleep(delay);
  }
}
