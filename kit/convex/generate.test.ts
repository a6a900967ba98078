/**
 * What happens around a reply while the model writes it: stops, repeated calls, keys.
 * What a reply comes to, over each wire, is in replies.test.ts.
 */
import { ConvexError } from "convex/values";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { api, internal } from "./_generated/api";
import { setEnvironment, Stage } from "./reply.runner";

const SENTINEL = "sk-sentinel-4f3e2d1c0b9a8877";

const WIRES = {
  anthropic: "claude-scripted-",
  openai: "gpt-scripted-",
  openrouter: "vendor/scripted-",
};

/** A prompt that only this test asks, by which to find it in the provider's log. */
function ownPrompt(): string {
  return `Hello ${crypto.randomUUID()}`;
}

async function errorOf(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  const error: unknown = await promise.then(
    (value) => value,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConvexError);
  return (error as ConvexError<Record<string, string>>).data;
}

describe.skipIf(inject("scriptedUrl") === "")("with the scripted provider", () => {
  test("a reply grows while it is written, in few deltas, and ends in one row", async () => {
    const stage = await Stage.open({ KIT_FLUSH_INTERVAL_MS: "250" });
    const model = "claude-scripted-text:tokens=120,pace=60";
    const asking = stage.ask({ model, clientMessageId: "c1" });
    await stage.until(async () => (await stage.deltas()).length > 2);
    expect((await stage.reply()).status).toBe("streaming");
    const result = await asking;
    const row = await stage.reply();
    expect(result).toMatchObject({
      success: true,
      reused: false,
      status: "complete",
      messageId: row._id,
      text: row.content,
      finishReason: "stop",
    });
    const deltas = await stage.deltas();
    const text = deltas
      .flatMap((delta) => delta.chunks)
      .map((chunk) => (chunk.type === "text-delta" ? chunk.delta : ""));
    expect(text.join("")).toBe(row.content);
    // 120 tokens in 2 s: a delta for each 250 ms, and those that do not wait.
    expect(deltas.length).toBeLessThan(16);
  });

  for (const [wire, prefix] of Object.entries(WIRES)) {
    test(`a stop reaches ${wire} within a second, and the text so far is kept`, async () => {
      const stage = await Stage.open();
      const prompt = ownPrompt();
      const model = `${prefix}text:tokens=5000,pace=100`;
      const asking = stage.ask({ prompt, model });
      await stage.until(async () => (await stage.deltas()).length > 3);
      const { taskId } = stage;
      await stage.t.mutation(api.streaming.stopTask, { taskId });
      const stoppedAt = Date.now();
      const result = await asking;
      expect(Date.now() - stoppedAt).toBeLessThan(1500);
      expect(result).toMatchObject({
        success: true,
        status: "stopped",
        finishReason: "aborted",
        error: null,
      });
      expect(result.text).toMatch(/^Rain fell/);
      const [request] = await stage.requests(prompt);
      await stage.until(
        async () => (await stage.requests(prompt))[0]!["outcome"] === "disconnected",
      );
      const [ended] = await stage.requests(prompt);
      expect(Number(ended!["endedAt"]) * 1000 - stoppedAt).toBeLessThan(1000);
      expect(request!["wire"]).toBe(wire);
    });
  }

  test("a stop ends a reply also where fetch heeds no signal, as on Convex", async () => {
    const stage = await Stage.open();
    const realFetch = globalThis.fetch;
    onTestFinished(() => void (globalThis.fetch = realFetch));
    globalThis.fetch = async (input, init) => {
      const response = await realFetch(input, { ...init, signal: null });
      const reader = response.body!.getReader();
      // A body that cannot be cancelled either.
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      });
      return new Response(body, response);
    };
    const asking = stage.ask({ model: "vendor/scripted-text:tokens=5000,pace=100" });
    await stage.until(async () => (await stage.deltas()).length > 3);
    const { taskId } = stage;
    await stage.t.mutation(api.streaming.stopTask, { taskId });
    const stoppedAt = Date.now();
    expect((await asking).status).toBe("stopped");
    expect(Date.now() - stoppedAt).toBeLessThan(1000);
  });

  test("a stop during silence is not waited out", async () => {
    const stage = await Stage.open();
    const asking = stage.ask({ model: "gpt-scripted-stall:at=2" });
    await stage.until(async () => (await stage.deltas()).length > 0);
    const { _id: messageId } = await stage.reply();
    await stage.t.mutation(api.streaming.cancelStream, { messageId });
    expect((await asking).status).toBe("stopped");
  });

  test.each([
    ["before the first token", "claude-scripted-slow:delay=600", "disconnected"],
    ["between two tries", "gpt-scripted-http-429:retry-after=19", "refused"],
  ])("a stop %s ends the wait", async (_, model, outcome) => {
    const stage = await Stage.open();
    const prompt = ownPrompt();
    const asking = stage.ask({ prompt, model });
    await stage.until(async () => (await stage.requests(prompt)).length > 0);
    const { taskId } = stage;
    await stage.t.mutation(api.streaming.stopTask, { taskId });
    expect(await asking).toMatchObject({ status: "stopped", text: "", error: null });
    await stage.until(
      async () => (await stage.requests(prompt))[0]!["outcome"] === outcome,
    );
    expect(await stage.requests(prompt)).toHaveLength(1);
  });

  test("a stop ends a tool that is running, and leaves no call without result", async () => {
    const stage = await Stage.open();
    const asking = stage.ask({
      model: "claude-scripted-tool",
      prompt: "Please use wait_seconds for 25.",
      tools: ["wait_seconds"],
    });
    await stage.until(async () =>
      (await stage.deltas()).some((delta) =>
        delta.chunks.some((chunk) => chunk.type === "tool-input-available"),
      ),
    );
    const { taskId } = stage;
    await stage.t.mutation(api.streaming.stopTask, { taskId });
    const result = await asking;
    expect(result.status).toBe("stopped");
    expect((await stage.reply()).parts?.at(-1)).toMatchObject({
      type: "tool-result",
      toolName: "wait_seconds",
      resultText: "stopped",
      isError: true,
    });
  });

  test("a reply that was stopped before it began asks nobody", async () => {
    const stage = await Stage.open();
    const prompt = ownPrompt();
    const started = await stage.t.mutation(internal.streaming.begin, {
      taskId: stage.taskId,
      prompt,
      model: "m",
      leaseMs: 15_000,
    });
    const { taskId } = stage;
    await stage.t.mutation(api.streaming.stopTask, { taskId });
    await stage.t.action(internal.streaming.generate, {
      streamId: started.streamId,
      messageId: started.messageId,
      epoch: 1,
      model: "claude-scripted-text",
      tools: [],
    });
    expect((await stage.reply()).status).toBe("stopped");
    expect(await stage.requests(prompt)).toEqual([]);
  });

  test("send returns at once, and the reply is generated after it", async () => {
    const stage = await Stage.open();
    const started = await stage.t.mutation(api.streaming.send, {
      taskId: stage.taskId,
      prompt: "Hi",
      model: "gpt-scripted-text:tokens=4",
    });
    expect(started.status).toBe("streaming");
    await stage.until(async () => (await stage.reply()).status === "complete");
    expect((await stage.reply()).content).toBe("Rain fell on the");
  });

  test("a repeated call follows the first, and asks nobody", async () => {
    const stage = await Stage.open();
    const prompt = ownPrompt();
    const fields = {
      prompt,
      model: "claude-scripted-text:tokens=40,pace=100",
      clientMessageId: "c1",
    };
    const first = stage.ask(fields);
    await stage.until(async () => (await stage.deltas()).length > 0);
    const second = await stage.ask(fields);
    expect(second).toEqual({ ...(await first), reused: true });
    expect(await stage.requests(prompt)).toHaveLength(1);
  });

  test("a task has one reply at a time", async () => {
    const stage = await Stage.open();
    const asking = stage.ask({ model: "gpt-scripted-text:tokens=30,pace=100" });
    await stage.until(async () => (await stage.messages()).length > 0);
    const error = await errorOf(stage.ask({ model: "gpt-scripted-text" }));
    expect(error).toMatchObject({ code: "StreamActive", taskId: stage.taskId });
    expect((await asking).success).toBe(true);
  });

  test("a queued message is answered when the one before it has ended", async () => {
    const stage = await Stage.open();
    const [one, two] = [ownPrompt(), ownPrompt()];
    const model = "gpt-scripted-text:tokens=30,pace=100";
    const first = stage.ask({ prompt: one, model });
    await stage.until(async () => (await stage.deltas()).length > 0);
    const second = stage.ask({ prompt: two, model, whenActive: "queue" });
    await stage.until(async () => (await stage.messages()).length === 4);
    expect((await stage.reply()).status).toBe("queued");
    expect([(await first).status, (await second).status]).toEqual([
      "complete",
      "complete",
    ]);
    const [[earlier], [later]] = [await stage.requests(one), await stage.requests(two)];
    expect(earlier!["endedAt"]).toBeLessThanOrEqual(Number(later!["receivedAt"]));
  });

  test("a queued message of send is generated at its turn", async () => {
    const stage = await Stage.open();
    const { taskId } = stage;
    const first = stage.ask({ model: "gpt-scripted-text:tokens=30,pace=100" });
    await stage.until(async () => (await stage.deltas()).length > 0);
    await stage.t.mutation(api.streaming.send, {
      taskId,
      prompt: "two",
      model: "gpt-scripted-text:tokens=4",
      whenActive: "queue",
    });
    await first;
    await stage.until(async () => (await stage.reply()).status === "complete");
    expect((await stage.reply()).content).toBe("Rain fell on the");
  });

  test("an interrupting message ends the call of the one before, and keeps its text", async () => {
    const stage = await Stage.open();
    const prompt = ownPrompt();
    const first = stage.ask({
      prompt,
      model: "claude-scripted-text:tokens=5000,pace=100",
    });
    await stage.until(async () => (await stage.deltas()).length > 2);
    const model = "claude-scripted-text:tokens=2";
    const second = await stage.ask({ prompt: "two", model, whenActive: "interrupt" });
    const { status, text } = await first;
    expect([status, second.status]).toEqual(["stopped", "complete"]);
    const { turns } = await stage.t.query(internal.streaming.context, {
      messageId: second.messageId,
    });
    expect(turns.map((turn) => turn.text)).toEqual([prompt, text, "two"]);
    await stage.until(
      async () => (await stage.requests(prompt))[0]!["outcome"] === "disconnected",
    );
  });

  test("a queued message that is cancelled asks nobody", async () => {
    const stage = await Stage.open();
    const { taskId } = stage;
    const first = stage.ask({ model: "claude-scripted-text:tokens=5000,pace=100" });
    await stage.until(async () => (await stage.deltas()).length > 0);
    const prompt = ownPrompt();
    const second = stage.ask({
      prompt,
      model: "claude-scripted-text",
      whenActive: "queue",
    });
    await stage.until(async () => (await stage.messages()).length === 4);
    const { _id: messageId } = await stage.reply();
    await stage.t.mutation(api.streaming.cancelStream, { messageId });
    expect(await second).toMatchObject({ success: true, status: "stopped", text: "" });
    await stage.t.mutation(api.streaming.stopTask, { taskId });
    expect((await first).status).toBe("stopped");
    expect(await stage.requests(prompt)).toEqual([]);
  });

  test("messages at the same moment are answered in the order of their rows", async () => {
    const stage = await Stage.open();
    const model = "gpt-scripted-text:tokens=2";
    const prompts = ["one", "two", "three", "four"];
    const asking = prompts.map((prompt) =>
      stage.ask({ prompt, model, whenActive: "queue" }),
    );
    const statuses = new Set<string>();
    await stage.until(async () => {
      const seen = (await stage.messages()).filter((row) => row.role === "ASSISTANT");
      const running = seen.filter((row) => row.status === "streaming");
      expect(running.length).toBeLessThanOrEqual(1);
      for (const row of seen) statuses.add(row.status);
      return seen.length === 4 && seen.every((row) => row.status === "complete");
    });
    expect(statuses).toContain("queued");
    const ended = (await Promise.all(asking)).map((result) => result.status);
    expect(ended).toEqual(["complete", "complete", "complete", "complete"]);
  });

  test("the model is given what was said before, and the system prompts", async () => {
    const stage = await Stage.open();
    const model = "claude-scripted-text:tokens=2";
    await stage.ask({ prompt: "one", model });
    const prompt = ownPrompt();
    await stage.ask({ prompt, model, systemPrompt: "Be brief." });
    expect((await stage.messages()).map((row) => row.content)).toEqual([
      "one",
      "Rain fell",
      prompt,
      "Rain fell",
    ]);
    expect(await stage.requests(prompt)).toHaveLength(1);
  });

  test("a lease that is lost ends the reply, and its producer stops", async () => {
    const stage = await Stage.open();
    const prompt = ownPrompt();
    const model = "claude-scripted-text:tokens=5000,pace=100";
    const asking = stage.ask({ prompt, model });
    await stage.until(async () => (await stage.deltas()).length > 2);
    const streamId = (await stage.reply()).streamId!;
    await stage.t.mutation(internal.streaming.finalize, {
      streamId,
      epoch: 1,
      outcome: "failed",
      error: "taken over",
    });
    expect(await asking).toMatchObject({ success: false, error: "taken over" });
    await stage.until(
      async () => (await stage.requests(prompt))[0]!["outcome"] === "disconnected",
    );
  });

  test("a key that was given is sent, and shown nowhere", async () => {
    const stage = await Stage.open();
    const shown: string[] = [];
    for (const model of [
      "scripted-text:tokens=2",
      "scripted-http-401:echo=1",
      "scripted-error-mid:echo=1",
      "scripted-text:context=1,echo=1",
      "scripted-nope",
    ]) {
      const apiKeys = { openrouter: "", anthropic: null, openai: SENTINEL };
      const result = await stage.ask({ model: `openai/${model}`, apiKeys });
      shown.push(JSON.stringify(result));
    }
    const tables = ["chatMessages", "streams", "streamHeads", "streamDeltas"] as const;
    for (const table of tables) {
      const rows = await stage.t.run(
        async (ctx) => await ctx.db.query(table).collect(),
      );
      shown.push(JSON.stringify(rows));
    }
    const jobs = await stage.t.run(
      async (ctx) => await ctx.db.system.query("_scheduled_functions").collect(),
    );
    shown.push(JSON.stringify(jobs));
    expect(shown.join()).toContain("the key was refused");
    expect(shown.join()).not.toContain(SENTINEL);
  });
});

