/** Whole replies, over each wire: what the Python functions store, these do, too. */
import { readFileSync } from "node:fs";
import { expect, inject, test } from "vitest";
import { outcomeOf, type ReplyCase } from "./reply.runner";

const FILE = new URL("../../tests/scenarios/replies/replies.json", import.meta.url);

interface ExpectedReply extends ReplyCase {
  expect: Record<string, unknown>;
}

const cases = JSON.parse(readFileSync(FILE, "utf8")) as ExpectedReply[];

for (const replyCase of cases) {
  for (const [provider, model] of Object.entries(replyCase.models)) {
    test.skipIf(inject("scriptedUrl") === "")(
      `${replyCase.name}, ${provider}`,
      async () => {
        const outcome = await outcomeOf(replyCase, model);
        expect(outcome).toEqual(replyCase.expect[provider]);
      },
    );
  }
}
