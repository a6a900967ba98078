/**
 * Numbers, texts and JSON as Python writes them.
 *
 * The functions exist in Python, too, and what is stored or shown must not depend on
 * which of the two wrote it.
 */

/** Six significant digits, as `format(x, "g")`. */
export function general(x: number): string {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  const [mantissa, exponent] = x.toExponential(5).split("e");
  const power = Number(exponent);
  const trim = (digits: string) =>
    digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
  if (power < -4 || power >= 6) return trim(mantissa!) + exponentText(power);
  return trim(x.toFixed(5 - power));
}

/** `1234567` as `1,234,567`. */
export function thousands(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A string as `repr` shows it. */
export function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = Array.from(text, (character) => {
    if (character === quote || character === "\\") return `\\${character}`;
    const known = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    if (known !== undefined) return known;
    if (character === " " || !UNPRINTABLE.test(character)) return character;
    const code = character.codePointAt(0)!;
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    if (code < 0x10000) return `\\u${code.toString(16).padStart(4, "0")}`;
    return `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return quote + escaped.join("") + quote;
}

const UNPRINTABLE = /[\p{C}\p{Z}]/u;

/** Whether `str.isprintable` would say so. */
export function isPrintable(text: string): boolean {
  return !UNPRINTABLE.test(text.replaceAll(" ", ""));
}

/** A number that Python would hold as a float: `14.0`, where a plain 14 is an int. */
export class Float {
  constructor(readonly value: number) {}

  toString(): string {
    const x = this.value;
    const [mantissa, exponent] = x.toExponential().split("e");
    const power = Number(exponent);
    if (x !== 0 && (power < -4 || power >= 16)) {
      return mantissa! + exponentText(power);
    }
    const digits = fixed(x);
    return digits.includes(".") ? digits : `${digits}.0`;
  }
}

/** `x` without an exponent, in as few digits as tell it apart. */
function fixed(x: number): string {
  if (Object.is(x, -0)) return "-0";
  const shortest = String(x);
  if (!shortest.includes("e")) return shortest;
  const [mantissa, exponent] = x.toExponential().split("e");
  const fraction = (mantissa!.split(".")[1] ?? "").length;
  return x.toFixed(fraction - Number(exponent));
}

function exponentText(power: number): string {
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `e${power < 0 ? "-" : "+"}${digits}`;
}

/** What `json.dumps(value, ensure_ascii=False)` returns; bigints are ints. */
export function jsonText(value: unknown): string {
  if (value instanceof Float) return value.toString();
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(jsonText).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).map(
      ([name, field]) => `${JSON.stringify(name)}: ${jsonText(field)}`,
    );
    return `{${fields.join(", ")}}`;
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new TypeError(
      `the tool's result is not JSON: Out of range float values are not JSON compliant: ${general(value)}`,
    );
  }
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) {
    throw new TypeError(`the tool's result is not JSON: ${typeof value}`);
  }
  return text;
}
