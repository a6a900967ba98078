/** What can go wrong between a reply and its model. */
import type { ProviderName } from "./providers";

export type ModelErrorKind =
  | "auth" // 401, or no key at all
  | "billing" // 402
  | "forbidden" // 403
  | "not-found" // 404: no such model
  | "bad-request" // 400, 422
  | "too-large" // 413, context too long
  | "rate-limit" // 429
  | "overloaded" // 503, 529
  | "server" // other 5xx
  | "timeout" // nothing arrived for too long
  | "connection" // refused, reset, cut
  | "protocol" // what arrived is not the provider's format
  | "interrupted"; // the stream ended without its terminal event

export interface ModelErrorDetails {
  status?: number | undefined;
  retryable?: boolean;
  /** What the provider asks to wait, in seconds. */
  retryAfter?: number | undefined;
  /** The argument that was refused, as the provider names it. */
  param?: string | undefined;
}

/** A model call failed. Holds no request, response or key. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly status: number | undefined;
  readonly retryable: boolean;
  readonly retryAfter: number | undefined;
  readonly param: string | undefined;

  constructor(
    readonly kind: ModelErrorKind,
    text: string,
    provider: ProviderName | "model",
    details: ModelErrorDetails = {},
  ) {
    super(`${provider}: ${text}`);
    this.status = details.status;
    this.retryable = details.retryable ?? false;
    this.retryAfter = details.retryAfter;
    this.param = details.param;
  }
}

/** A setting in the environment is malformed. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}
