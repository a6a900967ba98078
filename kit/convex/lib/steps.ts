/**
 * One model call's chunks: from the provider's ids to the reply's final ids.
 *
 * Takes what a `Conversation` yields in one step and says what the reply's log shall
 * hold instead. Pure.
 */
import { thousands } from "./format";
import { type Chunk, type ErrorKind, resultId } from "./parts";
import { firstCodePoints, isLongerThan } from "./text";
import type { ToolArguments } from "./tools";

const MAX_ID_LENGTH = 200;

type ChunkOf<Type extends Chunk["type"]> = Extract<Chunk, { type: Type }>;
export type FinishStep = ChunkOf<"finish-step">;

/** Hands out the part ids of one reply, each once. */
export class Ids {
  private readonly counts = new Map<string, number>();
  private readonly taken = new Set<string>();

  /** `text-0`, `text-1`, … */
  number(prefix: "text" | "reasoning" | "redacted-reasoning" | "error"): string {
    for (;;) {
      const count = this.counts.get(prefix) ?? 0;
      this.counts.set(prefix, count + 1);
      const id = `${prefix}-${count}`;
      if (!this.taken.has(id)) {
        this.taken.add(id);
        return id;
      }
    }
  }

  /** The provider's id, made unique: some providers count anew in each step. */
  call(localId: string): string {
    const base = firstCodePoints(localId, MAX_ID_LENGTH) || "call";
    let id = base;
    for (let count = 2; this.isTaken(id); count++) id = `${base}-${count}`;
    this.taken.add(id).add(resultId(id));
    return id;
  }

  private isTaken(id: string): boolean {
    return this.taken.has(id) || this.taken.has(resultId(id));
  }
}

/** A tool call of the step; once complete, it has `args` or an `error`. */
export interface Call {
  id: string;
  localId: string;
  name: string;
  input: string;
  complete: boolean;
  args: ToolArguments;
  error: string | null;
}

/**
 * Rewrites the chunks of one step, and remembers its tool calls and its finish.
 *
 * Text blocks that follow each other directly become one part, empty ones none: a text
 * part starts with its first text, and ends when something else begins.
 */
export class StepChunks {
  finish: FinishStep | null = null;
  readonly calls: Call[] = [];
  /** Open blocks: local id -> final id. */
  private readonly texts = new Map<string, string>();
  private readonly reasonings = new Map<string, string>();
  /** A part whose text-end is not out yet. */
  private endedText: string | null = null;
  private readonly callsByLocalId = new Map<string, Call>();

  constructor(
    private readonly ids: Ids,
    private readonly maxInput: number,
  ) {}

  /** What to write to the reply's log for this chunk. */
  *take(chunk: Chunk): Generator<Chunk> {
    switch (chunk.type) {
      case "text-start":
        return; // begins with its first text
      case "text-delta":
        return yield* this.text(chunk.id, chunk.delta);
      case "text-end":
        return yield* this.textEnd(chunk.id);
      case "reasoning-start":
        return yield* this.reasoningStart(chunk.id, chunk.redactedData);
      case "reasoning-delta":
        return yield* this.reasoning(chunk.id, chunk.delta);
      case "reasoning-end":
        return yield* this.reasoningEnd(chunk.id, chunk.signature);
      case "tool-input-start":
        return yield* this.callStart(chunk.toolCallId, chunk.toolName);
      case "tool-input-delta":
        return yield* this.inputDelta(chunk.toolCallId, chunk.inputTextDelta);
      case "tool-input-available":
        return yield* this.input(chunk.toolCallId, chunk.toolName, chunk.inputText);
      case "finish-step":
        this.finish = chunk;
        yield* this.endBlocks();
        yield chunk;
        return;
      default:
        throw new TypeError(`a model step cannot yield ${chunk.type}`);
    }
  }

  /** End what is open, and answer the tool calls: they will not be run. */
  *abandon(reason: string): Generator<Chunk> {
    yield* this.endBlocks();
    for (const call of this.calls) {
      if (!call.complete) {
        yield failInput(call, call.input, reason, "tool-not-run");
      } else if (call.error === null) {
        const { id: toolCallId } = call;
        yield {
          type: "tool-output-error",
          toolCallId,
          errorText: reason,
          errorKind: "tool-not-run",
        };
      }
    }
  }

  // --- text -----------------------------------------------------------------------

