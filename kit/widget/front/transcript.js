/**
 * The messages in one element, and the operations that change them.
 *
 * What is shown is decided in the kernel: see `transcript.py` for the operations. HTML
 * is taken from two of them only, `put` and the blocks of a snapshot, where it was made
 * by the kernel's Markdown renderer. Everything else is text.
 */

import { Blocks, appendText, cutText, keepHeight, putHtml } from "./blocks.js";
import { make, setText } from "./elements.js";
import { describePart, makePart } from "./parts.js";

const ROLES = { user: "You", assistant: "Assistant", system: "System" };

const ENDINGS_OF = { queued: "waiting", stopped: "stopped", failed: "failed" };

const RETRY = "Send the last message again, as a new one: what was said stays.";
const EDIT = "Change this text and send it as a new message: what was said stays.";

const KEY_SEPARATOR = "\u0000";

export class Transcript {
  constructor(root = make("div", "kit-messages")) {
    this.root = root;
    this.messages = new Map();
    this.parts = new Map();
    this.blocks = new Map();
    this.grown = new Set(); // elements that text was appended to
    for (const message of root.querySelectorAll("[data-message]")) {
      const key = message.dataset.message;
      this.messages.set(key, message);
      for (const part of message.querySelectorAll("[data-part]")) {
        this.#remember(key, part.dataset.part, part);
      }
    }
  }

  clone() {
    return new Transcript(this.root.cloneNode(true));
  }

  /** Show these messages and nothing else; what the reader has folded stays so. */
  load(messages) {
    const before = new Map(this.parts);
    const mark = document.createComment("");
    this.root.replaceWith(mark); // nothing is laid out before all is there
    this.root.replaceChildren();
    for (const map of [this.messages, this.parts, this.blocks]) map.clear();
    for (const message of messages) {
      this.#message(message.key, message.attributes);
      for (const part of message.parts) {
        this.#part(message.key, part.key, part.attributes);
        part.blocks.forEach((html, block) => {
          this.#put(message.key, part.key, block, 0, 0, html);
        });
      }
    }
    for (const [key, part] of this.parts) {
      const old = before.get(key);
      if (!old?.dataset.touched) continue;
      part.open = old.open;
      part.dataset.touched = "true";
    }
    mark.replaceWith(this.root);
  }

  apply([name, ...args]) {
    switch (name) {
      case "message":
        return this.#message(...args);
      case "move":
        return this.root.append(this.messages.get(args[0]));
      case "part":
        return this.#part(...args);
      case "put":
        return this.#put(...args);
      case "append":
        return this.#append(...args);
      case "clear":
        return this.blocks.get(partKey(...args)).clear();
      case "drop":
        return args.length === 1 ? this.#dropMessage(...args) : this.#dropPart(...args);
      default:
        throw new Error(`unknown operation ${name}`);
    }
  }

  /** The button that sends the last message again; only the last message shows its. */
  get retry() {
    return this.root.lastElementChild?.querySelector("[data-do=retry]");
  }

  /** Keep long texts cheap. To be called when the page is laid out. */
  tidy() {
    for (const element of this.grown) cutText(element);
    this.grown.clear();
  }

  #message(key, attributes) {
    const { role, status, model, tokens } = attributes;
    let element = this.messages.get(key);
    if (!element) {
      const actions = [action("copy", "Copy", "Copy message")];
      if (role === "user") actions.unshift(action("edit", "Edit", "Edit message", EDIT));
      actions.unshift(action("retry", "Retry", "Retry", RETRY));
      element = make(
        "article",
        "kit-message",
        { "data-message": key },
        make(
          "header",
          "kit-message-head",
          {},
          make("span", "kit-role"),
          make("span", "kit-model kit-dim"),
          make("span", "kit-ending kit-dim"),
          make("span", "kit-actions", {}, ...actions),
        ),
        make("div", "kit-parts"),
      );
      if (this.root.lastElementChild) keepHeight(this.root.lastElementChild);
      this.root.append(element);
      this.messages.set(key, element);
    }
    element.dataset.role = role;
    element.dataset.status = status;
    const ending = [];
    if (ENDINGS_OF[status] && (role === "assistant" || status === "queued")) {
      ending.push(ENDINGS_OF[status]);
    }
    if (tokens) ending.push(`${tokens.toLocaleString("en-US")} tokens`);
    const say = (selector, text) => setText(element.querySelector(selector), text);
    say(".kit-role", ROLES[role] ?? role);
    say(".kit-model", model ?? "");
    say(".kit-ending", ending.join(" · "));
  }

  #part(key, id, attributes) {
    let element = this.parts.get(partKey(key, id));
    if (!element) {
      element = makePart(attributes);
      element.dataset.part = id;
      // A result belongs into the card of its call.
      const call = this.parts.get(partKey(key, attributes.call));
      const place =
        call?.querySelector(".kit-slot") ??
        this.messages.get(key).querySelector(".kit-parts");
      place.append(element);
      this.#remember(key, id, element);
    }
    describePart(element, attributes);
  }

  #remember(key, id, element) {
    this.parts.set(partKey(key, id), element);
    const body = element.querySelector(".kit-body");
    this.blocks.set(partKey(key, id), new Blocks(body));
  }

  #put(key, id, block, depth, child, html) {
    putHtml(this.blocks.get(partKey(key, id)).find(block, depth), child, html);
  }

  #append(key, id, block, depth, text) {
    const element = this.blocks.get(partKey(key, id)).find(block, depth);
    appendText(element, text);
    this.grown.add(element);
  }

  #dropMessage(key) {
    const message = this.messages.get(key);
    for (const part of message.querySelectorAll("[data-part]")) {
      this.#forget(key, part.dataset.part);
    }
    message.remove();
    this.messages.delete(key);
  }

  #dropPart(key, id) {
    const element = this.parts.get(partKey(key, id));
    for (const inner of element.querySelectorAll("[data-part]")) {
      element.after(inner); // a result outlives the card of its call
    }
    element.remove();
    this.#forget(key, id);
  }

  #forget(key, id) {
    this.parts.delete(partKey(key, id));
    this.blocks.delete(partKey(key, id));
  }
}

function partKey(message, part) {
  return message + KEY_SEPARATOR + part;
}

function action(name, text, label, title = "") {
  const attributes = { type: "button", "data-do": name, "aria-label": label };
  if (title) attributes.title = title;
  return make("button", "kit-action", attributes, text);
}
