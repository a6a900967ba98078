/**
 * The chat view in the browser.
 *
 * Holds what a view looks like and does; what it shows is decided in the kernel, see
 * `transcript.py` for the operations and `chat.py` for the messages. One `Feed` per
 * widget receives them and keeps a copy of everything off the screen; each view of the
 * widget begins as a clone of that copy and then gets the same operations.
 *
 * HTML is taken from two operations only, `put` and the snapshot's blocks, where it was
 * made by the kernel's Markdown renderer. Everything else is text.
 */

const ASK_AGAIN = 2000; // ms until a snapshot that was asked for is asked for again
const SILENCE = 4000; // ms without a message during a turn, after which to ask
const PATIENCE = 3000; // ms until a kernel that does not answer is called busy
const NEAR_END = 32; // px from the end that still count as being there
const TEXT_NODE_LIMIT = 2000; // characters; longer ones are slow to append to

const ROLES = { user: "You", assistant: "Assistant", system: "System" };

const CALL_STATES = {
  writing: "writing arguments",
  running: "running",
  done: "done",
  failed: "failed",
  invalid: "arguments refused",
  unanswered: "no result",
};

const ENDINGS = {
  done: "The reply is complete.",
  stopped: "The reply was stopped.",
  failed: "The reply failed.",
};

/** An element: `make("button", "kit-send", { type: "button" }, "Send")`. */
function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function seconds(value) {
  return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}

/** The messages in one element, on the screen or off it. */
class Transcript {
  constructor(root) {
    this.root = root;
    this.messages = new Map();
    this.parts = new Map();
    for (const message of root.querySelectorAll("[data-message]")) {
      this.messages.set(message.dataset.message, message);
      for (const part of message.querySelectorAll("[data-part]")) {
        this.parts.set(partKey(message.dataset.message, part.dataset.part), part);
      }
    }
  }

  clone() {
    return new Transcript(this.root.cloneNode(true));
  }

  /** Keep folded or open what the reader has folded or opened in `before`. */
  takeOver(before) {
    for (const [key, part] of before.parts) {
      if (!part.dataset.touched || !this.parts.has(key)) continue;
      this.parts.get(key).open = part.open;
      this.parts.get(key).dataset.touched = "true";
    }
  }

  load(messages) {
    this.root.replaceChildren();
    this.messages.clear();
    this.parts.clear();
    for (const message of messages) {
      this.message(message.key, message.attributes);
      for (const part of message.parts) {
        this.part(message.key, part.key, part.attributes);
        part.blocks.forEach((html, block) => {
          this.put(message.key, part.key, block, 0, 0, html);
        });
      }
    }
  }

  apply([name, ...args]) {
    switch (name) {
      case "message":
        return this.message(...args);
      case "move":
        return this.root.append(this.messages.get(args[0]));
      case "part":
        return this.part(...args);
      case "put":
        return this.put(...args);
      case "append":
        return this.append(...args);
      case "clear":
        return this.body(...args).replaceChildren();
      case "drop":
        return args.length === 1 ? this.dropMessage(...args) : this.dropPart(...args);
      default:
        throw new Error(`unknown operation ${name}`);
    }
  }

  message(key, attributes) {
    let element = this.messages.get(key);
    if (!element) {
      element = make("article", "kit-message", { "data-message": key });
      const copy = make(
        "button",
        "kit-copy",
        { type: "button", "data-copy": "message", "aria-label": "Copy message" },
        "Copy",
      );
      element.append(
        make(
          "header",
          "kit-message-head",
          {},
          make("span", "kit-role"),
          make("span", "kit-model kit-dim"),
          make("span", "kit-ending kit-dim"),
          copy,
        ),
        make("div", "kit-parts"),
      );
      this.root.append(element);
      this.messages.set(key, element);
    }
    const { role, status, model, tokens } = attributes;
    element.dataset.role = role;
    element.dataset.status = status;
    const head = element.firstElementChild;
    head.querySelector(".kit-role").textContent = ROLES[role] ?? role;
    head.querySelector(".kit-model").textContent = model ?? "";
    const ending = [];
    if (role === "assistant" && status === "stopped") ending.push("stopped");
    if (role === "assistant" && status === "failed") ending.push("failed");
    if (tokens) ending.push(`${tokens} tokens`);
    head.querySelector(".kit-ending").textContent = ending.join(" · ");
  }

