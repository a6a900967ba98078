/**
 * Chunks and parts: the fold from what a model streams to what a message is made of,
 * and the merging of neighbouring deltas. Pure. The shapes are `vChunk` and `vPart`.
 */
import type { Infer } from "convex/values";
import type { vChunk, vErrorKind, vFinishReason, vPart, vUsage } from "../schema";

export type Chunk = Infer<typeof vChunk>;
export type Part = Infer<typeof vPart>;
export type Usage = Infer<typeof vUsage>;
export type ErrorKind = Infer<typeof vErrorKind>;
export type FinishReason = Infer<typeof vFinishReason>;

type ChunkOf<Type extends Chunk["type"]> = Extract<Chunk, { type: Type }>;

/** The id of the part that holds the result of a tool call. */
export function resultId(toolCallId: string): string {
  return `${toolCallId}-result`;
}

/**
 * The sum of two usages, where undefined and absent fields are unknown.
 *
 * A field that only one of them has is taken from it, so a sum is a lower bound.
 */
export function addUsage(
  total: Usage | undefined,
  usage: Usage | undefined,
): Usage | undefined {
  if (total === undefined || usage === undefined) return total ?? usage;
  const summed: Usage = {
    promptTokens: total.promptTokens + usage.promptTokens,
    completionTokens: total.completionTokens + usage.completionTokens,
    totalTokens: total.totalTokens + usage.totalTokens,
  };
  for (const name of ["cachedTokens", "reasoningTokens", "cost"] as const) {
    if (total[name] !== undefined || usage[name] !== undefined) {
      summed[name] = (total[name] ?? 0) + (usage[name] ?? 0);
    }
  }
  return summed;
}

// --- the fold ---------------------------------------------------------------------

/**
 * Chunks in, parts out, in the order in which their ids were first seen.
 *
 * The fold forgives what a faulty producer or a log with a lost head may hold: a delta
 * without its start opens the part, a second start of an id changes nothing.
 */
export class PartsFold {
  private readonly parts = new Map<string, Part>();

  constructor(chunks: Iterable<Chunk> = []) {
    for (const chunk of chunks) this.apply(chunk);
  }

  /** All parts in order. */
  snapshot(): Part[] {
    return [...this.parts.values()];
  }

  /** The plain text of the reply: its text parts, one after the other. */
  content(): string {
    return contentOf(this.parts.values());
  }

  /** Fold one chunk in. Steps, finish and abort change no part. */
  apply(chunk: Chunk): void {
    switch (chunk.type) {
      case "text-start":
        this.open(chunk.id, "text");
        break;
      case "reasoning-start":
        if (chunk.redactedData === undefined) {
          this.open(chunk.id, "reasoning");
        } else {
          const data = chunk.redactedData;
          this.parts.set(chunk.id, {
            id: chunk.id,
            type: "redacted-reasoning",
            data,
          });
        }
        break;
      case "text-delta":
        this.append(chunk.id, "text", chunk.delta);
        break;
      case "reasoning-delta":
        this.append(chunk.id, "reasoning", chunk.delta);
        break;
      case "text-end":
        this.end(chunk.id);
        break;
      case "reasoning-end":
        this.end(chunk.id, chunk.signature);
        break;
      case "tool-input-start":
        this.openCall(chunk.toolCallId, chunk.toolName);
        break;
      case "tool-input-delta":
        this.append(this.openCall(chunk.toolCallId, ""), "text", chunk.inputTextDelta);
        break;
      case "tool-input-available":
      case "tool-input-error":
        this.setInput(chunk);
        break;
      case "tool-output-available":
        this.putResult(chunk.toolCallId, chunk.outputText, false);
        break;
      case "tool-output-error":
        this.putResult(chunk.toolCallId, chunk.errorText, true, chunk.errorKind);
        break;
      case "error": {
        const { id, errorText, kind } = chunk;
        this.parts.set(id, { id, type: "error", errorText, kind });
        break;
      }
      case "start-step":
      case "finish-step":
      case "abort":
      case "finish":
        break;
      default:
        chunk satisfies never;
    }
  }

