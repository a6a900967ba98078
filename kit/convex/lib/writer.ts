/**
 * The delta writer: chunks of a reply, saved as deltas of a stream.
 *
 * Holds what a producer needs between the model and `streaming:append`: a bounded
 * buffer, the rules of when to flush, one append in flight, sequence numbers, retries,
 * heartbeats. Knows neither the model nor Convex: it is given what to call.
 *
 * The append protocol is that of a Kafka producer (epoch and sequence number): an
 * append that may or may not have arrived is sent again with the same (epoch, seq), and
 * the store answers that it is a duplicate.
 */
import { ConvexError } from "convex/values";
import { Alarm, sleep } from "./alarm";
import { TextRepair, takeBatch, textBytes } from "./deltas";
import { general } from "./format";
import type { Chunk } from "./parts";
import type { Answer } from "./streams";

/** What a writer calls. Each may safely run twice. */
export interface Store {
  append(seq: number, chunks: Chunk[]): Promise<Answer>;
  heartbeat(): Promise<Answer>;
}

export type WriterState =
  | "open"
  | "closed" // the stream has ended: finalized by us, a watchdog or somebody else
  | "fenced" // another producer has taken the stream over
  | "full" // the stream takes no more: the reply is too large for one message
  | "failed"; // an append failed for good; `error` says how

/** The first chunk of a part is shown at once, and so is what a viewer waits for. */
const URGENT: ReadonlySet<Chunk["type"]> = new Set<Chunk["type"]>([
  "text-start",
  "reasoning-start",
  "tool-input-start",
  "tool-input-available",
  "tool-input-error",
  "tool-output-available",
  "tool-output-error",
  "error",
  "abort",
  "finish",
]);

/**
 * Text in one append: well below the 1 MiB that a Convex document may hold, and enough
 * for what must not be cut, the JSON of a tool's result, 100,000 characters if need be.
 */
const MAX_APPEND_BYTES = 640 * 1024;

/**
 * After so many appends the flush interval is longer by so many milliseconds, and so on.
 *
 * A long reply thus ends up in a bounded number of deltas, which one transaction can
 * fold when it ends.
 */
const APPENDS_PER_STEP = 512;
const INTERVAL_STEP_MS = 30;

/**
 * Silence after which a producer asks whether it is to stop.
 *
 * With the time that closing a connection takes, a stop reaches the provider within 1 s.
 */
export const HEARTBEAT_INTERVAL_MS = 750;

export interface WriterOptions {
  flushIntervalMs?: number;
  maxBytes?: number;
  maxBuffer?: number;
  maxAppendBytes?: number;
  heartbeatIntervalMs?: number;
  retryForMs?: number;
}

/**
 * Saves chunks as deltas of one stream, in order, each exactly once.
 *
 * `await write(chunk)` hands a chunk over and waits only while the buffer is full, so a
 * slow store slows the reader down. A flush happens at once for the first chunk of a
 * part and for what a viewer waits for (a tool call, a result, an error, the end), and
 * otherwise when `maxBytes` are buffered or `flushIntervalMs` have passed since the
 * last one, by a timer. One append is in flight; what arrives meanwhile is merged.
 *
 * * `stopRequested` is set when somebody asked for a stop; writing still works, so that
 *   what was produced before the stop is kept.
 * * `state` says when the stream takes nothing more, and `error` why.
 * * `onSignal` is called when either changes.
 *
 * `close()` flushes the rest and ends the writer.
 */
export class DeltaWriter {
  stopRequested = false;
  state: WriterState = "open";
  error: unknown = null;
  seq = 0;
  onSignal: () => void = () => {};

  private readonly options: Required<WriterOptions>;
  private readonly repair = new TextRepair();
  private pending: Chunk[] = [];
  private pendingBytes = 0;
  private due = Infinity;
  private closing = false;
  private lastFlush = -Infinity;
  private lastContact = Date.now();
  private readonly alarm = new Alarm(() => this.wake());
  private wake: () => void = () => {};
  /** Those who wait for room in the buffer. */
  private waiting: (() => void)[] = [];
  private readonly running: Promise<void>;

  constructor(
    private readonly store: Store,
    options: WriterOptions = {},
  ) {
    this.options = {
      flushIntervalMs: 250,
      maxBytes: 1024,
      maxBuffer: 256 * 1024,
      maxAppendBytes: MAX_APPEND_BYTES,
      heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
      retryForMs: 10_000,
      ...options,
    };
    this.running = this.run();
  }

  /**
   * Hand a chunk over; false if the stream takes nothing more.
   *
   * Waits while the buffer is full. Does not wait for the append.
   */
  async write(chunk: Chunk): Promise<boolean> {
    while (this.isFull()) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    if (this.state !== "open" || this.closing) return false;
    for (const clean of this.repair.repair(chunk)) this.buffer(clean);
    return true;
  }

