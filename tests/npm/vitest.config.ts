import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["*.test.{ts,tsx}"],
    setupFiles: ["./support/console.ts"],
    // Each file starts a deployment of its own.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
