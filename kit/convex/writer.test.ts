/** When the writer appends, what it merges, and what it does when it must not go on. */
import { ConvexError } from "convex/values";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Chunk } from "./lib/parts";
import type { Answer } from "./lib/streams";
import { DeltaWriter, type Store, type WriterOptions } from "./lib/writer";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const OK: Answer = { status: "ok", stop: false, nextSeq: 0 };

/** Takes appends, each for `delay` ms, and answers with what the test says. */
class FakeStore implements Store {
  readonly appends: { seq: number; chunks: Chunk[]; at: number }[] = [];
  beats = 0;
  delay = 0;
  inFlight = 0;
  readonly answers: (Answer | Error)[] = [];
  private readonly start = Date.now();

  async append(seq: number, chunks: Chunk[]): Promise<Answer> {
    this.appends.push({ seq, chunks, at: Date.now() - this.start });
    this.inFlight += 1;
    expect(this.inFlight).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, this.delay));
    this.inFlight -= 1;
    return this.answer();
  }

  async heartbeat(): Promise<Answer> {
    this.beats += 1;
    return await Promise.resolve(this.answer());
  }

  texts(): string[] {
    return this.appends.map(({ chunks }) =>
      chunks.map((chunk) => ("delta" in chunk ? chunk.delta : chunk.type)).join(","),
    );
  }

  private answer(): Answer {
    const answer = this.answers.shift() ?? OK;
    if (answer instanceof Error) throw answer;
    return answer;
  }
}

function opened(options: WriterOptions = {}): [FakeStore, DeltaWriter] {
  const store = new FakeStore();
  const writer = new DeltaWriter(store, { flushIntervalMs: 30, ...options });
  return [store, writer];
}

function text(delta: string, id = "text-0"): Chunk {
  return { type: "text-delta", id, delta };
}

const start: Chunk = { type: "text-start", id: "text-0" };

