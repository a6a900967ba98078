/**
 * Settings of the functions, from the deployment's environment.
 *
 * | variable | means | default |
 * |---|---|---|
 * | KIT_FLUSH_INTERVAL_MS | how long text may wait before it is appended | 250 |
 * | KIT_LEASE_MS | after what silence a producer counts as dead | 15000 |
 * | KIT_TOOL_TIMEOUT_MS | how long a tool may take; then the model is told so | 60000 |
 * | KIT_MAX_STEPS | model calls in one reply; then it fails | 8 |
 * | KIT_REQUIRE_AUTH | `true`: answer nobody who is not signed in | false |
 *
 * 250 ms, since each append is billed; 100 where that matters less. On the embedded
 * deployment the same functions in Python have 5. The settings of models are in `llm/route`, the time limit of stalls among
 * them.
 */
import { refusal } from "./errors";
import { general, quoted } from "./format";

/** Variables by name; a blank one counts as absent. */
export type Environment = Readonly<Record<string, string | undefined>>;

declare const process: { env: Environment };

/** The deployment's environment. Each name is looked up when it is read. */
export const environment: Environment = process.env;

export interface Settings {
  flushIntervalMs: number;
  leaseMs: number;
  toolTimeoutMs: number;
  maxSteps: number;
}

/** Throws BadSetting for a value that cannot be used. */
export function readSettings(env: Environment = environment): Settings {
  return {
    flushIntervalMs: numberIn(env, "KIT_FLUSH_INTERVAL_MS", 250, 0, 10_000),
    leaseMs: numberIn(env, "KIT_LEASE_MS", 15_000, 100, 600_000),
    toolTimeoutMs: numberIn(env, "KIT_TOOL_TIMEOUT_MS", 60_000, 1, 600_000),
    maxSteps: numberIn(env, "KIT_MAX_STEPS", 8, 1, 100, { whole: true }),
  };
}

/** KIT_REQUIRE_AUTH. Throws BadSetting for a value that cannot be used. */
export function authIsRequired(env: Environment = environment): boolean {
  const text = (env["KIT_REQUIRE_AUTH"] ?? "").trim();
  if (!["", "true", "false"].includes(text)) {
    throw refusal(
      "BadSetting",
      `KIT_REQUIRE_AUTH is ${quoted(text)} in the deployment's environment: set it to ` +
        "true or false, or unset it.",
    );
  }
  return text === "true";
}

function numberIn(
  env: Environment,
  variable: string,
  fallback: number,
  low: number,
  high: number,
  { whole = false } = {},
): number {
  const text = (env[variable] ?? "").trim();
  if (text === "") return fallback;
  const value = Number(text);
  if (!(low <= value && value <= high) || (whole && !Number.isInteger(value))) {
    const what = whole ? "whole number" : "number of milliseconds";
    throw refusal(
      "BadSetting",
      `${variable} is ${quoted(text)} in the deployment's environment: set it to a ` +
        `${what} from ${general(low)} to ${general(high)}, or unset it.`,
    );
  }
  return value;
}