  part(key, id, attributes) {
    let element = this.parts.get(partKey(key, id));
    if (!element) {
      element = makePart(attributes);
      element.dataset.part = id;
      this.parts.set(partKey(key, id), element);
      // A result belongs into the card of its call.
      const call = this.parts.get(partKey(key, attributes.call));
      const place =
        call?.querySelector(".kit-slot") ??
        this.messages.get(key).querySelector(".kit-parts");
      place.append(element);
    }
    describePart(element, attributes);
  }

  put(key, id, block, depth, child, html) {
    const element = descend(this.block(key, id, block), depth);
    if (child === 0) {
      element.replaceChildren();
    } else {
      const last = element.children[child - 1];
      while (last.nextSibling) last.nextSibling.remove();
    }
    element.insertAdjacentHTML("beforeend", html);
    for (const bar of element.querySelectorAll(".kit-bar")) {
      if (bar.querySelector("button")) continue;
      const label = { type: "button", "data-copy": "code", "aria-label": "Copy code" };
      bar.append(make("button", "kit-copy", label, "Copy"));
    }
  }

  append(key, id, block, depth, text) {
    const element = descend(this.block(key, id, block), depth);
    const last = element.lastChild;
    if (last?.nodeType === Node.TEXT_NODE && last.length < TEXT_NODE_LIMIT) {
      last.appendData(text);
    } else {
      element.append(text);
    }
  }

  body(key, id) {
    return this.parts.get(partKey(key, id)).querySelector(".kit-body");
  }

  block(key, id, number) {
    const body = this.body(key, id);
    while (body.children.length <= number) body.append(make("div", "kit-block"));
    return body.children[number];
  }

  dropMessage(key) {
    const message = this.messages.get(key);
    for (const part of message.querySelectorAll("[data-part]")) {
      this.parts.delete(partKey(key, part.dataset.part));
    }
    message.remove();
    this.messages.delete(key);
  }

  dropPart(key, id) {
    const element = this.parts.get(partKey(key, id));
    for (const inner of element.querySelectorAll("[data-part]")) {
      element.after(inner); // a result outlives the card of its call
    }
    element.remove();
    this.parts.delete(partKey(key, id));
  }
}

function partKey(message, part) {
  return JSON.stringify([message, part]);
}

function descend(element, depth) {
  for (let level = 0; level < depth; level++) element = element.lastElementChild;
  return element;
}

function makePart({ type }) {
  const body = make("div", "kit-body");
  switch (type) {
    case "reasoning":
      return make(
        "details",
        "kit-part kit-reasoning",
        { open: "" },
        make("summary", "", {}, make("span", "kit-summary")),
        body,
      );
    case "redacted-reasoning":
      return make(
        "p",
        "kit-part kit-dim",
        {},
        "Reasoning withheld by the provider.",
        body,
      );
    case "tool-call":
      return make(
        "details",
        "kit-part kit-tool",
        { open: "" },
        make(
          "summary",
          "",
          {},
          make("span", "kit-tool-name"),
          make("span", "kit-badge"),
          make("span", "kit-seconds kit-dim"),
        ),
        make("div", "kit-label", {}, "Arguments"),
        body,
        make("p", "kit-refusal"),
        make("div", "kit-slot"),
      );
    case "tool-result":
      return make("div", "kit-part kit-result", {}, make("div", "kit-label"), body);
    case "error":
      return make(
        "div",
        "kit-part kit-error",
        {},
        make("strong", "", {}, "Error"),
        make("span", "kit-dim kit-kind"),
        body,
      );
    default:
      return make("div", "kit-part kit-text", {}, body);
  }
}

function describePart(element, attributes) {
  const find = (selector) => element.querySelector(selector);
  const took = attributes.seconds === undefined ? "" : seconds(attributes.seconds);
  if (attributes.state) element.dataset.state = attributes.state;
  switch (attributes.type) {
    case "reasoning": {
      const done = attributes.state === "done";
      const label = done ? `Reasoning${took && ` · ${took}`}` : "Reasoning…";
      find(".kit-summary").textContent = label;
      // Fold it when it is done, unless the reader has taken that over.
      if (!element.dataset.touched) element.open = !done;
      break;
    }
    case "tool-call":
      find(".kit-tool-name").textContent = attributes.tool || "tool";
      find(".kit-badge").textContent = CALL_STATES[attributes.state];
      find(".kit-seconds").textContent = took;
      find(".kit-refusal").textContent = attributes.error ?? "";
      break;
    case "tool-result": {
      const inCard = element.parentElement?.classList.contains("kit-slot");
      const what = attributes.isError ? "Error" : "Result";
      const from = inCard || !attributes.tool ? "" : ` of ${attributes.tool}`;
      find(".kit-label").textContent = what + from;
      element.classList.toggle("kit-failed", attributes.isError);
      break;
    }
    case "error":
      find(".kit-kind").textContent = attributes.kind;
      break;
  }
}

