/** What the templates make of the application's own parts and messages. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Message } from "./build/apps/frontend/hooks/convex/parts";
import {
  mergeMessages,
  partsOfSocket,
  type SocketPart,
} from "./build/apps/frontend/hooks/convex/socket-parts";
import { python } from "./support/process";

type AnyPart = SocketPart & Record<string, unknown>;

function live(parts: readonly AnyPart[], isStreaming = true) {
  const map = new Map(parts.map((part, index) => [`${index}`, part]));
  const { map: byId, order } = partsOfSocket(map, [...map.keys()], isStreaming);
  return order.map((id) => byId.get(id)!);
}

test("neighbouring pieces of text are one part, which ends with the next", () => {
  const parts = [
    { type: "text", text: "Let " },
    { type: "text", text: "me see." },
    { type: "reasoning", text: "Hm." },
    { type: "text", text: "Yes" },
  ];
  expect(live(parts)).toEqual([
    { id: "text-0", type: "text", text: "Let me see.", state: "done" },
    { id: "reasoning-0", type: "reasoning", text: "Hm.", state: "done" },
    { id: "text-1", type: "text", text: "Yes", state: "streaming" },
  ]);
  expect(live(parts, false).at(-1)).toMatchObject({ state: "done" });
});

test("a tool's call is shown from its first piece to its result", () => {
  const call = { type: "tool-call", toolCallId: "c", toolName: "search", args: {} };
  const streaming = { ...call, argsComplete: false, accumulatedArgsText: '{"q":' };
  expect(live([streaming])).toMatchObject([
    { id: "c", toolName: "search", argsText: '{"q":', state: "input-streaming" },
  ]);
  const complete = { ...call, args: { q: "x" }, argsComplete: true };
  const result = { type: "tool-result", toolCallId: "c", toolName: "search" };
  expect(live([complete, { ...result, result: [1] }])).toEqual([
    {
      id: "c",
      type: "tool-call",
      toolCallId: "c",
      toolName: "search",
      argsText: '{"q":"x"}',
      state: "input-available",
    },
    {
      id: "c-result",
      type: "tool-result",
      toolCallId: "c",
      toolName: "search",
      resultText: "[1]",
      isError: false,
    },
  ]);
  const failed = { ...result, result: { success: false, error: "no such file" } };
  expect(live([complete, failed])[1]).toMatchObject({
    resultText: "no such file",
    isError: true,
  });
});

test("redacted reasoning, signatures and errors are kept, unknown parts are not", () => {
  const parts = [
    { type: "redacted-reasoning", data: "x" },
    { type: "reasoning", text: "Hm.", signature: "s" },
    { type: "of-tomorrow" },
    { type: "error", error: "The provider refused." },
  ];
  expect(live(parts)).toEqual([
    { id: "redacted-reasoning-0", type: "redacted-reasoning", data: "x" },
    {
      id: "reasoning-0",
      type: "reasoning",
      text: "Hm.",
      signature: "s",
      state: "done",
    },
    {
      id: "error-0",
      type: "error",
      errorText: "The provider refused.",
      kind: "application",
    },
  ]);
});

// --- messages ------------------------------------------------------------------------

interface Row {
  _id: string;
  role: "USER" | "ASSISTANT";
  at: number;
  clientMessageId?: string;
}

function row({ at, ...fields }: Row): Message {
  const whole = { ...fields, _creationTime: at, taskId: "task", sequence: 0 };
  return { ...whole, content: fields._id, status: "complete" } as unknown as Message;
}

function stored(id: string, role: string, at: number, more: object = {}) {
  const createdAt = new Date(at).toISOString();
  return { id, role, content: id, createdAt, sequence: at, ...more };
}

function both(convex: readonly Message[], history: ReturnType<typeof stored>[]) {
  const ours = mergeMessages(
    convex,
    history.map((x) => ({ ...x, taskId: "task" })),
  );
  const script = join(import.meta.dirname, "support/merge_history.py");
  const input = JSON.stringify({ convex, stored: history });
  const theirs: unknown = JSON.parse(
    execFileSync(python(), [script], { input }).toString(),
  );
  return { ours, theirs };
}

test("turns that Convex lacks come from the history, in the order of their times", () => {
  const convex = [
    row({ _id: "c0", role: "USER", at: 2000, clientMessageId: "second" }),
    row({ _id: "c1", role: "ASSISTANT", at: 2001 }),
    row({ _id: "c2", role: "USER", at: 4000, clientMessageId: "fourth" }),
    row({ _id: "c3", role: "ASSISTANT", at: 4001 }),
  ];
  const history = [
    stored("s0", "user", 1000),
    stored("s1", "assistant", 1500, {
      metadata: {
        isStreaming: false,
        finishReason: "stop",
        usage: { promptTokens: 1, completionTokens: 2, totalTokens: 3 },
        parts: [
          { type: "reasoning", text: "Hm.", signature: "s" },
          { type: "tool-call", toolCallId: "c", toolName: "t", args: { a: [1, "é"] } },
          { type: "tool-result", toolCallId: "c", toolName: "t", result: null },
          { type: "text", text: "Well" },
          { type: "text", text: "." },
        ],
      },
    }),
    stored("s2", "user", 2000, { clientMessageId: "second" }),
    stored("c1", "assistant", 2600),
    stored("s3", "user", 3000, { clientMessageId: "third" }),
    stored("s4", "assistant", 3001, { metadata: { finishReason: "error" } }),
    stored("s5", "user", 5000, { clientMessageId: "fifth", llmModel: "m" }),
    stored("s6", "assistant", 5001, { metadata: { isStreaming: true, parts: [] } }),
  ];
  const { ours, theirs } = both(convex, history);
  expect(ours.map(({ _id }) => _id)).toEqual([
    "s0",
    "s1",
    "c0",
    "c1",
    "s3",
    "s4",
    "c2",
    "c3",
    "s5",
    "s6",
  ]);
  // JSON text is written with and without spaces.
  const spaced = JSON.stringify(theirs).replace('\\"a\\": [1, ', '\\"a\\":[1,');
  expect(ours).toEqual(JSON.parse(spaced));
});

test("without such turns, Convex's own list is handed on", () => {
  const convex = [row({ _id: "c0", role: "USER", at: 1, clientMessageId: "a" })];
  expect(mergeMessages(convex, [])).toBe(convex);
  const known = stored("s0", "user", 1, { clientMessageId: "a" });
  expect(mergeMessages(convex, [known])).toBe(convex);
});
