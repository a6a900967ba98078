// @vitest-environment happy-dom
/** The template `useHybridTask` against the application and an embedded deployment. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { api, useKit } from "./support/kit";
import { post } from "./support/post";
import { KitProcess } from "./support/process";
import { reactClients } from "./support/react";
import { expectNoFlicker, livePartsOf, showHook } from "./support/shown";
import { until } from "./support/until";

const HYBRID = "./build/apps/frontend/hooks/convex/use-hybrid-task";
const SOCKET = "./build/apps/frontend/hooks/socket/use-task-socket";
type Hybrid = typeof import("./build/apps/frontend/hooks/convex/use-hybrid-task");
type TaskSocket = typeof import("./build/apps/frontend/hooks/socket/use-task-socket");

const kit = useKit();
const connectToConvex = reactClients(() => kit.url);
let folder: string;
let application: KitProcess;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kit-npm-"));
  await setFlag(true);
  application = new KitProcess(
    "kit.app.server",
    [
      "--env-file",
      join(folder, ".env.local"),
      "--history-url",
      `sqlite+aiosqlite:///${join(folder, "history.db")}`,
      "--workspace",
      join(folder, "workspace"),
    ],
    { KIT_SCRIPTED_URL: kit.provider.url },
  );
  await application.start();
});

afterAll(async () => {
  await application.stop();
  await rm(folder, { recursive: true });
});

/** The application reads it when it starts. */
async function setFlag(on: boolean): Promise<void> {
  const flags = `NEXT_PUBLIC_USE_CONVEX_REALTIME=${on}\nNEXT_PUBLIC_CONVEX_URL=${kit.url}\n`;
  await writeFile(join(folder, ".env.local"), flags);
}

async function newTask(): Promise<string> {
  const task = await post(`${application.url}/api/tasks`, { title: "From vitest" });
  return (task as { taskId: string }).taskId;
}

/** The hook in a component, as the application's task context uses it. */
async function view(taskId: string, options: { bypassed?: boolean } = {}) {
  const { connect, useTaskMessages } = (await import(SOCKET)) as TaskSocket;
  const { useHybridTask } = (await import(HYBRID)) as Hybrid;
  onTestFinished(connect(options.bypassed ? undefined : application.url));
  return showHook(
    connectToConvex(),
    (taskId) => useHybridTask(taskId, useTaskMessages()),
    taskId,
  ).shown;
}

/** Until the application is done with its last message: it takes no other before. */
async function untilSettled(): Promise<void> {
  const socket = (await import(SOCKET)) as TaskSocket;
  await until(() => expect(socket.taskStatus).toBe("COMPLETED"));
}

const LONG = "claude-scripted-text:tokens=2000,pace=60";
const SHORT = "claude-scripted-text:tokens=60,pace=200";
const THINK = "claude-scripted-think:tokens=60,pace=100";
const THOUGHTS = ["reasoning-0", "redacted-reasoning-0", "text-0"];

test("with Convex on, it is connected, sends, and shows what Convex streams", async () => {
  const shown = await view(await newTask());
  await shown.until((now) => expect(now.isConnected).toBe(true));
  shown.now.sendMessage("Think about it", THINK);
  await shown.until((now) => {
    expect(now.isStreaming).toBe(true);
    expect(now.streamingPartsOrder.length).toBeGreaterThan(1);
  });
  expect(shown.now.streaming.isLive).toBe(true);
  const row = await shown.untilFinal(1);
  expect(row.status).toBe("complete");
  expect(shown.orders().at(-1)).toEqual(row.parts!.map((part) => part.id));
  expectNoFlicker(shown.renders);
  await shown.until((now) => expect(now.isStreaming).toBe(false));
});

test("all that useTaskSocket returns is passed on", async () => {
  const shown = await view(await newTask());
  const fields: (keyof ReturnType<TaskSocket["useTaskSocket"]>)[] = [
    "isConnected",
    "streamingPartsMap",
    "streamingPartsOrder",
    "isStreaming",
    "setIsStreaming",
    "isCompletionPending",
    "autoPRStatus",
    "sendMessage",
    "stopStream",
    "clearQueuedAction",
    "createStackedPR",
  ];
  expect(Object.keys(shown.now)).toEqual(expect.arrayContaining(fields));
  expect(shown.now.isCompletionPending).toBe(false);
  expect(shown.now.autoPRStatus).toBeNull();
});

