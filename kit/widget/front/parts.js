/** What a part of a message looks like: text, reasoning, tool call, result, error. */

import { inSeconds, make, setText } from "./elements.js";

const CALL_STATES = {
  writing: "writing arguments",
  running: "running",
  done: "done",
  failed: "failed",
  invalid: "arguments refused",
  unanswered: "no result",
};

const KEPT = "What was written before is kept, above.";

/** The element of a new part; its text goes into `.kit-body`. */
export function makePart({ type }) {
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
        make("p", "kit-note"),
      );
    default:
      return make("div", "kit-part kit-text", {}, body);
  }
}

/** Bring the words around a part's text up to date. */
export function describePart(element, attributes) {
  const say = (selector, text) => setText(element.querySelector(selector), text);
  const took = attributes.seconds === undefined ? "" : inSeconds(attributes.seconds);
  if (attributes.state) element.dataset.state = attributes.state;
  switch (attributes.type) {
    case "reasoning": {
      const done = attributes.state === "done";
      say(".kit-summary", done ? `Reasoning${took && ` · ${took}`}` : "Reasoning…");
      // Fold it when it is done, unless the reader has taken that over.
      if (!element.dataset.touched) element.open = !done;
      break;
    }
    case "tool-call":
      say(".kit-tool-name", attributes.tool || "tool");
      say(".kit-badge", CALL_STATES[attributes.state]);
      say(".kit-seconds", took);
      say(".kit-refusal", attributes.error ?? "");
      break;
    case "tool-result": {
      const inCard = element.parentElement?.classList.contains("kit-slot");
      const what = attributes.isError ? "Error" : "Result";
      const from = inCard || !attributes.tool ? "" : ` of ${attributes.tool}`;
      say(".kit-label", what + from);
      element.classList.toggle("kit-failed", attributes.isError);
      break;
    }
    case "error":
      say(".kit-kind", attributes.kind);
      // The last note: those in its text come before.
      setText(element.lastElementChild, element.previousElementSibling ? KEPT : "");
      break;
  }
}
