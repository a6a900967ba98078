/** One view of the widget: its panes, and the composer below them. */

import { Composer } from "./composer.js";
import { make } from "./elements.js";
import { Pane } from "./pane.js";

const BUSY = "The kernel has not answered yet. It is busy with a cell, or not running.";
const FOCUS_GAP = 500; // ms between leaving the page and coming back with the focus

const ENDINGS = {
  done: "The reply is complete.",
  stopped: "The reply was stopped.",
  failed: "The reply failed.",
};

export class View {
  constructor(feed, kernel) {
    this.kernel = kernel;
    this.el = null; // where it is
    this.home = null; // what that is in
    this.leftAt = 0; // when the focus left for nowhere, as it does with the element
    this.composer = new Composer({
      onSend: (text) => this.#send(text),
      onStop: () => this.#ask({ type: "stop" }),
    });
    this.announcer = make("div", "kit-hidden", { "aria-live": "polite" });
    this.pane = new Pane(feed, this);
    this.root = make(
      "section",
      "kit-chat",
      // Keys pressed in here are not JupyterLab's shortcuts.
      { "aria-label": "Chat", "data-lm-suppress-shortcuts": "true" },
      this.pane.root,
      this.composer.root,
      this.announcer,
    );
    this.pane.update(feed.status);
    this.#watchFocus();
  }

  /** Go into `el`, which is on the page; again if it was somewhere else before. */
  moveTo(el) {
    const { input } = this.composer;
    const hadFocus = performance.now() - this.leftAt < FOCUS_GAP;
    this.el = el;
    this.home = el.parentElement;
    el.append(this.root);
    this.composer.fit();
    this.pane.appear();
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
    this.pane.end();
    this.root.remove();
  }

  #watchFocus() {
    const { input } = this.composer;
    input.addEventListener("focus", () => {
      this.leftAt = Infinity;
    });
    input.addEventListener("blur", (event) => {
      this.leftAt = event.relatedTarget ? 0 : performance.now();
    });
  }

  /** The status of `pane` is another. */
  statusChanged(pane, wasActive) {
    const { status } = pane;
    this.root.dataset.status = status.state ?? "idle";
    this.composer.stop.disabled = !status.canStop;
    this.composer.send.disabled = !status.canSend;
    // For screen readers, once: the growing text itself would flood them.
    if (status.active) this.announcer.textContent = "";
    else if (wasActive) this.announcer.textContent = ENDINGS[status.state] ?? "";
  }

  /** Ask the kernel; errors come back in the status, as the notice. */
  #ask(content, { received, answered } = {}) {
    const { pane } = this;
    this.kernel.request(content, {
      busy: () => pane.showNotice(BUSY),
      received: () => {
        pane.showNotice("");
        received?.();
      },
      answered,
    });
  }

  #send(text) {
    this.pane.scrollToEnd();
    this.#ask(
      { type: "send", text },
      {
        received: () => this.composer.exchange(text, ""),
        answered: ({ error }) => error && this.composer.exchange("", text),
      },
    );
  }
}