/** What the widget receives, for all of its views. */
class Feed {
  constructor() {
    this.seq = 0;
    this.status = {};
    this.copy = new Transcript(make("div", "kit-messages"));
    this.views = new Set();
    this.queue = [];
    this.waiting = new Map(); // requests without an answer, by id
    this.askedAt = 0;
    this.heardAt = 0;
    this.painting = null;
  }

  start(model) {
    this.model = model;
    this.load(model.get("snapshot"));
    model.on("msg:custom", (message) => this.receive(message));
    model.on("change:snapshot", () => this.offer(model.get("snapshot")));
    const checking = setInterval(() => this.check(), SILENCE / 2);
    return () => clearInterval(checking);
  }

  receive(message) {
    this.heardAt = performance.now();
    switch (message.type) {
      case "ops":
        if (message.seq <= this.seq) return; // the snapshot had it
        if (message.seq > this.seq + 1) return this.askForSnapshot();
        this.seq = message.seq;
        this.queue.push(...message.ops);
        return this.paintSoon();
      case "received":
        return this.waiting.get(message.id)?.received();
      case "answer":
        this.waiting.get(message.id)?.answered(message);
        this.waiting.delete(message.id);
    }
  }

  /** A snapshot came: needed only after a gap. */
  offer(snapshot) {
    if (snapshot.seq > this.seq) this.load(snapshot);
  }

  load(snapshot) {
    this.askedAt = 0;
    this.seq = snapshot.seq ?? 0;
    this.status = snapshot.status ?? {};
    this.queue = [];
    this.copy.load(snapshot.messages ?? []);
    for (const view of this.views) view.begin();
  }

  askForSnapshot() {
    const now = performance.now();
    if (this.askedAt && now - this.askedAt < ASK_AGAIN) return;
    this.askedAt = now;
    this.model.send({ type: "snapshot" });
  }

  /** If the last message of a turn is lost, no later one shows the gap. */
  check() {
    const now = performance.now();
    if (this.status.active && now - this.heardAt > SILENCE) {
      this.heardAt = now;
      this.model.send({ type: "check", seq: this.seq });
    }
  }

  /** Once per frame; now and then also in a tab that is hidden and has no frames. */
  paintSoon() {
    if (this.painting) return;
    const frame = requestAnimationFrame(() => this.paint());
    const timer = setTimeout(() => this.paint(), 1000);
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
    if (statuses.length) this.status = statuses.at(-1)[1];
    try {
      for (const op of ops) this.copy.apply(op);
      for (const view of this.views) view.update(ops, this.status);
    } catch (error) {
      console.error("chat view: asking for everything anew", error);
      this.seq = -1; // so that the snapshot is taken
      this.askForSnapshot();
    }
  }

  addView(el) {
    this.paint();
    const view = new View(this, el);
    view.begin();
    // A refreshed output makes a new view in the place of the old one.
    const before = [...this.views].findLast(
      (other) => !other.root.isConnected && !other.successor,
    );
    if (before) view.takeOver(before);
    this.views.add(view);
    return () => {
      this.views.delete(view);
      view.end();
    };
  }

  /**
   * Ask the kernel for something. `handlers`: `received()`, `answered({error, text})`,
   * and `busy()` when it has not even received it for a while.
   */
  request(content, { received, answered, busy }) {
    const id = crypto.randomUUID?.() ?? String(Math.random());
    const timer = setTimeout(busy, PATIENCE);
    this.waiting.set(id, {
      received: () => {
        clearTimeout(timer);
        received();
      },
      answered,
    });
    this.model.send({ ...content, id });
  }
}

