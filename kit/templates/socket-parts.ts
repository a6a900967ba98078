/**
 * What the application has over Socket.IO, in the shapes that Convex gives.
 *
 * For replies that the application answers itself, because Convex could not: their
 * parts while they stream, and their messages from its history. Pure.
 *
 * Belongs into apps/frontend/hooks/convex/.
 */
import {
  type Chunk,
  type LiveParts,
  type Message,
  NO_PARTS,
  type Part,
  PartsFold,
} from "./parts";

/** A part as the application has it; what is read of it is checked. */
export interface SocketPart {
  readonly type: string;
}

/** A message of the application's history, as far as it is read. */
export interface StoredMessage {
  readonly id: string;
  readonly role: string;
  readonly content: string;
  readonly createdAt: string | Date;
  readonly taskId?: string | undefined;
  readonly sequence?: number | undefined;
  readonly llmModel?: string | undefined;
  readonly clientMessageId?: string | undefined;
  readonly metadata?:
    | {
        readonly isStreaming?: boolean | undefined;
        readonly finishReason?: string | undefined;
        readonly usage?: unknown;
        readonly parts?: readonly SocketPart[] | undefined;
      }
    | undefined;
}

/**
 * The live parts of a reply that comes over Socket.IO.
 *
 * The application makes a part of each piece of text; neighbours become one here. Its
 * ids are counted by each client, so two clients that joined at different times may
 * count differently.
 */
export function partsOfSocket(
  parts: ReadonlyMap<string, SocketPart>,
  order: readonly string[],
  isStreaming: boolean,
): LiveParts {
  if (order.length === 0) return NO_PARTS;
  const inOrder = order.flatMap((id) => parts.get(id) ?? []);
  return new PartsFold(chunksOf(inOrder, isStreaming)).snapshot();
}

/**
 * Convex's messages, and the turns of the history that Convex does not have.
 *
 * A turn is a user's message and what follows it. In the order of their times; rows of
 * one source keep their order.
 */
export function mergeMessages(
  convex: readonly Message[],
  stored: readonly StoredMessage[],
): readonly Message[] {
  const rows = withoutKnown(convex, stored).map(rowOfStored);
  if (rows.length === 0) return convex;
  const merged: Message[] = [];
  let next = 0;
  for (const row of convex) {
    while (next < rows.length && rows[next]!._creationTime < row._creationTime) {
      merged.push(rows[next++]!);
    }
    merged.push(row);
  }
  return [...merged, ...rows.slice(next)];
}

function withoutKnown(
  convex: readonly Message[],
  stored: readonly StoredMessage[],
): StoredMessage[] {
  const known = new Set<string | undefined>();
  for (const row of convex) known.add(row._id).add(row.clientMessageId);
  known.delete(undefined);
  let inConvex = false;
  return stored.filter(({ id, role, clientMessageId }) => {
    if (role.toUpperCase() === "USER") inConvex = known.has(clientMessageId);
    return !inConvex && !known.has(id);
  });
}

/** A stored message as a row of `messages:byTask`; its ids are the application's. */
function rowOfStored(message: StoredMessage, index: number): Message {
  const { id, createdAt, llmModel, clientMessageId, metadata } = message;
  const row = {
    _id: id,
    _creationTime: new Date(createdAt).getTime(),
    taskId: message.taskId,
    role: message.role.toUpperCase(),
    content: message.content,
    sequence: message.sequence ?? index,
    status: statusOf(metadata),
    ...(llmModel !== undefined && { llmModel }),
    ...(clientMessageId !== undefined && { clientMessageId }),
    ...(metadata?.finishReason && { finishReason: metadata.finishReason }),
    ...(metadata?.usage !== undefined && { usage: metadata.usage }),
    ...(metadata?.parts && { parts: storedParts(metadata.parts) }),
  };
  return row as unknown as Message;
}

function statusOf(metadata: StoredMessage["metadata"]): Message["status"] {
  if (metadata?.isStreaming) return "streaming";
  if (metadata?.finishReason === "error") return "failed";
  return metadata?.finishReason === "aborted" ? "stopped" : "complete";
}

function storedParts(parts: readonly SocketPart[]): Part[] {
  const { map, order } = new PartsFold(chunksOf(parts, false)).snapshot();
  return order.map((id) => map.get(id)!);
}

// --- the application's parts as chunks ---------------------------------------------

/** What the application's parts have, by its types; none of it is certain. */
interface Fields {
  type: string;
  text?: string;
  signature?: string;
  data?: string;
  toolCallId?: string;
  toolName?: string;
  args?: unknown;
  argsComplete?: boolean;
  accumulatedArgsText?: string;
  result?: unknown;
  output?: unknown;
  error?: unknown;
}

function* chunksOf(
  parts: readonly SocketPart[],
  isStreaming: boolean,
): Generator<Chunk> {
  const counts = new Map<string, number>();
  const nextId = (kind: string) => {
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    return `${kind}-${count}`;
  };
  let text: string | undefined; // the id of the part that text is added to

  for (const [index, part] of (parts as readonly Fields[]).entries()) {
    if (part.type !== "text" && text !== undefined) {
      yield { type: "text-end", id: text };
      text = undefined;
    }
    switch (part.type) {
      case "text":
        text ??= nextId("text");
        yield { type: "text-delta", id: text, delta: part.text ?? "" };
        break;
      case "reasoning": {
        const id = nextId("reasoning");
        const { signature } = part;
        yield { type: "reasoning-delta", id, delta: part.text ?? "" };
        if (signature !== undefined) yield { type: "reasoning-end", id, signature };
        else if (!isStreaming || index < parts.length - 1) {
          yield { type: "reasoning-end", id };
        }
        break;
      }
      case "redacted-reasoning": {
        const id = nextId("redacted-reasoning");
        yield { type: "reasoning-start", id, redactedData: part.data ?? "" };
        break;
      }
      case "tool-call":
        yield* callChunks(part);
        break;
      case "tool-result":
        yield resultChunk(part);
        break;
      case "error": {
        const id = nextId("error");
        const errorText = String(part.error);
        yield { type: "error", id, errorText, kind: "application" };
        break;
      }
    }
  }
  if (text !== undefined && !isStreaming) yield { type: "text-end", id: text };
}

function* callChunks(part: Fields): Generator<Chunk> {
  const { toolCallId = "", toolName = "", args, accumulatedArgsText = "" } = part;
  yield { type: "tool-input-start", toolCallId, toolName };
  if (part.argsComplete === false) {
    const inputTextDelta = accumulatedArgsText;
    yield { type: "tool-input-delta", toolCallId, inputTextDelta };
  } else {
    const inputText = jsonText(args);
    yield { type: "tool-input-available", toolCallId, toolName, inputText };
  }
}

function resultChunk(part: Fields): Chunk {
  const { toolCallId = "" } = part;
  const value = part.result ?? part.output;
  const failed = failureOf(value);
  return failed === undefined
    ? { type: "tool-output-available", toolCallId, outputText: jsonText(value) }
    : { type: "tool-output-error", toolCallId, errorText: failed };
}

/** Why a tool has failed: the application's results say `success: false` then. */
function failureOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { success, error } = value as { success?: unknown; error?: unknown };
  if (success !== false) return undefined;
  return typeof error === "string" ? error : jsonText(value);
}

function jsonText(value: unknown): string {
  return JSON.stringify(value) ?? "null";
}
