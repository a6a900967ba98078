/** Small helpers for elements and words. */

/** An element: `make("button", "kit-send", { type: "button" }, "Send")`. */
export function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set the text of an element, and touch nothing if it has that text already. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function inSeconds(value) {
  return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}
