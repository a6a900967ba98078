// @vitest-environment happy-dom
/** The template `StreamFollower` by itself, against an embedded deployment. */
import type { ConvexReactClient } from "convex/react";
import { expect, test } from "vitest";
import type { Delta, LiveParts } from "./build/apps/frontend/hooks/convex/parts";
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

test("a page that has begun is followed together with the next", async () => {
  const log: Delta[] = [];
  const watched = new Map<number, (() => void)[]>();
  const write = (...texts: string[]) => {
    for (const delta of texts) {
      log.push({ seq: log.length, chunks: [{ type: "text-delta", id: "text-0", delta }] });
    }
    for (const tell of [...watched.values()].flat()) tell();
  };
  const client = {
    query: async () => ({ deltas: log.slice(), nextSeq: log.length, more: false }),
    watchQuery: (_read: unknown, { page }: { page: number }) => ({
      localQueryResult: () => ({ deltas: log.slice(4 * page, 4 * page + 4) }),
      onUpdate: (tell: () => void) => {
        watched.set(page, [...(watched.get(page) ?? []), tell]);
        return () => {
          const others = watched.get(page)!.filter((other) => other !== tell);
          if (others.length > 0) watched.set(page, others);
          else watched.delete(page);
        };
      },
    }),
  };
  const follower = new StreamFollower(
    client as unknown as ConvexReactClient,
    "a stream" as StreamId,
  );
  const stop = follower.subscribe(() => {});
  await until(() => expect([...watched.keys()]).toEqual([0]));
  write("a");
  expect([...watched.keys()]).toEqual([0, 1]);
  write("b", "c", "d");
  expect([...watched.keys()]).toEqual([1]);
  write("e", "f");
  expect([...watched.keys()]).toEqual([1, 2]);
  await until(() => expect(textOf(follower.getSnapshot())).toBe("abcdef"));
  stop();
  expect([...watched.keys()]).toEqual([]);
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
