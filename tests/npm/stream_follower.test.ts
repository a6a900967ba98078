// @vitest-environment happy-dom
/** The template `StreamFollower` by itself, against an embedded deployment. */
import { expect, test } from "vitest";
import type { LiveParts } from "./build/apps/frontend/hooks/convex/parts";
import {
  StreamFollower,
  type StreamId,
} from "./build/apps/frontend/hooks/convex/stream-follower";
import { complaints } from "./support/console";
import { api, useKit } from "./support/kit";
import { reactClients } from "./support/react";
import { until } from "./support/until";

const kit = useKit();
const connect = reactClients(() => kit.url);

/** A reply that is being written. */
async function newStream(model: string) {
  const client = connect();
  const taskId = await kit.newTask();
  const request = { taskId, prompt: "Write", model };
  const { streamId } = await client.mutation(api.streaming.send, request);
  const ended = async () => {
    const [, reply] = await client.query(api.messages.byTask, { taskId });
    expect(reply!.status).toBe("complete");
    return reply!.content;
  };
  return { client, streamId, ended };
}

function textOf({ map }: LiveParts): string {
  const part = map.get("text-0");
  return part?.type === "text" ? part.text : "";
}

test("parts are the same object until a listener is told of others", async () => {
  const { client, streamId, ended } = await newStream(
    "claude-scripted-text:tokens=60,pace=200",
  );
  const follower = new StreamFollower(client, streamId);
  const seen: LiveParts[] = [follower.getSnapshot()];
  const stop = follower.subscribe(() => {
    expect(follower.getSnapshot()).not.toBe(seen.at(-1));
    seen.push(follower.getSnapshot());
  });
  const content = await until(ended);
  await until(() => expect(textOf(follower.getSnapshot())).toBe(content));
  expect(follower.getSnapshot()).toBe(seen.at(-1));
  expect(seen.length).toBeGreaterThan(3);
  stop();
});

test("listeners come and go, and no delta is folded twice or left out", async () => {
  const { client, streamId, ended } = await newStream(
    "claude-scripted-text:tokens=200,pace=100",
  );
  const follower = new StreamFollower(client, streamId);
  for (let times = 0; times < 10; times++) {
    // Once it is told of something, a listener goes.
    await new Promise<void>((resolve) => {
      const stop = follower.subscribe(() => {
        stop();
        resolve();
      });
    });
  }
  const seen = textOf(follower.getSnapshot());
  const stop = follower.subscribe(() => {});
  const content = await until(ended);
  await until(() => expect(textOf(follower.getSnapshot())).toBe(content));
  expect(content.startsWith(seen)).toBe(true);
  expect(content.length).toBeGreaterThan(seen.length);
  stop();
});

test("what cannot be followed is tried again, as long as anybody listens", async () => {
  const client = connect();
  const follower = new StreamFollower(client, "no id" as StreamId);
  const stop = follower.subscribe(() => {});
  const seen: string[] = [];
  await until(() => {
    seen.push(...complaints());
    expect(seen.length).toBeGreaterThan(1);
  });
  stop();
  for (const complaint of seen) {
    expect(complaint).toContain("Following stream no id:");
    expect(complaint).toContain("ArgumentValidationError");
  }
});
