/** The pure helpers give the results that their Python twins give. */
import { readFileSync } from "node:fs";
import { ConvexError } from "convex/values";
import { expect, test } from "vitest";
import { takeBatch, TextRepair } from "./lib/deltas";
import { jsonText } from "./lib/format";
import { ConfigError, ModelError } from "./lib/llm/errors";
import { route } from "./lib/llm/route";
import { redact } from "./lib/llm/secret";
import { addUsage, type Chunk, PartsFold, type Usage } from "./lib/parts";
import { readSettings } from "./lib/settings";
import { Ids, StepChunks } from "./lib/steps";
import { toolsNamed } from "./lib/tools";

type Strings = Record<string, string>;

const HELPERS: Record<string, (...args: never[]) => unknown> = {
  route(model: string, keys: Strings, env: Strings) {
    try {
      const { apiKey, ...rest } = route(model, keys, env);
      return { ...rest, key: apiKey.reveal() };
    } catch (error) {
      if (error instanceof ModelError) return `${error.kind}: ${error.message}`;
      if (error instanceof ConfigError) return `config: ${error.message}`;
      throw error;
    }
  },
  settings(env: Strings) {
    try {
      const settings = readSettings(env);
      const { flushIntervalMs, leaseMs, toolTimeoutMs, maxSteps } = settings;
      return [flushIntervalMs, leaseMs, toolTimeoutMs, maxSteps];
    } catch (error) {
      return (error as ConvexError<Strings>).data;
    }
  },
  redact,
  calculator: (expression: string) => told("calculator", { expression }),
  search_guide: (query: string) => told("search_guide", { query }),
  fold(chunks: Chunk[], reason: string | null) {
    const fold = new PartsFold(chunks);
    if (reason !== null) fold.close(reason);
    return [fold.snapshot(), fold.content()];
  },
  repair(chunks: Chunk[]) {
    const repair = new TextRepair();
    const repaired = chunks.flatMap((chunk) => repair.repair(chunk));
    return [...repaired, ...repair.rest()];
  },
  steps(steps: Chunk[][], reason: string | null) {
    const ids = new Ids();
    return steps.flatMap((chunks) => {
      const step = new StepChunks(ids, 100);
      const written = chunks.flatMap((chunk) => [...step.take(chunk)]);
      return reason === null ? written : [...written, ...step.abandon(reason)];
    });
  },
  batch: takeBatch,
  usage: (total: Usage | null, usage: Usage | null) =>
    addUsage(total ?? undefined, usage ?? undefined) ?? null,
};

/** What a tool returns, or how it fails, as a viewer is shown it. */
async function told(name: string, args: Strings): Promise<string> {
  const { signal } = new AbortController();
  try {
    return jsonText(await toolsNamed([name]).get(name)!.run(args, signal));
  } catch (error) {
    return String(error);
  }
}

const FILE = new URL("../../tests/scenarios/helpers/helpers.json", import.meta.url);
const cases = JSON.parse(readFileSync(FILE, "utf8")) as Record<
  string,
  [args: never[], expected: unknown][]
>;

for (const [helper, ofHelper] of Object.entries(cases)) {
  for (const [index, [args, expected]] of ofHelper.entries()) {
    test(`${helper} ${index}: ${JSON.stringify(args).slice(0, 80)}`, async () => {
      expect(await HELPERS[helper]!(...args)).toEqual(expected);
    });
  }
}
