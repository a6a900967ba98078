/**
 * Who is asked: provider, model name, key and base URL for one reply.
 *
 * The rule is the one of the guide's application: OpenRouter, then Anthropic, then
 * OpenAI, from the keys given with the message, then from the environment. A provider
 * that does not serve the model is passed over. Pure.
 *
 * Settings, all from the environment:
 *
 * | variable | |
 * |---|---|
 * | OPENROUTER_API_KEY, ANTHROPIC_API_KEY, OPENAI_API_KEY | keys |
 * | KIT_OPENROUTER_BASE_URL, KIT_ANTHROPIC_BASE_URL, KIT_OPENAI_BASE_URL | other hosts |
 * | KIT_SCRIPTED_URL | every provider is the scripted one at this URL |
 * | KIT_LLM_READ_TIMEOUT | seconds of silence that count as a stall (60) |
 *
 * With KIT_SCRIPTED_URL set, keys in the environment are never used: the scripted
 * provider is sent a key that was given with the message, else a placeholder. A given
 * key selects the provider as above; without one the model's name does: `claude-…` is
 * Anthropic's, `gpt-…` and `o3` are OpenAI's, all else is OpenRouter's.
 */
import { isPrintable, quoted } from "../format";
import type { ApiKeys } from "../requests";
import type { Environment } from "../settings";
import { firstCodePoints, isLongerThan } from "../text";
import { ConfigError, ModelError } from "./errors";
import { PROVIDER_NAMES, type ProviderName, PROVIDERS, type Route } from "./providers";
import { PLACEHOLDER_KEY, Secret } from "./secret";

const DEFAULT_READ_TIMEOUT = 60;

type Keys = Record<ProviderName, string>;

/**
 * Choose who answers for `model`.
 *
 * `apiKeys`: the keys given with the message; blank ones count as absent.
 *
 * Throws ModelError: kind `auth` when no key serves the model, `not-found` when the
 * name can be no model's. Throws ConfigError when a setting in `env` is malformed.
 */
export function route(model: string, apiKeys: ApiKeys, env: Environment): Route {
  const name = checkedName(model);
  const readTimeout = readTimeoutIn(env);
  const given = keysBy((provider) => apiKeys[provider]);
  const scriptedUrl = (env["KIT_SCRIPTED_URL"] ?? "").trim();
  if (scriptedUrl !== "") {
    const baseUrl = checkedUrl("KIT_SCRIPTED_URL", scriptedUrl);
    return scriptedRoute(name, given, baseUrl, readTimeout);
  }
  if (SCRIPTED.test(name)) {
    throw new ModelError(
      "not-found",
      `${quoted(name)} is a model of the scripted provider, which is not in use. ` +
        "Set KIT_SCRIPTED_URL to its URL, or choose another model.",
      home(name),
    );
  }
  const fromEnv = keysOf(env);
  for (const keys of [given, fromEnv]) {
    const provider = firstThatServes(name, keys);
    if (provider !== undefined) {
      const baseUrl = baseUrlOf(provider, env);
      return routeTo(provider, name, keys[provider], baseUrl, readTimeout);
    }
  }
  throw noKey(name);
}

/** The keys that an environment holds. */
export function keysIn(env: Environment): string[] {
  return Object.values(keysOf(env)).filter((key) => key !== "");
}

// --- which provider ---------------------------------------------------------------

function keysBy(key: (provider: ProviderName) => string | undefined): Keys {
  const named = (provider: ProviderName) => (key(provider) ?? "").trim();
  return {
    openrouter: named("openrouter"),
    anthropic: named("anthropic"),
    openai: named("openai"),
  };
}

function keysOf(env: Environment): Keys {
  return keysBy((provider) => env[PROVIDERS[provider].keyVariable]);
}

function firstThatServes(model: string, keys: Keys): ProviderName | undefined {
  return PROVIDER_NAMES.find(
    (provider) => keys[provider] !== "" && spelling(provider, model) !== null,
  );
}

function scriptedRoute(
  model: string,
  given: Keys,
  baseUrl: string,
  readTimeout: number,
): Route {
  const chosen = firstThatServes(model, given);
  const provider = chosen ?? home(model);
  const key = chosen === undefined ? PLACEHOLDER_KEY : given[chosen];
  const url = baseUrl + PROVIDERS[provider].scriptedPath;
  return routeTo(provider, model, key, url, readTimeout);
}

function routeTo(
  provider: ProviderName,
  model: string,
  key: string,
  baseUrl: string,
  readTimeout: number,
): Route {
  return {
    provider,
    model: spelling(provider, model) ?? model,
    apiKey: checkedKey(key, provider),
    baseUrl,
    readTimeout,
  };
}

function noKey(model: string): ModelError {
  const provider = home(model);
  const variables = [PROVIDERS.openrouter.keyVariable];
  if (provider !== "openrouter") variables.push(PROVIDERS[provider].keyVariable);
  return new ModelError(
    "auth",
    `no API key for model ${quoted(model)}. Set ${variables.join(" or ")}, give a key ` +
      "with the message, or choose a model whose key is set.",
    provider,
  );
}