  private *text(localId: string, delta: string): Generator<Chunk> {
    if (delta === "") return;
    let id = this.texts.get(localId);
    if (id !== undefined) {
      yield* this.settleText();
    } else if (this.endedText !== null) {
      id = this.endedText;
      this.endedText = null;
      this.texts.set(localId, id);
    } else {
      id = this.ids.number("text");
      this.texts.set(localId, id);
      yield { type: "text-start", id };
    }
    yield { type: "text-delta", id, delta };
  }

  private *textEnd(localId: string): Generator<Chunk> {
    const id = this.texts.get(localId);
    if (id === undefined) return;
    yield* this.settleText();
    this.endedText = id;
    this.texts.delete(localId);
  }

  /** Something else goes on: the last text part does not. */
  private *settleText(): Generator<Chunk> {
    if (this.endedText === null) return;
    yield { type: "text-end", id: this.endedText };
    this.endedText = null;
  }

  // --- reasoning ------------------------------------------------------------------

  private *reasoningStart(localId: string, redacted?: string): Generator<Chunk> {
    yield* this.settleText();
    if (redacted === undefined) {
      const id = this.ids.number("reasoning");
      this.reasonings.set(localId, id);
      yield { type: "reasoning-start", id };
    } else {
      const id = this.ids.number("redacted-reasoning");
      this.reasonings.set(localId, id);
      yield { type: "reasoning-start", id, redactedData: redacted };
    }
  }

  private *reasoning(localId: string, delta: string): Generator<Chunk> {
    if (delta === "") return;
    yield* this.settleText();
    if (!this.reasonings.has(localId)) yield* this.reasoningStart(localId);
    const id = this.reasonings.get(localId)!;
    yield { type: "reasoning-delta", id, delta };
  }

  private *reasoningEnd(localId: string, signature?: string): Generator<Chunk> {
    const id = this.reasonings.get(localId);
    if (id === undefined) return;
    this.reasonings.delete(localId);
    const signed = signature !== undefined && { signature };
    yield { type: "reasoning-end", id, ...signed };
  }

  private *endBlocks(): Generator<Chunk> {
    yield* this.settleText();
    for (const id of this.texts.values()) yield { type: "text-end", id };
    this.texts.clear();
    for (const localId of [...this.reasonings.keys()]) {
      yield* this.reasoningEnd(localId);
    }
  }

  // --- tool calls -----------------------------------------------------------------

  private *callStart(localId: string, name: string): Generator<Chunk, Call> {
    yield* this.settleText();
    const call: Call = {
      id: this.ids.call(localId),
      localId,
      name,
      input: "",
      complete: false,
      args: {},
      error: null,
    };
    this.calls.push(call);
    this.callsByLocalId.set(localId, call);
    yield { type: "tool-input-start", toolCallId: call.id, toolName: name };
    return call;
  }

  private *inputDelta(localId: string, delta: string): Generator<Chunk> {
    const call = this.callsByLocalId.get(localId);
    if (delta === "" || call === undefined) return;
    yield* this.settleText();
    call.input += delta;
    const { id: toolCallId } = call;
    yield { type: "tool-input-delta", toolCallId, inputTextDelta: delta };
  }

  private *input(localId: string, name: string, text: string): Generator<Chunk> {
    const known = this.callsByLocalId.get(localId);
    const call = known ?? (yield* this.callStart(localId, name));
    yield* this.settleText();
    const [args, error] = argumentsIn(text, this.maxInput);
    if (error !== null) {
      const shown = firstCodePoints(text, this.maxInput);
      yield failInput(call, shown, error, "tool-input");
      return;
    }
    call.args = args;
    call.complete = true;
    yield {
      type: "tool-input-available",
      toolCallId: call.id,
      toolName: call.name,
      inputText: text.trim() === "" ? "{}" : text,
    };
  }
}

function failInput(
  call: Call,
  inputText: string,
  error: string,
  errorKind: ErrorKind,
): Chunk {
  call.complete = true;
  call.error = error;
  return {
    type: "tool-input-error",
    toolCallId: call.id,
    toolName: call.name,
    inputText,
    errorText: error,
    errorKind,
  };
}

/** The arguments in `text`, or why there are none. */
function argumentsIn(
  text: string,
  maxLength: number,
): [args: ToolArguments, error: string | null] {
  if (isLongerThan(text, maxLength)) {
    const limit = thousands(maxLength);
    return [{}, `the arguments are longer than ${limit} characters`];
  }
  let value: unknown;
  try {
    value = text.trim() === "" ? {} : JSON.parse(text);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return [{}, `the arguments are not JSON: ${problem}`];
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{}, "the arguments are not a JSON object"];
  }
  return [value as ToolArguments, null];
}
