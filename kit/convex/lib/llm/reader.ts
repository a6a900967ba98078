/**
 * From the parts that the AI SDK streams to the chunks of one model call.
 *
 * Holds what all wires have in common. What the AI SDK leaves out, the wires read from
 * the provider's own events: whether the reply has come to its proper end, the
 * provider's word for that end, and errors that come in the stream.
 */
import type { LanguageModelUsage, TextStreamPart, ToolSet } from "ai";
import type { Chunk, FinishReason, Usage } from "../parts";
import type { Failures } from "./failures";

type Part = TextStreamPart<ToolSet>;
type PartOf<Type extends Part["type"]> = Extract<Part, { type: Type }>;
export type ReasoningPart = PartOf<
  "reasoning-start" | "reasoning-delta" | "reasoning-end"
>;

export type CallPart = PartOf<"tool-call">;

/** A tool call as far as it has come; `text` is its arguments' JSON text. */
interface Call {
  name: string;
  text: string;
  closed: boolean;
}

/** Reads one model call. Ids of parts are unique within it. */
export abstract class Reader {
  /** Has the provider said how the call ends? */
  complete = false;
  protected readonly calls = new Map<string, Call>();
  /** The provider's own word for the end. */
  protected rawReason = "";
  private usage: Usage | undefined;

  constructor(protected readonly failures: Failures) {}

  /** Read one event of the provider. Throws ModelError for an error in the stream. */
  abstract witness(event: unknown): void;

  /** How the call ended. */
  protected abstract finishReason(): FinishReason;

  protected abstract reasoning(part: ReasoningPart): Chunk[];

  /** The chunks of one part. Throws ModelError. */
  take(part: Part): Chunk[] {
    switch (part.type) {
      case "text-delta":
        return part.text === "" ? [] : this.text(part.id, part.text);
      case "text-end":
        return this.textEnd(part.id);
      case "reasoning-start":
      case "reasoning-delta":
      case "reasoning-end":
        return this.reasoning(part);
      case "tool-input-start":
        return this.openCall(part.id, part.toolName);
      case "tool-input-delta":
        return this.input(part.id, part.delta);
      case "tool-call":
        return this.callMade(part);
      case "finish-step":
        this.usage = usageOf(part.usage, part.providerMetadata);
        return [];
      case "error":
        // Once the reply is complete, nothing that follows can harm it.
        if (this.complete) return [];
        throw this.failures.describe(part.error);
      default:
        return [];
    }
  }

  /** What closes the call: arguments still open, and `finish-step`. */
  finish(): Chunk[] {
    const open = [...this.calls.keys()].flatMap((id) => this.closeCall(id));
    const last: Chunk = {
      type: "finish-step",
      finishReason: this.finishReason(),
      ...(this.usage && { usage: this.usage }),
      ...(this.rawReason !== "" && { rawFinishReason: this.rawReason }),
    };
    return [...open, last];
  }

  protected text(id: string, delta: string): Chunk[] {
    return [{ type: "text-delta", id, delta }];
  }

  protected textEnd(id: string): Chunk[] {
    return [{ type: "text-end", id }];
  }

  protected openCall(toolCallId: string, toolName: string): Chunk[] {
    if (this.calls.has(toolCallId)) return [];
    this.calls.set(toolCallId, { name: toolName, text: "", closed: false });
    return [{ type: "tool-input-start", toolCallId, toolName }];
  }

  protected callMade(part: CallPart): Chunk[] {
    const { toolCallId, toolName, input } = part;
    return [
      ...this.openCall(toolCallId, toolName),
      ...this.closeCall(toolCallId, input),
    ];
  }

  private input(toolCallId: string, inputTextDelta: string): Chunk[] {
    const call = this.calls.get(toolCallId);
    if (!call || call.closed || inputTextDelta === "") return [];
    call.text += inputTextDelta;
    return [{ type: "tool-input-delta", toolCallId, inputTextDelta }];
  }

  /** The arguments as they came, which may be no JSON; else as the SDK has them. */
  private closeCall(toolCallId: string, input?: unknown): Chunk[] {
    const call = this.calls.get(toolCallId);
    if (!call || call.closed) return [];
    call.closed = true;
    const given = typeof input === "string" ? input : JSON.stringify(input ?? {});
    return [
      {
        type: "tool-input-available",
        toolCallId,
        toolName: call.name,
        inputText: call.text.trim() || given,
      },
    ];
  }
}

/** What the provider counted; undefined if it did not say. Unknown is absent, not 0. */
function usageOf(
  told: LanguageModelUsage,
  metadata: PartOf<"finish-step">["providerMetadata"],
): Usage | undefined {
  const { inputTokens, outputTokens, totalTokens } = told;
  if (inputTokens === undefined || outputTokens === undefined) return undefined;
  const cached = told.inputTokenDetails.cacheReadTokens;
  const reasoning = told.outputTokenDetails.reasoningTokens;
  const cost = field(metadata?.["openrouter"]?.["usage"], "cost");
  return {
    promptTokens: inputTokens,
    completionTokens: outputTokens,
    totalTokens: totalTokens ?? inputTokens + outputTokens,
    ...(cached !== undefined && { cachedTokens: cached }),
    ...(reasoning !== undefined && { reasoningTokens: reasoning }),
    ...(typeof cost === "number" && { cost }),
  };
}

// --- reading what a stranger sent --------------------------------------------------

/** A field of an event; undefined if there is none. */
export function field(value: unknown, ...names: string[]): unknown {
  for (const name of names) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** A text field of an event; "" if it is absent or anything else. */
export function textField(value: unknown, ...names: string[]): string {
  const found = field(value, ...names);
  return typeof found === "string" ? found : "";
}

/** A list field of an event; empty if it is absent or anything else. */
export function listField(value: unknown, ...names: string[]): unknown[] {
  const found = field(value, ...names);
  return Array.isArray(found) ? found : [];
}
