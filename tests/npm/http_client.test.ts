/** `ConvexHttpClient` against an embedded deployment. */
import { ConvexHttpClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { ConvexError } from "convex/values";
import { expect, test } from "vitest";
import { newChannel, notes, useDeployment, work } from "./support/deployment";
import { recorder } from "./support/logger";
import { rejection } from "./support/rejection";

const deployment = useDeployment();

function connect(): ConvexHttpClient {
  return new ConvexHttpClient(deployment.url, { logger: false });
}

test("a query, a mutation and an action return values", async () => {
  const client = connect();
  const channel = newChannel();
  const id = await client.mutation(notes.add, { channel, body: "one" });
  expect(id).toMatch(/^[0-9a-z]{32}$/);
  expect(await client.action(work.add, { channel, body: "two" })).not.toBe(id);
  expect(await client.query(notes.list, { channel })).toEqual(["one", "two"]);
});

test("every kind of value arrives as it was sent", async () => {
  const client = connect();
  const value = {
    null: null,
    boolean: false,
    number: 1.5,
    integer: 5,
    zero: -0,
    nan: NaN,
    infinity: -Infinity,
    bigint: -(2n ** 63n),
    text: "π 🙂 \u0000",
    bytes: new Uint8Array([0, 127, 255]).buffer,
    array: [1, [2n, ["3"]], {}],
    object: { "a b": { "~": null } },
  };
  const echoed = await client.query(notes.echo, { value });
  expect(echoed).toEqual(value);
  expect(Object.is((echoed as typeof value).zero, -0)).toBe(true);
});

test("every kind of value that a function makes is read", async () => {
  expect(await connect().query(notes.everyKind)).toEqual({
    null: null,
    boolean: true,
    float: 5,
    nan: NaN,
    infinity: Infinity,
    int64: 7n,
    string: "π",
    bytes: new Uint8Array([97, 98]).buffer,
    array: [1, [2]],
  });
});

test("mutations of one client run in their order", async () => {
  const client = connect();
  const channel = newChannel();
  const bodies = ["a", "b", "c", "d", "e"];
  await Promise.all(
    bodies.map((body) => client.mutation(notes.add, { channel, body })),
  );
  expect(await client.query(notes.list, { channel })).toEqual(bodies);
});

test("mutations out of the queue all run", async () => {
  const client = connect();
  const name = newChannel();
  const results = await Promise.all(
    Array.from({ length: 8 }, () =>
      client.mutation(notes.increment, { name }, { skipQueue: true }),
    ),
  );
  expect(results.sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test("the data of a ConvexError arrives, and nothing is written", async () => {
  const client = connect();
  const data = { code: "Taken", count: 3n };
  const error = await rejection(client.mutation(notes.refuse, { data }));
  expect(error).toBeInstanceOf(ConvexError);
  expect((error as ConvexError<typeof data>).data).toEqual(data);
  expect(await client.query(notes.list, { channel: "refused" })).toEqual([]);
});

test.each([
  ["null", null],
  ["text", "taken"],
  ["an array", [1n]],
])("a ConvexError may hold %s", async (_, data) => {
  const error = await rejection(connect().action(work.refuse, { data }));
  expect(error).toBeInstanceOf(ConvexError);
  expect((error as ConvexError<typeof data>).data).toEqual(data);
});

test("another error of a function is an Error with its text", async () => {
  const error = await rejection(connect().mutation(notes.crash));
  expect(error).not.toBeInstanceOf(ConvexError);
  expect(error.message).toMatch(/^\[Request ID: [0-9a-f]{16}\] Server Error\n/);
  expect(error.message).toContain("boom");
});

test("wrong arguments are refused with the text of Convex", async () => {
  const listNumber = makeFunctionReference<"query", { channel: number }, null>(
    "notes:list",
  );
  const error = await rejection(connect().query(listNumber, { channel: 5 }));
  expect(error.message).toContain(
    "ArgumentValidationError: Value does not match validator.\n" +
      "Path: .channel\n" +
      "Value: 5.0\n" +
      "Validator: v.string()",
  );
  const listNothing = makeFunctionReference<"query", {}, null>("notes:list");
  const missing = await rejection(connect().query(listNothing));
  expect(missing.message).toContain(
    "ArgumentValidationError: Object is missing the required field `channel`. " +
      "Consider wrapping the field validator in `v.optional(...)` if this is expected.",
  );
});

test("what does not exist, is internal or of another type is refused", async () => {
  const client = connect();
  for (const path of ["notes:nothing", "notes:secret"]) {
    const error = await rejection(client.query(makeFunctionReference<"query">(path)));
    expect(error.message).toContain(`Could not find public function for '${path}'.`);
  }
  const asQuery = makeFunctionReference<"query">("notes:add");
  const error = await rejection(client.query(asQuery, { channel: "a", body: "b" }));
  expect(error.message).toContain(
    "Trying to execute notes.js:add as Query, but it is defined as Mutation.",
  );
});

test("a path that is none is refused as a request", async () => {
  const error = await rejection(
    connect().query(makeFunctionReference<"query">("notes:no such")),
  );
  expect(JSON.parse(error.message)).toMatchObject({
    code: "BadConvexFunctionIdentifier",
  });
});

test("log lines reach the client, also those of a failed function", async () => {
  const { logger, lines } = recorder();
  const client = new ConvexHttpClient(deployment.url, { logger });
  const channel = newChannel();
  await rejection(client.query(notes.failing, { channel }));
  await client.action(work.readBack, { channel });
  expect(lines).toEqual([
    `[CONVEX Q(notes:failing)] [LOG] 'looking at' '${channel}'`,
    `[CONVEX A(work:readBack)] [LOG] 'reading' '${channel}'`,
  ]);
});

test("consistentQuery sees one state of all data, whatever is written meanwhile", async () => {
  const [client, writer] = [connect(), connect()];
  const channel = newChannel();
  await writer.mutation(notes.add, { channel, body: "one" });
  expect(await client.consistentQuery(notes.list, { channel })).toEqual(["one"]);
  await writer.mutation(notes.add, { channel, body: "two" });
  expect(await client.consistentQuery(notes.list, { channel })).toEqual(["one"]);
  expect(await client.consistentQuery(notes.count, { channel })).toBe(1);
  expect(await client.query(notes.list, { channel })).toEqual(["one", "two"]);
  expect(await connect().consistentQuery(notes.count, { channel })).toBe(2);
});
