/** A Python script whose lines of JSON are read one by one. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { python } from "./process";

export class LineReader {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private stderr = "";

  constructor(script: string, args: readonly string[]) {
    this.child = spawn(python(), [script, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stderr!.on("data", (data: Buffer) => {
      this.stderr += data.toString();
    });
    const lines = createInterface({ input: this.child.stdout! });
    this.lines = lines[Symbol.asyncIterator]();
  }

  /** The next line; fails at the end of the script. */
  async next(): Promise<unknown> {
    const { done, value } = await this.lines.next();
    if (done) throw new Error(`The script has ended:\n${this.stderr}`);
    return JSON.parse(value);
  }

  close(): void {
    this.child.kill("SIGKILL");
  }
}
