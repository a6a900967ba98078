/**
 * OpenAI Responses, through `@ai-sdk/openai`.
 *
 * Nothing is stored at OpenAI: `store` is off and the whole history is sent each time,
 * reasoning as encrypted items.
 */
import { createOpenAI, type OpenAIProvider } from "@ai-sdk/openai";
import type { Chunk, FinishReason } from "../parts";
import type { ModelError } from "./errors";
import { field, Reader, type ReasoningPart, textField } from "./reader";
import type { Ask, Wire, WireSettings } from "./wire";

const INCOMPLETE_REASONS: Readonly<Record<string, FinishReason>> = {
  max_output_tokens: "length",
  content_filter: "content-filter",
};

// What only models that reason accept.
const REASONING = {
  forceReasoning: true,
  reasoningSummary: "auto",
  include: ["reasoning.encrypted_content"],
};

export class ResponsesWire implements Wire {
  readonly marksErrors = false;
  private readonly provider: OpenAIProvider;
  private reasons = true;

  constructor(private readonly settings: WireSettings) {
    const { route, fetch } = settings;
    this.provider = createOpenAI({
      apiKey: route.apiKey.reveal(),
      baseURL: route.baseUrl,
      fetch,
    });
  }

  ask(system: string | undefined): Promise<Ask> {
    const openai = {
      store: false,
      ...(system !== undefined && { instructions: system }),
      ...(this.reasons && REASONING),
    };
    const model = this.provider.responses(this.settings.route.model);
    return Promise.resolve({ model, providerOptions: { openai } });
  }

  reader(): Reader {
    return new ResponseReader(this.settings.failures);
  }

  /** No API tells which models reason. One that does not is told by its refusal. */
  relent(error: ModelError): boolean {
    const isAboutReasoning =
      error.status === 400 && /^(?:reasoning|include)/.test(error.param ?? "");
    if (!this.reasons || !isAboutReasoning) return false;
    this.reasons = false;
    return true;
  }
}

class ResponseReader extends Reader {
  private refused = false;
  private incomplete = false;
  /** The parts of summaries, and the reasoning items that they belong to. */
  private readonly summaries = new Map<string, string>();
  /** The reasoning items that are shown, and the newest part of each. */
  private readonly shown = new Map<string, string>();
  /** The reasoning items that are complete. */
  private readonly done = new Set<string>();

  witness(event: unknown): void {
    const type = textField(event, "type");
    switch (type) {
      case "response.refusal.delta":
        this.refused = true;
        break;
      case "response.output_item.done":
        this.done.add(textField(event, "item", "id"));
        break;
      case "response.completed":
      case "response.incomplete":
        this.complete = true;
        this.incomplete = type === "response.incomplete";
        this.rawReason =
          textField(event, "response", "incomplete_details", "reason") ||
          textField(event, "response", "status");
        break;
      case "response.failed":
        throw this.failures.inStream(field(event, "response", "error") ?? {});
      case "error":
        throw this.failures.inStream(field(event, "error") ?? event);
    }
  }

  protected finishReason(): FinishReason {
    if (this.incomplete) return INCOMPLETE_REASONS[this.rawReason] ?? "other";
    if (this.refused) return "content-filter";
    return this.calls.size > 0 ? "tool-calls" : "stop";
  }

  /** A summary comes in parts, which are shown as paragraphs of one; or not at all. */
  protected reasoning(part: ReasoningPart): Chunk[] {
    const itemId = textField(part.providerMetadata?.["openai"], "itemId");
    if (part.type === "reasoning-start") this.summaries.set(part.id, itemId);
    const id = this.summaries.get(part.id) || part.id;
    if (part.type === "reasoning-end") {
      const ends = this.done.has(id) && this.shown.delete(id);
      return ends ? [{ type: "reasoning-end", id }] : [];
    }
    if (part.type !== "reasoning-delta" || part.text === "") return [];
    const newest = this.shown.get(id);
    this.shown.set(id, part.id);
    const chunks: Chunk[] = [];
    if (newest === undefined) chunks.push({ type: "reasoning-start", id });
    else if (newest !== part.id) {
      chunks.push({ type: "reasoning-delta", id, delta: "\n\n" });
    }
    return [...chunks, { type: "reasoning-delta", id, delta: part.text }];
  }
}
