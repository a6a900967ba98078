/** The providers: what differs between them, and where one reply comes from. */
import type { Secret } from "./secret";

export type ProviderName = "openrouter" | "anthropic" | "openai";

export interface ProviderSettings {
  baseUrl: string;
  keyVariable: string;
  baseUrlVariable: string;
  /** Where the scripted provider serves this provider's wire. */
  scriptedPath: string;
}

export const PROVIDERS: Readonly<Record<ProviderName, ProviderSettings>> = {
  openrouter: {
    baseUrl: "https://openrouter.ai/api/v1",
    keyVariable: "OPENROUTER_API_KEY",
    baseUrlVariable: "KIT_OPENROUTER_BASE_URL",
    scriptedPath: "/openrouter/api/v1",
  },
  anthropic: {
    baseUrl: "https://api.anthropic.com",
    keyVariable: "ANTHROPIC_API_KEY",
    baseUrlVariable: "KIT_ANTHROPIC_BASE_URL",
    scriptedPath: "/anthropic",
  },
  openai: {
    baseUrl: "https://api.openai.com/v1",
    keyVariable: "OPENAI_API_KEY",
    baseUrlVariable: "KIT_OPENAI_BASE_URL",
    scriptedPath: "/openai/v1",
  },
};

/** In the order in which keys are looked for. */
export const PROVIDER_NAMES = [
  "openrouter",
  "anthropic",
  "openai",
] as const satisfies readonly ProviderName[];

/** Where one reply comes from. */
export interface Route {
  provider: ProviderName;
  /** As this provider spells it. */
  model: string;
  apiKey: Secret;
  baseUrl: string;
  /** The longest silence, in seconds. */
  readTimeout: number;
}
