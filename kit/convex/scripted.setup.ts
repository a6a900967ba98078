/**
 * Starts the scripted provider before the tests, and ends it after them.
 *
 * It is a program of the Python package: KIT_PYTHON names the interpreter that has it.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** "" when there is no interpreter to run it. */
    scriptedUrl: string;
  }
}

export default async function setup(
  project: TestProject,
): Promise<(() => void) | undefined> {
  const python = process.env["KIT_PYTHON"];
  if (!python) {
    project.provide("scriptedUrl", "");
    return undefined;
  }
  const provider = spawn(
    python,
    ["-m", "kit.llm.scripted", "--pace", "0", "--log-level", "WARNING"],
    {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      env: { ...process.env, KIT_STOP_WITH_PARENT: "1" },
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(provider.stdout).once("line", (line) => {
      resolve((JSON.parse(line) as { url: string }).url);
    });
    provider.once("error", reject);
    provider.once("exit", (code) => {
      reject(new Error(`The scripted provider ended at once, with ${code}.`));
    });
  });
  project.provide("scriptedUrl", url);
  return () => void provider.kill();
}
