/** `ConvexClient` against an embedded deployment, over its WebSocket. */
import { ConvexClient, type OptimisticLocalStore } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { ConvexError } from "convex/values";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { newChannel, notes, useDeployment, work } from "./support/deployment";
import { recorder } from "./support/logger";
import { Proxy } from "./support/proxy";
import { rejection } from "./support/rejection";
import { until } from "./support/until";

const deployment = useDeployment();
const clients: ConvexClient[] = [];

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

function connect(logger = recorder().logger, url = deployment.url): ConvexClient {
  const client = new ConvexClient(url, { logger });
  clients.push(client);
  return client;
}

/** The values of `notes:list`, as they come. */
function follow(client: ConvexClient, channel: string) {
  const values: string[][] = [];
  const subscription = client.onUpdate(notes.list, { channel }, (value) => {
    values.push(value);
  });
  return { values, subscription };
}

test("a subscription gets the value, and each later one", async () => {
  const [client, other] = [connect(), connect()];
  const channel = newChannel();
  const { values } = follow(client, channel);
  await until(() => expect(values).toEqual([[]]));
  await other.mutation(notes.add, { channel, body: "one" });
  await until(() => expect(values).toEqual([[], ["one"]]));
  await other.mutation(notes.add, { channel, body: "two" });
  await until(() => expect(values).toEqual([[], ["one"], ["one", "two"]]));
});

test("a subscription is not told of what it does not read", async () => {
  const client = connect();
  const channel = newChannel();
  const { values } = follow(client, channel);
  await until(() => expect(values).toEqual([[]]));
  await client.mutation(notes.add, { channel: newChannel(), body: "elsewhere" });
  await client.mutation(notes.add, { channel, body: "here" });
  expect(values).toEqual([[], ["here"]]);
});

test("a subscription that has ended is told nothing", async () => {
  const client = connect();
  const channel = newChannel();
  const { values, subscription } = follow(client, channel);
  await until(() => expect(values).toEqual([[]]));
  subscription.unsubscribe();
  await client.mutation(notes.add, { channel, body: "one" });
  expect(values).toEqual([[]]);
  expect(await client.query(notes.list, { channel })).toEqual(["one"]);
});

test("a mutation resolves when subscriptions show its effect", async () => {
  const client = connect();
  const channel = newChannel();
  const { values, subscription } = follow(client, channel);
  await until(() => expect(values).toHaveLength(1));
  const bodies: string[] = [];
  for (let index = 0; index < 20; index++) {
    bodies.push(`note ${index}`);
    await client.mutation(notes.add, { channel, body: `note ${index}` });
    expect(subscription.getCurrentValue()).toEqual(bodies);
  }
});

test("a mutation resolves without any subscription, also one that writes nothing", async () => {
  const client = connect();
  expect(await client.mutation(notes.increment, { name: newChannel() })).toBe(1);
  const remove = makeFunctionReference<"mutation", { id: string }, null>(
    "notes:cancelJob",
  );
  const channel = newChannel();
  const id = await client.mutation(notes.addLater, { channel, body: "a", delay: 1e6 });
  expect(await client.mutation(remove, { id })).toBeNull();
  expect(await client.mutation(remove, { id })).toBeNull();
});

test("mutations run in the order of their calls", async () => {
  const client = connect();
  const channel = newChannel();
  const bodies = Array.from({ length: 30 }, (_, index) => `${index}`);
  await Promise.all(
    bodies.map((body) => client.mutation(notes.add, { channel, body })),
  );
  expect(await client.query(notes.list, { channel })).toEqual(bodies);
});

test("an optimistic update shows until the mutation is done or refused", async () => {
  const proxy = await Proxy.before(deployment.url);
  onTestFinished(() => proxy.close());
  const client = connect(recorder().logger, proxy.url);
  const channel = newChannel();
  const { values } = follow(client, channel);
  await until(() => expect(values).toEqual([[]]));
  const guess = {
    optimisticUpdate: (store: OptimisticLocalStore) =>
      store.setQuery(notes.list, { channel }, ["guess"]),
  };
  proxy.hold();
  const adding = client.mutation(notes.add, { channel, body: "real" }, guess);
  await until(() => expect(values.at(-1)).toEqual(["guess"]));
  proxy.release();
  await adding;
  await until(() => expect(values).toEqual([[], ["guess"], ["real"]]));

  const refused = client.mutation(notes.refuse, { data: "no" }, guess);
  expect(await rejection(refused)).toBeInstanceOf(ConvexError);
  await until(() => expect(values.slice(3)).toEqual([["guess"], ["real"]]));
});

test("an action returns its value, and what it wrote is pushed", async () => {
  const client = connect();
  const channel = newChannel();
  const { values } = follow(client, channel);
  await until(() => expect(values).toHaveLength(1));
  expect(await client.action(work.add, { channel, body: "by action" })).toMatch(
    /^\w+$/,
  );
  await until(() => expect(values.at(-1)).toEqual(["by action"]));
  expect(await client.action(work.nested, { value: 5n })).toEqual([5n]);
});

