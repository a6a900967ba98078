/**
 * The agent: ask the model, run the tools it calls, ask again, until it is done.
 *
 * Holds the order of things in a reply and the final ids of its parts. Knows no
 * provider (it is given a `Conversation`), no store (it yields chunks).
 *
 * Tools of one step run concurrently, their results go back in the order of the calls,
 * arguments that are not JSON and tools that do not exist are errors for the model to
 * read, and tools are never run when the model call did not end properly.
 */
import { sleep } from "./alarm";
import { general, jsonText, quoted } from "./format";
import { ModelError } from "./llm/errors";
import type { ToolResult } from "./llm/conversation";
import { redact, withoutKeys } from "./llm/secret";
import {
  addUsage,
  type Chunk,
  type ErrorKind,
  type FinishReason,
  type Usage,
} from "./parts";
import { type Call, Ids, StepChunks } from "./steps";
import { firstCodePoints, isLongerThan } from "./text";
import type { Tool, Tools } from "./tools";

/** What the agent needs of a `llm/conversation`. */
export interface Conversant {
  step(): AsyncIterable<Chunk>;
  addToolResults(results: readonly ToolResult[]): void;
}

export interface AgentOptions {
  maxSteps?: number;
  toolTimeoutMs?: number;
  /** Characters that a tool result, or the arguments of a call, may have. */
  maxOutput?: number;
  /**
   * Taken out of what a tool says before anybody reads it, the model included: an error
   * may quote a key, and the model the error.
   */
  secrets?: readonly string[];
}

/**
 * Stream one reply: chunks with final ids, ending in exactly one `finish`.
 *
 * Each model call is a `start-step`, its parts and a `finish-step`; results of its tool
 * calls follow as they arrive. Every part that was opened is ended, and every tool call
 * gets a result or an input error, before `finish`.
 *
 * A failing model call is an `error` chunk and `finish` with reason `error` (or
 * `interrupted`, when the stream just ended): ModelError is never thrown. So are
 * `maxSteps` model calls that all asked for tools: an error of kind `step-limit`. What a
 * tool does wrong is no failure of the reply: the model reads it, and goes on.
 *
 * When `signal` is aborted, it ends as soon as it can, tools included, wherever it is.
 */
export async function* streamReply(
  conversation: Conversant,
  tools: Tools,
  signal: AbortSignal,
  options: AgentOptions = {},
): AsyncGenerator<Chunk> {
  const { maxSteps = 8, toolTimeoutMs = 60_000 } = options;
  const { maxOutput = 100_000, secrets = [] } = options;
  const ids = new Ids();
  let total: Usage | undefined;
  for (let count = 0; count < maxSteps; count++) {
    yield { type: "start-step" };
    const step = new StepChunks(ids, maxOutput);
    try {
      for await (const chunk of conversation.step()) yield* step.take(chunk);
      if (step.finish === null) {
        const text = "the stream ended without its last event";
        throw new ModelError("interrupted", text, "model");
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof ModelError)) throw error;
      yield* step.abandon("the model call failed");
      yield errorChunk(ids, error);
      const reason = error.kind === "interrupted" ? "interrupted" : "error";
      yield finishChunk(reason, total);
      return;
    }
    const { usage, finishReason } = step.finish;
    total = addUsage(total, usage);
    const mayRun = finishReason === "tool-calls" || finishReason === "stop";
    if (step.calls.length === 0 || !mayRun) {
      // Arguments of a reply that was cut off or refused are not to be trusted.
      yield* step.abandon(`not run: the reply ended (${finishReason})`);
      yield finishChunk(finishReason, total);
      return;
    }
    const results = new Map<Call, ToolResult>();
    const limits = { toolTimeoutMs, maxOutput, secrets };
    for await (const outcome of runCalls(step.calls, tools, signal, limits)) {
      results.set(outcome.call, outcome.result);
      if (outcome.chunk !== null) yield outcome.chunk;
    }
    conversation.addToolResults(step.calls.map((call) => results.get(call)!));
  }
  yield {
    type: "error",
    id: ids.number("error"),
    errorText:
      `The model still asked for tools in step ${maxSteps}, the last that it is given ` +
      "for one reply. Ask it to go on, or to answer with what it has.",
    kind: "step-limit",
  };
  yield finishChunk("error", total);
}

