/**
 * What a client or React complains of fails the test, unless the test has asked for it.
 *
 * `complaints()` hands over what has come so far, and with that it is asked for.
 */
import { afterEach, beforeEach, vi } from "vitest";

let seen: string[] = [];

beforeEach(() => {
  seen = [];
  for (const method of ["warn", "error"] as const) {
    vi.spyOn(console, method).mockImplementation((...args: unknown[]) => {
      seen.push(args.map(String).join(" "));
    });
  }
});

afterEach(() => {
  vi.restoreAllMocks();
  if (seen.length > 0) {
    throw new Error(`On the console:\n${complaints().join("\n")}`);
  }
});

export function complaints(): string[] {
  const taken = seen;
  seen = [];
  return taken;
}
