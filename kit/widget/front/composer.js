/** The box that messages are written in, and the buttons beside it. */

import { make } from "./elements.js";

export class Composer {
  /** `onSend(text)` and `onStop()` are what its buttons do. */
  constructor({ onSend, onStop }) {
    this.onSend = onSend;
    this.onStop = onStop;
    this.input = make("textarea", "kit-input", {
      rows: "1",
      placeholder: "Send a message",
      "aria-label": "Message",
    });
    this.send = make("button", "kit-send", { type: "submit" }, "Send");
    this.stop = make("button", "kit-stop", { type: "button" }, "Stop");
    this.root = make("form", "kit-form", {}, this.input, this.send, this.stop);
    this.#listen();
  }

  #listen() {
    this.stop.addEventListener("click", () => this.onStop());
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      if (event.shiftKey) this.#breakLine();
      else this.#submit();
    });
    this.input.addEventListener("input", () => this.fit());
  }

  /** Put `text` in the place of `old`, unless something else was written meanwhile. */
  exchange(old, text) {
    if (this.input.value === old) this.input.value = text;
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
