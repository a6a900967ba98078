/** What can go wrong between a reply and its model. */
import type { ErrorKind } from "../parts";
import type { ProviderName } from "./providers";

export type ModelErrorKind = Extract<
  ErrorKind,
  | "auth"
  | "billing"
  | "forbidden"
  | "not-found"
  | "bad-request"
  | "too-large"
  | "rate-limit"
  | "overloaded"
  | "server"
  | "timeout"
  | "connection"
  | "protocol"
  | "interrupted"
>;

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
