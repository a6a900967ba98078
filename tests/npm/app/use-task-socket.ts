"use client";

/**
 * The application's own hook over Socket.IO, as far as the guide's hybrid needs it.
 *
 * A stand-in for `apps/frontend/hooks/socket/use-task-socket.ts` of the guide's
 * application: the same fields, the same events, and its way of counting parts.
 */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { type Socket, io } from "socket.io-client";

type Part =
  | { type: "text"; text: string }
  | { type: "reasoning"; text: string; signature?: string }
  | { type: "redacted-reasoning"; data: string }
  | {
      type: "tool-call";
      toolCallId: string;
      toolName: string;
      args: Record<string, unknown>;
      streamingState: "starting" | "streaming" | "complete";
      argsComplete: boolean;
      accumulatedArgsText?: string;
    }
  | { type: "tool-result"; toolCallId: string; toolName: string; result: unknown };

interface StreamChunk {
  type: string;
  content?: string;
  reasoning?: string;
  redactedReasoningData?: string;
  toolCallStart?: { id: string; name: string };
  toolCallDelta?: { id: string; name: string; argsTextDelta: string };
  toolCall?: { id: string; name: string; args: Record<string, unknown> };
  toolResult?: { id: string; result: unknown };
}

export interface StoredMessage {
  id: string;
  role: "user" | "assistant" | "system";
  content: string;
  createdAt: string;
  clientMessageId?: string;
  metadata?: { isStreaming?: boolean; finishReason?: string; parts?: Part[] };
}

/** The connection of `lib/socket`; null is what a bypassed `use-socket` gives. */
let socket: Socket | null = null;
/** The cache that `useTaskMessages` reads. */
let history: readonly StoredMessage[] = [];
/** The task's last status; the application takes no message while it is RUNNING. */
export let taskStatus: string | undefined;
const readers = new Set<() => void>();

/** Connect to the application; without an address, bypass Socket.IO. */
export function connect(url?: string): () => void {
  const opened = url === undefined ? null : io(url, { transports: ["websocket"] });
  socket = opened;
  history = [];
  taskStatus = undefined;
  return () => void opened?.disconnect();
}

export function useTaskMessages(): readonly StoredMessage[] {
  return useSyncExternalStore(
    (reader) => {
      readers.add(reader);
      return () => readers.delete(reader);
    },
    () => history,
  );
}

export function useTaskSocket(taskId: string | undefined) {
  const [isConnected, setIsConnected] = useState(socket?.connected ?? false);
  const [streamingPartsMap, setMap] = useState<Map<string, Part>>(new Map());
  const [streamingPartsOrder, setOrder] = useState<string[]>([]);
  const [isStreaming, setIsStreaming] = useState(false);
  const [isCompletionPending, setIsCompletionPending] = useState(false);
  const [autoPRStatus, setAutoPRStatus] = useState<{ status: string } | null>(null);
  const texts = useRef(0);

  const clear = useCallback(() => {
    setMap(new Map());
    setOrder([]);
    setIsStreaming(false);
    setIsCompletionPending(false);
    texts.current = 0;
  }, []);

  const update = useCallback((id: string, change: (old?: Part) => Part) => {
    setMap((old) => new Map(old).set(id, change(old.get(id))));
    setOrder((old) => (old.includes(id) ? old : [...old, id]));
  }, []);

  useEffect(() => {
    const s = socket;
    if (!s || !taskId) return;
    const handlers: Record<string, (payload: any) => void> = {
      connect: () => {
        setIsConnected(true);
        s.emit("join-task", { taskId });
        s.emit("get-chat-history", { taskId, complete: false });
      },
      disconnect: () => setIsConnected(false),
      "chat-history": (data: { messages: StoredMessage[] }) => {
        history = data.messages;
        for (const reader of readers) reader();
        clear();
      },
      "stream-chunk": (chunk: StreamChunk) => {
        setIsStreaming(true);
        if (chunk.content) {
          const { content: text } = chunk;
          update(`text-${texts.current++}`, () => ({ type: "text", text }));
        } else if (chunk.reasoning) {
          const { reasoning } = chunk;
          update("reasoning-0", (old) => ({
            type: "reasoning",
            text: (old?.type === "reasoning" ? old.text : "") + reasoning,
          }));
        } else if (chunk.redactedReasoningData) {
          const { redactedReasoningData: data } = chunk;
          update("redacted-reasoning-0", () => ({ type: "redacted-reasoning", data }));
        } else if (chunk.toolCall) {
          const { id, name, args } = chunk.toolCall;
          update(id, () => ({
            type: "tool-call",
            toolCallId: id,
            toolName: name,
            args,
            streamingState: "complete",
            argsComplete: true,
          }));
        } else if (chunk.toolResult) {
          const { id, result } = chunk.toolResult;
          update(`${id}-result`, () => ({
            type: "tool-result",
            toolCallId: id,
            toolName: "",
            result,
          }));
        }
      },
      "stream-complete": () => {
        setIsStreaming(false);
        setIsCompletionPending(true);
        s.emit("get-chat-history", { taskId, complete: true });
      },
      "stream-error": clear,
      "task-status-updated": (data: { status: string }) => {
        taskStatus = data.status;
      },
      "auto-pr-status": (data: { status: string }) => setAutoPRStatus(data),
    };
    for (const [event, handler] of Object.entries(handlers)) s.on(event, handler);
    if (s.connected) handlers["connect"]?.(undefined);
    return () => {
      for (const [event, handler] of Object.entries(handlers)) s.off(event, handler);
    };
  }, [taskId, clear, update]);

  const sendMessage = useCallback(
    (message: string, model: string, queue: boolean = false) => {
      if (!socket || !taskId || !message.trim()) return;
      setIsStreaming(true);
      socket.emit("user-message", {
        taskId,
        message: message.trim(),
        llmModel: model,
        queue,
      });
    },
    [taskId],
  );
  const stopStream = useCallback(() => {
    if (!socket || !taskId || !isStreaming) return;
    socket.emit("stop-stream", { taskId });
    clear();
  }, [taskId, isStreaming, clear]);
  const clearQueuedAction = useCallback(() => {
    socket?.emit("clear-queued-action", { taskId });
  }, [taskId]);
  const createStackedPR = useCallback(
    (message: string, model: string, queue: boolean = false) => {
      socket?.emit("create-stacked-pr", { taskId, message, model, queue });
    },
    [taskId],
  );

  return {
    isConnected,
    streamingPartsMap,
    streamingPartsOrder,
    isStreaming,
    setIsStreaming,
    isCompletionPending,
    autoPRStatus,
    sendMessage,
    stopStream,
    clearQueuedAction,
    createStackedPR,
  };
}
