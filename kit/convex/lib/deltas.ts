/**
 * Batches of chunks: their size, where they may be cut, and valid text in them.
 *
 * What a writer of deltas does to chunks before they are stored. Pure. All sizes are
 * UTF-8 bytes of text: what a chunk weighs, but for names and numbers.
 */
import {
  type Chunk,
  continues,
  type Delta,
  isDelta,
  mergeChunks,
  textOf,
  withText,
} from "./parts";
import {
  firstCodePoints,
  isLongerThan,
  piecesOf,
  utf8Length,
  wellFormed,
} from "./text";

/** A Convex array holds at most 8192 elements. */
export const MAX_BATCH_CHUNKS = 1024;

const CUT = " … (cut: too long)";

/** The UTF-8 length of all texts in a chunk. */
export function textBytes(chunk: Chunk): number {
  let bytes = 0;
  for (const value of Object.values(chunk)) {
    if (typeof value === "string") bytes += utf8Length(value);
  }
  return bytes;
}

/**
 * Cut a log into a first batch of about `maxBytes` at most, and the rest.
 *
 * Neighbouring deltas are merged and long ones split, between code points. A chunk that
 * cannot be split and is longer than `maxBytes` has its texts cut, with a mark, so that
 * nothing can make a batch too big to be stored. The batch holds at least one chunk, if
 * there is any.
 */
export function takeBatch(
  chunks: Iterable<Chunk>,
  maxBytes: number,
): [batch: Chunk[], rest: Chunk[]] {
  const batch: Chunk[] = [];
  let size = 0;
  const fitting = [...fittingChunks(mergeChunks(chunks), maxBytes)];
  for (const [index, chunk] of fitting.entries()) {
    size += textBytes(chunk);
    const full = size > maxBytes || batch.length === MAX_BATCH_CHUNKS;
    if (batch.length > 0 && full) return [batch, fitting.slice(index)];
    batch.push(chunk);
  }
  return [batch, []];
}

function* fittingChunks(chunks: Iterable<Chunk>, maxBytes: number): Generator<Chunk> {
  // A code point has four bytes at most.
  const step = Math.max(Math.floor(maxBytes / 4), 1);
  for (const chunk of chunks) {
    if (textBytes(chunk) <= maxBytes) {
      yield chunk;
    } else if (isDelta(chunk)) {
      for (const piece of piecesOf(textOf(chunk), step)) {
        yield withText(chunk, piece);
      }
    } else {
      yield mapTexts(chunk, (text) =>
        isLongerThan(text, step) ? firstCodePoints(text, step) + CUT : text,
      );
    }
  }
}

function mapTexts(chunk: Chunk, change: (text: string) => string): Chunk {
  const entries = Object.entries(chunk).map(([name, value]) => [
    name,
    typeof value === "string" ? change(value) : value,
  ]);
  return Object.fromEntries(entries) as Chunk;
}

/**
 * Makes the texts of a log of chunks valid Unicode, which UTF-8 can carry.
 *
 * A provider that cuts its JSON strings anywhere may send the two halves of a surrogate
 * pair in two deltas. The first half is held until the next chunk, and becomes U+FFFD
 * if that does not bring the other half.
 */
export class TextRepair {
  /** A delta whose text is one high surrogate. */
  private held: Delta | null = null;

  /** The chunks to store instead of this one: often itself, sometimes none. */
  repair(chunk: Chunk): Chunk[] {
    if (this.held === null && isWellFormed(chunk)) return [chunk];
    if (!isDelta(chunk)) return [...this.rest(), mapTexts(chunk, wellFormed)];
    const repaired =
      this.held !== null && !continues(this.held, chunk) ? this.rest() : [];
    let text = (this.held === null ? "" : textOf(this.held)) + textOf(chunk);
    this.held = null;
    if (/[\ud800-\udbff]$/.test(text)) {
      this.held = withText(chunk, text.slice(-1));
      text = text.slice(0, -1);
    }
    if (text !== "") repaired.push(withText(chunk, wellFormed(text)));
    return repaired;
  }

  /** What is still held when the log ends, or another part begins. */
  rest(): Chunk[] {
    const held = this.held;
    this.held = null;
    return held === null ? [] : [mapTexts(held, wellFormed)];
  }
}

function isWellFormed(chunk: Chunk): boolean {
  return Object.values(chunk).every(
    (value) => typeof value !== "string" || wellFormed(value) === value,
  );
}