test("the first chunk of a part is appended at once, the rest by a timer", async () => {
  const [store, writer] = opened();
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  await writer.write(text("a"));
  await writer.write(text("b"));
  await vi.advanceTimersByTimeAsync(29);
  expect(store.texts()).toEqual(["text-start"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(store.texts()).toEqual(["text-start", "ab"]);
  expect(store.appends.map(({ seq, at }) => [seq, at])).toEqual([
    [0, 0],
    [1, 30],
  ]);
});

test("the first text after a pause is appended at once", async () => {
  const [store, writer] = opened();
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(100);
  await writer.write(text("a"));
  await vi.advanceTimersByTimeAsync(0);
  expect(store.appends.at(-1)).toMatchObject({ seq: 1, at: 100 });
});

test("a kibibyte does not wait for the timer", async () => {
  const [store, writer] = opened({ flushIntervalMs: 10_000 });
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  await writer.write(text("x".repeat(900)));
  await vi.advanceTimersByTimeAsync(10);
  expect(store.appends).toHaveLength(1);
  await writer.write(text("x".repeat(200)));
  await vi.advanceTimersByTimeAsync(0);
  expect(store.texts()[1]).toHaveLength(1100);
});

test.each<Chunk>([
  { type: "reasoning-start", id: "r" },
  { type: "tool-input-start", toolCallId: "c", toolName: "t" },
  { type: "tool-input-available", toolCallId: "c", toolName: "t", inputText: "{}" },
  { type: "tool-output-available", toolCallId: "c", outputText: "5" },
  { type: "tool-output-error", toolCallId: "c", errorText: "no" },
  { type: "error", id: "error-0", errorText: "no", kind: "server" },
  { type: "abort" },
  { type: "finish", finishReason: "stop" },
])("a viewer does not wait for $type, nor for what came before it", async (chunk) => {
  const [store, writer] = opened({ flushIntervalMs: 10_000 });
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  await writer.write(text("before"));
  await writer.write(chunk);
  await vi.advanceTimersByTimeAsync(0);
  expect(store.texts()[1]).toBe(`before,${chunk.type}`);
});

test("one append is in flight, and what comes meanwhile is merged", async () => {
  const [store, writer] = opened();
  store.delay = 200;
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(10);
  for (const letter of "abcdefgh") {
    await writer.write(text(letter));
    await vi.advanceTimersByTimeAsync(20);
  }
  await vi.advanceTimersByTimeAsync(200);
  expect(store.texts()).toEqual(["text-start", "abcdefgh"]);
  expect(store.appends[1]!.chunks).toEqual([text("abcdefgh")]);
});

test("closing appends the rest, and ends", async () => {
  const [store, writer] = opened({ flushIntervalMs: 10_000 });
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  await writer.write(text("rest"));
  const closed = writer.close();
  await vi.advanceTimersByTimeAsync(0);
  await closed;
  expect(store.texts()).toEqual(["text-start", "rest"]);
  expect(await writer.write(text("late"))).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});

test("a large rest is appended in pieces", async () => {
  const [store, writer] = opened({ maxAppendBytes: 1000, maxBuffer: 1e6 });
  await writer.write(text("🙂".repeat(700)));
  const closed = writer.close();
  await vi.advanceTimersByTimeAsync(100);
  await closed;
  expect(store.texts().join("")).toBe("🙂".repeat(700));
  expect(store.appends.length).toBeGreaterThan(2);
});

test("a long reply is appended less and less often", async () => {
  const [store, writer] = opened();
  writer.seq = 1024;
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  await writer.write(text("a"));
  await vi.advanceTimersByTimeAsync(89);
  expect(store.appends).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(store.appends).toHaveLength(2);
});

test("silence is broken by heartbeats, an append counts as one", async () => {
  const [store, writer] = opened({ heartbeatIntervalMs: 1000 });
  await vi.advanceTimersByTimeAsync(999);
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(900);
  expect(store.beats).toBe(0);
  await vi.advanceTimersByTimeAsync(100);
  expect(store.beats).toBe(1);
  await vi.advanceTimersByTimeAsync(2000);
  expect(store.beats).toBe(3);
});

test("a stop is learned from a heartbeat, and what came before it still goes out", async () => {
  const [store, writer] = opened({ heartbeatIntervalMs: 1000 });
  const signalled = vi.fn();
  writer.onSignal = signalled;
  store.answers.push({ ...OK, stop: true });
  await vi.advanceTimersByTimeAsync(1000);
  expect(writer.stopRequested).toBe(true);
  expect(signalled).toHaveBeenCalledOnce();
  expect(await writer.write({ type: "abort", reason: "stopped" })).toBe(true);
  await vi.advanceTimersByTimeAsync(0);
  expect(store.texts()).toEqual(["abort"]);
});

test.each(["closed", "fenced", "full"] as const)(
  "a stream that is %s takes nothing more",
  async (status) => {
    const [store, writer] = opened();
    const signalled = vi.fn();
    writer.onSignal = signalled;
    store.answers.push({ ...OK, status });
    await writer.write(start);
    await vi.advanceTimersByTimeAsync(0);
    expect(writer.state).toBe(status);
    expect(signalled).toHaveBeenCalledOnce();
    expect(await writer.write(text("a"))).toBe(false);
    await writer.close();
    expect(store.appends).toHaveLength(1);
  },
);

test("a gap is a failure that says what is missing", async () => {
  const [store, writer] = opened();
  store.answers.push({ status: "gap", stop: false, nextSeq: 3 });
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  expect(writer.state).toBe("failed");
  expect(String(writer.error)).toContain("the stream expects seq 3, not 0");
});

test("an append that conflicted is sent again, as the same one", async () => {
  const [store, writer] = opened();
  const conflict = new Error(
    'Documents read from or written to the "streamHeads" table changed while ' +
      "this mutation was being run and on every subsequent retry.",
  );
  store.answers.push(conflict, conflict);
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(160); // 50 ms and 100 ms
  expect(store.appends.map(({ seq }) => seq)).toEqual([0, 0, 0]);
  expect([writer.state, writer.seq]).toEqual(["open", 1]);
});

test("retries end", async () => {
  const [store, writer] = opened({ retryForMs: 1000 });
  for (let i = 0; i < 20; i++) {
    store.answers.push(new Error("Your request couldn't be completed."));
  }
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(1000);
  expect(writer.state).toBe("failed");
});

test.each([
  new ConvexError({ code: "NotFound", message: "try again later" }),
  new Error("ArgumentValidationError: Value does not match validator."),
])("what the function itself says is not asked again: %s", async (error) => {
  const [store, writer] = opened();
  store.answers.push(error);
  await writer.write(start);
  await vi.advanceTimersByTimeAsync(0);
  expect([writer.state, writer.error]).toEqual(["failed", error]);
  expect(store.appends).toHaveLength(1);
});

test("a full buffer makes the reader wait until the store has caught up", async () => {
  const [store, writer] = opened({ maxBuffer: 2000 });
  store.delay = 100;
  await writer.write(text("a".repeat(1500)));
  await vi.advanceTimersByTimeAsync(0);
  await writer.write(text("b".repeat(3000)));
  let third = "waiting";
  void writer.write(text("c")).then(() => (third = "written"));
  await vi.advanceTimersByTimeAsync(50);
  expect(third).toBe("waiting");
  await vi.advanceTimersByTimeAsync(50);
  expect(third).toBe("written");
});

test("an emoji that was cut in two arrives whole", async () => {
  const [store, writer] = opened();
  await writer.write(text("Hi \ud83d"));
  await writer.write(text("\ude42!"));
  await writer.write(text("\ud83d"));
  const closed = writer.close();
  await vi.advanceTimersByTimeAsync(100);
  await closed;
  expect(store.texts().join("")).toBe("Hi 🙂!\ufffd");
});
