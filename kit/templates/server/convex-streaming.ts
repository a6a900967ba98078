/**
 * The server's part of a reply that Convex streams: begin it, wait for it, stop it.
 *
 * Holds the one rule that must not break when a connection does: **nothing is generated
 * twice**. A reply is begun by an action that carries the message's `clientMessageId`.
 * If the answer to that call is lost, the reply is looked up by this id and followed; a
 * call that may still be on its way is repeated with the same id, and whichever comes
 * second finds the reply of the first. No key is logged.
 *
 * Belongs into apps/server/src/lib/, beside the application's Convex client.
 */
import { ConvexError } from "convex/values";
import { api } from "../../../../convex/_generated/api";
import type { Id } from "../../../../convex/_generated/dataModel";
import { getConvexClient } from "./convex-client";

/** How long a quick call may take before the deployment counts as out of reach. */
const REACH_TIMEOUT_MS = 3_000;
/** How long an action may say nothing before its reply is looked up. */
const LOOK_INTERVAL_MS = 5_000;
/** How long a deployment that went away during a reply is waited for. */
const LOST_TIMEOUT_MS = 10_000;
/** How long a reply may take. */
const REPLY_TIMEOUT_MS = 600_000;
/** How long a stop is repeated: one that comes before the begin finds nothing. */
const STOP_TIMEOUT_MS = 5_000;
const POLL_INTERVAL_MS = 250;
/** At a call that is lost without a trace. */
const ATTEMPTS = 3;

const PROVIDERS = ["openrouter", "anthropic", "openai"] as const;
/** Why Convex, which works, will not answer this message: no case for a fallback. */
const REFUSALS = ["StreamActive", "ClientMessageIdTaken"];

export interface ConvexRequest {
  readonly taskId: string;
  readonly prompt: string;
  readonly model: string;
  readonly systemPrompt?: string | undefined;
  /** Keys by provider; without one, the deployment's own is used. Never logged. */
  readonly apiKeys?: object | undefined;
  /** The message's id, given by its sender: sent again, it is not answered again. */
  readonly clientMessageId?: string | undefined;
}

/** A reply that has ended and is stored in Convex, whole or as far as it came. */
export interface ConvexReply {
  readonly messageId: string;
  readonly status: "complete" | "stopped";
}

/** The task of each call that waits for a reply here. */
const answering = new Map<symbol, string>();

/**
 * Option 1: have Convex stream the reply, if it is in reach.
 *
 * Ends when the reply has ended. Undefined **only if no reply was begun, nor will be**:
 * the caller may then answer by other means. Throws if the reply failed, if it may have
 * been begun where nobody can see it, and if Convex refuses the message.
 */
export async function tryConvexFirst(
  request: ConvexRequest,
): Promise<ConvexReply | undefined> {
  if (process.env.NEXT_PUBLIC_USE_CONVEX_REALTIME === "false") return undefined;
  const { taskId } = request;
  console.log(`[CHAT] TESTING Convex streaming for task ${taskId}`);
  try {
    const reply = await streamInConvex(request);
    console.log(`[CHAT] Convex streaming SUCCESS! MessageId: ${reply.messageId}`);
    return reply;
  } catch (error) {
    if (!(error instanceof NothingBegun)) throw error;
    console.warn(
      `[CHAT] Convex streaming failed, falling back to Socket.IO: ${error.message}`,
    );
    return undefined;
  }
}

/**
 * Option 2: have Convex stream the reply; returns when it has ended.
 *
 * Throws where tryConvexFirst does, and if no reply was begun.
 */
export async function streamInConvex(request: ConvexRequest): Promise<ConvexReply> {
  const call = Symbol();
  answering.set(call, request.taskId);
  try {
    return await new Call(request, request.clientMessageId ?? crypto.randomUUID()).run();
  } finally {
    answering.delete(call);
  }
}

/** Stop what Convex streams in a task. Never throws: what goes wrong is logged. */
export async function stopInConvex(taskId: string): Promise<void> {
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  do {
    try {
      const client = await getConvexClient();
      const args = { taskId: taskId as Id<"tasks"> };
      await within(REACH_TIMEOUT_MS, client.mutation(api.streaming.stopTask, args));
    } catch (error) {
      console.warn(`[CHAT] Convex cannot stop task ${taskId}: ${textOf(error)}`);
    }
    if (isAnswered(taskId)) await pause(POLL_INTERVAL_MS);
  } while (isAnswered(taskId) && Date.now() < deadline);
}

function isAnswered(taskId: string): boolean {
  return [...answering.values()].includes(taskId);
}

/** No reply was begun, nor will be. */
class NothingBegun extends Error {}

const FINAL = ["complete", "stopped", "failed"];

interface Ended {
  readonly messageId: string;
  readonly status: string;
  readonly error?: string | null | undefined;
}

/** One message on its way to Convex, and its reply on the way back. */
class Call {
  private readonly request: ConvexRequest;
  private readonly key: { taskId: Id<"tasks">; clientMessageId: string };
  private readonly apiKeys: Record<string, string>;

  constructor(request: ConvexRequest, clientMessageId: string) {
    this.request = request;
    this.key = { taskId: request.taskId as Id<"tasks">, clientMessageId };
    this.apiKeys = keysOf(request.apiKeys);
  }

  async run(): Promise<ConvexReply> {
    const { messageId, status, error } = await this.ended();
    if (status === "complete" || status === "stopped") return { messageId, status };
    throw new Error(error ?? "The reply failed in Convex.");
  }