test("stopStream stops what Convex streams, also after a reload", async () => {
  const taskId = await newTask();
  const shown = await view(taskId);
  await shown.until((now) => expect(now.isConnected).toBe(true));
  shown.now.sendMessage("Write a lot", LONG);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  // A new page: its socket has never heard of the reply.
  const reloaded = await view(taskId);
  await reloaded.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await reloaded.now.stopStream();
  const row = await shown.untilFinal(1);
  expect(row.status).toBe("stopped");
  expect(row.content).not.toBe("");
  expectNoFlicker(shown.renders);
});

test("an application that skips the socket: sending is an error, stopping works", async () => {
  const taskId = await newTask();
  const client = connectToConvex();
  const prompt = { taskId: taskId as never, prompt: "Write", model: LONG };
  await client.mutation(api.streaming.send, prompt);
  const shown = await view(taskId, { bypassed: true });
  expect(shown.now.isConnected).toBe(false);
  expect(() => shown.now.sendMessage("Hello", SHORT)).toThrow(
    "there is no connection to the application's server",
  );
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await shown.now.stopStream();
  expect((await shown.untilFinal(1)).status).toBe("stopped");
});

test("a reply of the fallback shows from Socket.IO, then from the history", async () => {
  const taskId = await newTask();
  const shown = await view(taskId);
  await shown.until((now) => expect(now.isConnected).toBe(true));
  shown.now.sendMessage("First", SHORT);
  await shown.untilFinal(1);
  await untilSettled();

  await kit.process.kill();
  shown.now.sendMessage("Second", THINK);
  await shown.until((now) => {
    expect(now.isStreaming).toBe(true);
    expect(now.streamingPartsOrder).toEqual(THOUGHTS);
  });
  expect(shown.now.streaming.connection).toBe("reconnecting");
  for (const part of livePartsOf(shown.now)) {
    if ("text" in part) expect(part.text).not.toBe("");
  }
  await shown.untilFinal(2);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual([]));
  const [first, , , second] = shown.now.messages;
  expect(second!.parts!.map((part) => part.id)).toEqual(THOUGHTS);
  expect(second!.content).not.toBe("");

  await kit.process.start();
  await shown.until((now) => expect(now.streaming.connection).toBe("connected"));
  await untilSettled();
  shown.now.sendMessage("Third", SHORT);
  await shown.untilFinal(3);
  const contents = shown.now.messages.map(({ role, content }) =>
    role === "USER" ? content : role,
  );
  expect(contents).toEqual([
    "First",
    "ASSISTANT",
    "Second",
    "ASSISTANT",
    "Third",
    "ASSISTANT",
  ]);
  expect(shown.now.messages[0]).toEqual(first);
});

test("rolled back, all comes from Socket.IO again", async () => {
  vi.stubEnv("NEXT_PUBLIC_USE_CONVEX_REALTIME", "false");
  vi.resetModules();
  onTestFinished(() => {
    vi.unstubAllEnvs();
    vi.resetModules();
  });
  await application.stop();
  await setFlag(false);
  await application.start();
  const shown = await view(await newTask());
  await shown.until((now) => expect(now.isConnected).toBe(true));
  shown.now.sendMessage("Think about it", THINK);
  await shown.until((now) => {
    expect(now.isStreaming).toBe(true);
    expect(now.streamingPartsOrder).toEqual(THOUGHTS);
  });
  await shown.untilFinal(1);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual([]));
  await untilSettled();
  shown.now.sendMessage("Write a lot", LONG);
  await shown.until((now) => expect(now.streamingPartsOrder).toEqual(["text-0"]));
  await shown.now.stopStream();
  const row = await shown.untilFinal(2);
  expect(row.status).toBe("stopped");
  expect(shown.now.streaming.messages).toEqual([]);
});