function errorChunk(ids: Ids, error: ModelError): Chunk {
  return {
    type: "error",
    id: ids.number("error"),
    errorText: error.message,
    kind: error.kind,
    retryable: error.retryable,
  };
}

function finishChunk(finishReason: FinishReason, usage?: Usage): Chunk {
  return { type: "finish", finishReason, ...(usage && { usage }) };
}

// --- tools ------------------------------------------------------------------------

type Limits = Pick<Required<AgentOptions>, "toolTimeoutMs" | "maxOutput" | "secrets">;

interface Outcome {
  call: Call;
  /** What the model reads. */
  result: ToolResult;
  /** What a viewer sees; null if the call itself shows the error. */
  chunk: Chunk | null;
}

/** Run all calls at once; outcomes as they come. */
async function* runCalls(
  calls: readonly Call[],
  tools: Tools,
  signal: AbortSignal,
  limits: Limits,
): AsyncGenerator<Outcome> {
  const pending = new Map(
    calls.map((call) => [call, outcomeOf(call, tools, signal, limits)]),
  );
  while (pending.size > 0) {
    const outcome = await Promise.race(pending.values());
    if (signal.aborted) return;
    pending.delete(outcome.call);
    yield outcome;
  }
}

async function outcomeOf(
  call: Call,
  tools: Tools,
  signal: AbortSignal,
  limits: Limits,
): Promise<Outcome> {
  if (call.error !== null) {
    return { call, result: resultFor(call, call.error, true), chunk: null };
  }
  try {
    const value = await valueOf(call, tools, signal, limits);
    const [shown, read] = textsOf(value, limits);
    return {
      call,
      result: resultFor(call, read, false),
      chunk: {
        type: "tool-output-available",
        toolCallId: call.id,
        outputText: shown,
      },
    };
  } catch (error) {
    const { maxOutput, secrets } = limits;
    const errorText = firstCodePoints(redact(describe(error), secrets), maxOutput);
    const errorKind = error instanceof Failed ? error.kind : "tool-failed";
    return {
      call,
      result: resultFor(call, errorText, true),
      chunk: { type: "tool-output-error", toolCallId: call.id, errorText, errorKind },
    };
  }
}

/** Why a call has no result, if not because its tool threw. */
class Failed extends Error {
  constructor(
    readonly kind: ErrorKind,
    text: string,
  ) {
    super(text);
  }
}

async function valueOf(
  call: Call,
  tools: Tools,
  signal: AbortSignal,
  { toolTimeoutMs }: Limits,
): Promise<unknown> {
  const tool = tools.get(call.name);
  if (tool === undefined) {
    const names = [...tools.keys()].sort().join(", ") || "none";
    const text = `there is no tool ${quoted(call.name)}; there are: ${names}`;
    throw new Failed("tool-unknown", text);
  }
  return await withinTime(tool, call, signal, toolTimeoutMs);
}

async function withinTime(
  tool: Tool,
  call: Call,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<unknown> {
  const over = new AbortController();
  const stop = () => over.abort();
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  const deadline = sleep(timeoutMs, over.signal).then(() => {
    if (over.signal.aborted) return;
    const seconds = general(timeoutMs / 1000);
    throw new Failed("tool-timeout", `the tool did not answer within ${seconds} s`);
  });
  try {
    return await Promise.race([tool.run(call.args, over.signal), deadline]);
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

function describe(error: unknown): string {
  if (error instanceof Failed) return error.message;
  if (error instanceof Error) return `${error.name}: ${error.message}`;
  return String(error);
}

function resultFor(call: Call, text: string, isError: boolean): ToolResult {
  return { toolCallId: call.localId, toolName: call.name, text, isError };
}

/** A tool's result as JSON text for viewers, and as text for the model. */
function textsOf(
  value: unknown,
  { maxOutput, secrets }: Limits,
): [shown: string, read: string] {
  const shown = withoutKeys(jsonText(value), secrets);
  const text = typeof value === "string" ? withoutKeys(value, secrets) : shown;
  if (!isLongerThan(shown, maxOutput)) return [shown, text];
  const cut = jsonText({
    truncated: true,
    characters: Array.from(text).length,
    text: firstCodePoints(text, maxOutput),
  });
  return [cut, cut];
}
