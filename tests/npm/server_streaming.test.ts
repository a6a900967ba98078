/** The server's part, `convex-streaming`, against an embedded deployment. */
import { ConvexHttpClient } from "convex/browser";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { complaints } from "./support/console";
import { api, useKit } from "./support/kit";
import { Proxy } from "./support/proxy";
import { rejection } from "./support/rejection";
import { until } from "./support/until";

type Streaming = typeof import("./build/apps/server/src/lib/convex-streaming");
type Id = Awaited<ReturnType<ReturnType<typeof useKit>["newTask"]>>;

const SHORT = "claude-scripted-text:tokens=60,pace=400";
const LONG = "claude-scripted-text:tokens=2000,pace=60";
const KEY = "sk-secret-of-the-test";

const kit = useKit();

beforeEach(() => void vi.spyOn(console, "log").mockImplementation(() => {}));

/** The module as a server has it that was started with this deployment. */
async function server(url: string): Promise<Streaming> {
  vi.resetModules();
  vi.stubEnv("CONVEX_URL", url);
  onTestFinished(() => void vi.unstubAllEnvs());
  return await import("./build/apps/server/src/lib/convex-streaming");
}

async function rowsOf(taskId: Id) {
  const client = new ConvexHttpClient(kit.url, { logger: false });
  return await client.query(api.messages.byTask, { taskId });
}

async function request(model: string, clientMessageId = crypto.randomUUID()) {
  const taskId = await kit.newTask();
  return { taskId, prompt: "Write", model, clientMessageId };
}

test("a reply is streamed to its end, and is in Convex", async () => {
  const { tryConvexFirst } = await server(kit.url);
  const asked = await request(SHORT);
  const reply = await tryConvexFirst({ ...asked, systemPrompt: "Be brief" });
  const [prompt, row] = await rowsOf(asked.taskId);
  expect(reply).toEqual({ messageId: row!._id, status: "complete" });
  expect(prompt!.clientMessageId).toBe(asked.clientMessageId);
  expect(row!.content).not.toBe("");
});

test("the same message again finds the first reply", async () => {
  const { streamInConvex } = await server(kit.url);
  const asked = await request(SHORT);
  const both = [streamInConvex(asked), streamInConvex(asked)];
  const [first, second] = await Promise.all(both);
  expect(second).toEqual(first);
  expect(await streamInConvex(asked)).toEqual(first);
  expect(await rowsOf(asked.taskId)).toHaveLength(2);
});

test("a connection that is lost meanwhile does not lose or repeat the reply", async () => {
  const proxy = await Proxy.before(kit.url);
  onTestFinished(() => proxy.close());
  const { tryConvexFirst } = await server(proxy.url);
  const asked = await request("claude-scripted-text:tokens=120,pace=60");
  const reply = tryConvexFirst(asked);
  await until(async () => expect(await rowsOf(asked.taskId)).toHaveLength(2));
  proxy.cut();
  const rows = await reply.then(() => rowsOf(asked.taskId));
  expect(rows).toHaveLength(2);
  expect(await reply).toEqual({ messageId: rows[1]!._id, status: "complete" });
});

test("out of reach, nothing was begun and the caller may answer", async () => {
  const { tryConvexFirst, streamInConvex } = await server("http://127.0.0.1:1");
  const asked = await request(SHORT);
  expect(await tryConvexFirst(asked)).toBeUndefined();
  expect(complaints().join()).toContain("falling back to Socket.IO");
  expect((await rejection(streamInConvex(asked))).message).not.toBe("");
  expect(await rowsOf(asked.taskId)).toEqual([]);
});

test("a task that Convex does not have is for the fallback", async () => {
  const { tryConvexFirst } = await server(kit.url);
  const asked = { ...(await request(SHORT)), taskId: "from-before" };
  expect(await tryConvexFirst(asked)).toBeUndefined();
  expect(complaints()).toHaveLength(1);
});

test("switched off, Convex is not asked", async () => {
  const { tryConvexFirst } = await server(kit.url);
  vi.stubEnv("NEXT_PUBLIC_USE_CONVEX_REALTIME", "false");
  const asked = await request(SHORT);
  expect(await tryConvexFirst(asked)).toBeUndefined();
  expect(await rowsOf(asked.taskId)).toEqual([]);
});

test("a second message meanwhile is refused, which is no case for the fallback", async () => {
  const { tryConvexFirst, stopInConvex } = await server(kit.url);
  const asked = await request(LONG);
  const reply = tryConvexFirst(asked);
  await until(async () => expect(await rowsOf(asked.taskId)).toHaveLength(2));
  const other = { ...asked, clientMessageId: crypto.randomUUID() };
  expect((await rejection(tryConvexFirst(other))).message).toContain("still being");
  await stopInConvex(asked.taskId);
  expect((await reply)!.status).toBe("stopped");
});

test("a stop that comes before the reply is begun stops it", async () => {
  const { streamInConvex, stopInConvex } = await server(kit.url);
  const asked = await request(LONG);
  const reply = streamInConvex(asked);
  await stopInConvex(asked.taskId);
  expect((await reply).status).toBe("stopped");
});

test("a stop where nobody can be told is logged and does not throw", async () => {
  const { stopInConvex } = await server("http://127.0.0.1:1");
  await stopInConvex(await kit.newTask());
  expect(complaints().join()).toContain("cannot stop");
});

test("a reply that fails is an error, and no key is logged", async () => {
  const logged: string[] = [];
  vi.spyOn(console, "log").mockImplementation((...args) => void logged.push(`${args}`));
  const { tryConvexFirst } = await server(kit.url);
  const asked = await request("claude-scripted-http-401");
  const apiKeys = { anthropic: KEY, exa: "another", openai: undefined };
  const error = await rejection(tryConvexFirst({ ...asked, apiKeys }));
  expect(error.message).not.toBe("");
  const all = [...logged, ...complaints(), error.message, error.stack].join();
  expect(all).not.toContain(KEY);
  expect(JSON.stringify(await rowsOf(asked.taskId))).not.toContain(KEY);
});
