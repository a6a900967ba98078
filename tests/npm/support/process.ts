/** A server of the kit in a process of its own: started, killed, started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const START_TIMEOUT = 45_000;

export class KitProcess {
  private child: ChildProcess | undefined;
  private stderr = "";
  /** Where it listens; the same after a restart. */
  url = "";

  constructor(
    private readonly module: string,
    private readonly options: readonly string[],
    private readonly env: Readonly<Record<string, string>> = {},
  ) {}

  get port(): string {
    return this.url ? new URL(this.url).port : "0";
  }

  /** Start it, on the port that it had, and wait until it listens. */
  async start(): Promise<void> {
    const child = spawn(
      python(),
      ["-m", this.module, "--port", this.port, ...this.options],
      {
        // Its stdin ends with this process, and with that it ends.
        env: { ...process.env, KIT_STOP_WITH_PARENT: "1", ...this.env },
        stdio: ["pipe", "pipe", "pipe"],
      },
    );
    this.child = child;
    child.stderr.on("data", (data: Buffer) => {
      this.stderr += data.toString();
    });
    const line = await firstLine(child);
    if (line === undefined) {
      child.kill("SIGKILL");
      throw new Error(`${this.module} did not start:\n${this.stderr}`);
    }
    this.url = (JSON.parse(line) as { url: string }).url;
  }

  /** End it as a crash does. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** End it as a user does. */
  async stop(): Promise<void> {
    await this.end("SIGTERM");
  }

  /** What it has written to stderr so far. */
  log(): string {
    return this.stderr;
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.child;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
}

/** The Python that has the kit installed. */
export function python(): string {
  const path = process.env.KIT_PYTHON;
  if (!path) {
    throw new Error(
      "KIT_PYTHON is not set: give it the path of the Python that has the kit " +
        "installed, such as ../../.venv/bin/python.",
    );
  }
  return path;
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  const lines = createInterface({ input: child.stdout! });
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), START_TIMEOUT);
    const settle = (line?: string) => {
      clearTimeout(timer);
      resolve(line);
    };
    lines.once("line", settle);
    lines.once("close", () => settle());
    child.once("error", () => settle());
  });
}
