/**
 * One exchange with a model: calls of the AI SDK's `streamText`, one step each.
 *
 * Which tools run, and when the model is asked again, is the agent's business; so each
 * call is a single step, and its tools have nothing to run.
 */
import {
  jsonSchema,
  type ModelMessage,
  streamText,
  tool,
  type ToolSet,
  wrapLanguageModel,
} from "ai";
import { sleep } from "../alarm";
import type { Chunk } from "../parts";
import type { Turn } from "../stored";
import { wellFormed } from "../text";
import type { Tools } from "../tools";
import { AnthropicWire } from "./anthropic";
import { ChatWire } from "./chat";
import type { ModelError } from "./errors";
import { Failures, LONGEST_WAIT } from "./failures";
import type { Route } from "./providers";
import type { Reader } from "./reader";
import { ResponsesWire } from "./responses";
import { Transport } from "./transport";
import type { Ask, Wire, WireSettings } from "./wire";

// A warning would show up in the log with parts of what was asked.
(globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS = false;

/** How long to wait for what comes after the reply has ended: usage, `[DONE]`. */
const TRAILER_TIMEOUT_MS = 5_000;

// How often a call is tried again, and after how long at first, in seconds.
const RETRIES = 2;
const FIRST_WAIT = 0.5;

/** What a tool call came to: text for the model, or an error in words. */
export interface ToolResult {
  toolCallId: string;
  toolName: string;
  text: string;
  isError: boolean;
}

export interface ConversationSettings {
  route: Route;
  system: string | undefined;
  turns: readonly Turn[];
  tools: Tools;
  /** When it is aborted, everything under way ends at once. */
  signal: AbortSignal;
}

export class Conversation {
  private readonly failures: Failures;
  private readonly transport: Transport;
  private readonly wire: Wire;
  private readonly signal: AbortSignal;
  private readonly system: string | undefined;
  private readonly tools: ToolSet;
  private readonly messages: ModelMessage[];

  /** Starts from these turns, the last of which is the user's. */
  constructor({ route, system, turns, tools, signal }: ConversationSettings) {
    const readTimeoutMs = route.readTimeout * 1000;
    this.failures = new Failures(route);
    this.transport = new Transport(this.failures, readTimeoutMs, signal);
    this.wire = openWire({
      route,
      failures: this.failures,
      fetch: this.transport.fetch,
    });
    this.signal = signal;
    this.system = system?.trim() ? wellFormed(system) : undefined;
    this.tools = Object.fromEntries(
      Array.from(tools, ([name, { description, parameters }]) => [
        name,
        // Strict, the default of some, refuses schemas with optional properties.
        tool({ description, inputSchema: jsonSchema(parameters), strict: false }),
      ]),
    );
    this.messages = spokenTurns(turns).map(({ role, text }) => ({
      role,
      content: text,
    }));
  }

  /**
   * One model call.
   *
   * Yields `text-*`, `reasoning-*` and `tool-input-*` chunks, then exactly one
   * `finish-step`. Arguments of a tool call are given as they came: they may be invalid
   * JSON. Retries failures that may pass, but only before the first chunk. What the
   * model said enters the history with `finish-step`.
   *
   * Throws ModelError. When the signal is aborted, it just ends, or throws anything.
   */
  async *step(): AsyncGenerator<Chunk> {
    if (this.messages.length === 0) throw this.failures.noPrompt();
    let tried = 0;
    while (!this.signal.aborted) {
      let begun = false;
      let failure: ModelError;
      try {
        for await (const chunk of this.attempt()) {
          begun = true;
          yield chunk;
        }
        return;
      } catch (error) {
        failure = this.transport.failure ?? this.failures.describe(error);
      }
      if (!begun && this.wire.relent(failure)) continue;
      const wait = begun ? null : retryWait(failure, tried);
      if (wait === null) throw failure;
      await sleep(wait * 1000, this.signal);
      tried += 1;
    }
  }

  /** Answer the calls of the last step: one result for each, in their order. */
  addToolResults(results: readonly ToolResult[]): void {
    const content = results.map(({ toolCallId, toolName, text, isError }) => {
      const value = wellFormed(text);
      const marked = isError && this.wire.marksErrors;
      const said = isError && !marked ? `Error: ${value}` : value;
      return {
        type: "tool-result" as const,
        toolCallId,
        toolName,
        output: {
          type: marked ? ("error-text" as const) : ("text" as const),
          value: said,
        },
      };
    });
    this.messages.push({ role: "tool", content });
  }

  private async *attempt(): AsyncGenerator<Chunk> {
    const { model, ...ask } = await this.wire.ask(this.system);
    const reader = this.wire.reader();
    const result = streamText({
      ...ask,
      model: witnessed(model, reader, () => {
        this.transport.expectEnd(TRAILER_TIMEOUT_MS);
      }),
      messages: this.messages,
      tools: this.tools,
      maxRetries: 0,
      abortSignal: this.signal,
      onError: () => {}, // by default, it prints them
    });
    try {
      for await (const part of result.fullStream) yield* reader.take(part);
    } catch (error) {
      if (!reader.complete) throw error;
    }
    if (!reader.complete) throw this.incomplete();
    const { messages } = await result.response;
    // Results of its own making, for arguments that are no JSON, are left out.
    const said = messages.filter((message) => message.role === "assistant");
    this.messages.push(...said);
    yield* reader.finish();
  }

  /** The SDK reads a web page as a stream without events. */
  private incomplete(): ModelError {
    const { contentType } = this.transport;
    if (contentType !== "" && contentType !== "text/event-stream") {
      return this.failures.protocol(`it is ${contentType}, not a stream of events`);
    }
    return this.failures.interrupted();
  }
}

function openWire(settings: WireSettings): Wire {
  switch (settings.route.provider) {
    case "anthropic":
      return new AnthropicWire(settings);
    case "openai":
      return new ResponsesWire(settings);
    case "openrouter":
      return new ChatWire(settings);
  }
}

/**
 * The model, its own events read on the way.
 *
 * They are taken out again: `streamText` keeps all that it is given to the end.
 */
function witnessed(
  model: Ask["model"],
  reader: Reader,
  onComplete: () => void,
): Ask["model"] {
  return wrapLanguageModel({
    model: model as Parameters<typeof wrapLanguageModel>[0]["model"],
    middleware: {
      specificationVersion: "v3",
      transformParams: ({ params }) =>
        Promise.resolve({ ...params, includeRawChunks: true }),
      wrapStream: async ({ doStream }) => {
        const { stream, ...rest } = await doStream();
        const witness = new TransformStream<StreamPart, StreamPart>({
          transform(part, controller) {
            if (part.type !== "raw") {
              if (!isMisunderstanding(part)) controller.enqueue(part);
              return;
            }
            const wasComplete = reader.complete;
            try {
              reader.witness(part.rawValue);
            } catch (error) {
              controller.enqueue({ type: "error", error });
              controller.terminate();
              return;
            }
            if (reader.complete && !wasComplete) onComplete();
          },
        });
        return { stream: stream.pipeThrough(witness), ...rest };
      },
    },
  });
}

type WrapStream = NonNullable<
  Extract<
    Parameters<typeof wrapLanguageModel>[0]["middleware"],
    { wrapStream?: unknown }
  >["wrapStream"]
>;
type StreamPart =
  Awaited<ReturnType<WrapStream>>["stream"] extends ReadableStream<infer Part>
    ? Part
    : never;

/** Whether it says that the SDK does not know an event: such events are passed over. */
function isMisunderstanding(part: StreamPart): boolean {
  return (
    part.type === "error" &&
    part.error instanceof Error &&
    part.error.name === "AI_TypeValidationError"
  );
}

/**
 * The turns that a provider accepts.
 *
 * A reply that was stopped before its first word is an empty turn, and a history cut to
 * its newest messages may start with an answer: providers refuse both.
 */
function spokenTurns(turns: readonly Turn[]): Turn[] {
  const spoken = turns
    .filter(({ text }) => text.trim() !== "")
    .map(({ role, text }) => ({ role, text: wellFormed(text) }));
  const first = spoken.findIndex(({ role }) => role === "user");
  return first < 0 ? [] : spoken.slice(first);
}

/** Seconds to the next try; null if the failure is final. */
function retryWait(failure: ModelError, tried: number): number | null {
  // After a long silence the user has waited enough, and may have paid for it.
  const stalled = failure.kind === "timeout" && failure.status === undefined;
  if (tried >= RETRIES || !failure.retryable || stalled) return null;
  const { retryAfter } = failure;
  if (retryAfter === undefined) {
    return FIRST_WAIT * 2 ** tried * (0.75 + Math.random() / 4);
  }
  return retryAfter <= LONGEST_WAIT ? retryAfter : null;
}
