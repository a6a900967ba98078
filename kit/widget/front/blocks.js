/**
 * The blocks of one part, kept cheap to draw however many there are.
 *
 * A browser lays out what is near the screen only if the rest lies in boxes that it may
 * skip (`content-visibility` in the style sheet). So blocks lie in chunks, and text
 * that grows in one element without end is cut into pieces. The cost of an update then
 * depends on what is on the screen, not on the length of the reply.
 */

import { make } from "./elements.js";

const CHUNK_BLOCKS = 32;
const TEXT_NODE_LIMIT = 2000; // characters; longer ones are slow to append to
const PIECE_LIMIT = 8000; // characters
// To guess the height of what was never drawn.
const LINE_CHARACTERS = 90;
const LINE_HEIGHT = 22; // px

export class Blocks {
  constructor(body) {
    this.body = body;
    this.blocks = [...body.querySelectorAll(":scope > .kit-chunk > .kit-block")];
  }

  clear() {
    this.body.replaceChildren();
    this.blocks = [];
  }

  /** In block `number`, go down `depth` last elements. */
  find(number, depth) {
    while (this.blocks.length <= number) this.#add();
    let element = this.blocks[number];
    for (let level = 0; level < depth; level++) element = element.lastElementChild;
    return element;
  }

  #add() {
    let chunk = this.body.lastElementChild;
    if (!chunk || chunk.childElementCount === CHUNK_BLOCKS) {
      if (chunk) keepHeight(chunk);
      chunk = make("div", "kit-chunk");
      this.body.append(chunk);
    }
    const block = make("div", "kit-block");
    chunk.append(block);
    this.blocks.push(block);
  }
}

/**
 * Say how high `element` is, which the browser may skip from now on. Where that cannot be
 * known, before it was ever drawn, it is guessed.
 */
export function keepHeight(element) {
  const { height } = element.getBoundingClientRect();
  const lines = element.textContent.length / LINE_CHARACTERS + element.childElementCount;
  const size = height || Math.ceil(lines) * LINE_HEIGHT;
  element.style.containIntrinsicBlockSize = `auto ${size}px`;
}

/** Put `html` in the place of everything after the first `child` elements. */
export function putHtml(element, child, html) {
  const last = child ? element.children[child - 1] : null;
  while (element.lastChild !== last) element.lastChild.remove();
  element.insertAdjacentHTML("beforeend", html);
  let added = last ? last.nextElementSibling : element.firstElementChild;
  for (; added; added = added.nextElementSibling) addCopyButtons(added);
}

function addCopyButtons(element) {
  for (const bar of element.querySelectorAll(".kit-bar")) {
    const label = { type: "button", "data-do": "copy-code", "aria-label": "Copy code" };
    bar.append(make("button", "kit-action", label, "Copy"));
  }
}

export function appendText(element, text) {
  const last = element.lastChild;
  if (last?.nodeType === Node.TEXT_NODE && last.length < TEXT_NODE_LIMIT) {
    last.appendData(text);
  } else {
    element.append(text);
  }
}

/**
 * If what comes after the last piece of `element` is long, make all but its last line a
 * piece. Nothing moves on the screen: a piece ends where a line does. To be called when
 * the page is laid out.
 */
export function cutText(element) {
  let length = 0;
  let first = element.lastChild;
  for (let node = first; node && !isPiece(node); node = node.previousSibling) {
    length += node.textContent.length;
    first = node;
  }
  const text = element.lastChild;
  if (length < PIECE_LIMIT || text.nodeType !== Node.TEXT_NODE) return;
  const at = lastLineStart(element, text);
  if (!at) return; // the line began earlier, or nothing is drawn
  const line = text.splitText(at);
  const piece = make("span", "kit-piece");
  line.before(piece);
  while (first !== piece) {
    const next = first.nextSibling;
    piece.append(first);
    first = next;
  }
  // The style sheet has it skipped: drawn for once, it has its height.
  piece.style.contentVisibility = "visible";
  keepHeight(piece);
  piece.style.contentVisibility = "";
}

function isPiece(node) {
  return node.nodeType === Node.ELEMENT_NODE && node.className === "kit-piece";
}

/** Where in `text` its last line starts; 0 if it does so earlier. */
function lastLineStart(element, text) {
  if (element.closest("pre")) {
    const newline = text.data.lastIndexOf("\n");
    if (newline >= 0) return newline + 1;
  }
  if (getComputedStyle(element).display !== "block") return 0;
  const top = (at) => {
    const range = document.createRange();
    let box;
    // A space that is not drawn has no place: take the letter before it.
    for (let start = at; !box && start >= 0; start--) {
      range.setStart(text, start);
      range.setEnd(text, start + 1);
      box = range.getClientRects()[0];
    }
    return box?.top ?? -Infinity;
  };
  const last = top(text.length - 1);
  if (last === -Infinity) return 0;
  let low = 0;
  let high = text.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (top(middle) < last - 1) low = middle + 1;
    else high = middle;
  }
  return low;
}