test("actions run beside each other and beside mutations", async () => {
  const client = connect();
  const slow = client.action(work.wait, { seconds: 1 });
  const quick = await Promise.race([
    slow,
    client.action(work.nested, { value: "quick" }),
  ]);
  expect(quick).toEqual(["quick"]);
  expect(await client.mutation(notes.increment, { name: newChannel() })).toBe(1);
  expect(await slow).toBe(1);
});

test("what was scheduled is pushed when it has run", async () => {
  const client = connect();
  const channel = newChannel();
  const { values } = follow(client, channel);
  await client.mutation(notes.addLater, { channel, body: "later", delay: 50 });
  await until(() => expect(values.at(-1)).toEqual(["later"]));
});

test("the error of a subscribed query is told, and then its value", async () => {
  const { logger, lines } = recorder();
  const client = connect(logger);
  const channel = newChannel();
  const seen: (string[] | Error)[] = [];
  const tell = (told: string[] | Error) => seen.push(told);
  client.onUpdate(notes.failing, { channel }, tell, tell);
  await until(() => expect(seen).toHaveLength(1));
  expect(String(seen[0])).toMatch(
    /\[CONVEX Q\(notes:failing\)\] \[Request ID: [0-9a-f]{16}\] Server Error\n/,
  );
  expect(String(seen[0])).toContain("the channel is empty");
  expect(seen[0]).not.toBeInstanceOf(ConvexError);
  await client.mutation(notes.add, { channel, body: "no more" });
  expect(seen.slice(1)).toEqual([["no more"]]);
  expect(lines).toContain(`[CONVEX Q(notes:failing)] [LOG] 'looking at' '${channel}'`);
});

test("the data of a ConvexError arrives, and nothing is written", async () => {
  const { logger, lines } = recorder();
  const client = connect(logger);
  const data = { code: "Taken", count: 3n };
  for (const call of [
    () => client.mutation(notes.refuse, { data }),
    () => client.action(work.refuse, { data }),
  ]) {
    const error = await rejection(call());
    expect(error).toBeInstanceOf(ConvexError);
    expect((error as ConvexError<typeof data>).data).toEqual(data);
  }
  expect(lines).toContain("[CONVEX M(notes:refuse)] [WARN] 'refusing'");
  expect(await client.query(notes.list, { channel: "refused" })).toEqual([]);
});

test("after a mutation that failed, the next ones run", async () => {
  const client = connect();
  const name = newChannel();
  const failing = [client.mutation(notes.crash, {}), client.mutation(notes.crash, {})];
  const next = client.mutation(notes.increment, { name });
  for (const failed of failing) {
    expect((await rejection(failed)).message).toContain("boom");
  }
  expect(await next).toBe(1);
});

test("wrong arguments are refused with the text of Convex", async () => {
  const client = connect();
  const extra = { channel: "a", body: "b", surplus: true };
  const error = await rejection(client.mutation(notes.add, extra));
  expect(error.message).toContain(
    "ArgumentValidationError: Object contains extra field `surplus` " +
      "that is not in the validator.",
  );
  const listNothing = makeFunctionReference<"query", {}, null>("notes:list");
  const missing = await rejection(client.query(listNothing, {}));
  expect(missing.message).toContain("missing the required field `channel`");
});

test("what does not exist, is internal or of another type is refused", async () => {
  const client = connect();
  for (const path of ["notes:nothing", "notes:addInternally", "nothing:at_all"]) {
    const mutation = makeFunctionReference<"mutation", {}>(path);
    const error = await rejection(client.mutation(mutation, {}));
    expect(error.message).toContain(`Could not find public function for '${path}'.`);
    const query = makeFunctionReference<"query", {}>(path);
    const failed = await rejection(client.query(query, {}));
    expect(failed.message).toContain(`Could not find public function for '${path}'.`);
  }
  const error = await rejection(
    client.action(makeFunctionReference<"action", {}>("notes:count"), {}),
  );
  expect(error.message).toContain(
    "Trying to execute notes.js:count as Action, but it is defined as Query.",
  );
});

test("every kind of value arrives as it was sent", async () => {
  const value = {
    null: null,
    number: 1.5,
    zero: -0,
    nan: NaN,
    bigint: 2n ** 63n - 1n,
    text: "π 🙂",
    bytes: new Uint8Array([0, 127, 255]).buffer,
    array: [1, [2n, ["3"]], {}],
  };
  const client = connect();
  expect(await client.query(notes.echo, { value })).toEqual(value);
  expect(await client.action(work.nested, { value })).toEqual([value]);
});

test("a large value arrives whole", async () => {
  const client = connect();
  const text = await client.query(notes.large, { size: 12_000_000 });
  expect(text).toHaveLength(12_000_000);
  expect(await client.mutation(notes.increment, { name: newChannel() })).toBe(1);
});
