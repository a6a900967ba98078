/**
 * The built-in tools: small, offline, deterministic, for rehearsals.
 *
 * `calculator`, `search_guide` and `wait_seconds`, each with the JSON schema that the
 * model is told. A call of streamChatWithTools names the ones that it offers.
 */
import { sleep } from "./alarm";
import { calculate } from "./calculator";
import { refusal } from "./errors";
import { Float, general, quoted } from "./format";
import { ToolError } from "./toolErrors";

const MAX_WAIT = 30; // s

export type ToolArguments = Readonly<Record<string, unknown>>;

/** What the model is told, and what is run. */
export interface Tool {
  description: string;
  /** JSON schema of the arguments: an object. */
  parameters: Record<string, unknown>;
  /** The result, which `jsonText` can write. Throws: the model reads the error. */
  run: (args: ToolArguments, signal: AbortSignal) => Promise<unknown>;
}

export type Tools = ReadonlyMap<string, Tool>;

/** The tools with these names. Throws UnknownTool, naming those that exist. */
export function toolsNamed(names: readonly string[]): Tools {
  const unknown = names.filter((name) => !TOOLS.has(name));
  if (unknown.length > 0) {
    throw refusal(
      "UnknownTool",
      `There is no tool ${unknown.map(quoted).join(", ")}. ` +
        `Tools: ${[...TOOLS.keys()].join(", ")}.`,
      { unknown },
    );
  }
  return new Map(names.map((name) => [name, TOOLS.get(name)!]));
}

function textArgument(args: ToolArguments, name: string): string {
  const value = args[name];
  if (typeof value !== "string" || value.trim() === "") {
    const text = `\`${name}\` must be a text that is not blank`;
    throw new ToolError("ValueError", text);
  }
  return value;
}

// --- search_guide -----------------------------------------------------------------

const GUIDE: readonly (readonly [title: string, text: string])[] = [
  [
    "Option 1: minimal",
    "Set NEXT_PUBLIC_USE_CONVEX_REALTIME=true, call the Convex " +
      "action streaming:streamChatWithTools first, and keep the Socket.IO streaming " +
      "loop as the fallback. On success the loop must be skipped.",
  ],
  [
    "Option 2: full migration",
    "Remove Socket.IO streaming. The chat service calls " +
      "the Convex action only; messages are read from Convex.",
  ],
  [
    "Hybrid hook",
    "useHybridTask takes messages, isStreaming, streamingPartsMap and " +
      "streamingPartsOrder from Convex, and isConnected, sendMessage and stopStream " +
      "from Socket.IO.",
  ],
  [
    "Events to keep",
    "task-status-updated, terminal-output and fs-change stay on " +
      "Socket.IO; stream-chunk, stream-complete and stream-error may go.",
  ],
  [
    "Rollback",
    "Set NEXT_PUBLIC_USE_CONVEX_REALTIME=false, revert the chat service, " +
      "restart frontend and backend.",
  ],
  [
    "Responses not showing",
    "Check that the flag is set, that the deployment's URL is " +
      "right, and that the message of the task appears in messages:byTask.",
  ],
  [
    "Stopping",
    "streaming:stopTask marks the reply as stopping in one mutation; the " +
      "producer stops the model within a second, and the text so far is kept.",
  ],
];

/** Entries that share words with the query, best first. */
function searchGuide(args: ToolArguments): unknown {
  const query = textArgument(args, "query");
  const wanted = new Set(wordsOf(query));
  const found = GUIDE.map(([title, text]) => ({
    title,
    text,
    score: new Set(wordsOf(`${title} ${text}`).filter((w) => wanted.has(w))).size,
  }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, 3);
  return { query, found: found.map(({ title, text }) => ({ title, text })) };
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

// --- wait_seconds -----------------------------------------------------------------

/** Do nothing for a while: for rehearsing what happens during a slow tool. */
async function waitSeconds(args: ToolArguments, signal: AbortSignal): Promise<unknown> {
  const seconds = args["seconds"];
  if (typeof seconds !== "number") {
    throw new ToolError("ValueError", "`seconds` must be a number");
  }
  if (!(seconds >= 0 && seconds <= MAX_WAIT)) {
    const text = `\`seconds\` must be from 0 to ${general(MAX_WAIT)}`;
    throw new ToolError("ValueError", text);
  }
  await sleep(seconds * 1000, signal);
  return { waited: Number.isInteger(seconds) ? seconds : new Float(seconds) };
}

function schema(name: string, type: string, description: string) {
  return {
    type: "object",
    properties: { [name]: { type, description } },
    required: [name],
    additionalProperties: false,
  };
}

const TOOLS: Tools = new Map<string, Tool>([
  [
    "calculator",
    {
      description:
        "Calculate an arithmetic expression: + - * / // % ** and parentheses, " +
        "abs, max, min, round, sqrt, pi, e.",
      parameters: schema("expression", "string", "for example 2 * (3 + 4)"),
      run: async (args) => {
        const expression = textArgument(args, "expression");
        return { expression, value: calculate(expression) };
      },
    },
  ],
  [
    "search_guide",
    {
      description:
        "Search the guide for moving chat streaming from Socket.IO to Convex.",
      parameters: schema("query", "string", "a few words"),
      run: async (args) => searchGuide(args),
    },
  ],
  [
    "wait_seconds",
    {
      description: "Wait for some seconds.",
      parameters: schema("seconds", "number", `from 0 to ${general(MAX_WAIT)}`),
      run: waitSeconds,
    },
  ],
]);
