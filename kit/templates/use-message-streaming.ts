"use client";

/**
 * A task's messages and live parts, from Convex alone.
 *
 * The swap from live parts to the stored message hangs on one query, `messages:byTask`:
 * a message's row says streaming, stopping or final, and live parts only fill in a row
 * that is not final. So no render shows both, and none shows neither.
 *
 * Belongs into apps/frontend/hooks/convex/, with parts.ts and stream-follower.ts beside
 * it. Must be used under a ConvexProvider.
 */
import { type RequestForQueries, useConvex, useQueries } from "convex/react";
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { api } from "../../../../convex/_generated/api";
import { type LiveParts, type Message, NO_PARTS, type Part } from "./parts";
import { StreamFollower } from "./stream-follower";

export type { Message, Part } from "./parts";

type TaskId = Message["taskId"];

export interface MessageStreaming {
  /** The newest messages, oldest first, as `messages:byTask` gives them. */
  readonly messages: readonly Message[];
  /** Whether the first answer is still to come. */
  readonly isLoading: boolean;
  /** Whether the newest reply is being written; false once it is stopping. */
  readonly isStreaming: boolean;
  /** Whether a reply is not final: streaming or stopping. Its parts are the live ones. */
  readonly isLive: boolean;
  /** The row that live parts belong to. */
  readonly streamingMessage: Message | undefined;
  /** The live parts by id; a new map whenever one changes. */
  readonly streamingPartsMap: ReadonlyMap<string, Part>;
  /** The ids of the live parts, first seen first. */
  readonly streamingPartsOrder: readonly string[];
  /** The state of the connection to Convex. */
  readonly connection: Connection;
  /** What is wrong with the task's messages, such as an id that is not Convex's. */
  readonly error: Error | undefined;
  /**
   * Have the deployment answer a message (`streaming:send`); its `clientMessageId`.
   *
   * The keys are those in the deployment's environment, and the reply goes on when this
   * page is closed. While another reply is being written, `whenActive` says what becomes
   * of the message: it is refused with a ConvexError (`reject`, the default), stops that
   * reply (`interrupt`), or waits for it (`queue`), and its reply's status is `queued`.
   */
  readonly sendMessage: (
    message: string,
    model: string,
    whenActive?: WhenActive,
  ) => Promise<string>;
  /** Stop the task's reply; its text so far is kept. What is queued is dropped. */
  readonly stopStream: () => Promise<void>;
}

export type WhenActive = "reject" | "interrupt" | "queue";

export type Connection = "connecting" | "connected" | "reconnecting";

const NO_MESSAGES: readonly Message[] = [];

export function useMessageStreaming(taskId: string | undefined): MessageStreaming {
  const convex = useConvex();
  const queries = useMemo(
    (): RequestForQueries =>
      taskId === undefined
        ? {}
        : { messages: { query: api.messages.byTask, args: { taskId } } },
    [taskId],
  );
  // useQueries, because it gives an error as a value and useQuery throws it.
  const result: Message[] | Error | undefined = useQueries(queries)["messages"];
  const error = result instanceof Error ? result : undefined;
  const messages = result instanceof Error ? NO_MESSAGES : (result ?? NO_MESSAGES);

  const streamingMessage = messages.findLast(isLive);
  const parts = useLiveParts(streamingMessage?.streamId);

  const sendMessage = useCallback(
    async (message: string, model: string, whenActive?: WhenActive) => {
      const clientMessageId = crypto.randomUUID();
      await convex.mutation(api.streaming.send, {
        taskId: knownTask(taskId),
        prompt: message,
        model,
        llmModel: model,
        clientMessageId,
        ...(whenActive !== undefined && { whenActive }),
      });
      return clientMessageId;
    },
    [convex, taskId],
  );
  const stopStream = useCallback(async () => {
    // By their ids: without a connection this waits, and must not stop a later reply.
    // The last one first, so that none that is queued begins meanwhile.
    const unfinished = messages.filter((row) => isLive(row) || row.status === "queued");
    const cancelling = unfinished
      .reverse()
      .map(({ _id: messageId }) =>
        convex.mutation(api.streaming.cancelStream, { messageId }),
      );
    if (cancelling.length === 0) {
      await convex.mutation(api.streaming.stopTask, { taskId: knownTask(taskId) });
    }
    await Promise.all(cancelling);
  }, [convex, taskId, messages]);

  return {
    messages,
    isLoading: taskId !== undefined && result === undefined,
    isStreaming: streamingMessage?.status === "streaming",
    isLive: streamingMessage !== undefined,
    streamingMessage,
    streamingPartsMap: parts.map,
    streamingPartsOrder: parts.order,
    connection: useConnection(taskId !== undefined),
    error,
    sendMessage,
    stopStream,
  };
}

function isLive(row: Message): boolean {
  const { status, streamId } = row;
  return streamId !== undefined && (status === "streaming" || status === "stopping");
}

function knownTask(taskId: string | undefined): TaskId {
  if (taskId === undefined) throw new Error("There is no task yet: wait for its id.");
  return taskId as TaskId;
}

/** The live parts of a stream; none without a stream. */
function useLiveParts(streamId: Message["streamId"]): LiveParts {
  const convex = useConvex();
  const follower = useMemo(
    () => (streamId === undefined ? undefined : new StreamFollower(convex, streamId)),
    [convex, streamId],
  );
  return useSyncExternalStore(
    follower?.subscribe ?? subscribeToNothing,
    follower?.getSnapshot ?? noParts,
    noParts,
  );
}

const noParts = () => NO_PARTS;
const subscribeToNothing = () => () => {};

/**
 * Unlike useConvexConnectionState, it renders again only when this changes, and does
 * not connect unless it `matters`.
 */
function useConnection(matters: boolean): Connection {
  const convex = useConvex();
  const subscribe = useCallback(
    (listener: () => void) =>
      matters ? convex.subscribeToConnectionState(listener) : () => {},
    [convex, matters],
  );
  const read = (): Connection => {
    if (!matters) return "connecting";
    const { isWebSocketConnected, hasEverConnected } = convex.connectionState();
    if (isWebSocketConnected) return "connected";
    return hasEverConnected ? "reconnecting" : "connecting";
  };
  return useSyncExternalStore(subscribe, read, () => "connecting");
}
