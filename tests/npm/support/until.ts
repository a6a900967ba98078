/**
 * Try until the expectations are met; what they return.
 *
 * Patient, since other tests may keep the machine busy: it takes that long only when
 * they are never met.
 */
import { vi } from "vitest";

export async function until<Value>(
  expectations: () => Value | Promise<Value>,
): Promise<Value> {
  return await vi.waitFor(expectations, { timeout: 25_000, interval: 5 });
}
