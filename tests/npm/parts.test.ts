/** The templates' fold of chunks into parts, against the Python one. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  type Chunk,
  type Part,
  PartsFold,
} from "./build/apps/frontend/hooks/convex/parts";
import { python } from "./support/process";

function fold(chunks: readonly Chunk[]): Part[] {
  const { map, order } = new PartsFold(chunks).snapshot();
  return order.map((id) => map.get(id)!);
}

function foldInPython(logs: readonly Chunk[][]): Part[][] {
  const script = join(import.meta.dirname, "support/fold_parts.py");
  const output = execFileSync(python(), [script], { input: JSON.stringify(logs) });
  return JSON.parse(output.toString()) as Part[][];
}

/** Numbers from 0 to below `limit`, the same in each run. */
function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * limit);
  };
}

/** A log as no producer should write it: parts in any order, with and without starts. */
function anyLog(seed: number): Chunk[] {
  const roll = dice(seed);
  const text = () => ["", "a", "π 🙂", "\n```"][roll(4)]!;
  const kinds: (() => Chunk)[] = [
    () => ({ type: "start-step" }),
    () => ({ type: "text-start", id: `text-${roll(3)}` }),
    () => ({ type: "text-delta", id: `text-${roll(3)}`, delta: text() }),
    () => ({ type: "text-end", id: `text-${roll(3)}` }),
    () => ({ type: "reasoning-start", id: `reasoning-${roll(2)}` }),
    () => ({ type: "reasoning-delta", id: `reasoning-${roll(2)}`, delta: text() }),
    () => ({ type: "reasoning-end", id: `reasoning-${roll(2)}` }),
    () => ({ type: "reasoning-end", id: `reasoning-${roll(2)}`, signature: "s" }),
    () => ({ type: "reasoning-start", id: "redacted-reasoning-0", redactedData: "x" }),
    () => ({ type: "tool-input-start", toolCallId: `call-${roll(2)}`, toolName: "t" }),
    () => ({
      type: "tool-input-delta",
      toolCallId: `call-${roll(2)}`,
      inputTextDelta: text(),
    }),
    () => ({
      type: "tool-input-available",
      toolCallId: `call-${roll(2)}`,
      toolName: "u",
      inputText: "{}",
    }),
    () => ({
      type: "tool-input-error",
      toolCallId: `call-${roll(2)}`,
      toolName: "u",
      inputText: "{",
      errorText: "cut off",
      errorKind: "tool-input",
    }),
    () => ({
      type: "tool-output-available",
      toolCallId: `call-${roll(3)}`,
      outputText: "1",
    }),
    () => ({
      type: "tool-output-error",
      toolCallId: `call-${roll(3)}`,
      errorText: "failed",
    }),
    () => ({
      type: "tool-output-error",
      toolCallId: `call-${roll(3)}`,
      errorText: "too late",
      errorKind: "tool-timeout",
    }),
    () => ({ type: "error", id: `error-${roll(2)}`, errorText: "no", kind: "server" }),
    () => ({ type: "finish-step", finishReason: "stop" }),
    () => ({ type: "abort" }),
    () => ({ type: "finish", finishReason: "stop" }),
  ];
  return Array.from({ length: 1 + roll(40) }, () => kinds[roll(kinds.length)]!());
}

test("any log folds into the same parts as in Python, in the same order", () => {
  const logs = Array.from({ length: 300 }, (_, seed) => anyLog(seed));
  expect(logs.map(fold)).toEqual(foldInPython(logs));
});

test("a snapshot does not change with later chunks, nor do parts they leave alone", () => {
  const folding = new PartsFold([
    { type: "text-delta", id: "text-0", delta: "one" },
    { type: "text-end", id: "text-0" },
    { type: "text-delta", id: "text-1", delta: "two" },
  ]);
  const before = folding.snapshot();
  folding.apply({ type: "text-delta", id: "text-1", delta: " more" });
  const after = folding.snapshot();
  expect(before.map.get("text-1")).toMatchObject({ text: "two" });
  expect(after.map.get("text-1")).toMatchObject({ text: "two more" });
  expect(after.map.get("text-0")).toBe(before.map.get("text-0"));
  expect(after.order).toBe(before.order);
});

test("a chunk of an unknown type is ignored", () => {
  const unknown = { type: "of-tomorrow", id: "x" } as unknown as Chunk;
  expect(fold([unknown])).toEqual([]);
});
