/**
 * Messages as they are stored, and as they are read.
 *
 * A message is one document, `chatMessages`, as long as that stays well below the 1 MiB
 * that a document may hold. Beyond, its parts are rows of `messageParts`, and the
 * document keeps the beginning of its text. Readers get the whole either way.
 */
import { getConvexSize, v, type Infer } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { vErrorKind, vFinishReason, vMessageStatus, vUsage } from "../schema";
import { refusal } from "./errors";
import { chunksOf } from "./log";
import { contentOf, type Part, PartsFold } from "./parts";
import { firstCodePoints, piecesOf, utf8Length } from "./text";

/** A Convex array holds at most 8192 elements. */
export const MAX_STORED_PARTS = 4096;

/** What a message's document may hold of content and parts. */
const MAX_INLINE_BYTES = 512 * 1024;
/** Text in one row of messageParts: 256 KiB at most. */
const MAX_PIECE_CHARACTERS = 64 * 1024;
/** What one query returns of messages: half of what a function may return. */
const MAX_READ_BYTES = 8 * 1024 * 1024;
const BATCH = 8;
/** Messages that the model is given, at most. */
const MAX_HISTORY = 64;
const MAX_HISTORY_BYTES = 1024 * 1024;

/** A text that was said, for the model. */
export const vTurn = v.object({
  role: v.union(v.literal("user"), v.literal("assistant")),
  text: v.string(),
});
export const vHistory = v.object({ system: v.string(), turns: v.array(vTurn) });

export type Turn = Infer<typeof vTurn>;
export type History = Infer<typeof vHistory>;

/** What a reply came to; only the status says something before its end. */
export const vResult = v.object({
  status: vMessageStatus,
  text: v.string(),
  toolCallIds: v.array(v.string()),
  usage: v.union(vUsage, v.null()),
  finishReason: v.union(vFinishReason, v.null()),
  error: v.union(v.string(), v.null()),
  errorKind: v.union(vErrorKind, v.null()),
});

export type Result = Infer<typeof vResult>;

type Message = Doc<"chatMessages">;

/**
 * The newest `limit` messages, in order; fewer if they are very large.
 *
 * `below`: only those with a smaller sequence.
 */
export async function newest(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
  limit: number,
  below = Infinity,
): Promise<Message[]> {
  const rows: Message[] = [];
  let room = MAX_READ_BYTES;
  while (rows.length < limit) {
    const count = Math.min(BATCH, limit - rows.length);
    const batch = await ctx.db
      .query("chatMessages")
      .withIndex("by_task_sequence", (q) =>
        q.eq("taskId", taskId).lt("sequence", below),
      )
      .order("desc")
      .take(count);
    for (const document of batch) {
      const row = await whole(ctx, document);
      room -= getConvexSize(row);
      if (room < 0 && rows.length > 0) return rows.reverse();
      rows.push(row);
    }
    if (batch.length < BATCH) break;
    below = batch.at(-1)!.sequence;
  }
  return rows.reverse();
}

/**
 * The first `limit` messages with a larger sequence; and whether there are more.
 *
 * Fewer, if together they would be very large.
 */
export async function oldest(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
  limit: number,
  above: number,
): Promise<{ messages: Message[]; more: boolean }> {
  const messages: Message[] = [];
  let room = MAX_READ_BYTES;
  for (;;) {
    const count = Math.min(BATCH, limit + 1 - messages.length);
    const batch = await ctx.db
      .query("chatMessages")
      .withIndex("by_task_sequence", (q) =>
        q.eq("taskId", taskId).gt("sequence", above),
      )
      .take(count);
    for (const document of batch) {
      if (messages.length === limit) return { messages, more: true };
      const row = await whole(ctx, document);
      room -= getConvexSize(row);
      if (room < 0 && messages.length > 0) return { messages, more: true };
      messages.push(row);
    }
    if (batch.length < BATCH) return { messages, more: false };
    above = batch.at(-1)!.sequence;
  }
}

/** The message with its parts, wherever they are stored. */
async function whole(ctx: QueryCtx, document: Message): Promise<Message> {
  if (!isSpilled(document)) return document;
  const parts = await storedParts(ctx, document._id);
  return { ...document, parts, content: contentOf(parts) };
}

