/**
 * Chunks and parts: what a reply is streamed as, and what a message is made of.
 *
 * Holds the fold from the one to the other. Pure: no I/O, no clock, no React. Part ids
 * are final, since the producer has assigned them: every viewer has the same ids in the
 * same order, whenever it joined.
 *
 * Belongs into apps/frontend/hooks/convex/.
 */
import type { FunctionReturnType } from "convex/server";
import type { api } from "../../../../convex/_generated/api";

/** A row of `messages:byTask`. */
export type Message = FunctionReturnType<typeof api.messages.byTask>[number];
/** What was saved of a reply at once. */
export type Delta = FunctionReturnType<typeof api.streaming.read>["deltas"][number];
/** One event of a reply being written. */
export type Chunk = Delta["chunks"][number];
/** One piece of a message: text, reasoning, a tool's call, its result, an error. */
export type Part = NonNullable<Message["parts"]>[number];

/** Why something failed, for programs; beside it is a text for people. */
export type ErrorKind = NonNullable<Message["errorKind"]>;

type PartOf<Type extends Part["type"]> = Extract<Part, { type: Type }>;
type ChunkOf<Type extends Chunk["type"]> = Extract<Chunk, { type: Type }>;

/** The parts of a reply that is being written: by id, and their ids, first seen first. */
export interface LiveParts {
  readonly map: ReadonlyMap<string, Part>;
  readonly order: readonly string[];
}

export const NO_PARTS: LiveParts = { map: new Map(), order: [] };

/** The id of the part that holds the result of a tool call. */
export function resultId(toolCallId: string): string {
  return `${toolCallId}-result`;
}

/**
 * Chunks in, parts out.
 *
 * A part that a chunk does not touch stays the same object, so that a memoized
 * component of it does not render again. The fold forgives what a faulty producer or a
 * log with a lost head may hold: a delta without its start opens the part, a second
 * start of an id changes nothing, a chunk of an unknown type is ignored.
 */
export class PartsFold {
  private readonly parts = new Map<string, Part>();
  private order: readonly string[] = [];

  constructor(chunks: Iterable<Chunk> = []) {
    for (const chunk of chunks) this.apply(chunk);
  }

  /** The parts as they are now; later chunks do not change what was returned. */
  snapshot(): LiveParts {
    return { map: new Map(this.parts), order: this.order };
  }

  apply(chunk: Chunk): void {
    switch (chunk.type) {
      case "text-start":
        this.open(chunk.id, "text");
        break;
      case "reasoning-start":
        if (chunk.redactedData === undefined) {
          this.open(chunk.id, "reasoning");
        } else {
          const { id, redactedData: data } = chunk;
          this.put({ id, type: "redacted-reasoning", data });
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
        this.appendInput(chunk.toolCallId, chunk.inputTextDelta);
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
        this.put({ id, type: "error", errorText, kind });
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

  private put(part: Part): void {
    if (!this.parts.has(part.id)) this.order = [...this.order, part.id];
    this.parts.set(part.id, part);
  }

  private open(id: string, type: "text" | "reasoning"): Part {
    const known = this.parts.get(id);
    if (known !== undefined) return known;
    const part: Part = { id, type, text: "", state: "streaming" };
    this.put(part);
    return part;
  }

  private openCall(toolCallId: string, toolName: string): PartOf<"tool-call"> {
    const known = this.parts.get(toolCallId);
    if (known?.type === "tool-call") return known;
    const part: PartOf<"tool-call"> = {
      id: toolCallId,
      type: "tool-call",
      toolCallId,
      toolName,
      argsText: "",
      state: "input-streaming",
    };
    this.put(part);
    return part;
  }

  private append(id: string, type: "text" | "reasoning", delta: string): void {
    const part = this.open(id, type);
    if ("text" in part) this.put({ ...part, text: part.text + delta });
  }

  private appendInput(toolCallId: string, delta: string): void {
    const call = this.openCall(toolCallId, "");
    this.put({ ...call, argsText: call.argsText + delta });
  }

  private end(id: string, signature?: string): void {
    const part = this.parts.get(id);
    if (part?.type === "text") {
      this.put({ ...part, state: "done" });
    } else if (part?.type === "reasoning") {
      const signed = signature === undefined ? {} : { signature };
      this.put({ ...part, ...signed, state: "done" });
    }
  }

  private setInput(
    chunk: ChunkOf<"tool-input-available"> | ChunkOf<"tool-input-error">,
  ): void {
    const { toolCallId, toolName, inputText: argsText } = chunk;
    const call = { ...this.openCall(toolCallId, toolName), toolName, argsText };
    if (chunk.type === "tool-input-available") {
      this.put({ ...call, state: "input-available" });
    } else {
      const { errorText, errorKind } = chunk;
      const kind = errorKind === undefined ? {} : { errorKind };
      this.put({ ...call, state: "input-error", errorText, ...kind });
    }
  }

  private putResult(
    toolCallId: string,
    resultText: string,
    isError: boolean,
    errorKind?: ErrorKind,
  ): void {
    const call = this.parts.get(toolCallId);
    const toolName = call?.type === "tool-call" ? call.toolName : "";
    const id = resultId(toolCallId);
    const result = { type: "tool-result" as const, resultText, isError };
    const kind = errorKind === undefined ? {} : { errorKind };
    this.put({ id, toolCallId, toolName, ...result, ...kind });
  }
}
