/** One view of the widget: its panes, and the composer below them. */

import { Composer } from "./composer.js";
import { make, setText } from "./elements.js";
import { Pane } from "./pane.js";

const FOCUS_GAP = 500; // ms between leaving the page and coming back with the focus

const ENDINGS = {
  done: "The reply is complete.",
  stopped: "The reply was stopped.",
  failed: "The reply failed.",
};

/** What stays where it is when an output is refreshed: a cell's outputs. */
export function homeOf(el) {
  return el.closest(".jp-OutputArea") ?? el.parentElement;
}

export class View {
  constructor(feeds) {
    this.el = null; // where it is
    this.home = null; // what that is in
    this.leftAt = 0; // when the focus left for nowhere, as it does with the element
    this.composer = new Composer({
      onSend: (text) => this.#send(text),
      onStop: () => this.#stop(),
      onRecall: () => this.#recall(),
    });
    this.announcer = make("div", "kit-hidden", { "aria-live": "polite" });
    this.panes = feeds.map((feed) => new Pane(feed, this));
    this.root = make(
      "section",
      "kit-chat",
      // Keys pressed in here are not JupyterLab's shortcuts.
      { "aria-label": "Chat", "data-lm-suppress-shortcuts": "true" },
      make("div", "kit-panes", {}, ...this.panes.map((pane) => pane.root)),
      this.composer.root,
      this.announcer,
    );
    this.#listen();
    for (const pane of this.panes) pane.update(pane.feed.status);
  }

  /** Go into `el`, which is on the page; again if it was somewhere else before. */
  moveTo(el) {
    const { input } = this.composer;
    const hadFocus = performance.now() - this.leftAt < FOCUS_GAP;
    this.el = el;
    this.home = homeOf(el);
    el.append(this.root);
    this.composer.fit();
    for (const pane of this.panes) pane.appear();
    if (hadFocus && document.activeElement === document.body) {
      input.focus({ preventScroll: true });
    }
    // A live region speaks when it changes while it is on the page.
    const said = this.announcer.textContent;
    this.announcer.textContent = "";
    requestAnimationFrame(() => {
      this.announcer.textContent ||= said;
    });
  }

  end() {
    for (const pane of this.panes) pane.end();
    this.root.remove();
  }

  #listen() {
    const { input, stop } = this.composer;
    stop.addEventListener("pointerenter", () => this.#hold(!stop.disabled));
    stop.addEventListener("pointerleave", () => this.#hold(false));
    input.addEventListener("focus", () => {
      this.leftAt = Infinity;
    });
    input.addEventListener("blur", (event) => {
      this.leftAt = event.relatedTarget ? 0 : performance.now();
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      if (this.composer.isEditing) this.composer.endEditing();
      else if (!this.composer.stop.disabled) this.#stop();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** A button that a growing reply moves on while it is pressed is not clicked. */
  #hold(isHeld) {
    for (const pane of this.panes) pane.hold(isHeld);
  }

  focus() {
    this.composer.input.focus({ preventScroll: true });
  }

  edit(text) {
    this.composer.edit(text);
  }

  /** The status of `pane` is another. */
  statusChanged(pane, wasActive) {
    const statuses = this.panes.map((each) => each.status);
    const active = statuses.find((status) => status.active);
    this.root.dataset.status = (active ?? pane.status).state ?? "idle";
    const { send, stop } = this.composer;
    // A button that cannot be pressed any more must not keep the focus.
    if (document.activeElement === stop && !active) this.focus();
    stop.disabled = !statuses.some((status) => status.canStop);
    send.disabled = !statuses.every((status) => status.canSend);
    if (stop.disabled) this.#hold(false);
    // For screen readers, once: the growing text itself would flood them.
    if (pane.status.active && !wasActive) this.#announce(pane, "A reply is being written.");
    if (wasActive && !pane.status.active) {
      this.#announce(pane, ENDINGS[pane.status.state] ?? "");
    }
  }

  #announce(pane, text) {
    const of = this.panes.length > 1 ? `${pane.status.title}: ` : "";
    setText(this.announcer, text && of + text);
  }

  #stop() {
    for (const pane of this.panes) {
      if (pane.status.canStop) pane.ask({ type: "stop" });
    }
  }

  /** To all panes. A text that none has taken comes back into the box. */
  #send(text) {
    const refused = [];
    let answers = 0;
    const answered = (pane, error) => {
      answers += 1;
      if (error) refused.push(pane);
      if (answers < this.panes.length) return;
      if (refused.length === this.panes.length) this.composer.putBack(text);
      else for (const each of refused) each.offerAgain(text);
    };
    for (const pane of this.panes) {
      pane.send(text, {
        received: () => this.composer.clear(text),
        answered: ({ error }) => answered(pane, error),
      });
    }
  }

  #recall() {
    this.panes[0].recall();
  }
}
