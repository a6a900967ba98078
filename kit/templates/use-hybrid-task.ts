"use client";

/**
 * A task's messages and live parts from Convex, and the rest from Socket.IO: the
 * guide's hybrid hook.
 *
 * All that `useTaskSocket` returns is passed on, so that who uses this hook instead of
 * it misses nothing (`isCompletionPending`, `setIsStreaming`, `autoPRStatus`,
 * `clearQueuedAction`, `createStackedPR`, …). Replaced are the messages, the live parts
 * and whether a reply is being written.
 *
 * Where the application falls back to Socket.IO for a reply, the reply's parts are
 * taken from there, and then its message from `storedMessages`.
 *
 * **The socket has to be connected while Convex is on.** An application that skips
 * Socket.IO then (`if (USE_CONVEX_NATIVE) return` and `socket: null` in use-socket.ts,
 * `|| isConvexNative` in use-task-socket.ts) is never connected, and its `sendMessage`
 * does nothing: take these lines out. Here, sending without a connection is an error,
 * and stopping reaches Convex in any case.
 *
 * Belongs into apps/frontend/hooks/convex/, with use-message-streaming.ts and what that
 * needs beside it. Must be used under a ConvexProvider, also with the flag off.
 */
import { useCallback, useMemo } from "react";
import { useTaskSocket } from "../socket/use-task-socket";
import { type LiveParts, NO_PARTS } from "./parts";
import { mergeMessages, partsOfSocket, type StoredMessage } from "./socket-parts";
import { type MessageStreaming, useMessageStreaming } from "./use-message-streaming";

/** The guide's flag. Off, everything comes from Socket.IO, as before. */
const USE_CONVEX_REALTIME = process.env.NEXT_PUBLIC_USE_CONVEX_REALTIME === "true";

type SocketData = ReturnType<typeof useTaskSocket>;

/** What is different from `useTaskSocket`. */
interface Replaced {
  /** Convex's messages, and those that only the application's history has. */
  readonly messages: MessageStreaming["messages"];
  readonly isStreaming: boolean;
  readonly streamingPartsMap: MessageStreaming["streamingPartsMap"];
  readonly streamingPartsOrder: MessageStreaming["streamingPartsOrder"];
  /** Stop the reply, in Convex and in the application, whichever is writing it. */
  readonly stopStream: () => Promise<void>;
  /** Convex's half by itself, with its connection and its error. */
  readonly streaming: MessageStreaming;
}

export type HybridTask = Omit<SocketData, keyof Replaced> & Replaced;

const NONE_STORED: readonly StoredMessage[] = [];

/**
 * `storedMessages` is the application's history of the task (`useTaskMessages`), for
 * the turns that Convex does not have: those from before, and those of a fallback.
 */
export function useHybridTask(
  taskId: string | undefined,
  storedMessages: readonly StoredMessage[] = NONE_STORED,
): HybridTask {
  // Messages from Convex
  const streaming = useMessageStreaming(USE_CONVEX_REALTIME ? taskId : undefined);
  // Other data from Socket.IO: sending, stopping, status, terminal, files
  const socketData = useTaskSocket(taskId);

  // The socket has parts only of a reply that the application writes itself. One that
  // Convex was writing when it went away does not hide them.
  const inConvex = streaming.isLive && streaming.connection === "connected";
  const fallsBack = !inConvex && socketData.streamingPartsOrder.length > 0;
  const socketParts = useSocketParts(socketData, fallsBack);
  const messages = useMemo(() => {
    // The live parts say more than a row that is not final.
    const stored = fallsBack ? storedMessages.filter(isFinal) : storedMessages;
    return mergeMessages(streaming.messages, stored);
  }, [fallsBack, streaming.messages, storedMessages]);

  const { isConnected } = socketData;
  const sendOverSocket = socketData.sendMessage;
  const sendMessage: SocketData["sendMessage"] = useCallback(
    (...args) => {
      if (!isConnected) throw new Error(NOT_CONNECTED);
      return sendOverSocket(...args);
    },
    [isConnected, sendOverSocket],
  );

  const stopOverSocket = socketData.stopStream;
  const stopInConvex = streaming.stopStream;
  const stopStream = useCallback(async () => {
    stopOverSocket();
    if (!USE_CONVEX_REALTIME) return;
    try {
      await stopInConvex();
    } catch (error) {
      // The application passes a stop on to Convex; without it, nobody was told.
      if (!isConnected) throw error;
    }
  }, [isConnected, stopInConvex, stopOverSocket]);

  return {
    ...socketData,
    sendMessage,
    stopStream,
    messages,
    isStreaming:
      fallsBack || !USE_CONVEX_REALTIME
        ? socketData.isStreaming
        : streaming.isStreaming,
    streamingPartsMap: fallsBack ? socketParts.map : streaming.streamingPartsMap,
    streamingPartsOrder: fallsBack ? socketParts.order : streaming.streamingPartsOrder,
    streaming,
  };
}

function isFinal(message: StoredMessage): boolean {
  return !message.metadata?.isStreaming;
}

const NOT_CONNECTED =
  "Not sent: there is no connection to the application's server. Try again when there " +
  "is one. If there never is while NEXT_PUBLIC_USE_CONVEX_REALTIME is true, the " +
  "application skips Socket.IO then: see the top of use-hybrid-task.ts.";

function useSocketParts(socketData: SocketData, fallsBack: boolean): LiveParts {
  const { streamingPartsMap, streamingPartsOrder, isStreaming } = socketData;
  return useMemo(
    () =>
      fallsBack
        ? partsOfSocket(streamingPartsMap, streamingPartsOrder, isStreaming)
        : NO_PARTS,
    [fallsBack, streamingPartsMap, streamingPartsOrder, isStreaming],
  );
}