/** One view of the widget. */
class View {
  constructor(feed, el) {
    this.feed = feed;
    this.status = {};
    this.isAtEnd = true;
    this.scrollTop = 0;
    this.leftAt = 0; // when the focus left for nowhere, as it does with the element
    this.isStale = false;
    this.hint = "";
    this.successor = null;
    this.build(el);
    this.listen();
    this.ticking = setInterval(() => this.showTime(), 200);
    this.resizing = new ResizeObserver(() => this.resized());
    this.resizing.observe(this.log);
  }

  build(el) {
    this.title = make("div", "kit-title");
    this.statusText = make("span", "kit-status-text");
    this.time = make("span", "kit-time kit-dim");
    this.messages = make("div", "kit-messages");
    this.empty = make("p", "kit-empty kit-dim", {}, "No messages yet.");
    this.log = make(
      "div",
      "kit-log",
      { role: "log", "aria-live": "off", "aria-label": "Messages", tabindex: "0" },
      this.messages,
      this.empty,
    );
    this.jump = make("button", "kit-jump", { type: "button" }, "↓ Jump to latest");
    this.jump.hidden = true;
    this.notice = make("div", "kit-notice", { role: "alert" });
    this.input = make("textarea", "kit-input", {
      rows: "1",
      placeholder: "Send a message",
      "aria-label": "Message",
    });
    this.send = make("button", "kit-send", { type: "submit" }, "Send");
    this.stop = make("button", "kit-stop", { type: "button" }, "Stop");
    this.form = make("form", "kit-form", {}, this.input, this.send, this.stop);
    this.announcer = make("div", "kit-hidden", { "aria-live": "polite" });
    this.root = make(
      "section",
      "kit-chat",
      // Keys pressed in here are not JupyterLab's shortcuts.
      { "aria-label": "Chat", "data-lm-suppress-shortcuts": "true" },
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
      this.form,
      this.announcer,
    );
    el.classList.add("kit-view");
    el.append(this.root);
  }

