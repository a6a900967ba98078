/**
 * From whatever a provider, `fetch` or the AI SDK came up with to one `ModelError`.
 *
 * Holds the tables of statuses and error types, the texts, and the reading of
 * `Retry-After`. What comes out refers to no request and no response: those hold the
 * key and the prompt.
 *
 * Mirrors the error pages of the three providers: Anthropic's `error.type`, OpenAI's
 * `error.code`, OpenRouter's `error.code` (a status) and `error.metadata.error_type`.
 */
import { APICallError, JSONParseError, NoOutputGeneratedError } from "ai";
import { general, quoted } from "../format";
import { firstCodePoints, isLongerThan } from "../text";
import { ModelError, type ModelErrorDetails, type ModelErrorKind } from "./errors";
import { PROVIDERS, type Route } from "./providers";
import { redact } from "./secret";

/** The longest that the kit waits by itself when a provider asks for patience, s. */
export const LONGEST_WAIT = 20;

const RETRYABLE: ReadonlySet<ModelErrorKind> = new Set<ModelErrorKind>([
  "rate-limit",
  "overloaded",
  "server",
  "timeout",
  "connection",
  "interrupted",
]);

const BY_STATUS: ReadonlyMap<number, ModelErrorKind> = new Map([
  [401, "auth"],
  [402, "billing"],
  [403, "forbidden"],
  [404, "not-found"],
  [408, "timeout"],
  [409, "server"], // a conflict that passes
  [413, "too-large"],
  [429, "rate-limit"],
  [503, "overloaded"],
  [529, "overloaded"],
]);

// Error types and codes that say more than the status that they come with, or that come
// in the stream, where there is no status.
const BY_TYPE: ReadonlyMap<unknown, ModelErrorKind> = new Map([
  // Anthropic
  ["authentication_error", "auth"],
  ["billing_error", "billing"],
  ["permission_error", "forbidden"],
  ["not_found_error", "not-found"],
  ["request_too_large", "too-large"],
  ["rate_limit_error", "rate-limit"],
  ["overloaded_error", "overloaded"],
  ["timeout_error", "timeout"],
  ["api_error", "server"],
  // OpenAI
  ["invalid_api_key", "auth"],
  ["insufficient_quota", "billing"],
  ["model_not_found", "not-found"],
  ["context_length_exceeded", "too-large"],
  ["rate_limit_exceeded", "rate-limit"],
  ["server_error", "server"],
  ["server_is_overloaded", "overloaded"],
  ["invalid_prompt", "bad-request"],
  // OpenRouter
  ["payment_required", "billing"],
  ["permission_denied", "forbidden"],
  ["content_policy_violation", "forbidden"],
  ["provider_overloaded", "overloaded"],
  ["provider_unavailable", "server"],
]);

// Where a provider says it in words only.
const BY_WORDS: readonly (readonly [string, ModelErrorKind])[] = [
  ["is not a valid model id", "not-found"], // OpenRouter, with status 400
  // Always with status 400, also of what is behind OpenRouter.
  ["prompt is too long", "too-large"], // Anthropic
  ["exceed context limit", "too-large"], // Anthropic, with the reply's length
  ["input is too long", "too-large"], // Bedrock
  ["maximum number of tokens", "too-large"], // Google
  ["maximum context length", "too-large"], // OpenRouter, vLLM, DeepSeek
  ["context window", "too-large"],
];

/** Describes what went wrong on one route. */
export class Failures {
  constructor(private readonly route: Route) {}

  /** For anything that the AI SDK threw or streamed as an error. */
  describe(error: unknown): ModelError {
    if (error instanceof ModelError) return error;
    // Answers with an error status never get this far, see `transport`: this one is an
    // error in the stream, before anything else.
    if (APICallError.isInstance(error)) {
      return this.inStream(parsed(error.responseBody), error.message);
    }
    if (NoOutputGeneratedError.isInstance(error)) return this.interrupted();
    if (JSONParseError.isInstance(error)) {
      return this.protocol("an event does not hold JSON");
    }
    // Its text may quote the request, so only the name is told.
    const name = error instanceof Error ? error.name : typeof error;
    return this.protocol(`it could not be read (${name})`);
  }

