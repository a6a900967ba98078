/**
 * Lengths and cuts of text, by code points and by UTF-8 bytes: a string's own length
 * counts UTF-16 units, which would cut an emoji in two.
 */

const LONE_SURROGATE =
  /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** The text with lone surrogates as U+FFFD: JSON may hold them, UTF-8 cannot. */
export function wellFormed(text: string): string {
  return text.replace(LONE_SURROGATE, "\ufffd");
}

/** The length in UTF-8, of a well-formed text. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Either half of a pair counts two of its four bytes.
    if (unit >= 0x80) bytes += unit >= 0x800 && !isSurrogate(unit) ? 2 : 1;
  }
  return bytes;
}

/** The first `count` code points. */
export function firstCodePoints(text: string, count: number): string {
  if (text.length <= count) return text;
  return text.slice(0, endOf(text, 0, count));
}

/** Whether the text has more than `count` code points. */
export function isLongerThan(text: string, count: number): boolean {
  return text.length > count && endOf(text, 0, count) < text.length;
}

/** The text in pieces of `count` code points; an empty text is one empty piece. */
export function* piecesOf(text: string, count: number): Generator<string> {
  let start = 0;
  do {
    const end = endOf(text, start, count);
    yield text.slice(start, end);
    start = end;
  } while (start < text.length);
}

/** Where `count` code points from `start` on end. */
function endOf(text: string, start: number, count: number): number {
  let end = start;
  for (let i = 0; i < count && end < text.length; i++) {
    end += text.codePointAt(end)! > 0xffff ? 2 : 1;
  }
  return end;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
