/**
 * Why a value does not match a validator, in the words of Convex's argument errors.
 *
 * For arguments that have to be checked by hand; all others are checked by Convex.
 * Knows the validators that such arguments use: objects, arrays, strings, ids.
 */
import type { GenericValidator, Value } from "convex/values";
import { Float } from "./format";

/**
 * The mismatch as text, or null. Any string passes as an id: whether it is one of the
 * right table is for whoever looks it up.
 */
export function mismatch(
  validator: GenericValidator,
  value: Value | undefined,
  path = "",
): string | null {
  switch (validator.kind) {
    case "string":
    case "id":
      return typeof value === "string" ? null : wrong(validator, value, path);
    case "array":
      if (!Array.isArray(value)) return wrong(validator, value, path);
      for (const [index, item] of value.entries()) {
        const problem = mismatch(validator.element, item, `${path}[${index}]`);
        if (problem !== null) return problem;
      }
      return null;
    case "object":
      return isRecord(value)
        ? problemInObject(validator, value, path)
        : wrong(validator, value, path);
    default:
      throw new TypeError(`v.${validator.kind}() cannot be checked by hand`);
  }
}

type ObjectValidator = Extract<GenericValidator, { kind: "object" }>;

function problemInObject(
  validator: ObjectValidator,
  value: Record<string, Value | undefined>,
  path: string,
): string | null {
  const fields = validator.fields as Record<string, GenericValidator>;
  const where = path === "" ? "" : `Path: ${path}`;
  const shown = `\n${where}\nObject: ${debug(value)}\nValidator: ${text(validator)}`;
  for (const name of Object.keys(fields).sort()) {
    const field = fields[name]!;
    if (value[name] !== undefined) {
      const problem = mismatch(field, value[name], `${path}.${name}`);
      if (problem !== null) return problem;
    } else if (field.isOptional !== "optional") {
      return (
        `Object is missing the required field \`${name}\`. Consider wrapping the ` +
        "field validator in `v.optional(...)` if this is expected." +
        shown
      );
    }
  }
  const extra = Object.keys(value)
    .filter((name) => value[name] !== undefined && !(name in fields))
    .sort()[0];
  if (extra === undefined) return null;
  return `Object contains extra field \`${extra}\` that is not in the validator.${shown}`;
}

function wrong(
  validator: GenericValidator,
  value: Value | undefined,
  path: string,
): string {
  const where = path === "" ? "" : `Path: ${path}`;
  return (
    `Value does not match validator.\n${where}\n` +
    `Value: ${debug(value ?? null)}\nValidator: ${text(validator)}`
  );
}

function isRecord(
  value: Value | undefined,
): value is Record<string, Value | undefined> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof ArrayBuffer)
  );
}

/** A validator as it is written. */
function text(validator: GenericValidator): string {
  switch (validator.kind) {
    case "id":
      return `v.id("${validator.tableName}")`;
    case "array":
      return `v.array(${text(validator.element)})`;
    case "object": {
      const fields = validator.fields as Record<string, GenericValidator>;
      const shown = Object.keys(fields)
        .sort()
        .map((name) => {
          const field = fields[name]!;
          const inner = text(field);
          const optional = field.isOptional === "optional";
          return `${name}: ${optional ? `v.optional(${inner})` : inner}`;
        });
      return `v.object({${shown.join(", ")}})`;
    }
    default:
      return `v.${validator.kind}()`;
  }
}

/** A value as Convex's argument errors show it. */
function debug(value: Value | undefined): string {
  if (typeof value === "string") return rustQuoted(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return debugNumber(value);
  if (value instanceof ArrayBuffer) {
    return `b"${btoa(String.fromCharCode(...new Uint8Array(value)))}"`;
  }
  if (Array.isArray(value)) return `[${value.map(debug).join(", ")}]`;
  if (isRecord(value)) {
    const fields = Object.keys(value)
      .filter((name) => value[name] !== undefined)
      .sort()
      .map((name) => `${name}: ${debug(value[name])}`);
    return `{${fields.join(", ")}}`;
  }
  return String(value);
}

function debugNumber(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  // Rust writes exponents without plus sign and leading zeros.
  return new Float(value)
    .toString()
    .replace(/e([+-])0?/, (_, sign) => (sign === "-" ? "e-" : "e"));
}

const RUST_ESCAPES: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\0": "\\0",
};

function rustQuoted(value: string): string {
  const escaped = Array.from(value, (character) => {
    const known = RUST_ESCAPES[character];
    if (known !== undefined) return known;
    if (character === " " || !/[\p{C}\p{Z}]/u.test(character)) return character;
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
  return `"${escaped.join("")}"`;
}