/** The last message of a task, as it is stored. */
export async function newestMessage(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
): Promise<Message | null> {
  return await ctx.db
    .query("chatMessages")
    .withIndex("by_task_sequence", (q) => q.eq("taskId", taskId))
    .order("desc")
    .first();
}

function isSpilled(document: Message): boolean {
  return (
    document.role === "ASSISTANT" &&
    document.parts === undefined &&
    !isUnfinished(document.status)
  );
}

/** Whether a message with this status has no parts yet. */
export function isUnfinished(status: Message["status"]): boolean {
  return status === "queued" || status === "streaming" || status === "stopping";
}

async function storedParts(
  ctx: QueryCtx,
  messageId: Id<"chatMessages">,
): Promise<Part[]> {
  // As many as a log may fill: some megabytes.
  const rows = await ctx.db
    .query("messageParts")
    .withIndex("by_message", (q) => q.eq("messageId", messageId))
    .collect();
  return joined(rows.map((row) => row.part));
}

/** What to store in the message's document; stores the rest in messageParts. */
export async function finalFields(
  ctx: MutationCtx,
  messageId: Id<"chatMessages">,
  parts: Part[],
): Promise<{ content: string; parts?: Part[] }> {
  const fields = { content: contentOf(parts), parts };
  if (getConvexSize(fields) <= MAX_INLINE_BYTES) return fields;
  let index = 0;
  for (const part of pieces(parts)) {
    await ctx.db.insert("messageParts", { messageId, index, part });
    index += 1;
  }
  return { content: firstCodePoints(fields.content, MAX_PIECE_CHARACTERS) };
}

function* pieces(parts: Iterable<Part>): Generator<Part> {
  for (const part of parts) {
    for (const text of piecesOf(textOfPart(part), MAX_PIECE_CHARACTERS)) {
      yield withPartText(part, text);
    }
  }
}

function joined(stored: Iterable<Part>): Part[] {
  const parts: Part[] = [];
  for (const piece of stored) {
    const last = parts.at(-1);
    if (last?.id === piece.id) {
      const text = textOfPart(last) + textOfPart(piece);
      parts[parts.length - 1] = withPartText(last, text);
    } else {
      parts.push(piece);
    }
  }
  return parts;
}

/** The long text in a part. */
function textOfPart(part: Part): string {
  switch (part.type) {
    case "text":
    case "reasoning":
      return part.text;
    case "redacted-reasoning":
      return part.data;
    case "tool-call":
      return part.argsText;
    case "tool-result":
      return part.resultText;
    case "error":
      return part.errorText;
  }
}

function withPartText(part: Part, text: string): Part {
  switch (part.type) {
    case "text":
    case "reasoning":
      return { ...part, text };
    case "redacted-reasoning":
      return { ...part, data: text };
    case "tool-call":
      return { ...part, argsText: text };
    case "tool-result":
      return { ...part, resultText: text };
    case "error":
      return { ...part, errorText: text };
  }
}

/** The assistant's message that answers this prompt. */
export async function replyTo(
  ctx: QueryCtx,
  promptMessageId: Id<"chatMessages">,
): Promise<Message | null> {
  return await ctx.db
    .query("chatMessages")
    .withIndex("by_promptMessageId", (q) => q.eq("promptMessageId", promptMessageId))
    .order("desc")
    .first();
}

/** The prompt that was sent with this id, and the reply to it. */
export async function findByClientId(
  ctx: QueryCtx,
  taskId: Id<"tasks">,
  clientMessageId: string,
): Promise<[prompt: Message, reply: Message] | null> {
  const prompt = await ctx.db
    .query("chatMessages")
    .withIndex("by_task_clientMessageId", (q) =>
      q.eq("taskId", taskId).eq("clientMessageId", clientMessageId),
    )
    .first();
  const reply = prompt && (await replyTo(ctx, prompt._id));
  return prompt && reply && [prompt, reply];
}