// --- how a provider spells a model ------------------------------------------------

// claude-opus-5-5, gpt-6.2-sol, o3-mini; the scripted provider's names on either side.
const CLAUDE = /^claude-/;
const OPENAI = /^(?:gpt-|chatgpt-|codex-|o\d|ft:(?:gpt-|o\d))/;
const SCRIPTED = /^(?:~?[\w.-]+\/)?(?:claude-|gpt-)?scripted-/;

const DATE = /-(?:\d{8}|latest)$/;
const HYPHENATED_VERSION = /-(\d{1,2})-(\d{1,2})(?=-|$)/g;

/** Whose model this is, by its name alone. */
function home(model: string): ProviderName {
  if (model.includes("/")) return "openrouter";
  if (CLAUDE.test(model)) return "anthropic";
  if (OPENAI.test(model)) return "openai";
  return "openrouter";
}

/** `model` as `provider` spells it; null if it does not serve it. */
function spelling(provider: ProviderName, model: string): string | null {
  switch (provider) {
    case "openrouter":
      return forOpenRouter(model);
    case "anthropic": {
      const name = direct(model, "anthropic/", CLAUDE);
      if (name === null || model.startsWith("ft:")) return name;
      // Anthropic writes versions with hyphens; options of scripted models are kept.
      const [base, ...suffix] = name.split(":");
      return [base!.replaceAll(".", "-"), ...suffix].join(":");
    }
    case "openai":
      return direct(model, "openai/", OPENAI);
  }
}

/** `vendor/model`, with dots in Claude's versions and without dates. */
function forOpenRouter(model: string): string | null {
  if (model.includes("/")) return model;
  if (CLAUDE.test(model)) {
    const undated = model.replace(DATE, "");
    return `anthropic/${undated.replace(HYPHENATED_VERSION, "-$1.$2")}`;
  }
  // A fine-tuned model lives in its owner's account only.
  if (model.startsWith("ft:")) return null;
  return OPENAI.test(model) ? `openai/${model}` : model;
}

/** The name without its vendor. */
function direct(model: string, vendor: string, own: RegExp): string | null {
  if (model.startsWith("ft:")) return own.test(model) ? model : null;
  const name = model.startsWith(vendor) ? model.slice(vendor.length) : model;
  const colon = name.indexOf(":");
  const suffix = colon < 0 ? null : name.slice(colon + 1);
  // `:free`, `:online`, …: OpenRouter's variants.
  if (suffix !== null && !suffix.includes("=")) return null;
  const base = colon < 0 ? name : name.slice(0, colon);
  return own.test(base) || base.startsWith("scripted-") ? name : null;
}

// --- settings ---------------------------------------------------------------------

function checkedName(model: string): string {
  const name = model.trim();
  const usable = isPrintable(name) && !name.includes(" ");
  if (name === "" || isLongerThan(name, 200) || !usable) {
    const shown = isLongerThan(name, 40) ? `${firstCodePoints(name, 40)}…` : name;
    throw new ModelError(
      "not-found",
      `${quoted(shown)} is not a model name. Give one such as 'claude-opus-5-5', ` +
        "'gpt-6.2-sol' or 'vendor/model'.",
      "openrouter",
    );
  }
  return name;
}

function checkedKey(key: string, provider: ProviderName): Secret {
  // A header could not carry it, and the error of `fetch` would show it.
  if (!/^[\x21-\x7e]*$/.test(key)) {
    throw new ModelError(
      "auth",
      `the ${provider} key holds spaces, line breaks or characters that keys do ` +
        `not have. Copy it again (${PROVIDERS[provider].keyVariable}, or the key ` +
        "given with the message).",
      provider,
    );
  }
  return new Secret(key);
}

function baseUrlOf(provider: ProviderName, env: Environment): string {
  const { baseUrl, baseUrlVariable } = PROVIDERS[provider];
  const override = (env[baseUrlVariable] ?? "").trim();
  return override === "" ? baseUrl : checkedUrl(baseUrlVariable, override);
}

function checkedUrl(variable: string, text: string): string {
  const url = parsedUrl(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === "") {
    throw new ConfigError(
      `${variable} is not an http or https URL. ` +
        "Set it to one such as http://127.0.0.1:8000, or unset it.",
    );
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new ConfigError(
      `${variable} holds more than a host and a path. Leave out user, password, ` +
        "query and fragment: keys have variables of their own.",
    );
  }
  return text.replace(/\/+$/, "");
}

function parsedUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

function readTimeoutIn(env: Environment): number {
  const text = (env["KIT_LLM_READ_TIMEOUT"] ?? "").trim();
  if (text === "") return DEFAULT_READ_TIMEOUT;
  const seconds = Number(text);
  if (!(Number.isFinite(seconds) && seconds > 0)) {
    throw new ConfigError(
      `KIT_LLM_READ_TIMEOUT is ${quoted(text)}: ` +
        "set it to a number of seconds above 0, or unset it.",
    );
  }
  return seconds;
}
