/**
 * One timer for a loop that waits for many times.
 *
 * Convex's `clearTimeout` forgets a timer, but its sleep goes on below, and a function
 * may only have so many operations under way. So a time that is put off sets no new
 * timer: the old one rings early, and whoever it wakes looks at the clock.
 */
export class Alarm {
  private at = Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly ring: () => void) {}

  /** Ring at `when` (ms since the epoch), or before. */
  set(when: number): void {
    if (when >= this.at) return;
    this.clear();
    this.at = when;
    const ring = () => {
      this.at = Infinity;
      this.ring();
    };
    this.timer = setTimeout(ring, Math.max(0, when - Date.now()));
  }

  clear(): void {
    clearTimeout(this.timer);
    this.at = Infinity;
  }
}

/** Wait; less if `signal` is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}
