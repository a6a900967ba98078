/** React clients that are closed, and components that are unmounted, after each test. */
import { cleanup } from "@testing-library/react";
import { ConvexReactClient, type ConvexReactClientOptions } from "convex/react";
import { afterEach } from "vitest";
import { recorder } from "./logger";

/** Makes clients of the deployment at `url()`, or at another address. */
export function reactClients(
  url: () => string,
): (address?: string, options?: ConvexReactClientOptions) => ConvexReactClient {
  const clients: ConvexReactClient[] = [];
  afterEach(async () => {
    cleanup();
    await Promise.all(clients.splice(0).map((client) => client.close()));
  });
  return (address = url(), options = {}) => {
    const { logger } = recorder();
    const client = new ConvexReactClient(address, { logger, ...options });
    clients.push(client);
    return client;
  };
}
