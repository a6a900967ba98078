import { defineConfig } from "vitest/config";

export default defineConfig({
  // The deployment's functions have packages of their own.
  resolve: { dedupe: ["convex"] },
  test: {
    include: ["*.test.{ts,tsx}"],
    env: { NEXT_PUBLIC_USE_CONVEX_REALTIME: "true" }, // the guide's flag
    globalSetup: ["./lay_out.mjs"],
    setupFiles: ["./support/console.ts"],
    // Each file starts a deployment of its own.
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});