  listen() {
    this.log.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.log;
      this.scrollTop = scrollTop;
      this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
      this.jump.hidden = this.isAtEnd;
    });
    this.input.addEventListener("focus", () => {
      this.leftAt = Infinity;
    });
    this.input.addEventListener("blur", (event) => {
      this.leftAt = event.relatedTarget ? 0 : performance.now();
    });
    this.log.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) this.copy(button);
      const details = event.target.closest("summary")?.parentElement;
      if (details) details.dataset.touched = "true";
    });
    this.jump.addEventListener("click", () => this.scrollToEnd());
    this.stop.addEventListener("click", () => this.ask({ type: "stop" }));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      if (event.shiftKey) this.breakLine();
      else this.submit();
    });
    this.input.addEventListener("input", () => this.fitInput());
  }

  /** Show everything anew. */
  begin() {
    this.isStale = false;
    this.transcript = this.feed.copy.clone();
    this.messages.replaceWith(this.transcript.root);
    this.messages = this.transcript.root;
    this.showStatus(this.feed.status);
    this.scrollToEnd();
  }

  update(ops, status) {
    if (!this.root.isConnected) {
      // Replaced by another view, or in a cell that is scrolled away: see `resized`.
      this.isStale = true;
      return;
    }
    for (const op of ops) this.transcript.apply(op);
    if (status !== this.status) this.showStatus(status);
    if (this.isAtEnd) this.log.scrollTop = this.log.scrollHeight;
    else this.jump.hidden = false;
  }

  /** Also called when the view comes onto the screen. */
  resized() {
    if (!this.root.isConnected) return;
    if (this.isStale) this.begin();
    if (this.isAtEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  /** Go on where the reader was in a view that this one replaces. */
  takeOver(before) {
    before.successor = this;
    this.hint = before.hint;
    this.showNotice();
    this.transcript.takeOver(before.transcript);
    this.input.value = before.input.value;
    const { selectionStart, selectionEnd } = before.input;
    this.input.setSelectionRange(selectionStart, selectionEnd);
    const hadFocus = performance.now() - before.leftAt < 500;
    this.isAtEnd = before.isAtEnd;
    const wasTold = before.announcer.textContent;
    const ended = before.status.active && !this.status.active;
    // The new elements get onto the page, and get a size, after this.
    requestAnimationFrame(() => {
      if (wasTold || ended) this.announceEnd();
      this.fitInput();
      if (!this.isAtEnd) this.log.scrollTop = before.scrollTop;
      if (hadFocus && document.activeElement === document.body) {
        this.input.focus({ preventScroll: true });
      }
    });
  }

  end() {
    clearInterval(this.ticking);
    this.resizing.disconnect();
    this.root.remove();
  }

  scrollToEnd() {
    this.isAtEnd = true;
    this.jump.hidden = true;
    this.log.scrollTop = this.log.scrollHeight;
  }

  showStatus(status) {
    const wasActive = this.status.active;
    this.status = status;
    this.statusAt = performance.now();
    this.root.dataset.status = status.state ?? "idle";
    this.title.textContent = status.title ?? "";
    this.statusText.textContent = status.label ?? "";
    this.log.setAttribute("aria-busy", String(Boolean(status.active)));
    this.stop.disabled = !status.canStop;
    this.send.disabled = !status.canSend;
    if (status.active) this.announcer.textContent = "";
    else if (wasActive) this.announceEnd();
    this.showTime();
    this.showNotice();
  }

  /** For screen readers, once: the growing text itself would flood them. */
  announceEnd() {
    this.announcer.textContent = ENDINGS[this.status.state] ?? "";
  }

  showTime() {
    const { active, elapsed, first } = this.status;
    const words = [];
    if (typeof elapsed === "number") {
      const since = active ? (performance.now() - this.statusAt) / 1000 : 0;
      words.push(seconds(elapsed + since));
    }
    if (typeof first === "number") words.push(`first part after ${first.toFixed(2)} s`);
    const text = words.map((word) => ` · ${word}`).join("");
    if (this.time.textContent !== text) this.time.textContent = text;
  }

  showNotice() {
    const text = this.hint || this.status.notice || "";
    if (this.notice.textContent !== text) this.notice.textContent = text;
  }

  /** The view that is in this one's place by now. */
  get present() {
    return this.successor?.present ?? this;
  }

  /** Ask the kernel; errors come back in the status, as the notice. */
  ask(content, { received, answered } = {}) {
    const hint = (text) => {
      this.present.hint = text;
      this.present.showNotice();
    };
    this.feed.request(content, {
      busy: () =>
        hint("The kernel has not answered yet. It is busy with a cell, or not running."),
      received: () => {
        hint("");
        received?.();
      },
      answered: (answer) => answered?.(answer),
    });
  }

  submit() {
    const text = this.input.value;
    if (this.send.disabled || !text.trim()) return;
    this.scrollToEnd();
    const exchange = (old, value) => {
      const { input } = this.present;
      if (input.value === old) input.value = value;
      this.present.fitInput();
    };
    this.ask(
      { type: "send", text },
      {
        received: () => exchange(text, ""),
        answered: ({ error }) => error && exchange("", text),
      },
    );
  }

  /** By hand: JupyterLab keeps the browser from doing it inside a cell. */
  breakLine() {
    const { selectionStart, selectionEnd } = this.input;
    this.input.setRangeText("\n", selectionStart, selectionEnd, "end");
    this.fitInput();
    this.input.scrollTop = this.input.scrollHeight;
  }

  fitInput() {
    this.input.style.height = "auto";
    const { borderTopWidth, borderBottomWidth } = getComputedStyle(this.input);
    const border = parseFloat(borderTopWidth) + parseFloat(borderBottomWidth);
    this.input.style.height = `${this.input.scrollHeight + border}px`;
  }

  copy(button) {
    if (button.dataset.copy === "code") {
      const code = button.closest(".kit-code").querySelector("code");
      writeClipboard(code.textContent).then(() => confirmCopy(button));
      return;
    }
    // The Markdown is in the kernel; without one there is the text on the screen.
    const message = button.closest("[data-message]");
    const parts = message.querySelectorAll(".kit-text, .kit-error");
    const shown = Array.from(parts, (part) => part.innerText).join("\n\n");
    let answered = false;
    const finish = (text) => {
      if (answered) return;
      answered = true;
      writeClipboard(text).then(() => confirmCopy(button));
    };
    setTimeout(() => finish(shown), 1000);
    this.feed.request(
      { type: "copy", message: message.dataset.message },
      {
        busy: () => {},
        received: () => {},
        answered: ({ text }) => finish(text ?? shown),
      },
    );
  }
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No permission, or a page that was not loaded over https.
    const area = make("textarea", "kit-hidden");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function confirmCopy(button) {
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1500);
}

// Called once per widget, so that its views share one feed.
export default () => {
  const feed = new Feed();
  return {
    initialize: ({ model }) => feed.start(model),
    render: ({ el }) => feed.addView(el),
  };
};
