/**
 * Chat Completions in OpenRouter's dialect, through `@openrouter/ai-sdk-provider`.
 *
 * Serves OpenRouter and, by KIT_OPENROUTER_BASE_URL, servers that speak the same.
 */
import { createOpenRouter, type OpenRouterProvider } from "@openrouter/ai-sdk-provider";
import type { Chunk, FinishReason } from "../parts";
import {
  type CallPart,
  field,
  listField,
  Reader,
  type ReasoningPart,
  textField,
} from "./reader";
import type { Ask, Wire, WireSettings } from "./wire";

const FINISH_REASONS: Readonly<Record<string, FinishReason>> = {
  stop: "stop",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
  length: "length",
  content_filter: "content-filter",
};

export class ChatWire implements Wire {
  readonly marksErrors = false;
  private readonly provider: OpenRouterProvider;

  constructor(private readonly settings: WireSettings) {
    const { route, fetch } = settings;
    this.provider = createOpenRouter({
      apiKey: route.apiKey.reveal(),
      baseURL: route.baseUrl,
      compatibility: "strict", // asks for usage: OpenRouter tells anyway, others do not
      fetch,
    });
  }

  ask(system: string | undefined): Promise<Ask> {
    const model = this.provider.chat(this.settings.route.model, {
      extraBody: { reasoning: { enabled: true } },
      usage: { include: true },
    });
    return Promise.resolve({ model, ...(system !== undefined && { system }) });
  }

  reader(): Reader {
    return new CompletionReader(this.settings.failures);
  }

  relent(): boolean {
    return false;
  }
}

/** The finish reason is the terminal event: usage and `[DONE]` follow it, or do not. */
class CompletionReader extends Reader {
  private reason = "";
  private refused = false;
  private signature = "";
  /** The part being written. Text and reasoning come one run at a time. */
  private run: { kind: "text" | "reasoning"; id: string } | null = null;
  private runs = 0;

  witness(event: unknown): void {
    const error = field(event, "error");
    if (error !== undefined) throw this.failures.inStream(error);
    // vLLM's way.
    if (field(event, "object") === "error") throw this.failures.inStream(event);
    for (const choice of listField(event, "choices")) {
      if (textField(choice, "delta", "refusal") !== "") this.refused = true;
      for (const detail of listField(choice, "delta", "reasoning_details")) {
        this.signature = textField(detail, "signature") || this.signature;
      }
      const reason = textField(choice, "finish_reason");
      if (reason === "error") {
        throw this.failures.inStream(null, "the model stopped with an error");
      }
      this.reason = reason || this.reason;
      this.rawReason =
        textField(choice, "native_finish_reason") || this.rawReason || reason;
    }
    this.complete = this.reason !== "";
  }

  protected finishReason(): FinishReason {
    const reason = FINISH_REASONS[this.reason] ?? "other";
    if (reason !== "stop") return reason;
    if (this.refused) return "content-filter";
    // Some servers end every answer with "stop".
    return this.calls.size > 0 ? "tool-calls" : "stop";
  }

  override finish(): Chunk[] {
    return [...this.endRun(), ...super.finish()];
  }

  protected override text(_id: string, delta: string): Chunk[] {
    const [chunks, id] = this.runOf("text");
    return [...chunks, { type: "text-delta", id, delta }];
  }

  protected override textEnd(): Chunk[] {
    return [];
  }

  protected override openCall(toolCallId: string, toolName: string): Chunk[] {
    if (this.calls.has(toolCallId)) return [];
    return [...this.endRun(), ...super.openCall(toolCallId, toolName)];
  }

  /** Arguments that could be complete are not: more may come, to the very end. */
  protected override callMade(part: CallPart): Chunk[] {
    return this.openCall(part.toolCallId, part.toolName);
  }

  protected reasoning(part: ReasoningPart): Chunk[] {
    if (part.type !== "reasoning-delta" || part.text === "") return [];
    const [chunks, id] = this.runOf("reasoning");
    return [...chunks, { type: "reasoning-delta", id, delta: part.text }];
  }

  /** The part being written, a new one if that is of another kind. */
  private runOf(kind: "text" | "reasoning"): [chunks: Chunk[], id: string] {
    if (this.run?.kind === kind) return [[], this.run.id];
    const ended = this.endRun();
    this.run = { kind, id: `${kind}-${this.runs++}` };
    if (kind === "text") return [ended, this.run.id];
    return [[...ended, { type: "reasoning-start", id: this.run.id }], this.run.id];
  }

  private endRun(): Chunk[] {
    const { run, signature } = this;
    this.run = null;
    if (run === null) return [];
    if (run.kind === "text") return [{ type: "text-end", id: run.id }];
    this.signature = "";
    return [{ type: "reasoning-end", id: run.id, ...(signature && { signature }) }];
  }
}
