/**
 * Asks for a reply as a client does, of the scripted provider, and reduces what comes of
 * it to what both languages have in common. tests/test_scenarios_replies.py does the
 * same.
 */
import { convexTest, type TestConvex } from "convex-test";
import { inject, onTestFinished } from "vitest";
import { api } from "./_generated/api";
import type { Doc, Id } from "./_generated/dataModel";
import { type Chunk, mergeChunks } from "./lib/parts";
import { modules } from "./scenario.runner";
import schema from "./schema";

export interface ReplyCase {
  name: string;
  /** By provider name; asked of each. */
  models: Record<string, string>;
  prompt?: string;
  args?: Record<string, unknown>;
  env?: Record<string, string>;
  /** Names of fields that depend on the language. */
  open?: string[];
}

const KEYS = ["OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"];

/** Set environment variables until the test ends; null unsets one. */
export function setEnvironment(values: Record<string, string | null>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    if (value === null) delete process.env[name];
    else process.env[name] = value;
    onTestFinished(() => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
  }
}

/** The functions, a task, and the provider's address in the environment. */
export class Stage {
  private constructor(
    readonly t: TestConvex<typeof schema>,
    readonly taskId: Id<"tasks">,
  ) {}

  static async open(env: Record<string, string> = {}): Promise<Stage> {
    const unset = Object.fromEntries(KEYS.map((name) => [name, null]));
    const url = inject("scriptedUrl");
    setEnvironment({ ...unset, KIT_SCRIPTED_URL: url, ...env });
    const t = convexTest({ schema, modules, transactionLimits: true });
    const taskId = await t.mutation(api.tasks.create, { title: "t" });
    return new Stage(t, taskId);
  }

  async ask(fields: Record<string, unknown>) {
    const request = { taskId: this.taskId, prompt: "Hi", ...fields };
    return await this.t.action(api.streaming.streamChatWithTools, request);
  }

  async messages(): Promise<Doc<"chatMessages">[]> {
    return await this.t.query(api.messages.byTask, { taskId: this.taskId });
  }

  async reply(): Promise<Doc<"chatMessages">> {
    return (await this.messages()).at(-1)!;
  }

  async deltas(): Promise<Doc<"streamDeltas">[]> {
    return await this.t.run(
      async (ctx) => await ctx.db.query("streamDeltas").collect(),
    );
  }

  /** Wait for something to come true; the test's time limit ends it. */
  async until(condition: () => Promise<boolean>): Promise<void> {
    while (!(await condition())) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** What the provider was asked by this test, whose prompt is its own. */
  async requests(prompt: string): Promise<Asked[]> {
    return (await allRequests()).filter((request) => request["prompt"] === prompt);
  }
}

type Asked = Record<string, unknown>;

async function allRequests(): Promise<Asked[]> {
  const answer = await fetch(`${inject("scriptedUrl")}/log`);
  const { requests } = (await answer.json()) as { requests: Asked[] };
  return requests;
}

/** The numbers of the requests; those that were refused unread have no prompt. */
async function requestsFor(prompt: string, model: string): Promise<unknown[]> {
  const unread = (request: Asked) =>
    request["prompt"] === "" && ["", model].includes(String(request["model"]));
  return (await allRequests())
    .filter((request) => request["prompt"] === prompt || unread(request))
    .map((request) => request["number"]);
}

/** What both languages have in common. */
export async function outcomeOf(replyCase: ReplyCase, model: string): Promise<unknown> {
  const { prompt = PROMPT, args, env = {}, open = [] } = replyCase;
  const url = inject("scriptedUrl");
  const stage = await Stage.open(
    Object.fromEntries(
      Object.entries(env).map(([name, value]) => [
        name,
        value.replace("<provider>", url),
      ]),
    ),
  );
  const before = await requestsFor(prompt, model);
  const result = await stage.ask({ prompt, model, ...args });
  const after = await requestsFor(prompt, model);
  const { success, status, toolCallIds, finishReason, usage } = result;
  const { error, errorKind } = result;
  const chunks = (await stage.deltas()).flatMap((delta) => delta.chunks);
  const scrub = new Scrubber(toolCallIds, url, [...COUNTED, ...open]);
  return scrub.value({
    success,
    status,
    finishReason,
    error,
    errorKind,
    asked: after.filter((number) => !before.includes(number)).length,
    calls: toolCallIds.length,
    usage,
    chunks: settled(mergeChunks(chunks)),
  });
}

const PROMPT = "Please calculate “2 * (3 + 4)”.";

type Outcome = Extract<Chunk, { type: "tool-output-available" | "tool-output-error" }>;

/** Results of one step come in any order: here, by their calls' ids. */
function settled(chunks: Chunk[]): Chunk[] {
  const sorted: Chunk[] = [];
  for (const chunk of chunks) {
    let index = sorted.length;
    while (isOutcome(chunk) && isAfter(sorted[index - 1], chunk)) index -= 1;
    sorted.splice(index, 0, chunk);
  }
  return sorted;
}

function isOutcome(chunk: Chunk | undefined): chunk is Outcome {
  return chunk?.type === "tool-output-available" || chunk?.type === "tool-output-error";
}

function isAfter(before: Chunk | undefined, chunk: Outcome): boolean {
  return isOutcome(before) && before.toolCallId > chunk.toolCallId;
}

/** What depends on the text of requests, which two SDKs write differently. */
const COUNTED = ["promptTokens", "totalTokens", "cost"];

/**
 * Takes out what depends on the text of requests (besides tokens: ids and encrypted
 * reasoning are made from it), and on the parser of JSON.
 */
class Scrubber {
  constructor(
    private readonly calls: string[],
    private readonly url: string,
    private readonly open: string[],
  ) {}

  value(value: unknown): unknown {
    if (typeof value === "string") return this.text(value);
    if (Array.isArray(value)) return value.map((item) => this.value(item));
    if (typeof value !== "object" || value === null) return value;
    const fields = Object.entries(value).map(([name, field]) => [
      name,
      this.open.includes(name) ? "open" : this.value(field),
    ]);
    return Object.fromEntries(fields) as unknown;
  }

  private text(text: string): string {
    for (const [index, id] of this.calls.entries()) {
      text = text.replaceAll(id, `call-${index}`);
    }
    return text
      .replaceAll(this.url, "<provider>")
      .replaceAll(new URL(this.url).host, "<provider>")
      .replace(/redacted-[0-9a-f]{40}/g, "redacted-data")
      .replace(/\b\d+ (tokens|of text input)/g, "N $1")
      .replace(/(the arguments are not JSON): [^`\n]*/g, "$1");
  }
}