test("wrong arguments begin nothing, and show no key", async () => {
  const stage = await Stage.open();
  const apiKeys = { openai: SENTINEL };
  const wrong: [Record<string, unknown>, string][] = [
    [{ model: "m", promt: "Hi" }, "extra field `promt`"],
    [{ apiKeys }, "missing the required field `model`"],
    [
      { model: "m", apiKeys: { openia: SENTINEL } },
      "names a provider that there is not",
    ],
    [{ model: "m", apiKeys: { [SENTINEL]: "openai" } }, "a provider that there is not"],
    [{ model: "m", apiKey: SENTINEL }, "extra field `apiKey`"],
    [{ model: { openai: SENTINEL } }, "Path: .model"],
    [{ model: "m", apiKeys: { openai: 5 } }, "`apiKeys.openai` must be a string"],
    [{ model: "m", apiKeys: [SENTINEL] }, "must be an object of keys by provider"],
    [{ model: "m", apiKeys, prompt: " " }, "The prompt is blank"],
    [{ model: "m", apiKeys, tools: ["hammer"] }, "There is no tool 'hammer'"],
  ];
  for (const [fields, text] of wrong) {
    const error = await errorOf(stage.ask(fields));
    expect(error["message"]).toContain(text);
    expect(JSON.stringify(error)).not.toContain(SENTINEL);
  }
  expect(await stage.messages()).toEqual([]);
});

test.each([
  ["KIT_FLUSH_INTERVAL_MS", "soon", "from 0 to 10000"],
  ["KIT_LEASE_MS", "5", "from 100 to 600000"],
])("a setting that cannot be used is told: %s=%s", async (name, value, range) => {
  const stage = await Stage.open();
  setEnvironment({ [name]: value });
  const error = await errorOf(stage.ask({ model: "m" }));
  expect(error).toEqual({
    code: "BadSetting",
    message:
      `${name} is '${value}' in the deployment's environment: set it to a number ` +
      `of milliseconds ${range}, or unset it.`,
  });
});
