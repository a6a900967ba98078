/** One chat in a view: its head with the status line, its messages and its notice. */

import { copyFor } from "./clipboard.js";
import { inSeconds, make, setText } from "./elements.js";
import { deliveryFigure, quietFigure } from "./figures.js";

const NEAR_END = 32; // px from the end that still count as being there,
const AT_END = 2; // and if the reader has just gone up
const TICK = 200; // ms
const COPY_PATIENCE = 1000; // ms until a text is taken from the screen, not the kernel
const BUSY = "The kernel has not answered yet. It is busy with a cell, or not running.";

export class Pane {
  /** A pane of `view`, which has what all of its panes share. */
  constructor(feed, view) {
    this.feed = feed;
    this.view = view;
    this.status = {};
    this.isAtEnd = true;
    this.scrollTop = 0;
    this.scrollHeight = 0;
    this.isUnfolding = false;
    this.hint = "";
    this.delivery = null; // the last one measured
    this.unsent = ""; // a message that this side did not take, but another did
    this.ticking = null;
    this.transcript = feed.add(this);
    this.#build();
    this.#listen();
    this.resizing = new ResizeObserver(() => this.appear());
    this.resizing.observe(this.log);
    // What comes into sight is laid out only then, and may be higher than was said.
    this.growing = new ResizeObserver(() => this.#grown());
    this.growing.observe(this.transcript.root);
  }

  end() {
    clearInterval(this.ticking);
    this.resizing.disconnect();
    this.growing.disconnect();
    this.feed.remove(this);
  }

  #build() {
    this.title = make("div", "kit-title");
    this.dot = make("span", "kit-dot", { "aria-hidden": "true" });
    this.statusText = make("span", "kit-status-text");
    this.time = make("span", "kit-figure kit-time");
    this.figures = make("span", "kit-figures");
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
    this.noticeText = make("span", "");
    this.again = make("button", "kit-action", { type: "button" }, "Send it again");
    this.again.hidden = true;
    this.notice = make("div", "kit-notice", { role: "alert" });
    const line = [this.dot, this.statusText, this.time, this.figures];
    this.root = make(
      "div",
      "kit-pane",
      { role: "group" },
      make("header", "kit-head", {}, this.title, make("div", "kit-status", {}, ...line)),
      make("div", "kit-frame", {}, this.log, this.jump),
      this.notice,
    );
  }

