/**
 * Whose a task is, and who calls: what every public function asks before it answers.
 *
 * A task belongs to whoever created it while signed in: its `ownerId` is the
 * `tokenIdentifier` of their identity. What was made by somebody who was not signed in
 * has no owner, and is for those who are not. Messages belong to their task; a stream
 * has a copy of the owner, since viewers read it at every append.
 *
 * What is somebody else's is answered as if it did not exist: nobody learns that it
 * does. Internal functions do not ask, for the scheduler runs them for nobody; but
 * `begin` does, which an action calls for its own caller.
 */
import type { Doc, Id } from "../_generated/dataModel";
import type { QueryCtx } from "../_generated/server";
import { refusal } from "./errors";
import { authIsRequired } from "./settings";

const SIGN_IN =
  "You are not signed in, and this deployment answers users only " +
  "(KIT_REQUIRE_AUTH). Give the client a token of one of its auth providers.";

/** Who calls; undefined for who is not signed in. Throws Unauthenticated if they must. */
export async function caller(ctx: QueryCtx): Promise<string | undefined> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null && authIsRequired()) {
    throw refusal("Unauthenticated", SIGN_IN);
  }
  return identity?.tokenIdentifier;
}

/** The caller's task; null if there is none, or it is another's. */
export async function ownTask(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
): Promise<Doc<"tasks"> | null> {
  const owner = await caller(ctx);
  return ifOwned(await ctx.db.get("tasks", taskId), owner);
}

/** The caller's task. Throws NotFound. */
export async function requireTask(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
): Promise<Doc<"tasks">> {
  const task = await ownTask(ctx, taskId);
  if (task === null) {
    throw refusal("NotFound", `There is no task ${taskId}.`, { taskId });
  }
  return task;
}

/** A message of a task of the caller's. Throws NotFound. */
export async function requireMessage(
  ctx: QueryCtx,
  messageId: Id<"chatMessages">,
): Promise<Doc<"chatMessages">> {
  const owner = await caller(ctx);
  const message = await ctx.db.get("chatMessages", messageId);
  const task = message && (await ctx.db.get("tasks", message.taskId));
  if (message === null || ifOwned(task, owner) === null) {
    throw refusal("NotFound", `There is no message ${messageId}.`);
  }
  return message;
}

/** The stream of a reply to the caller; null if there is none. */
export async function ownStream(
  ctx: QueryCtx,
  streamId: Id<"streams">,
): Promise<Doc<"streams"> | null> {
  const owner = await caller(ctx);
  return ifOwned(await ctx.db.get("streams", streamId), owner);
}

function ifOwned<Row extends { ownerId?: string }>(
  row: Row | null,
  owner: string | undefined,
): Row | null {
  return row !== null && row.ownerId === owner ? row : null;
}
