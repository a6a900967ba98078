/**
 * Messages: what a viewer of a task lists, and who copies one reads.
 *
 * A reply appears when it is asked for, changes when it was queued and begins, when
 * somebody stops it, and once more, with its parts, when it has ended: never while it is
 * being written. What it grows by is in `streaming:read`.
 */
import { v } from "convex/values";
import { internalQuery, query } from "./_generated/server";
import { wholeNumber } from "./lib/errors";
import { ownTask } from "./lib/owners";
import { findByClientId, newest, oldest, streamIdOf } from "./lib/stored";
import { messageFields, vMessageStatus } from "./schema";

const MAX_LISTED = 200;

const vMessage = v.object({
  _id: v.id("chatMessages"),
  _creationTime: v.number(),
  ...messageFields,
});

const pageArgs = {
  taskId: v.id("tasks"),
  after: v.optional(v.number()),
  limit: v.optional(v.number()),
};
const vPage = v.object({ messages: v.array(vMessage), more: v.boolean() });

/**
 * The newest `limit` (50) messages of a task, in order.
 *
 * Fewer, if together they would be larger than 8 MiB. A row whose status is `streaming`
 * or `stopping` has no parts yet: they are in the stream's deltas. A `queued` one
 * becomes `streaming` when its turn comes.
 */
export const byTask = query({
  args: { taskId: v.id("tasks"), limit: v.optional(v.number()) },
  returns: v.array(vMessage),
  handler: async (ctx, args) => {
    const limit = wholeNumber(args.limit ?? 50, "limit", 1, MAX_LISTED);
    if ((await ownTask(ctx, args.taskId)) === null) return [];
    return await newest(ctx, args.taskId, limit);
  },
});

/**
 * The first `limit` (50) messages of a task after the sequence `after`, in order.
 *
 * Fewer, if together they would be larger than 8 MiB. While `more`, call again with the
 * last one's sequence: that reads a task of any length, oldest first.
 */
export const page = query({
  args: pageArgs,
  returns: vPage,
  handler: async (ctx, args) => {
    const limit = wholeNumber(args.limit ?? 50, "limit", 1, MAX_LISTED);
    if ((await ownTask(ctx, args.taskId)) === null) {
      return { messages: [], more: false };
    }
    return await oldest(ctx, args.taskId, limit, args.after ?? -Infinity);
  },
});

/** `page` of anybody's task, for an admin. */
export const pageOfAny = internalQuery({
  args: pageArgs,
  returns: vPage,
  handler: async (ctx, args) => {
    const limit = wholeNumber(args.limit ?? 50, "limit", 1, MAX_LISTED);
    return await oldest(ctx, args.taskId, limit, args.after ?? -Infinity);
  },
});

/** What was begun for a message, by the id that its sender gave it; or null. */
export const byClientMessageId = query({
  args: { taskId: v.id("tasks"), clientMessageId: v.string() },
  returns: v.union(
    v.null(),
    v.object({
      promptMessageId: v.id("chatMessages"),
      messageId: v.id("chatMessages"),
      streamId: v.id("streams"),
      status: vMessageStatus,
    }),
  ),
  handler: async (ctx, { taskId, clientMessageId }) => {
    if ((await ownTask(ctx, taskId)) === null) return null;
    const known = await findByClientId(ctx, taskId, clientMessageId);
    if (known === null) return null;
    const [prompt, reply] = known;
    return {
      promptMessageId: prompt._id,
      messageId: reply._id,
      streamId: streamIdOf(reply),
      status: reply.status,
    };
  },
});
