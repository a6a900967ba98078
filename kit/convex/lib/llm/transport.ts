/**
 * `fetch` for the model calls of one reply: what the AI SDK's providers send with, and
 * read from.
 *
 * Silence, refusals and broken connections become a `ModelError` here, where their
 * cause is known. Redirects are not followed: no API redirects, and a key must not
 * travel on. A stop ends an answer at once, also where `fetch` heeds no signal, as in
 * Convex: its body is abandoned, and is closed with the action at the latest.
 */
import { Alarm } from "../alarm";
import type { ModelError } from "./errors";
import type { Failures } from "./failures";

/** Somebody has stopped the reply. */
class Stopped extends Error {
  override readonly name = "AbortError";
}

export class Transport {
  /** Why no more arrives, if that is not the end of the answer. */
  failure: ModelError | null = null;
  /** The answer's, without parameters; "" before there is one. */
  contentType = "";

  private deadline = 0;
  private trailerDeadline = Infinity;
  private readonly alarm = new Alarm(() => this.checkDeadline());
  /** Ends the wait for what is to arrive next, if there is one. */
  private giveUp: ((error: Error) => void) | null = null;

  constructor(
    private readonly failures: Failures,
    private readonly readTimeoutMs: number,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener("abort", () => this.giveUp?.(new Stopped()));
  }

  /** The reply is complete: wait no longer than this for what trails it. */
  expectEnd(withinMs: number): void {
    this.trailerDeadline = Date.now() + withinMs;
    this.alarm.set(this.trailerDeadline);
  }

  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    this.failure = null;
    this.trailerDeadline = Infinity;
    const response = await this.arrival(
      fetch(input, { ...init, redirect: "manual" }),
      () => this.failures.unreachable(),
    );
    const { status, headers } = response;
    this.contentType = (headers.get("content-type") ?? "").split(";")[0]!.trim();
    if (response.ok) {
      return new Response(response.body && this.watched(response.body), {
        status,
        headers,
      });
    }
    const page = await this.arrival(response.text(), () => this.failures.cut());
    throw this.failures.status(status, headers, page);
  };

  /** The same body, which ends in an error when it falls silent or breaks. */
  private watched(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader();
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          const { done, value } = await this.arrival(reader.read(), () =>
            this.failures.cut(),
          );
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          controller.error(error);
          reader.cancel().catch(() => {});
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
  }

  /** Wait for `promise`, but not forever, and not after a stop. */
  private async arrival<T>(
    promise: Promise<T>,
    describe: () => ModelError,
  ): Promise<T> {
    this.deadline = Date.now() + this.readTimeoutMs;
    this.alarm.set(Math.min(this.deadline, this.trailerDeadline));
    try {
      return await new Promise<T>((resolve, reject) => {
        this.giveUp = reject;
        if (this.signal.aborted) reject(new Stopped());
        promise.then(resolve, () => reject(this.fail(describe())));
      });
    } finally {
      this.giveUp = null;
    }
  }

  private checkDeadline(): void {
    if (this.giveUp === null) return;
    const deadline = Math.min(this.deadline, this.trailerDeadline);
    if (Date.now() < deadline) this.alarm.set(deadline);
    else this.giveUp(this.fail(this.failures.silence()));
  }

  private fail(failure: ModelError): ModelError {
    this.failure ??= failure;
    return this.failure;
  }
}
