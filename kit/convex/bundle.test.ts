// @vitest-environment node
/**
 * Convex's own CLI makes of these functions what it would send to a deployment, as far
 * as it gets without one: generated code and bundles.
 */
import { execFile } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const HERE = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);

/** A project as `convex deploy` expects it: the functions in a folder of their own. */
let project = "";

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "kit-functions-"));
  const folder = join(project, "convex");
  mkdirSync(folder);
  for (const name of readdirSync(HERE)) {
    const isModule = /^[^.]+\.ts$/.test(name);
    if (isModule || ["lib", "_generated", "tsconfig.json"].includes(name)) {
      cpSync(join(HERE, name), join(folder, name), { recursive: true });
    }
  }
  cpSync(join(HERE, "package.json"), join(project, "package.json"));
  symlinkSync(join(HERE, "node_modules"), join(project, "node_modules"));
  await convex(
    ...["deploy", "--dry-run", "--typecheck", "disable", "--codegen", "disable"],
    // Never asked: the bundles are written, and the push ends there.
    ...["--url", "http://127.0.0.1:9", "--admin-key", "none"],
    ...["--debug-bundle-path", "out"],
  );
});

afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

async function convex(...args: string[]): Promise<void> {
  const cli = join(HERE, "node_modules", "convex", "bin", "main.js");
  const { PATH, HOME } = process.env;
  await run(process.execPath, [cli, ...args], {
    cwd: project,
    env: { PATH, HOME, CI: "1" },
    timeout: 60_000,
  });
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

test("the generated code is the one that is checked in", async () => {
  await convex("codegen", "--system-udfs", "--typecheck", "disable");
  const generated = join(project, "convex", "_generated");
  const checkedIn = join(HERE, "_generated");
  expect(filesBelow(generated)).toEqual(filesBelow(checkedIn));
  for (const file of filesBelow(checkedIn)) {
    const text = readFileSync(join(checkedIn, file), "utf8");
    expect(readFileSync(join(generated, file), "utf8"), file).toBe(text);
  }
});

test("all is bundled for Convex's own runtime, the SDK apart from what runs often", () => {
  const out = join(project, "out");
  expect(readdirSync(out).sort()).toEqual(["fullConfig.json", "isolate"]);
  const modules = filesBelow(join(out, "isolate"))
    .filter((file) => file.endsWith(".js"))
    .filter((file) => !file.startsWith("_deps"));
  const top = modules.filter((file) => !file.startsWith("lib"));
  expect(top).toEqual([
    "contract.js",
    "crons.js",
    "messages.js",
    "streaming.js",
    "tasks.js",
  ]);
  const size = (file: string) => loadedWith(join(out, "isolate", file));
  for (const file of top) expect(size(file), file).toBeLessThan(200_000);
  expect(size("lib/generate.js")).toBeGreaterThan(1_000_000);
});

/** The characters of a bundle and of all that it imports at its start. */
function loadedWith(file: string, seen = new Set<string>()): number {
  if (seen.has(file)) return 0;
  seen.add(file);
  const source = readFileSync(file, "utf8");
  const imports = source.matchAll(/^import\s(?:[^"']*?from\s)?["'](\.[^"']+)["']/gm);
  return [...imports].reduce(
    (sum, [, target]) => sum + loadedWith(resolve(dirname(file), target!), seen),
    source.length,
  );
}

test("the bundles load without Node, and do nothing while they load", async () => {
  const isolate = join(project, "out", "isolate");
  writeFileSync(join(isolate, "package.json"), '{"type": "module"}');
  const files = filesBelow(isolate).filter((file) => file.endsWith(".js"));
  // What Convex's analysis of a push allows for.
  const load = `
    const { log } = console;
    const refuse = (what) => () => {
      throw new Error(what + " while loading");
    };
    globalThis.process = { env: {} };
    for (const name of ["Buffer", "global", "setImmediate"]) delete globalThis[name];
    globalThis.fetch = refuse("fetch");
    globalThis.setTimeout = refuse("a timer");
    crypto.getRandomValues = refuse("randomness");
    crypto.randomUUID = refuse("randomness");
    for (const name of ["log", "warn", "error"]) console[name] = refuse("a log line");
    for (const file of ${JSON.stringify(files)}) {
      await import(${JSON.stringify(isolate)} + "/" + file);
    }
    const { default: crons } = await import(${JSON.stringify(isolate)} + "/crons.js");
    log(crons.export());
  `;
  const args = ["--input-type=module", "--eval", load];
  const { stdout } = await run(process.execPath, args);
  const crons = JSON.parse(stdout) as Record<string, { name: string }>;
  expect(Object.values(crons).map(({ name }) => name)).toEqual(["streaming:sweep"]);
});
