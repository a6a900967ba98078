import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Nearest to Convex's own runtime: web standards, no Node globals to lean on.
    environment: "edge-runtime",
    globalSetup: ["./scripted.setup.ts"],
    server: { deps: { inline: ["convex-test"] } },
    testTimeout: 30_000,
  },
});
