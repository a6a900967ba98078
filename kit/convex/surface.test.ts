/** Functions and tables have the shapes that the Python ones have. */
import { readFileSync } from "node:fs";
import type { ValidatorJSON } from "convex/values";
import { expect, test } from "vitest";
import { modules } from "./scenario.runner";
import schema from "./schema";

const FILE = new URL("../../tests/scenarios/surface/surface.json", import.meta.url);
const expected = JSON.parse(readFileSync(FILE, "utf8")) as {
  functions: unknown;
  tables: unknown;
};

/** What `query`, `mutation` and `action` make, as Convex reads it. */
interface Registered {
  isQuery?: true;
  isMutation?: true;
  isAction?: true;
  isInternal?: true;
  exportArgs(): string;
  exportReturns(): string;
}

/** A table, as Convex reads it. */
interface Exported {
  export(): {
    documentType: ValidatorJSON;
    indexes: { indexDescriptor: string; fields: string[] }[];
  };
}

test("the functions are the same", async () => {
  const found: Record<string, unknown> = {};
  for (const [file, load] of Object.entries(modules)) {
    if (file.startsWith("./_generated")) continue;
    const exported = (await load()) as Record<string, unknown>;
    for (const [name, value] of Object.entries(exported)) {
      if (!isRegistered(value)) continue;
      const path = `${file.slice(2).replace(/\.ts$/, "")}:${name}`;
      found[path] = {
        kind: value.isQuery ? "query" : value.isMutation ? "mutation" : "action",
        internal: value.isInternal === true,
        args: written(JSON.parse(value.exportArgs()) as ValidatorJSON),
        returns: written(JSON.parse(value.exportReturns()) as ValidatorJSON),
      };
    }
  }
  expect(found).toEqual(expected.functions);
});

test("the tables are the same", () => {
  const tables = Object.entries(schema.tables).map(([name, table]) => {
    const { documentType, indexes } = (table as unknown as Exported).export();
    const fields = indexes.map(({ indexDescriptor, fields }) => [
      indexDescriptor,
      fields.filter((field) => field !== "_creationTime"),
    ]);
    return [
      name,
      { document: written(documentType), indexes: Object.fromEntries(fields) },
    ];
  });
  expect(Object.fromEntries(tables)).toEqual(expected.tables);
});

function isRegistered(value: unknown): value is Registered {
  return typeof value === "function" && "exportArgs" in value;
}

/** A validator as it is written in Convex's error texts. */
function written(validator: ValidatorJSON): string {
  switch (validator.type) {
    case "number":
      return "v.float64()";
    case "bigint":
      return "v.int64()";
    case "id":
      return `v.id("${validator.tableName}")`;
    case "literal":
      return `v.literal(${JSON.stringify(validator.value)})`;
    case "array":
      return `v.array(${written(validator.value)})`;
    case "union":
      return `v.union(${validator.value.map(written).join(", ")})`;
    case "object": {
      const fields = Object.entries(validator.value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, { fieldType, optional }]) => {
          const inner = written(fieldType);
          return `${name}: ${optional ? `v.optional(${inner})` : inner}`;
        });
      return `v.object({${fields.join(", ")}})`;
    }
    default:
      return `v.${validator.type}()`;
  }
}