  /**
   * End what is still open, as when a producer was stopped or died.
   *
   * Text and reasoning become done; a tool call whose arguments are incomplete becomes
   * an input error, and one without a result gets an error result, both saying
   * `reason`, of kind `tool-not-run`.
   */
  close(reason: string): void {
    for (const part of this.snapshot()) {
      if (!("state" in part)) continue;
      if (part.state === "streaming") {
        part.state = "done";
      } else if (part.state === "input-streaming") {
        part.state = "input-error";
        part.errorText = reason;
        part.errorKind = "tool-not-run";
      } else if (
        part.state === "input-available" &&
        !this.parts.has(resultId(part.id))
      ) {
        this.putResult(part.id, reason, true, "tool-not-run");
      }
    }
  }

  private open(id: string, type: "text" | "reasoning"): void {
    if (this.parts.has(id)) return;
    this.parts.set(id, { id, type, text: "", state: "streaming" });
  }

  private openCall(toolCallId: string, toolName: string): string {
    if (!this.parts.has(toolCallId)) {
      this.parts.set(toolCallId, {
        id: toolCallId,
        type: "tool-call",
        toolCallId,
        toolName,
        argsText: "",
        state: "input-streaming",
      });
    }
    return toolCallId;
  }

  private append(id: string, type: "text" | "reasoning", delta: string): void {
    this.open(id, type);
    const part = this.parts.get(id)!;
    // A run-time string grows in O(delta): engines keep it as a rope until it is read.
    if (part.type === "tool-call") part.argsText += delta;
    else if ("text" in part) part.text += delta;
  }

  private end(id: string, signature?: string): void {
    const part = this.parts.get(id);
    if (part === undefined || !("state" in part)) return;
    if (part.type === "tool-call") return;
    part.state = "done";
    if (part.type === "reasoning" && signature !== undefined) {
      part.signature = signature;
    }
  }

  private setInput(
    chunk: ChunkOf<"tool-input-available"> | ChunkOf<"tool-input-error">,
  ): void {
    const part = this.parts.get(this.openCall(chunk.toolCallId, chunk.toolName));
    if (part?.type !== "tool-call") return;
    part.argsText = chunk.inputText;
    part.toolName = chunk.toolName;
    if (chunk.type === "tool-input-available") {
      part.state = "input-available";
    } else {
      part.state = "input-error";
      part.errorText = chunk.errorText;
      if (chunk.errorKind !== undefined) part.errorKind = chunk.errorKind;
    }
  }

  private putResult(
    toolCallId: string,
    text: string,
    isError: boolean,
    errorKind?: ErrorKind,
  ): void {
    const call = this.parts.get(toolCallId);
    const id = resultId(toolCallId);
    this.parts.set(id, {
      id,
      type: "tool-result",
      toolCallId,
      toolName: call?.type === "tool-call" ? call.toolName : "",
      resultText: text,
      isError,
      ...(errorKind !== undefined && { errorKind }),
    });
  }
}

/** The text parts, one after the other. */
export function contentOf(parts: Iterable<Part>): string {
  let content = "";
  for (const part of parts) if (part.type === "text") content += part.text;
  return content;
}

// --- merging ----------------------------------------------------------------------

export type Delta = ChunkOf<"text-delta" | "reasoning-delta" | "tool-input-delta">;

export function isDelta(chunk: Chunk): chunk is Delta {
  return (
    chunk.type === "text-delta" ||
    chunk.type === "reasoning-delta" ||
    chunk.type === "tool-input-delta"
  );
}

/** What a delta adds. */
export function textOf(delta: Delta): string {
  return delta.type === "tool-input-delta" ? delta.inputTextDelta : delta.delta;
}

/** The delta with another text. */
export function withText(delta: Delta, text: string): Delta {
  return delta.type === "tool-input-delta"
    ? { ...delta, inputTextDelta: text }
    : { ...delta, delta: text };
}

/** Whether both deltas add to the same part. */
export function continues(last: Delta, next: Delta): boolean {
  return last.type === next.type && idOf(last) === idOf(next);
}

function idOf(delta: Delta): string {
  return delta.type === "tool-input-delta" ? delta.toolCallId : delta.id;
}

/**
 * The same log with neighbouring deltas of one part as one chunk.
 *
 * Folding the result gives the same parts. Chunks are not changed in place.
 */
export function mergeChunks(chunks: Iterable<Chunk>): Chunk[] {
  const merged: Chunk[] = [];
  for (const chunk of chunks) {
    const last = merged.at(-1);
    if (last && isDelta(last) && isDelta(chunk) && continues(last, chunk)) {
      merged[merged.length - 1] = withText(last, textOf(last) + textOf(chunk));
    } else {
      merged.push(chunk);
    }
  }
  return merged;
}
