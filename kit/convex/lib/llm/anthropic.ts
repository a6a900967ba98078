/** Anthropic Messages, through `@ai-sdk/anthropic`. */
import { type AnthropicProvider, createAnthropic } from "@ai-sdk/anthropic";
import type { Chunk, FinishReason } from "../parts";
import { field, Reader, type ReasoningPart, textField } from "./reader";
import type { Ask, Wire, WireSettings } from "./wire";

const API_VERSION = "2026-10-21"; // of the card

// `max_tokens` is a required argument. A model's own maximum would leave less of the
// context window to the history than a reply ever needs.
const LONGEST_REPLY = 32_000;
// For a model that the API tells nothing about; all current models allow for more.
const SAFE_MAX_TOKENS = 16_000;
const CARD_TIMEOUT_MS = 3_000;

const FINISH_REASONS: Readonly<Record<string, FinishReason>> = {
  end_turn: "stop",
  stop_sequence: "stop",
  pause_turn: "stop",
  tool_use: "tool-calls",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  refusal: "content-filter",
};

/** What has to be known of a model before it can be asked. */
interface ModelCard {
  maxTokens: number;
  /** Models think by default and do not show it by default; older ones reject this. */
  summarizedThinking: boolean;
}

export class AnthropicWire implements Wire {
  readonly marksErrors = true;
  private readonly provider: AnthropicProvider;
  private card: ModelCard | undefined;

  constructor(private readonly settings: WireSettings) {
    const { route, fetch } = settings;
    this.provider = createAnthropic({
      apiKey: route.apiKey.reveal(),
      baseURL: `${route.baseUrl}/v1`,
      fetch,
    });
  }

  async ask(system: string | undefined): Promise<Ask> {
    this.card ??= await this.readCard();
    const thinking = { type: "adaptive", display: "summarized" };
    return {
      model: this.provider(this.settings.route.model),
      ...(system !== undefined && { system }),
      maxOutputTokens: this.card.maxTokens,
      ...(this.card.summarizedThinking && {
        providerOptions: { anthropic: { thinking } },
      }),
    };
  }

  reader(): Reader {
    return new MessageReader(this.settings.failures);
  }

  relent(): boolean {
    return false;
  }

  /**
   * What the API tells about the model; a cautious guess if it does not.
   *
   * Never fails: if the key or the model is wrong, the call itself says so.
   */
  private async readCard(): Promise<ModelCard> {
    const { route, fetch } = this.settings;
    const url = `${route.baseUrl}/v1/models/${encodeURIComponent(route.model)}`;
    const headers = {
      "x-api-key": route.apiKey.reveal(),
      "anthropic-version": API_VERSION,
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), CARD_TIMEOUT_MS);
    });
    const answer = fetch(url, { headers })
      .then((response) => response.json() as Promise<unknown>)
      .catch(() => undefined);
    const card = await Promise.race([answer, late]);
    clearTimeout(timer);
    const limit = field(card, "max_tokens");
    const adaptive = ["capabilities", "thinking", "types", "adaptive"];
    return {
      maxTokens: Math.min(
        typeof limit === "number" && limit > 0 ? limit : SAFE_MAX_TOKENS,
        LONGEST_REPLY,
      ),
      summarizedThinking: field(card, ...adaptive, "supported") === true,
    };
  }
}

class MessageReader extends Reader {
  private readonly signatures = new Map<string, string>();

  witness(event: unknown): void {
    switch (field(event, "type")) {
      case "message_delta":
        this.rawReason ||= textField(event, "delta", "stop_reason");
        this.complete = this.rawReason !== "";
        break;
      case "error":
        throw this.failures.inStream(field(event, "error"));
    }
  }

  protected finishReason(): FinishReason {
    return FINISH_REASONS[this.rawReason] ?? "other";
  }

  /** Opens even if it will stay empty: its signature is what a model has to see. */
  protected reasoning(part: ReasoningPart): Chunk[] {
    const { id } = part;
    const told = part.providerMetadata?.["anthropic"];
    switch (part.type) {
      case "reasoning-start": {
        const redactedData = textField(told, "redactedData");
        const redacted = redactedData !== "" && { redactedData };
        return [{ type: "reasoning-start", id, ...redacted }];
      }
      case "reasoning-delta": {
        const signature = textField(told, "signature");
        if (signature !== "") this.signatures.set(id, signature);
        if (part.text === "") return [];
        return [{ type: "reasoning-delta", id, delta: part.text }];
      }
      case "reasoning-end": {
        const signature = this.signatures.get(id);
        return [{ type: "reasoning-end", id, ...(signature && { signature }) }];
      }
    }
  }
}
