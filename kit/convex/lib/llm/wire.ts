/** What every wire looks like from outside. */
import type { JSONValue, LanguageModel } from "ai";
import type { Failures } from "./failures";
import type { ModelError } from "./errors";
import type { Route } from "./providers";
import type { Reader } from "./reader";

/** What `streamText` is asked with, besides the conversation. */
export interface Ask {
  model: Exclude<LanguageModel, string>;
  system?: string;
  maxOutputTokens?: number;
  providerOptions?: Record<string, Record<string, JSONValue>>;
}

/** One provider, for one reply. */
export interface Wire {
  ask(system: string | undefined): Promise<Ask>;
  reader(): Reader;
  /** Whether the model may be asked again, otherwise, now that it has refused this. */
  relent(error: ModelError): boolean;
  /** Whether its tool results have a mark for errors; else the text has to say so. */
  readonly marksErrors: boolean;
}

export interface WireSettings {
  route: Route;
  failures: Failures;
  fetch: typeof globalThis.fetch;
}