  #listen() {
    this.log.addEventListener("scroll", () => {
      if (!this.root.isConnected) return;
      const { scrollHeight, scrollTop } = this.log;
      // However little the reader goes up, it is wanted: else text that grows quickly
      // would take back each step of a slow or smooth scroll.
      const isUp = scrollTop < this.scrollTop && scrollHeight >= this.scrollHeight;
      if (isUp) this.isAtEnd = this.#left() < AT_END;
      else if (this.#left() < NEAR_END) this.isAtEnd = true;
      this.jump.hidden = this.isAtEnd;
      this.#remember(scrollTop, scrollHeight);
    });
    this.log.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) this.#act(button);
      const details = event.target.closest("summary")?.parentElement;
      if (!details) return;
      details.dataset.touched = "true";
      this.isUnfolding = true;
    });
    this.jump.addEventListener("click", () => this.scrollToEnd());
    this.again.addEventListener("click", () => this.send(this.unsent));
  }

  /** The transcript or the status has changed. */
  update(status) {
    if (status !== this.status) this.#showStatus(status);
    this.#allowActions();
    if (!this.root.isConnected) return;
    if (!this.isAtEnd) this.jump.hidden = false;
    else if (!this.isUnfolding) this.#follow();
    this.transcript.tidy();
  }

  /** Whatever comes onto the page, also once more, begins unscrolled. */
  appear() {
    if (!this.root.isConnected || !this.log.clientHeight) return;
    if (this.isAtEnd && !this.isUnfolding) this.#follow();
    else this.log.scrollTop = this.scrollTop;
  }

  scrollToEnd() {
    this.isAtEnd = true;
    this.jump.hidden = true;
    this.#follow();
  }

  /** Be as high as now, whatever comes: what is below stays where it is. */
  hold(isHeld) {
    this.log.style.maxHeight = isHeld ? `${this.log.offsetHeight}px` : "";
  }

  /** At the end the view stays there, but for what the reader unfolds: they read it. */
  #grown() {
    if (this.isUnfolding) {
      this.isUnfolding = false;
      this.isAtEnd = this.#left() < NEAR_END;
      this.jump.hidden = this.isAtEnd;
    } else if (this.isAtEnd) this.#follow();
  }

  /** Pixels that there are below what is shown. */
  #left() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    return scrollHeight - scrollTop - clientHeight;
  }

  #follow() {
    const { scrollHeight } = this.log;
    this.log.scrollTop = scrollHeight;
    this.#remember(this.log.scrollTop, scrollHeight);
  }

  #remember(scrollTop, scrollHeight) {
    this.scrollTop = scrollTop;
    this.scrollHeight = scrollHeight;
  }

  // --- status ---------------------------------------------------------------------

  #showStatus(status) {
    const wasActive = Boolean(this.status.active);
    this.status = status;
    this.statusAt = performance.now();
    this.root.dataset.status = status.state ?? "idle";
    this.root.setAttribute("aria-label", status.title || "Chat");
    setText(this.title, status.title ?? "");
    setText(this.statusText, status.label ?? "");
    this.log.setAttribute("aria-busy", String(Boolean(status.active)));
    clearInterval(this.ticking);
    if (status.active) this.ticking = setInterval(() => this.#showTime(), TICK);
    this.delivery = deliveryFigure(status.delivery, status.seenAt) ?? this.delivery;
    if (!status.delivery) this.delivery = null;
    this.#showTime();
    this.showNotice();
    this.view.statusChanged(this, wasActive);
  }

  #showTime() {
    const { active, elapsed, elapsedTip } = this.status;
    const known = typeof elapsed === "number";
    const since = active ? (performance.now() - this.statusAt) / 1000 : 0;
    setText(this.time, known ? inSeconds(elapsed + since) : "");
    this.time.title = known ? elapsedTip : "";
    const quiet = active && (performance.now() - this.feed.grownAt) / 1000;
    const own = [this.delivery, quiet ? quietFigure(quiet) : null];
    this.#showFigures([...(this.status.figures ?? []), ...own.filter(Boolean)]);
  }

  #showFigures(figures) {
    while (this.figures.childElementCount > figures.length) {
      this.figures.lastElementChild.remove();
    }
    figures.forEach(([text, tip], number) => {
      while (this.figures.childElementCount <= number) {
        this.figures.append(make("span", "kit-figure"));
      }
      const figure = this.figures.children[number];
      setText(figure, text);
      if (figure.title !== tip) figure.title = tip;
    });
  }

  /** What the view itself has to say, or else the kernel. */
  showNotice(hint = this.hint) {
    this.hint = hint;
    const text = hint || this.status.notice || "";
    this.again.hidden = !this.unsent;
    this.again.title = this.unsent;
    if (!text) return this.notice.replaceChildren();
    setText(this.noticeText, text);
    if (!this.notice.firstChild) this.notice.append(this.noticeText, this.again);
  }

  // --- what its buttons do --------------------------------------------------------

  /** Only the last message can be sent again, and nothing while a reply is written. */
  #allowActions() {
    const may = Boolean(this.status.canSend);
    const retry = this.transcript.retry;
    if (retry && retry.disabled === may) retry.disabled = !may;
  }

  #act(button) {
    const message = button.closest("[data-message]");
    switch (button.dataset.do) {
      case "copy-code": {
        const code = button.closest(".kit-code").querySelector("code");
        return copyFor(button, code.textContent);
      }
      case "copy":
        return this.#source(message, (text) => copyFor(button, text));
      case "edit":
        return this.#source(message, (text) => this.view.edit(text));
      case "retry":
        this.view.focus();
        this.scrollToEnd();
        return this.ask({ type: "retry" });
    }
  }

  /** Edit the last message of the user, if there is one. */
  recall() {
    const questions = this.transcript.root.querySelectorAll("[data-role=user]");
    if (questions.length) {
      this.#source(questions[questions.length - 1], (text) => this.view.edit(text));
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
    this.feed.request(
      { type: "copy", message: message.dataset.message },
      { answered: ({ text }) => finish(text ?? shown) },
    );
  }

  // --- to the kernel --------------------------------------------------------------

  /** Ask the kernel; errors come back in the status, as the notice. */
  ask(content, { received, answered } = {}) {
    this.feed.request(content, {
      busy: () => this.showNotice(BUSY),
      received: () => {
        this.showNotice("");
        received?.();
      },
      answered,
    });
  }

  /** Send a message; `handlers` as those of `ask`. */
  send(text, handlers) {
    this.unsent = "";
    this.scrollToEnd();
    this.ask({ type: "send", text }, handlers);
  }

  /** Another side has taken `text`, this one not: offer to send it here again. */
  offerAgain(text) {
    this.unsent = text;
    this.showNotice();
  }
}