  private async ended(): Promise<Ended> {
    let known: Ended | null;
    try {
      // Whether Convex is in reach is found out by a quick call: the action is waited
      // for as long as a reply may take.
      known = await this.lookUp();
    } catch (error) {
      throw new NothingBegun(this.safe(error));
    }
    for (let attempt = 0; known === null && attempt < ATTEMPTS; attempt++) {
      const outcome = await this.runAction();
      if ("ended" in outcome) return outcome.ended;
      this.throwIfRefused(outcome.error);
      const answered = isAnswer(outcome.error);
      // A call whose answer was lost may only just be arriving.
      for (let look = 0; known === null && look < (answered ? 1 : 4); look++) {
        if (look > 0) await pause(POLL_INTERVAL_MS);
        known = await this.lookUpPatiently();
      }
      if (known === null && answered) throw new NothingBegun(this.safe(outcome.error));
    }
    if (known === null) {
      throw new Error(
        `Convex answers, but lost the message ${ATTEMPTS} times before it began a ` +
          "reply. Send the message again.",
      );
    }
    return await this.follow();
  }

  /** Wait for the action; also notice by looking that the reply has ended. */
  private async runAction(): Promise<{ ended: Ended } | { error: unknown }> {
    const { prompt, model, systemPrompt } = this.request;
    const client = await getConvexClient();
    const action = client
      .action(api.streaming.streamChatWithTools, {
        ...this.key,
        prompt,
        model,
        llmModel: model,
        apiKeys: this.apiKeys,
        ...(systemPrompt !== undefined && { systemPrompt }),
      })
      .then(
        (ended) => ({ ended }),
        (error: unknown) => ({ error }),
      );
    const deadline = Date.now() + REPLY_TIMEOUT_MS;
    for (let idle = 0; idle < 2; ) {
      const outcome = await Promise.race([action, pause(LOOK_INTERVAL_MS)]);
      if (outcome !== undefined) return outcome;
      const begun = await this.lookUpPatiently();
      if (begun === null) idle++;
      else if (!isLive(begun.status) || Date.now() > deadline) break;
    }
    return { error: new Error("The action did not answer.") };
  }

  private async follow(): Promise<Ended> {
    const deadline = Date.now() + REPLY_TIMEOUT_MS;
    for (;;) {
      const begun = await this.lookUpPatiently();
      if (begun === null) {
        throw new Error("Convex no longer has the reply. Send the message again.");
      }
      if (!isLive(begun.status)) return { ...begun, error: await this.errorOf(begun) };
      if (Date.now() > deadline) {
        throw new Error(
          `The reply has not ended within ${REPLY_TIMEOUT_MS / 1000} s. It may go on ` +
            "in Convex; stop it before sending another message.",
        );
      }
      await pause(POLL_INTERVAL_MS);
    }
  }

  private async errorOf(ended: Ended): Promise<Ended["error"]> {
    if (ended.status !== "failed") return undefined;
    const client = await getConvexClient();
    const newest = { taskId: this.key.taskId, limit: 8 };
    const rows = await client.query(api.messages.byTask, newest);
    return rows.find((row) => row._id === ended.messageId)?.error;
  }

  /** What was begun for this message, or null. */
  private async lookUp(): Promise<Ended | null> {
    const client = await getConvexClient();
    const query = client.query(api.messages.byClientMessageId, this.key);
    return await within(REACH_TIMEOUT_MS, query);
  }

  /** The same, from a deployment that may just be restarting. */
  private async lookUpPatiently(): Promise<Ended | null> {
    const deadline = Date.now() + LOST_TIMEOUT_MS;
    for (;;) {
      try {
        return await this.lookUp();
      } catch {
        if (Date.now() > deadline) {
          throw new Error(
            "Convex went away while it streamed the reply. What it had written shows " +
              "when it is back; to be answered now, send the message again.",
          );
        }
      }
      await pause(POLL_INTERVAL_MS);
    }
  }

  private throwIfRefused(error: unknown): void {
    if (!(error instanceof ConvexError)) return;
    const { code, message } = (error.data ?? {}) as { code?: string; message?: string };
    if (code !== undefined && REFUSALS.includes(code)) throw new Error(message ?? code);
  }

  /** An error's text without keys: a rejected call may be quoted in it. */
  private safe(error: unknown): string {
    let text = textOf(error);
    for (const key of Object.values(this.apiKeys)) text = text.replaceAll(key, "***");
    return text;
  }
}

/** Whether a call that failed like this has done whatever it will do. */
function isAnswer(error: unknown): boolean {
  return error instanceof ConvexError || textOf(error).includes("[Request ID");
}

function isLive(status: string): boolean {
  return !FINAL.includes(status);
}

function keysOf(apiKeys: object = {}): Record<string, string> {
  const given = apiKeys as Record<string, unknown>;
  const found: Record<string, string> = {};
  for (const provider of PROVIDERS) {
    const key = given[provider];
    if (typeof key === "string" && key.trim() !== "") found[provider] = key.trim();
  }
  return found;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function pause(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), milliseconds));
}

async function within<Value>(
  milliseconds: number,
  answer: Promise<Value>,
): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const text = `Convex did not answer within ${milliseconds / 1000} s.`;
    timer = setTimeout(() => reject(new Error(text)), milliseconds);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