  /** Send a heartbeat now; afterwards `stopRequested` and `state` are current. */
  async beat(): Promise<void> {
    await this.send(() => this.store.heartbeat());
  }

  /** Append what is buffered, then end. Never throws; see `state` and `error`. */
  async close(): Promise<void> {
    if (!this.closing) {
      this.closing = true;
      for (const rest of this.repair.rest()) this.buffer(rest);
      this.wake();
    }
    await this.running;
  }

  // --- the buffer -----------------------------------------------------------------

  private buffer(chunk: Chunk): void {
    this.pending.push(chunk);
    this.pendingBytes += textBytes(chunk);
    if (URGENT.has(chunk.type) || this.pendingBytes >= this.options.maxBytes) {
      this.due = -Infinity;
    } else if (this.due === Infinity) {
      this.due = this.lastFlush + this.interval();
    }
    this.wake();
  }

  private interval(): number {
    const steps = Math.floor(this.seq / APPENDS_PER_STEP);
    return this.options.flushIntervalMs + INTERVAL_STEP_MS * steps;
  }

  private isFull(): boolean {
    return this.state === "open" && this.pendingBytes >= this.options.maxBuffer;
  }

  private take(): Chunk[] {
    const [batch, rest] = takeBatch(this.pending, this.options.maxAppendBytes);
    this.pending = rest;
    this.pendingBytes = rest.reduce((sum, chunk) => sum + textBytes(chunk), 0);
    this.due = rest.length > 0 ? -Infinity : Infinity;
    this.letIn();
    return batch;
  }

  private letIn(): void {
    if (this.isFull()) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }

  // --- the loop -------------------------------------------------------------------

  private async run(): Promise<void> {
    while (this.state === "open") {
      const now = Date.now();
      const beatAt = this.lastContact + this.options.heartbeatIntervalMs;
      if (this.pending.length > 0 && (this.closing || this.due <= now)) {
        await this.flush();
      } else if (this.closing) {
        break;
      } else if (beatAt <= now) {
        await this.beat();
      } else {
        await this.sleepUntil(Math.min(this.due, beatAt));
      }
    }
    this.alarm.clear();
    this.letIn();
  }

  private async sleepUntil(when: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      this.alarm.set(when);
    });
  }

  private async flush(): Promise<void> {
    const batch = this.take();
    this.lastFlush = Date.now();
    await this.send(() => this.store.append(this.seq, batch));
    if (this.state === "open") this.seq += 1;
  }

  private async send(call: () => Promise<Answer>): Promise<void> {
    try {
      const answer = await callPatiently(call, this.options.retryForMs);
      this.lastContact = Date.now();
      this.note(answer);
    } catch (error) {
      this.lose("failed", error);
    }
  }

  private note(answer: Answer): void {
    switch (answer.status) {
      case "ok":
        break;
      case "closed":
      case "fenced":
      case "full":
        this.lose(answer.status);
        break;
      case "gap": {
        const expected = general(answer.nextSeq);
        const text = `the stream expects seq ${expected}, not ${this.seq}`;
        this.lose("failed", new Error(text));
        break;
      }
      default: {
        const text = `an append was answered with status '${answer.status}'`;
        this.lose("failed", new Error(text));
      }
    }
    if (answer.stop && !this.stopRequested) {
      this.stopRequested = true;
      this.onSignal();
    }
  }

  private lose(state: WriterState, error: unknown = null): void {
    if (this.state === "open") {
      this.state = state;
      this.error = error;
      this.onSignal();
    }
    this.pending = [];
    this.pendingBytes = 0;
    this.due = Infinity;
    this.letIn();
    this.wake();
  }
}

/** What Convex says when a call may succeed if it is sent again. */
const TRANSIENT =
  /changed while this mutation was being run|OptimisticConcurrencyControlFailure|couldn't be completed|Try again later|TooManyConcurrent|Too many (?:concurrent )?requests|ServiceUnavailable|Transient|InternalServerError|internal error|fetch failed/i;

/**
 * Run a mutation, again and again while the deployment cannot take it.
 *
 * Only for mutations that may safely run twice. Waits 50 ms, then twice as long each
 * time, up to a second. Throws the last error once `retryForMs` have passed, and at
 * once whatever the function itself threw.
 */
export async function callPatiently<T>(
  call: () => Promise<T>,
  retryForMs: number,
): Promise<T> {
  const giveUpAt = Date.now() + retryForMs;
  for (let delay = 50; ; delay = Math.min(2 * delay, 1000)) {
    try {
      return await call();
    } catch (error) {
      if (!isTransient(error) || Date.now() + delay >= giveUpAt) throw error;
    }
    await sleep(delay);
  }
}

function isTransient(error: unknown): boolean {
  if (error instanceof ConvexError || !(error instanceof Error)) return false;
  return TRANSIENT.test(error.message);
}