  /** For an error object that the provider sent inside of a stream. */
  inStream(body: unknown, text = ""): ModelError {
    const told = read(body, text);
    return this.error(told.kind ?? "server", told.text);
  }

  /** For a stream that ended without its terminal event. */
  interrupted(): ModelError {
    return this.error(
      "interrupted",
      "the stream ended without its last event, so the reply is incomplete",
    );
  }

  /** For an answer that is not in the provider's format. */
  protocol(what: string): ModelError {
    return this.error("protocol", what);
  }

  /** For a conversation in which the user has said nothing. */
  noPrompt(): ModelError {
    return this.error("bad-request", "there is no prompt to answer");
  }

  /** For silence that lasted too long. */
  silence(): ModelError {
    const seconds = `${general(this.route.readTimeout)} s`;
    return this.error("timeout", `nothing arrived for ${seconds}`);
  }

  /** For a request that reached nobody. */
  unreachable(): ModelError {
    return this.error(
      "connection",
      `nobody answers at ${this.route.baseUrl}: check the network, and ` +
        "that this is the right URL",
    );
  }

  /** For a connection that broke while the answer came. */
  cut(): ModelError {
    const { host } = new URL(this.route.baseUrl);
    return this.error("connection", `the connection to ${host} was cut`);
  }

  /** For an answer with an error status. */
  status(status: number, headers: Headers, page: string): ModelError {
    if (status < 400) return this.protocol(`it is a redirect (HTTP ${status})`);
    const body = parsed(page);
    const told = read(body ?? page, "");
    if (status === 404 && !told.byApi) {
      return this.protocol("HTTP 404, there is no such API at this URL");
    }
    // The status says more than "server".
    const kind = told.kind === "server" ? null : told.kind;
    return this.error(kind ?? kindOfStatus(status), told.text, {
      status,
      retryAfter: retryAfterIn(headers),
      retryable: headers.get("x-should-retry") !== "false",
      param: told.param,
    });
  }

  private error(
    kind: ModelErrorKind,
    what: string,
    details: ModelErrorDetails = {},
  ): ModelError {
    const { status, retryAfter, param, retryable = true } = details;
    const { provider, apiKey } = this.route;
    const keys = [apiKey.reveal()];
    const summary = SUMMARY[kind] + (status ? ` (HTTP ${status})` : "");
    // Cleared before it is cut: half a key is not recognised.
    const told = cut(redact(what, keys));
    const cause = [summary, told].filter(Boolean).join(": ");
    const advice = this.advice(kind, retryAfter);
    const text = `${cause.replace(/[. ]+$/, "")}. ${advice}`;
    return new ModelError(kind, redact(text, keys), provider, {
      status,
      retryAfter,
      param,
      retryable: retryable && RETRYABLE.has(kind),
    });
  }

  /** What to do about it. */
  private advice(kind: ModelErrorKind, retryAfter: number | undefined): string {
    const { provider, model, baseUrl } = this.route;
    const waits = kind === "rate-limit" || kind === "overloaded" || kind === "server";
    if (waits && retryAfter !== undefined) {
      const more =
        retryAfter > LONGEST_WAIT
          ? `, more than the ${general(LONGEST_WAIT)} s that the kit waits`
          : "";
      const wait = `The provider asks to wait ${general(retryAfter)} s${more}`;
      return `${wait}. Send the message again after that.`;
    }
    switch (kind) {
      case "auth":
        return (
          `Check ${PROVIDERS[provider].keyVariable}, or the ${provider} key ` +
          "given with the message."
        );
      case "billing":
        return "Add credit at the provider, or use another key.";
      case "forbidden":
        return "Check what this key may use, or choose another model.";
      case "not-found":
        return (
          `${provider} has no model ${quoted(model)} for this ` +
          "key. Check its spelling, or choose another model."
        );
      case "too-large":
        return "Start a new task, or send less.";
      case "rate-limit":
      case "overloaded":
      case "server":
      case "connection":
      case "interrupted":
        return "Send the message again.";
      case "timeout":
        return (
          "Send the message again, or allow for more silence with " +
          "KIT_LLM_READ_TIMEOUT."
        );
      case "protocol":
        return `Check that ${baseUrl} is the URL of such an API.`;
      case "bad-request":
        return "Sending the same again will not help.";
    }
  }
}

