/**
 * Tasks: one conversation each, with the status of its latest reply.
 *
 * Whoever created a task while signed in has it for themselves (`lib/owners`).
 */
import { paginationOptsValidator, paginationResultValidator } from "convex/server";
import { v } from "convex/values";
import {
  internalMutation,
  internalQuery,
  mutation,
  query,
  type QueryCtx,
} from "./_generated/server";
import { refusal, wholeNumber } from "./lib/errors";
import { caller, ownTask, requireTask } from "./lib/owners";
import { refuseWhileStreaming, removeContent as removeContentOf } from "./lib/removal";
import { taskFields } from "./schema";

const MAX_LISTED = 200;

const vTask = v.object({
  _id: v.id("tasks"),
  _creationTime: v.number(),
  ...taskFields,
});

/** A new task, INITIALIZING until its first reply begins. */
export const create = mutation({
  args: { title: v.string() },
  returns: v.id("tasks"),
  handler: async (ctx, args) => {
    const title = args.title.trim();
    if (title === "") {
      throw refusal("BadArguments", "A task needs a title: `title` is blank.");
    }
    const ownerId = await caller(ctx);
    return await ctx.db.insert("tasks", {
      title,
      status: "INITIALIZING",
      ...(ownerId !== undefined && { ownerId }),
    });
  },
});

/** The task, or null if it does not exist. */
export const get = query({
  args: { taskId: v.id("tasks") },
  returns: v.union(vTask, v.null()),
  handler: async (ctx, { taskId }) => await ownTask(ctx, taskId),
});

/** The newest `limit` (50) tasks of the caller, newest first. */
export const list = query({
  args: { limit: v.optional(v.number()) },
  returns: v.array(vTask),
  handler: async (ctx, args) => {
    const limit = wholeNumber(args.limit ?? 50, "limit", 1, MAX_LISTED);
    const ownerId = await caller(ctx);
    return await tasksOf(ctx, ownerId).order("desc").take(limit);
  },
});

/** All tasks of the caller, oldest first, page by page: Convex's own pagination. */
export const page = query({
  args: { paginationOpts: paginationOptsValidator },
  returns: paginationResultValidator(vTask),
  handler: async (ctx, args) => {
    const ownerId = await caller(ctx);
    return await tasksOf(ctx, ownerId).paginate(args.paginationOpts);
  },
});

/** `page` of the tasks of everybody, for an admin. */
export const pageOfAll = internalQuery({
  args: { paginationOpts: paginationOptsValidator },
  returns: paginationResultValidator(vTask),
  handler: async (ctx, args) =>
    await ctx.db.query("tasks").paginate(args.paginationOpts),
});

/**
 * Delete a task and all that was said in it.
 *
 * The task is gone at once, and so is a short conversation; the rest of a long one
 * follows within moments. Refused while a reply is being written or queued
 * (`StreamActive`).
 */
export const remove = mutation({
  args: { taskId: v.id("tasks") },
  returns: v.null(),
  handler: async (ctx, { taskId }) => {
    await requireTask(ctx, taskId);
    await refuseWhileStreaming(ctx, taskId);
    await ctx.db.delete("tasks", taskId);
    await removeContentOf(ctx, taskId);
    return null;
  },
});

/** Go on deleting what belonged to a task that is gone. */
export const removeContent = internalMutation({
  args: { taskId: v.id("tasks") },
  returns: v.null(),
  handler: async (ctx, { taskId }) => {
    await removeContentOf(ctx, taskId);
    return null;
  },
});

/** The tasks of a caller; those of nobody for who is not signed in. */
function tasksOf(ctx: QueryCtx, ownerId: string | undefined) {
  return ctx.db.query("tasks").withIndex("by_ownerId", (q) => q.eq("ownerId", ownerId));
}
