// @vitest-environment happy-dom
/** The template `useMessageStreaming` against an embedded deployment. */
import { join } from "node:path";
import { ConvexError } from "convex/values";
import { expect, onTestFinished, test } from "vitest";
import { useMessageStreaming } from "./build/apps/frontend/hooks/convex/use-message-streaming";
import { api, useKit } from "./support/kit";
import { LineReader } from "./support/lines";
import { reactClients } from "./support/react";
import { rejection } from "./support/rejection";
import { expectNoFlicker, livePartsOf, showHook } from "./support/shown";

const kit = useKit();
const connect = reactClients(() => kit.url);

function view(client: ReturnType<typeof connect>, taskId: string | undefined) {
  return showHook(client, useMessageStreaming, taskId);
}

/** Thinks, calls a tool with arguments, and answers in text. */
const RICH = {
  prompt: "Use the calculator tool for 6 * 7, then explain.",
  model: "claude-opus-5-5",
  tools: ["calculator"],
};

/** What the Python hook saw of the next reply. */
async function followWithPython(taskId: string) {
  const script = join(import.meta.dirname, "support/follow_with_python.py");
  const lines = new LineReader(script, [kit.url, taskId]);
  onTestFinished(() => lines.close());
  await lines.next(); // it follows
  return () => lines.next() as Promise<{ orders: string[][]; parts: unknown[] }>;
}

test("a reply is shown as it grows, and then as it is stored, without a flicker", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  await shown.until(({ isLoading, messages }) => {
    expect(isLoading).toBe(false);
    expect(messages).toEqual([]);
  });
  await client.mutation(api.streaming.send, { taskId, ...RICH });
  await shown.until(({ isStreaming, streamingPartsOrder }) => {
    expect(isStreaming).toBe(true);
    expect(streamingPartsOrder).not.toEqual([]);
  });
  const row = await shown.untilFinal(1);
  const { isStreaming, isLive, streamingPartsMap, streamingPartsOrder } = shown.now;
  expect({
    isStreaming,
    isLive,
    streamingPartsOrder,
    size: streamingPartsMap.size,
  }).toEqual({ isStreaming: false, isLive: false, streamingPartsOrder: [], size: 0 });
  expectNoFlicker(shown.renders);
  expect(row.status).toBe("complete");
  const types = new Set(row.parts?.map((part) => part.type));
  expect(types).toEqual(new Set(["reasoning", "tool-call", "tool-result", "text"]));
  expect(shown.orders().at(-1)).toEqual(row.parts?.map((part) => part.id));
  // Shown while it grew, and not at its end only.
  expect(shown.renders.length).toBeGreaterThan(10);
});

test("ids and order are those of the Python hook, from the start and late", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const early = view(client, taskId).shown;
  const fromPython = await followWithPython(taskId);
  await client.mutation(api.streaming.send, { taskId, ...RICH });

  await early.until((now) => expect(now.streamingPartsOrder.length).toBeGreaterThan(2));
  const seen = livePartsOf(early.now);
  const late = view(connect(), taskId).shown;
  const row = await late.untilFinal(1);
  await early.untilFinal(1);
  const python = await fromPython();

  const ids = row.parts!.map((part) => part.id);
  expect(python.orders.at(-1)).toEqual(ids);
  expect(early.orders().at(-1)).toEqual(ids);
  expect(late.orders().at(-1)).toEqual(ids);
  for (const order of [...python.orders, ...early.orders(), ...late.orders()]) {
    expect(order).toEqual(ids.slice(0, order.length));
  }
  // Whoever joins late has at once what others had by then.
  expect(late.orders()[0]!.length).toBeGreaterThanOrEqual(seen.length);
  expectNoFlicker(early.renders);
  expectNoFlicker(late.renders);
  // The last delta may come with the final row; what was shown is its beginning.
  expect(python.parts.length).toBe(ids.length);
  for (const parts of [early.lastParts(), late.lastParts()]) {
    expect(parts.slice(0, -1)).toEqual(row.parts!.slice(0, parts.length - 1));
  }
});

test("a viewer that joins in the middle of a long reply shows its beginning", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const model = "claude-scripted-text:tokens=600,pace=300";
  await client.mutation(api.streaming.send, { taskId, prompt: "Write", model });
  const early = view(client, taskId).shown;
  await early.until(({ streamingPartsMap }) => {
    const part = streamingPartsMap.get("text-0");
    expect(part?.type === "text" && part.text.length).toBeGreaterThan(1000);
  });
  const late = view(connect(), taskId).shown;
  const row = await late.untilFinal(1);
  await early.untilFinal(1);
  expectNoFlicker(early.renders);
  expectNoFlicker(late.renders);
  const first = late.renders.find((chat) => chat.streamingPartsOrder.length > 0)!;
  const text = livePartsOf(first)[0] as { text: string };
  expect(text.text.length).toBeGreaterThan(1000);
  expect(row.content.startsWith(text.text)).toBe(true);
  expect(row.content.length).toBeGreaterThan(text.text.length);
});

test("unmounted and mounted again in the middle, it goes on", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const model = "claude-scripted-text:tokens=120,pace=60";
  const { shown: first, unmount } = view(client, taskId);
  await client.mutation(api.streaming.send, { taskId, prompt: "Write", model });
  await first.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  unmount();
  const second = view(client, taskId).shown;
  await second.untilFinal(1);
  expectNoFlicker(second.renders);
  expect(second.orders()).toEqual([["text-0"]]);
});

