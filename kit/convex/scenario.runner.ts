/**
 * Plays a scenario on the TypeScript functions. tests/test_scenarios.py plays the same
 * files on the Python ones, and says what is in them.
 */
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { ConvexError, type Value } from "convex/values";
import { expect, vi } from "vitest";
import schema from "./schema";

/** What convex-test runs: all modules of functions and their helpers. */
export const modules = import.meta.glob([
  "./*.ts",
  "./lib/**/*.ts",
  "./_generated/*.js",
  "!./**/*.*.ts",
]);

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Fields = { [name: string]: Json };
type Row = Record<string, Value>;
type Table = keyof typeof schema.tables;

interface Step {
  call?: string;
  kind?: "query" | "mutation";
  args?: Fields;
  as?: string;
  by?: string;
  expect?: Json;
  error?: Fields;
  refused?: string;
  advance?: number;
  turn?: number;
  patch?: string;
  fields?: Fields;
  delete?: string;
  insert?: Table;
  document?: Fields;
  rows?: Table;
  equal?: string[];
  documents?: { [table: string]: Json[] };
  jobs?: Json[];
  env?: { [variable: string]: string };
  repeat?: number;
  steps?: Step[];
}

export interface Scenario {
  name: string;
  steps: Step[];
}

/** A file of scenarios; each begins with the steps of `setup`. */
export interface ScenarioFile {
  setup: Step[];
  scenarios: Scenario[];
}

const START = 1_700_000_000_000;

export class ScenarioRunner {
  private readonly t = convexTest({ schema, modules, transactionLimits: true });
  private readonly captured = new Map<string, unknown>();
  private readonly ended = new Set<unknown>();

  /** Turns the clock itself: no timer of `convex-test` ever fires. */
  static async play(steps: Step[]): Promise<void> {
    vi.useFakeTimers({ now: START, toFake: ["Date", "setTimeout", "clearTimeout"] });
    try {
      await new ScenarioRunner().run(steps, "");
    } finally {
      vi.useRealTimers();
      vi.unstubAllEnvs();
    }
  }

  private async run(steps: Step[], before: string): Promise<void> {
    for (const [index, step] of steps.entries()) {
      const where = `${before}step ${index}`;
      try {
        await this.play(step, `${where}, `);
      } catch (error) {
        if (error instanceof Error && !error.message.includes("step ")) {
          error.message = `${where} (${JSON.stringify(step).slice(0, 200)}): ${error.message}`;
        }
        throw error;
      }
    }
  }

  private async play(step: Step, where: string): Promise<void> {
    if (step.call !== undefined) await this.call(step, step.call);
    if (step.advance !== undefined) await this.advance(step.advance);
    if (step.turn !== undefined) vi.setSystemTime(Date.now() + step.turn);
    if (step.patch !== undefined) await this.patch(step.patch, step.fields!);
    if (step.delete !== undefined) await this.delete(step.delete);
    if (step.insert !== undefined) await this.insert(step, step.insert);
    if (step.rows !== undefined) {
      this.captured.set(step.as!, await this.rows(step.rows));
    }
    if (step.equal !== undefined) {
      const values = step.equal.map((value) => this.resolve(value));
      this.compare(values, step.expect!, "values");
    }
    for (const [table, expected] of Object.entries(step.documents ?? {})) {
      this.compare(await this.rows(table as Table), expected, table);
    }
    if (step.jobs !== undefined) {
      const jobs = (await this.pendingJobs()).map((job) => ({
        path: job.name,
        args: job.args[0]!,
        at: job.scheduledTime - START,
      }));
      this.compare(jobs, step.jobs, "jobs");
    }
    for (const [variable, value] of Object.entries(step.env ?? {})) {
      vi.stubEnv(variable, value);
    }
    for (let i = 0; i < (step.repeat ?? 0); i++) {
      this.captured.set("i", i);
      await this.run(step.steps!, `${where}round ${i}, `);
    }
  }

  // --- what a step does -----------------------------------------------------------

  private async call(step: Step, path: string): Promise<void> {
    const args = this.resolve(step.args ?? {}) as Record<string, Value>;
    const caller = step.by === undefined ? this.t : this.t.withIdentity(user(step.by));
    let result: unknown;
    try {
      result =
        step.kind === "query"
          ? await caller.query(makeFunctionReference<"query">(path), args)
          : await caller.mutation(makeFunctionReference<"mutation">(path), args);
    } catch (error) {
      this.checkError(step, error);
      return;
    }
    expect({ returned: result, error: step.error ?? step.refused }).toMatchObject({
      error: undefined,
    });
    if (step.expect !== undefined) this.compare(result, step.expect, "result");
    if (step.as !== undefined) this.captured.set(step.as, result);
  }

  /** `convex-test` has texts of its own for what a validator refuses. */
  private checkError(step: Step, error: unknown): void {
    if (step.refused !== undefined) {
      expect(error).not.toBeInstanceOf(ConvexError);
      return;
    }
    if (step.error === undefined || !(error instanceof ConvexError)) throw error;
    const data = error.data as Record<string, Value>;
    this.compare(data, step.error, "error");
    expect(error.message).toBe(data["message"]);
  }

