/**
 * Follows one reply's log in Convex, each delta once and in order.
 *
 * One `streaming:catchUp` brings a viewer that joins late up to date, then it
 * subscribes to pages of four deltas (`streaming:read`). All viewers of a stream share
 * these pages, and a page that is full never changes again, so what is sent to a viewer
 * grows with the reply and not with its square. The page after the present one is
 * subscribed to as soon as that has begun: over a network, every fifth delta would else
 * wait for a round trip.
 *
 * Does not know when the reply has ended: the message's row says that.
 *
 * Belongs into apps/frontend/hooks/convex/.
 */
import type { ConvexReactClient } from "convex/react";
import { api } from "../../../../convex/_generated/api";
import { type Delta, type LiveParts, type Message, NO_PARTS, PartsFold } from "./parts";

export type StreamId = NonNullable<Message["streamId"]>;

/** Deltas on a page, as the functions have it. */
const PAGE_SIZE = 4;
const RETRY_MS = 500;
/** Components are told of new parts at most this often. */
const FRAME_MS = 33;

/** The live parts of one stream, for `useSyncExternalStore`. */
export class StreamFollower {
  private readonly fold = new PartsFold();
  /** The seq of the next delta. */
  private cursor = 0;
  private parts: LiveParts = NO_PARTS;
  private readonly listeners = new Set<() => void>();
  private stop: (() => void) | undefined;
  private frame: ReturnType<typeof setTimeout> | undefined;
  private publishedAt = -Infinity;

  constructor(
    private readonly convex: ConvexReactClient,
    private readonly streamId: StreamId,
  ) {}

  /** Call `listener` when there are other parts. Follows while anybody listens. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.stop ??= this.follow();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size > 0) return;
      this.stop?.();
      this.stop = undefined;
    };
  };

  /** The parts so far; the same object until a listener is called. */
  readonly getSnapshot = (): LiveParts => this.parts;

  /** Follow from the cursor on until the result is called. */
  private follow(): () => void {
    const { convex, streamId } = this;
    let stopped = false;
    let held = () => {}; // ends the subscription or the timer that goes on with this
    const release = () => {
      const end = held;
      held = () => {};
      end();
    };

    const failed = (error: unknown) => {
      console.warn(`Following stream ${streamId}:`, error);
      const timer = setTimeout(() => void catchUp(), RETRY_MS);
      held = () => clearTimeout(timer);
    };

    const catchUp = async () => {
      try {
        let more = true;
        while (more) {
          const from = this.cursor;
          const answer = await convex.query(api.streaming.catchUp, { streamId, from });
          if (stopped) return;
          this.take(answer.deltas);
          this.cursor = Math.max(this.cursor, answer.nextSeq);
          more = answer.more;
        }
        followPage();
      } catch (error) {
        if (!stopped) failed(error);
      }
    };

    const watchPage = (page: number) =>
      convex.watchQuery(api.streaming.read, { streamId, page });

    /** `prepared` ends an earlier subscription to the same page. */
    const followPage = (prepared = () => {}) => {
      const page = Math.floor(this.cursor / PAGE_SIZE);
      const watch = watchPage(page);
      let values = 0;
      let next: (() => void) | undefined; // ends the subscription to the next page
      const look = () => {
        let value;
        try {
          value = watch.localQueryResult();
        } catch (error) {
          release();
          failed(error);
          return;
        }
        if (value === undefined) return;
        values += 1;
        this.take(value.deltas);
        const isFull = this.cursor >= (page + 1) * PAGE_SIZE;
        if (isFull && values === 1) {
          // This viewer lags behind, and had better catch up in one call.
          release();
          void catchUp();
          return;
        }
        if (this.cursor === page * PAGE_SIZE) return;
        next ??= watchPage(page + 1).onUpdate(() => {});
        if (!isFull) return;
        const prepared = next;
        next = undefined;
        release();
        followPage(prepared);
      };
      const unwatch = watch.onUpdate(look);
      held = () => {
        unwatch();
        next?.();
      };
      prepared();
      look(); // somebody else may follow the same page
    };

    void catchUp();
    return () => {
      stopped = true;
      release();
      if (this.frame === undefined) return;
      clearTimeout(this.frame);
      this.publish();
    };
  }

  /** Fold in what lies at or beyond the cursor; what lies below was seen. */
  private take(deltas: readonly Delta[]): void {
    const fresh = deltas.filter(({ seq }) => seq >= this.cursor);
    for (const { seq, chunks } of fresh) {
      this.cursor = seq + 1;
      for (const chunk of chunks) this.fold.apply(chunk);
    }
    if (fresh.length > 0) this.publishSoon();
  }

  private publishSoon(): void {
    if (this.frame !== undefined) return;
    const wait = this.publishedAt + FRAME_MS - performance.now();
    if (wait <= 0) this.publish();
    else this.frame = setTimeout(() => this.publish(), wait);
  }

  private publish(): void {
    this.frame = undefined;
    this.publishedAt = performance.now();
    this.parts = this.fold.snapshot();
    for (const listener of [...this.listeners]) listener();
  }
}