test("sendMessage and stopStream: a stopped reply keeps its text", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  const model = "claude-scripted-text:tokens=2000,pace=60";
  const clientMessageId = await shown.now.sendMessage("Write a lot", model);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  const refused = await rejection(shown.now.sendMessage("And more", model));
  expect((refused as ConvexError<{ code: string }>).data.code).toBe("StreamActive");
  await shown.now.stopStream();
  await shown.until((now) => expect(now.isStreaming).toBe(false));
  const row = await shown.untilFinal(1);
  expect(row.status).toBe("stopped");
  expect(row.content).not.toBe("");
  expect(shown.now.messages[0]).toMatchObject({ clientMessageId, role: "USER" });
  expectNoFlicker(shown.renders);
});

test("a queued message shows at once, and its parts when it is its turn", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  const model = "claude-scripted-text:tokens=60,pace=60";
  await shown.now.sendMessage("One", model);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await shown.now.sendMessage("Two", model, "queue");
  await shown.until((now) => expect(now.messages.at(-1)?.status).toBe("queued"));
  expect(shown.now).toMatchObject({ isStreaming: true, streamingPartsOrder: ["text-0"] });
  expect(shown.now.streamingMessage).toBe(shown.now.messages[1]);
  await shown.until((now) => expect(now.messages[1]?.status).toBe("complete"));
  expect(shown.now.isStreaming).toBe(true);
  await shown.untilFinal(2);
  for (const { messages, streamingPartsOrder } of shown.renders) {
    const [one, two] = messages.filter((row) => row.role === "ASSISTANT");
    // Live parts are those of the reply that is written; a final row has its own.
    if (one?.status === "complete") expect(one.parts).not.toEqual([]);
    if (two?.status === "queued" && one?.status === "complete") {
      expect(streamingPartsOrder).toEqual([]);
    }
  }
  const statuses = shown.renders.map((now) => now.messages.map((row) => row.status));
  expect(statuses).not.toContainEqual(["complete", "complete", "complete", "queued"]);
});

test("an interrupting message: one reply stops as the other begins", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  await shown.now.sendMessage("One", "claude-scripted-text:tokens=2000,pace=60");
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await shown.now.sendMessage("Two", "claude-scripted-text:tokens=4", "interrupt");
  await shown.until((now) => {
    const replies = now.messages.filter((row) => row.role === "ASSISTANT");
    expect(replies.map((row) => row.status)).toEqual(["stopped", "complete"]);
    expect(replies[0]?.content).not.toBe("");
  });
  for (const { messages } of shown.renders) {
    const streaming = messages.filter((row) => row.status === "streaming");
    expect(streaming.length).toBeLessThanOrEqual(1);
    if (messages.length === 4) expect(messages[1]?.status).not.toBe("streaming");
  }
});

test("stopStream drops what is queued", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  const model = "claude-scripted-text:tokens=2000,pace=60";
  await shown.now.sendMessage("One", model);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await shown.now.sendMessage("Two", model, "queue");
  await shown.now.sendMessage("Three", model, "queue");
  await shown.until((now) => expect(now.messages).toHaveLength(6));
  await shown.now.stopStream();
  await shown.until((now) => {
    const replies = now.messages.filter((row) => row.role === "ASSISTANT");
    expect(replies.map((row) => row.status)).toEqual(["stopped", "stopped", "stopped"]);
    expect(replies.map((row) => row.parts?.length)).toEqual([1, 0, 0]);
  });
});

test("one reply after the other", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  const model = "claude-scripted-text:tokens=20,pace=100";
  await shown.now.sendMessage("One", model);
  await shown.untilFinal(1);
  await shown.now.sendMessage("Two", model);
  await shown.untilFinal(2);
  expectNoFlicker(shown.renders);
  expect(shown.now.messages.map((row) => row.sequence)).toEqual([0, 1, 2, 3]);
});

test("another task in the middle of a reply", async () => {
  const client = connect();
  const [first, second] = [await kit.newTask(), await kit.newTask()];
  const model = "claude-scripted-text:tokens=2000,pace=60";
  await client.mutation(api.streaming.send, { taskId: first, prompt: "Write", model });
  const { shown, show } = view(client, first);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  show(second);
  expect(shown.now).toMatchObject({ isStreaming: false, streamingPartsOrder: [] });
  await shown.until((now) => expect(now.isLoading).toBe(false));
  expect(shown.now.messages).toEqual([]);
  show(first);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await shown.now.stopStream();
});

test("the deployment is killed in the middle of a reply, and comes back", async () => {
  const client = connect();
  const taskId = await kit.newTask();
  const shown = view(client, taskId).shown;
  await shown.now.sendMessage("Write", "claude-scripted-text:tokens=2000,pace=60");
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await kit.process.kill();
  await shown.until((now) => expect(now.connection).toBe("reconnecting"));
  expect(shown.now.streamingPartsOrder).toEqual(["text-0"]); // what was there stays
  await kit.process.start();
  await shown.until((now) => expect(now.connection).toBe("connected"));
  await shown.now.stopStream();
  const row = await shown.untilFinal(1);
  expect(row.content).not.toBe("");
  expectNoFlicker(shown.renders);
});

test("without a task, nothing; with an id that is none of Convex's, an error", async () => {
  const { shown, show } = view(connect(), undefined);
  expect(shown.now).toMatchObject({
    messages: [],
    isLoading: false,
    isStreaming: false,
    streamingPartsOrder: [],
    error: undefined,
  });
  expect((await rejection(shown.now.stopStream())).message).toContain("no task yet");
  show("cuid-of-another-database");
  await shown.until((now) => {
    expect(now.error?.message).toContain("ArgumentValidationError");
  });
  expect(shown.now).toMatchObject({ messages: [], isLoading: false });
});
