/** Embedded deployments for tests, and the functions in `tests/functions`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeFunctionReference } from "convex/server";
import type { Value } from "convex/values";
import { afterAll, beforeAll } from "vitest";
import { KitProcess } from "./process";

type Channel = { channel: string };
type Note = Channel & { body: string };

export const notes = {
  list: makeFunctionReference<"query", Channel, string[]>("notes:list"),
  count: makeFunctionReference<"query", Channel, number>("notes:count"),
  failing: makeFunctionReference<"query", Channel, string[]>("notes:failing"),
  echo: makeFunctionReference<"query", { value: Value }, Value>("notes:echo"),
  everyKind: makeFunctionReference<"query", {}, Record<string, Value>>(
    "notes:every_kind",
  ),
  large: makeFunctionReference<"query", { size: number }, string>("notes:large"),
  add: makeFunctionReference<"mutation", Note, string>("notes:add"),
  addLater: makeFunctionReference<"mutation", Note & { delay: number }, string>(
    "notes:addLater",
  ),
  increment: makeFunctionReference<"mutation", { name: string }, number>(
    "notes:increment",
  ),
  refuse: makeFunctionReference<"mutation", { data: Value }, null>("notes:refuse"),
  crash: makeFunctionReference<"mutation", {}, null>("notes:crash"),
};

export const work = {
  wait: makeFunctionReference<"action", { seconds: number }, number>("work:wait"),
  add: makeFunctionReference<"action", Note, string>("work:addThroughMutation"),
  addWhenOpen: makeFunctionReference<"action", Note & { gate: string }, string>(
    "work:addWhenOpen",
  ),
  nested: makeFunctionReference<"action", { value: Value }, Value>("work:nested"),
  readBack: makeFunctionReference<"action", Channel, string[]>("work:readBack"),
  refuse: makeFunctionReference<"action", { data: Value }, null>("work:refuse"),
};

/** The functions above, which the tests of the deployment have too. */
const FUNCTIONS = join(import.meta.dirname, "../../functions");
/** Functions to page through, and to ask who one is. */
export const OWN_FUNCTIONS = join(import.meta.dirname, "../functions");

interface Settings {
  /** The folder that it serves; null serves the kit's own. */
  functions?: string | null;
  /** What is set when it starts: more options, with a folder to put files in. */
  options?: (folder: string) => string[];
  env?: () => Record<string, string>;
}

/** A deployment for all tests of the file that calls this. */
export function useDeployment(settings: Settings = {}): {
  readonly url: string;
  readonly process: KitProcess;
} {
  const { functions = FUNCTIONS } = settings;
  let folder: string | undefined;
  let server: KitProcess;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "kit-npm-"));
    const options = settings.options?.(folder) ?? [];
    options.push("--data", join(folder, "data"));
    if (functions !== null) options.push("--functions", functions);
    server = new KitProcess("kit.deployment", options, settings.env?.());
    await server.start();
  });
  afterAll(async () => {
    await server?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });
  return {
    get url() {
      return server.url;
    },
    get process() {
      return server;
    },
  };
}

let channels = 0;

/** A channel that no other test uses. */
export function newChannel(): string {
  return `channel-${channels++}`;
}
