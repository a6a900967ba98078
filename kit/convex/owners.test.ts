/**
 * Nobody reaches what is another's, whatever function they call.
 *
 * The functions are found by reflection; tests/scenarios/calls/calls.json says how to
 * call them, and tests/test_convex_owners.py what is in it.
 */
import { readFileSync } from "node:fs";
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { ConvexError, type Value } from "convex/values";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { api, internal } from "./_generated/api";
import type { Id } from "./_generated/dataModel";
import { modules } from "./scenario.runner";
import schema from "./schema";

type Args = Record<string, Value>;

const FILE = new URL("../../tests/scenarios/calls/calls.json", import.meta.url);
const calls = JSON.parse(readFileSync(FILE, "utf8")) as {
  [path: string]: { args: Args; reveals?: "nothing"; asks?: false };
};
const functions = await publicFunctions();

const SECRET = "what Ann said";
const ANN = { issuer: "https://issuer", subject: "ann" };
const BOB = { issuer: "https://issuer", subject: "bob" };

type Tester = ReturnType<typeof open>;
type Caller = Pick<Tester, "query" | "mutation" | "action">;
type Kind = "query" | "mutation" | "action";

function open() {
  return convexTest({ schema, modules });
}

// The watchdog of a reply that is begun is never to run.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

/** The kinds of the public functions, by path. */
async function publicFunctions(): Promise<Map<string, Kind>> {
  const found = new Map<string, Kind>();
  for (const [file, load] of Object.entries(modules)) {
    if (file.startsWith("./_generated")) continue;
    const exported = (await load()) as Record<string, Record<string, unknown>>;
    for (const [name, value] of Object.entries(exported)) {
      if (value?.["isPublic"] !== true) continue;
      const kind = value["isQuery"]
        ? "query"
        : value["isMutation"]
          ? "mutation"
          : "action";
      found.set(`${file.slice(2).replace(/\.ts$/, "")}:${name}`, kind);
    }
  }
  return found;
}

/** A task of Ann's, whose reply is being written. */
class Conversation {
  private constructor(
    private readonly t: Tester,
    private readonly ids: {
      task: Id<"tasks">;
      message: Id<"chatMessages">;
      stream: Id<"streams">;
    },
  ) {}

  static async begin(t: Tester): Promise<Conversation> {
    const ann = t.withIdentity(ANN);
    const task = await ann.mutation(api.tasks.create, { title: SECRET });
    const begun = await ann.mutation(internal.streaming.begin, {
      taskId: task,
      prompt: SECRET,
      model: "m",
      clientMessageId: "c1",
      leaseMs: 600_000,
    });
    const { streamId, epoch } = begun;
    await t.mutation(internal.streaming.append, {
      streamId,
      epoch,
      seq: 0,
      chunks: [{ type: "text-delta", id: "text-0", delta: SECRET }],
    });
    return new Conversation(t, { task, message: begun.messageId, stream: streamId });
  }

  async remove(): Promise<void> {
    const { stream: streamId, task: taskId } = this.ids;
    await this.t.mutation(internal.streaming.finalize, {
      streamId,
      epoch: 1,
      outcome: "complete",
    });
    await this.t.withIdentity(ANN).mutation(api.tasks.remove, { taskId });
  }

  /** With what a function is called about this conversation. */
  args(path: string): Args {
    const fill = (value: Value) =>
      typeof value === "string" && value.startsWith("$")
        ? this.ids[value.slice(1) as keyof typeof this.ids]
        : value;
    const { args } = calls[path]!;
    return Object.fromEntries(
      Object.entries(args).map(([name, value]) => [name, fill(value)]),
    );
  }

  /** The answer as JSON, without this conversation's ids. */
  hiddenIn(answer: string): string {
    return Object.entries(this.ids).reduce(
      (text, [name, id]) => text.replaceAll(id, name),
      answer,
    );
  }

  /** All of it, as it is stored. */
  async said(): Promise<unknown> {
    const { task, message, stream } = this.ids;
    return await this.t.run(async (ctx) => [
      await ctx.db.get("tasks", task),
      await ctx.db.get("chatMessages", message),
      await ctx.db.get("streams", stream),
    ]);
  }
}

/** What a function answers, as JSON: its value, or the data of its error. */
async function answerOf(caller: Caller, path: string, args: Args): Promise<string> {
  try {
    return JSON.stringify(await call(caller, path, args));
  } catch (error) {
    if (!(error instanceof ConvexError)) throw error;
    return `refused: ${JSON.stringify(error.data)}`;
  }
}

async function call(caller: Caller, path: string, args: Args): Promise<unknown> {
  switch (functions.get(path)!) {
    case "query":
      return await caller.query(makeFunctionReference<"query">(path), args);
    case "mutation":
      return await caller.mutation(makeFunctionReference<"mutation">(path), args);
    case "action":
      return await caller.action(makeFunctionReference<"action">(path), args);
  }
}

test("it is said how to call each public function", () => {
  expect([...functions.keys()].sort()).toEqual(Object.keys(calls).sort());
  expect(functions.size).toBeGreaterThan(12);
});

describe.each([...functions.keys()])("%s", (path) => {
  test("tells others what it tells of what is gone", async () => {
    const t = open();
    const anns = await Conversation.begin(t);
    const gone = await Conversation.begin(t);
    await gone.remove();
    const before = await anns.said();
    const { args, reveals } = calls[path]!;
    const namesIt = JSON.stringify(args).includes("$");
    for (const caller of [t.withIdentity(BOB), t]) {
      const told = await answerOf(caller, path, anns.args(path));
      expect(told).not.toContain(SECRET);
      if (!namesIt) continue;
      const ofGone = await answerOf(caller, path, gone.args(path));
      expect(anns.hiddenIn(told)).toBe(gone.hiddenIn(ofGone));
    }
    expect(await anns.said()).toEqual(before);

    // The call is one that tells its owner more.
    const ann = t.withIdentity(ANN);
    const told = await answerOf(ann, path, anns.args(path));
    if (namesIt) {
      const ofGone = await answerOf(ann, path, gone.args(path));
      expect(anns.hiddenIn(told)).not.toBe(gone.hiddenIn(ofGone));
    } else if (reveals !== "nothing") {
      expect(told).toContain(SECRET);
    }
  });

  test("refuses who has not signed in where callers are to", async () => {
    const t = open();
    const anns = await Conversation.begin(t);
    vi.stubEnv("KIT_REQUIRE_AUTH", "true");
    const told = await answerOf(t, path, anns.args(path));
    if (calls[path]!.asks === false) expect(told).not.toMatch(/^refused/);
    else expect(told).toMatch(/^refused: {"code":"Unauthenticated"/);
  });
});
