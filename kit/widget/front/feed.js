/**
 * What the kernel says of one chat, for all views of it.
 *
 * Messages are numbered; after a gap the feed asks for the snapshot, which holds
 * everything. Each view has a transcript of its own, and all get the same operations.
 * Without a view the feed keeps one transcript in reserve, for the view that comes next.
 */

import { Transcript } from "./transcript.js";

const ASK_AGAIN = 2000; // ms until a snapshot that was asked for is asked for again
const SILENCE = 4000; // ms without a message during a turn, after which to ask
const HIDDEN_PACE = 1000; // ms between two updates in a tab that is hidden

export class Feed {
  /** `number` is that of the chat in the widget. */
  constructor(kernel, number) {
    this.kernel = kernel;
    this.number = number;
    this.seq = 0;
    this.status = {};
    this.panes = new Set();
    this.reserve = new Transcript();
    this.queue = [];
    this.askedAt = 0;
    this.heardAt = 0;
    this.grownAt = performance.now(); // when something new was shown
    this.painting = null;
  }

  /** The transcript for a new pane. */
  add(pane) {
    const [other] = this.panes;
    const transcript = other ? other.transcript.clone() : this.reserve;
    this.reserve = null;
    this.panes.add(pane);
    return transcript;
  }

  remove(pane) {
    this.panes.delete(pane);
    if (!this.panes.size) this.reserve = pane.transcript;
  }

  get transcripts() {
    return this.reserve ? [this.reserve] : [...this.panes].map((each) => each.transcript);
  }

  /** Operations came, numbered `seq`. */
  receive({ seq, ops }) {
    this.heardAt = performance.now();
    if (seq <= this.seq) return; // the snapshot had it
    if (seq > this.seq + 1) {
      this.askForSnapshot();
      return;
    }
    this.seq = seq;
    this.queue.push(...ops);
    this.paintSoon();
  }

  /** A snapshot came: needed only after a gap. */
  offer(snapshot) {
    if (snapshot && snapshot.seq > this.seq) this.load(snapshot);
  }

  load({ seq = 0, status = {}, messages = [] }) {
    this.askedAt = 0;
    this.seq = seq;
    this.queue = [];
    for (const transcript of this.transcripts) transcript.load(messages);
    this.show(status);
    for (const pane of this.panes) pane.appear();
  }

  /** See `Kernel.request`. */
  request(content, handlers) {
    this.kernel.request({ pane: this.number, ...content }, handlers);
  }

  askForSnapshot() {
    const now = performance.now();
    if (this.askedAt && now - this.askedAt < ASK_AGAIN) return;
    this.askedAt = now;
    this.kernel.send({ pane: this.number, type: "snapshot" });
  }

  /** If the last message of a turn is lost, no later one shows the gap. */
  check() {
    const now = performance.now();
    if (this.status.active && now - this.heardAt > SILENCE) {
      this.heardAt = now;
      this.kernel.send({ pane: this.number, type: "check", seq: this.seq });
    }
  }

  /** Once per frame; now and then also in a tab that is hidden and has no frames. */
  paintSoon() {
    if (this.painting) return;
    const frame = requestAnimationFrame(() => this.paint());
    const timer = setTimeout(() => this.paint(), HIDDEN_PACE);
    this.painting = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }

  paint() {
    this.painting?.();
    this.painting = null;
    const ops = this.queue.filter(([name]) => name !== "status");
    const statuses = this.queue.filter(([name]) => name === "status");
    this.queue = [];
    try {
      for (const transcript of this.transcripts) {
        for (const op of ops) transcript.apply(op);
      }
    } catch (error) {
      console.error("chat view: asking for everything anew", error);
      this.seq = -1; // so that the snapshot is taken
      this.askForSnapshot();
    }
    const [, status] = statuses.at(-1) ?? [];
    if (status) status.seenAt = Date.now();
    if (ops.length) this.grownAt = performance.now();
    this.show(status ?? this.status);
  }

  show(status) {
    this.status = status;
    for (const pane of this.panes) pane.update(status);
  }
}
