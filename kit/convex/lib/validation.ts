/**
 * Why a value does not match a validator, in the words of Convex's argument errors, but
 * without the value: it may hold a key.
 *
 * For arguments that have to be checked by hand; all others are checked by Convex.
 * Knows the validators that such arguments use: objects, arrays, strings, ids, and
 * unions of literals.
 */
import type { GenericValidator, Value } from "convex/values";

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
      return typeof value === "string" ? null : wrong(validator, path);
    case "literal":
      return value === validator.value ? null : wrong(validator, path);
    case "union": {
      const matches = validator.members.some(
        (member: GenericValidator) => mismatch(member, value, path) === null,
      );
      return matches ? null : wrong(validator, path);
    }
    case "array":
      if (!Array.isArray(value)) return wrong(validator, path);
      for (const [index, item] of value.entries()) {
        const problem = mismatch(validator.element, item, `${path}[${index}]`);
        if (problem !== null) return problem;
      }
      return null;
    case "object":
      return isRecord(value)
        ? problemInObject(validator, value, path)
        : wrong(validator, path);
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
  const shown = `${place(path)}\nValidator: ${text(validator)}`;
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

function wrong(validator: GenericValidator, path: string): string {
  const what = "Value does not match validator.";
  return `${what}${place(path)}\nValidator: ${text(validator)}`;
}

function place(path: string): string {
  return path === "" ? "" : `\nPath: ${path}`;
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
    case "literal":
      return `v.literal(${JSON.stringify(validator.value)})`;
    case "union":
      return `v.union(${validator.members.map(text).join(", ")})`;
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
