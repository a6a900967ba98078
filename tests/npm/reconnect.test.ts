/** What the clients live through when the deployment is killed and started again. */
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { ConvexReactClient } from "convex/react";
import { afterEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { newChannel, notes, useDeployment, work } from "./support/deployment";
import { recorder } from "./support/logger";
import { Proxy } from "./support/proxy";
import { rejection } from "./support/rejection";
import { until } from "./support/until";

const deployment = useDeployment();
const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function connect(url = deployment.url): ConvexClient {
  const client = new ConvexClient(url, { logger: recorder().logger });
  ends.push(() => client.close());
  return client;
}

function connectReact(url: string): ConvexReactClient {
  const client = new ConvexReactClient(url, {
    logger: recorder().logger,
    webSocketConstructor: WebSocket as unknown as typeof globalThis.WebSocket,
  });
  ends.push(() => client.close());
  return client;
}

async function restart(): Promise<void> {
  await deployment.process.kill();
  await deployment.process.start();
}

test("a subscription goes on after a crash, with what was written meanwhile", async () => {
  const client = connect();
  const channel = newChannel();
  const values: string[][] = [];
  client.onUpdate(notes.list, { channel }, (value) => values.push(value));
  await client.mutation(notes.add, { channel, body: "before" });
  expect(values.at(-1)).toEqual(["before"]);

  await restart();
  const http = new ConvexHttpClient(deployment.url, { logger: false });
  await http.mutation(notes.add, { channel, body: "meanwhile" });
  await until(() => expect(values.at(-1)).toEqual(["before", "meanwhile"]));
  await client.mutation(notes.add, { channel, body: "after" });
  expect(values.at(-1)).toEqual(["before", "meanwhile", "after"]);
  expect(client.connectionState()).toMatchObject({
    isWebSocketConnected: true,
    hasInflightRequests: false,
    connectionCount: 2,
  });
});

test("mutations that were called while it was away run once each, in order", async () => {
  const client = connect();
  const channel = newChannel();
  await client.mutation(notes.add, { channel, body: "0" });
  await deployment.process.kill();
  const bodies = ["1", "2", "3"];
  const waiting = bodies.map((body) => client.mutation(notes.add, { channel, body }));
  await deployment.process.start();
  await Promise.all(waiting);
  expect(await client.query(notes.list, { channel })).toEqual(["0", ...bodies]);
});

test.each([
  ["ConvexClient", connect],
  ["ConvexReactClient", connectReact],
])("%s does not run a mutation twice whose answer was lost", async (_, connect) => {
  const proxy = await Proxy.before(deployment.url);
  ends.push(() => proxy.close());
  const client = connect(proxy.url);
  const name = newChannel();
  expect(await client.mutation(notes.increment, { name })).toBe(1);

  // From here on the client is heard, but hears nothing.
  proxy.hold();
  const mutation = client.mutation(notes.increment, { name });
  const others = [
    client.mutation(notes.add, { channel: name, body: "a" }),
    client.mutation(notes.add, { channel: name, body: "b" }),
  ];
  const http = new ConvexHttpClient(deployment.url, { logger: false });
  await until(async () =>
    expect(await http.query(notes.list, { channel: name })).toEqual(["a", "b"]),
  );

  await restart();
  proxy.release();
  // Run again, it would be 3.
  expect(await mutation).toBe(2);
  const ids = await Promise.all(others);
  expect(new Set(ids).size).toBe(2);
  expect(await client.query(notes.list, { channel: name })).toEqual(["a", "b"]);
  expect(await client.mutation(notes.increment, { name })).toBe(3);
});

test("an action that was under way fails, and may be called again", async () => {
  const client = connect();
  const channel = newChannel();
  const folder = await mkdtemp(join(tmpdir(), "kit-npm-"));
  ends.push(() => rm(folder, { recursive: true }));
  const gate = join(folder, "gate");
  const action = client.action(work.addWhenOpen, { channel, body: "once", gate });
  action.catch(() => {});
  await until(() => access(`${gate}.started`));

  await restart();
  expect((await rejection(action)).message).toContain(
    "Connection lost while action was in flight",
  );
  await writeFile(gate, "");
  await client.action(work.addWhenOpen, { channel, body: "again", gate });
  expect(await client.query(notes.list, { channel })).toEqual(["again"]);
});

test("a deployment that stops tells its clients, and they come back", async () => {
  const client = connect();
  const channel = newChannel();
  await client.mutation(notes.add, { channel, body: "one" });
  await deployment.process.stop();
  await deployment.process.start();
  expect(await client.query(notes.list, { channel })).toEqual(["one"]);
});
