/**
 * The server's way to Convex, for an application that has none.
 *
 * Belongs into apps/server/src/lib/.
 */
import { ConvexHttpClient } from "convex/browser";

let client: ConvexHttpClient | undefined;

/** The client of the deployment that the environment names; always the same one. */
export function getConvexClient(): ConvexHttpClient {
  if (client === undefined) {
    const url = process.env.CONVEX_URL ?? process.env.NEXT_PUBLIC_CONVEX_URL;
    if (!url) {
      throw new Error("Set CONVEX_URL to your deployment's URL where the server runs.");
    }
    client = new ConvexHttpClient(url);
  }
  return client;
}
