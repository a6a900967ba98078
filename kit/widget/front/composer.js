/** The box that messages are written in, and the buttons beside it. */

import { make } from "./elements.js";

const EDITING = "Editing. It will be sent as a new message; what was said stays.";

export class Composer {
  /**
   * `onSend(text)` and `onStop()` are what its buttons do, `onRecall()` what an empty
   * box does at ↑: edit the last message.
   */
  constructor({ onSend, onStop, onRecall }) {
    this.onSend = onSend;
    this.onStop = onStop;
    this.onRecall = onRecall;
    this.draft = null; // what was being written when editing began; null: not editing
    this.input = make("textarea", "kit-input", {
      rows: "1",
      placeholder: "Send a message",
      "aria-label": "Message",
      "aria-keyshortcuts": "Enter",
    });
    this.send = make(
      "button",
      "kit-send",
      { type: "submit", title: "Enter; Shift+Enter begins a new line" },
      "Send",
    );
    this.stop = make(
      "button",
      "kit-stop",
      { type: "button", title: "Escape", "aria-keyshortcuts": "Escape" },
      "Stop",
    );
    this.cancel = make(
      "button",
      "kit-action",
      { type: "button", title: "Escape", "aria-keyshortcuts": "Escape" },
      "Cancel",
    );
    this.banner = make("div", "kit-banner", { role: "status" });
    this.root = make(
      "form",
      "kit-form",
      {},
      this.banner,
      this.input,
      this.send,
      this.stop,
    );
    this.#listen();
  }

  #listen() {
    this.stop.addEventListener("click", () => this.onStop());
    this.cancel.addEventListener("click", () => this.endEditing());
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("keydown", (event) => this.#keyPressed(event));
    this.input.addEventListener("input", () => this.fit());
  }

  #keyPressed(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowUp" && !this.input.value && !this.isEditing) {
      event.preventDefault();
      this.onRecall();
    }
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (event.shiftKey) this.#breakLine();
    else this.#submit();
  }

  // --- editing --------------------------------------------------------------------

  get isEditing() {
    return this.draft !== null;
  }

  /** Have `text` changed and sent; what was being written comes back afterwards. */
  edit(text) {
    this.draft ??= this.input.value;
    this.banner.replaceChildren(EDITING, this.cancel);
    this.input.value = text;
    this.fit();
    this.input.focus();
    this.input.setSelectionRange(text.length, text.length);
  }

  endEditing() {
    this.input.value = this.draft ?? this.input.value;
    this.draft = null;
    this.banner.replaceChildren();
    this.fit();
    this.input.focus();
  }

  /** `text` has left the box. */
  clear(text) {
    if (this.input.value !== text) return; // something else was written meanwhile
    if (this.isEditing) this.endEditing();
    else this.input.value = "";
    this.fit();
  }

  /** `text` was not taken: it comes back, and what was written meanwhile waits. */
  putBack(text) {
    if (this.input.value) return this.edit(text);
    this.input.value = text;
    this.fit();
  }

  #submit() {
    const text = this.input.value;
    if (!this.send.disabled && text.trim()) this.onSend(text);
  }

  /** By hand: JupyterLab keeps the browser from doing it inside a cell. */
  #breakLine() {
    const { selectionStart, selectionEnd } = this.input;
    this.input.setRangeText("\n", selectionStart, selectionEnd, "end");
    this.fit();
    this.input.scrollTop = this.input.scrollHeight;
  }

  /** Make the box as high as its text. */
  fit() {
    this.input.style.height = "auto";
    const { borderTopWidth, borderBottomWidth } = getComputedStyle(this.input);
    const border = parseFloat(borderTopWidth) + parseFloat(borderBottomWidth);
    this.input.style.height = `${this.input.scrollHeight + border}px`;
  }
}
