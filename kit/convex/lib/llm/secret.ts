/** Keys that do not show, and texts that have been cleared of them. */

const REDACTED = "[redacted]";

/**
 * What the scripted provider is sent where a real one needs a key. It is no secret, and
 * redacting it would garble every text that mentions that provider.
 */
export const PLACEHOLDER_KEY = "scripted";

/** Nothing shorter is a real key, and replacing short strings would garble texts. */
const SHORTEST_KEY = 8;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // Keys of all three providers, also as the providers mask them: sk-ab***yz.
  [/\bsk-[\w*.-]{7,}[\w*]/g, REDACTED],
  [/\b(bearer\s+)[\w.~+/=*-]{16,}/gi, `$1${REDACTED}`],
  [/\b((?:x-)?api[-_]?key["']?\s*[:=]\s*["']?)[^\s"',;}]{8,}/gi, `$1${REDACTED}`],
  [/(:\/\/)[^/\s@]+@/g, `$1${REDACTED}@`],
];

/** A key, which shows itself to `reveal()` only: not when logged, not as JSON. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The key itself, for the header of a request and nothing else. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return "Secret('…')";
  }

  toJSON(): string {
    return this.toString();
  }
}

/** `text` without these keys. */
export function withoutKeys(text: string, secrets: readonly string[]): string {
  const values = [...secrets].sort((a, b) => b.length - a.length);
  for (const value of values) {
    if (value.length >= SHORTEST_KEY && value !== PLACEHOLDER_KEY) {
      text = text.replaceAll(value, REDACTED);
    }
  }
  return text;
}

/** `text` without these keys and without anything that looks like one. */
export function redact(text: string, secrets: readonly string[]): string {
  text = withoutKeys(text, secrets);
  for (const [pattern, replacement] of PATTERNS) {
    text = text.replace(pattern, replacement);
  }
  return text;
}