const SUMMARY: Readonly<Record<ModelErrorKind, string>> = {
  auth: "the key was refused",
  billing: "the account has no credit",
  forbidden: "access was denied",
  "not-found": "no such model",
  "bad-request": "the request was refused",
  "too-large": "the conversation is too long for the model",
  "rate-limit": "too many requests",
  overloaded: "the provider is overloaded",
  server: "the provider failed",
  protocol: "the answer is not in the provider's format",
  // The rest says all of it.
  timeout: "",
  connection: "",
  interrupted: "",
};

// --- what the provider told -------------------------------------------------------

const LONGEST_TEXT = 400;

/** An error object, whichever provider's. */
interface Told {
  kind: ModelErrorKind | null;
  text: string;
  /** It is an error object, not a page. */
  byApi: boolean;
  param?: string | undefined;
}

/** From `{"error": {...}}`, the inner object, or a page of anything. */
function read(body: unknown, text: string): Told {
  const error = isRecord(body) && isRecord(body.error) ? body.error : body;
  if (!isRecord(error)) {
    const words = shown(typeof error === "string" ? error : text);
    return { kind: null, text: words, byApi: false };
  }
  const { code, type, param } = error;
  const metadata = isRecord(error.metadata) ? error.metadata : {};
  const inner = passedOn(metadata.raw);
  const words = shown(inner.message) || shown(error.message || text);
  const told = [code, metadata.error_type, type, inner.code, inner.type];
  const byType = told.map((t) => BY_TYPE.get(t)).find((kind) => kind);
  const lower = words.toLowerCase();
  const byWords = BY_WORDS.find(([some]) => lower.includes(some))?.[1];
  const status = asStatus(code);
  const byStatus = status === null ? null : kindOfStatus(status);
  const kind = byType ?? byWords ?? byStatus;
  return {
    kind,
    text: words,
    byApi: words !== "",
    param: typeof param === "string" ? param : undefined,
  };
}

/**
 * The error of whoever is behind OpenRouter, which itself says little more than that
 * there is one.
 */
function passedOn(raw: unknown): Record<string, unknown> {
  const value = typeof raw === "string" ? (parsed(raw) ?? { message: raw }) : raw;
  const error = isRecord(value) && isRecord(value.error) ? value.error : value;
  return isRecord(error) ? error : {};
}

/** OpenRouter's error codes are HTTP statuses, as a number or as text. */
function asStatus(code: unknown): number | null {
  const isNumber = typeof code === "number" || /^\d+$/.test(String(code));
  const status = isNumber ? Math.trunc(Number(code)) : 0;
  return status >= 400 && status <= 599 ? status : null;
}

function kindOfStatus(status: number): ModelErrorKind {
  const known = BY_STATUS.get(status);
  return known ?? (status >= 500 ? "server" : "bad-request");
}

/** The provider's words on one line; a web page says nothing worth showing. */
function shown(text: unknown): string {
  const line = String(text ?? "")
    .split(/\s+/)
    .filter(Boolean)
    .join(" ");
  return line.startsWith("<") ? "" : line;
}

function cut(line: string): string {
  if (!isLongerThan(line, LONGEST_TEXT)) return line;
  return `${firstCodePoints(line, LONGEST_TEXT)}…`;
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "") as unknown;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Seconds to wait: from milliseconds, seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterIn(headers: Headers): number | undefined {
  const milliseconds = seconds(headers.get("retry-after-ms"));
  if (milliseconds !== undefined) return milliseconds / 1000;
  const value = headers.get("retry-after");
  const given = seconds(value);
  if (given !== undefined || !value) return given;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, (date - Date.now()) / 1000);
}

function seconds(value: string | null): number | undefined {
  const number = value?.trim() ? Number(value) : NaN;
  return Number.isFinite(number) && number >= 0 ? number : undefined;
}