/** The stream of an assistant's message; every one of them has one. */
export function streamIdOf(reply: Message): Id<"streams"> {
  if (reply.streamId === undefined) {
    throw new Error(`Message ${reply._id} has no stream.`);
  }
  return reply.streamId;
}

/**
 * The conversation up to this reply, as text.
 *
 * Neighbouring turns of one role become one, as after a reply without text. Replies
 * that failed or were stopped are there with the text they have.
 *
 * After a reply that failed as too large for its model there is half of what was too
 * much, the newest first, and without the prompt that is too long by itself: otherwise
 * each message after it would fail, too.
 */
export async function historyBefore(
  ctx: QueryCtx,
  messageId: Id<"chatMessages">,
): Promise<History> {
  const message = await messageWithId(ctx, messageId);
  const { taskId, sequence } = message;
  const rows = await newest(ctx, taskId, MAX_HISTORY, sequence);
  const said: Said[] = [];
  for (const row of rows) {
    const text = await textOfMessage(ctx, row);
    said.push({ row, text, size: utf8Length(text) });
  }
  const [given, refused] = roomFor(said);
  const system: string[] = [];
  const turns: Turn[] = [];
  let room = given;
  for (const { row, text, size } of said.reverse()) {
    if (size > room && turns.length > 0) {
      if (refused.has(row._id)) continue;
      break;
    }
    room -= size;
    if (row.role === "SYSTEM") {
      system.unshift(text);
    } else if (text.trim() !== "") {
      prepend(turns, row.role === "USER" ? "user" : "assistant", text);
    }
  }
  return { system: system.join("\n\n"), turns };
}

/** A message, with its text and how many bytes that has. */
interface Said {
  row: Message;
  text: string;
  size: number;
}

/**
 * How many bytes of these messages the model is given, and the prompts that were too
 * much for it.
 */
function roomFor(
  said: readonly Said[],
): [room: number, refused: Set<Id<"chatMessages">>] {
  let room = MAX_HISTORY_BYTES;
  let before = 0;
  const refused = new Set<Id<"chatMessages">>();
  const sizeOfPrompt = new Map<Id<"chatMessages">, number>();
  for (const { row, size } of said) {
    const { promptMessageId } = row;
    if (row.role === "USER") {
      sizeOfPrompt.set(row._id, size);
    } else if (row.errorKind === "too-large" && promptMessageId !== undefined) {
      const prompt = sizeOfPrompt.get(promptMessageId) ?? 0;
      refused.add(promptMessageId);
      // One that had no room anyway says nothing about what was before it.
      if (prompt <= room) room = Math.floor(Math.min(room, before) / 2);
      if (prompt > room) before -= prompt;
    }
    before += size;
  }
  return [room, refused];
}

function prepend(turns: Turn[], role: Turn["role"], text: string): void {
  const first = turns[0];
  if (first?.role === role) first.text = `${text}\n\n${first.text}`;
  else turns.unshift({ role, text });
}

/** The text of a message, also of one that is still being written. */
async function textOfMessage(ctx: QueryCtx, row: Message): Promise<string> {
  if (!isUnfinished(row.status)) return row.content;
  return new PartsFold(await chunksOf(ctx, streamIdOf(row))).content();
}

/** What a reply came to, for the one who asked for it. */
export async function resultOf(
  ctx: QueryCtx,
  messageId: Id<"chatMessages">,
): Promise<Result> {
  const message = await whole(ctx, await messageWithId(ctx, messageId));
  return {
    status: message.status,
    text: message.content,
    toolCallIds: (message.parts ?? []).flatMap((part) =>
      part.type === "tool-call" ? [part.toolCallId] : [],
    ),
    usage: message.usage ?? null,
    finishReason: message.finishReason ?? null,
    error: message.error ?? null,
    errorKind: message.errorKind ?? null,
  };
}

/** Throws NotFound. */
export async function messageWithId(
  ctx: QueryCtx,
  messageId: Id<"chatMessages">,
): Promise<Message> {
  const message = await ctx.db.get("chatMessages", messageId);
  if (message === null) {
    throw refusal("NotFound", `There is no message ${messageId}.`);
  }
  return message;
}