  /** Turn the clock, and run the mutations that fall due, each in its time. */
  private async advance(milliseconds: number): Promise<void> {
    const until = Date.now() + milliseconds;
    for (;;) {
      const job = (await this.pendingJobs()).find(
        ({ name, scheduledTime }) =>
          scheduledTime <= until && name !== "streaming:generate",
      );
      if (job === undefined) break;
      vi.setSystemTime(Math.max(Date.now(), job.scheduledTime));
      this.ended.add(job._id);
      await this.t.mutation(makeFunctionReference<"mutation">(job.name), job.args[0]);
    }
    vi.setSystemTime(until);
  }

  private async pendingJobs() {
    const jobs = await this.t.run(
      async (ctx) => await ctx.db.system.query("_scheduled_functions").collect(),
    );
    return jobs
      .filter((job) => job.state.kind === "pending" && !this.ended.has(job._id))
      .sort((a, b) => a.scheduledTime - b.scheduledTime);
  }

  private async rows(table: Table): Promise<Row[]> {
    return await this.t.run(
      async (ctx) => (await ctx.db.query(table).collect()) as Row[],
    );
  }

  private async patch(id: string, fields: Fields): Promise<void> {
    const [target, values] = [this.resolve(id), this.resolve(fields)];
    await this.t.run(async (ctx) => {
      await ctx.db.patch(target as never, values as never);
    });
  }

  private async delete(id: string): Promise<void> {
    const target = this.resolve(id);
    await this.t.run(async (ctx) => {
      await ctx.db.delete(target as never);
    });
  }

  private async insert(step: Step, table: Table): Promise<void> {
    const document = this.resolve(step.document ?? {});
    const id = await this.t.run(
      async (ctx) => await ctx.db.insert(table, document as never),
    );
    if (step.as !== undefined) this.captured.set(step.as, id);
  }

  // --- placeholders and matchers --------------------------------------------------

  /** The value that is meant: placeholders filled in. */
  private resolve(value: Json): unknown {
    if (typeof value === "string") {
      return value.startsWith("$") ? this.lookUp(value.slice(1)) : value;
    }
    if (Array.isArray(value)) return value.map((item) => this.resolve(item));
    if (value === null || typeof value !== "object") return value;
    const { $repeat, $concat, $sum, $time, $number } = value;
    if (Array.isArray($repeat)) {
      return String($repeat[0]).repeat(Number($repeat[1]));
    }
    if (Array.isArray($concat)) {
      return $concat.map((item) => String(this.resolve(item))).join("");
    }
    if (Array.isArray($sum)) {
      return $sum.reduce<number>((sum, x) => sum + Number(this.resolve(x)), 0);
    }
    if ($time !== undefined) return START + Number($time);
    if ($number !== undefined) return Number($number);
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => [name, this.resolve(field)]),
    );
  }

  /** `$begun.streamId` */
  private lookUp(path: string): unknown {
    const [name, ...fields] = path.split(".");
    expect(this.captured.has(name!), `nothing is captured as ${name}`).toBe(true);
    return fields.reduce<unknown>(
      (value, field) => (value as Record<string, unknown>)[field],
      this.captured.get(name!),
    );
  }

  private compare(actual: unknown, expected: Json, where: string): void {
    expect(this.simplify(actual, expected), where).toEqual(
      this.simplifyExpected(expected),
    );
  }

  /** `actual` without what `expected` leaves open. */
  private simplify(actual: unknown, expected: Json | undefined): unknown {
    const matcher = matcherIn(expected);
    if (matcher === "$any") return actual === undefined ? undefined : "anything";
    if (matcher === "$like") {
      const pattern = String((expected as Fields)["$like"]);
      return new RegExp(pattern, "s").test(String(actual)) ? `like ${pattern}` : actual;
    }
    if (matcher !== null) return actual;
    if (Array.isArray(actual)) {
      const items = Array.isArray(expected) ? expected : [];
      return actual.map((item, index) => this.simplify(item, items[index]));
    }
    if (actual === null || typeof actual !== "object") return actual;
    const fields = isFields(expected) ? expected : {};
    return Object.fromEntries(
      Object.entries(actual)
        .filter(([name]) => !name.startsWith("_") || name in fields)
        .map(([name, value]) => [name, this.simplify(value, fields[name])]),
    );
  }

  private simplifyExpected(expected: Json): unknown {
    const matcher = matcherIn(expected);
    if (matcher === "$any") return "anything";
    if (matcher === "$like") return `like ${String((expected as Fields)["$like"])}`;
    if (matcher !== null) return this.resolve(expected);
    if (Array.isArray(expected)) {
      return expected.map((item) => this.simplifyExpected(item));
    }
    if (!isFields(expected)) return this.resolve(expected);
    return Object.fromEntries(
      Object.entries(expected).map(([name, value]) => [
        name,
        this.simplifyExpected(value),
      ]),
    );
  }
}

function user(name: string) {
  const issuer = "https://issuer";
  return { issuer, subject: name, tokenIdentifier: `${issuer}|${name}` };
}

function isFields(value: Json | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `$any` of `{"$any": true}`; null for a plain value. */
function matcherIn(expected: Json | undefined): string | null {
  const name = isFields(expected) ? Object.keys(expected)[0] : undefined;
  return name?.startsWith("$") ? name : null;
}
