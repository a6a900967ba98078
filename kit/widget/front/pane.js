/** One chat in a view: its head with the status line, and its messages. */

import { copyFor } from "./clipboard.js";
import { inSeconds, make, setText } from "./elements.js";

const NEAR_END = 32; // px from the end that still count as being there
const TICK = 200; // ms
const COPY_PATIENCE = 1000; // ms until a text is copied without the kernel

export class Pane {
  /** A pane of `view`, which has what all of its panes share. */
  constructor(feed, view) {
    this.feed = feed;
    this.view = view;
    this.status = {};
    this.isAtEnd = true;
    this.scrollTop = 0;
    this.hint = "";
    this.ticking = null;
    this.transcript = feed.add(this);
    this.#build();
    this.#listen();
    this.resizing = new ResizeObserver(() => this.appear());
    this.resizing.observe(this.log);
  }

  end() {
    clearInterval(this.ticking);
    this.resizing.disconnect();
    this.feed.remove(this);
  }

  #build() {
    this.title = make("div", "kit-title");
    this.statusText = make("span", "kit-status-text");
    this.time = make("span", "kit-time kit-dim");
    const empty = make("p", "kit-empty kit-dim", {}, "No messages yet.");
    this.log = make(
      "div",
      "kit-log",
      { role: "log", "aria-live": "off", "aria-label": "Messages", tabindex: "0" },
      this.transcript.root,
      empty,
    );
    this.jump = make("button", "kit-jump", { type: "button" }, "↓ Jump to latest");
    this.jump.hidden = true;
    this.notice = make("div", "kit-notice", { role: "alert" });
    this.root = make(
      "div",
      "kit-pane",
      {},
      make(
        "header",
        "kit-head",
        {},
        this.title,
        make(
          "div",
          "kit-status",
          {},
          make("span", "kit-dot", { "aria-hidden": "true" }),
          this.statusText,
          this.time,
        ),
      ),
      make("div", "kit-frame", {}, this.log, this.jump),
      this.notice,
    );
  }

  #listen() {
    this.log.addEventListener("scroll", () => {
      if (!this.root.isConnected) return;
      const { scrollHeight, scrollTop, clientHeight } = this.log;
      this.scrollTop = scrollTop;
      this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
      this.jump.hidden = this.isAtEnd;
    });
    this.log.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) this.#act(button);
      const details = event.target.closest("summary")?.parentElement;
      if (details) details.dataset.touched = "true";
    });
    this.jump.addEventListener("click", () => this.scrollToEnd());
  }

  /** The transcript or the status has changed. */
  update(status) {
    if (status !== this.status) this.#showStatus(status);
    if (!this.root.isConnected) return;
    if (this.isAtEnd) this.log.scrollTop = this.log.scrollHeight;
    else this.jump.hidden = false;
    this.transcript.tidy();
  }

  /** Whatever comes onto the page, also once more, begins unscrolled. */
  appear() {
    if (!this.root.isConnected || !this.log.clientHeight) return;
    this.log.scrollTop = this.isAtEnd ? this.log.scrollHeight : this.scrollTop;
  }

  scrollToEnd() {
    this.isAtEnd = true;
    this.jump.hidden = true;
    this.log.scrollTop = this.log.scrollHeight;
  }

  // --- status ---------------------------------------------------------------------

  #showStatus(status) {
    const wasActive = this.status.active;
    this.status = status;
    this.statusAt = performance.now();
    this.root.dataset.status = status.state ?? "idle";
    setText(this.title, status.title ?? "");
    setText(this.statusText, status.label ?? "");
    this.log.setAttribute("aria-busy", String(Boolean(status.active)));
    clearInterval(this.ticking);
    if (status.active) this.ticking = setInterval(() => this.#showTime(), TICK);
    this.#showTime();
    this.showNotice();
    this.view.statusChanged(this, Boolean(wasActive));
  }

  #showTime() {
    const { active, elapsed, first } = this.status;
    const words = [];
    if (typeof elapsed === "number") {
      const since = active ? (performance.now() - this.statusAt) / 1000 : 0;
      words.push(inSeconds(elapsed + since));
    }
    if (typeof first === "number") words.push(`first part after ${first.toFixed(2)} s`);
    setText(this.time, words.map((word) => ` · ${word}`).join(""));
  }

  /** What the view itself has to say, or else the kernel. */
  showNotice(hint = this.hint) {
    this.hint = hint;
    setText(this.notice, hint || this.status.notice || "");
  }

  // --- what its buttons do --------------------------------------------------------

  #act(button) {
    switch (button.dataset.do) {
      case "copy-code": {
        const code = button.closest(".kit-code").querySelector("code");
        return copyFor(button, code.textContent);
      }
      case "copy": {
        const message = button.closest("[data-message]");
        return this.#source(message, (text) => copyFor(button, text));
      }
    }
  }

  /** The Markdown of a message, from the kernel; without one, the text shown. */
  #source(message, use) {
    const parts = message.querySelectorAll(".kit-text, .kit-error");
    const shown = Array.from(parts, (part) => part.innerText).join("\n\n");
    let used = false;
    const finish = (text) => {
      if (!used) use(text);
      used = true;
    };
    setTimeout(() => finish(shown), COPY_PATIENCE);
    this.view.kernel.request(
      { type: "copy", message: message.dataset.message },
      { answered: ({ text }) => finish(text ?? shown) },
    );
  }
}
