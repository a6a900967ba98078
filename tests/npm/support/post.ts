/** POST of JSON by Node itself: the `fetch` of a browser's environment knows origins. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { json } from "node:stream/consumers";

export async function post(url: string, content: unknown): Promise<unknown> {
  const sent = request(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
  });
  sent.end(JSON.stringify(content));
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  return await json(answer);
}
