/** What a client logs, as lines. */

/** The clients' own type, which they do not export. */
interface Logger {
  logVerbose(...args: unknown[]): void;
  log(...args: unknown[]): void;
  warn(...args: unknown[]): void;
  error(...args: unknown[]): void;
}

/** A logger, and the lines that it was given: those of functions, and complaints. */
export function recorder(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const record = (...args: unknown[]) => {
    // Log lines of functions come with a style for a browser's console.
    const shown = args.filter((arg) => !String(arg).startsWith("color:"));
    lines.push(shown.join(" ").replace("%c", ""));
  };
  return {
    logger: { log: record, warn: record, error: record, logVerbose: () => {} },
    lines,
  };
}
