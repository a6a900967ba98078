/**
 * The arguments of a call that asks for a reply, checked without showing a key.
 *
 * Convex's argument errors print what was sent, and callers log errors: a call with a
 * key and a misspelt argument, as `apiKey`, would put the key into a log. So these
 * arguments are checked here, the keys first and apart, and errors name what is wrong and
 * show none of it.
 */
import { type Infer, v, type Value } from "convex/values";
import { vWhenActive } from "../schema";
import { refusal } from "./errors";
import { toolsNamed } from "./tools";
import { mismatch } from "./validation";

export const PROVIDERS = ["openrouter", "anthropic", "openai"] as const;

/** Keys by provider name. */
export type ApiKeys = Readonly<Partial<Record<string, string>>>;

const vRequest = v.object({
  taskId: v.id("tasks"),
  prompt: v.string(),
  model: v.string(),
  systemPrompt: v.optional(v.string()),
  llmModel: v.optional(v.string()),
  clientMessageId: v.optional(v.string()),
  tools: v.optional(v.array(v.string())),
  whenActive: v.optional(vWhenActive),
});

export type Request = Infer<typeof vRequest>;

/**
 * The request, and the API keys by provider.
 *
 * Throws BadArguments or UnknownTool; the text holds no key.
 */
export function checkedRequest(
  args: Readonly<Record<string, Value | undefined>>,
  { takesKeys }: { takesKeys: boolean },
): [request: Request, apiKeys: ApiKeys] {
  const { apiKeys = {}, ...request } = args;
  if (!takesKeys && !isEmpty(apiKeys)) {
    throw refusal(
      "BadArguments",
      "streaming:send takes no `apiKeys`: it schedules the reply, and keys are " +
        "never stored. Set them in the deployment's environment, or call " +
        "streaming:streamChatWithTools.",
    );
  }
  const keys = checkedKeys(apiKeys);
  const problem = mismatch(vRequest, request);
  if (problem !== null) {
    throw refusal("BadArguments", `ArgumentValidationError: ${problem}`);
  }
  const checked = request as Request;
  toolsNamed(checked.tools ?? []);
  return [checked, keys];
}

/** Whether Python would take the value for false. */
function isEmpty(value: Value): boolean {
  if (value instanceof ArrayBuffer) return value.byteLength === 0;
  if (typeof value === "object" && value !== null) {
    return Object.keys(value).length === 0;
  }
  return !value;
}

function checkedKeys(apiKeys: Value): ApiKeys {
  if (
    typeof apiKeys !== "object" ||
    apiKeys === null ||
    Array.isArray(apiKeys) ||
    apiKeys instanceof ArrayBuffer
  ) {
    throw refusal("BadArguments", "`apiKeys` must be an object of keys by provider.");
  }
  const isKnown = (name: string) => PROVIDERS.some((provider) => provider === name);
  if (!Object.keys(apiKeys).every(isKnown)) {
    // Which one is not said: it may be a key, with its provider in its place.
    throw refusal(
      "BadArguments",
      "`apiKeys` names a provider that there is not. " +
        `Providers: ${PROVIDERS.join(", ")}.`,
    );
  }
  const given: Record<string, string> = {};
  for (const [provider, key] of Object.entries(apiKeys)) {
    if (key === undefined || key === null) continue;
    if (typeof key !== "string") {
      throw refusal("BadArguments", `\`apiKeys.${provider}\` must be a string.`);
    }
    given[provider] = key.trim();
  }
  return given;
}
