/** What a component with one of the hooks has shown, render by render. */
import { render } from "@testing-library/react";
import { ConvexProvider, type ConvexReactClient } from "convex/react";
import { StrictMode } from "react";
import { expect } from "vitest";
import type { Message, Part } from "../build/apps/frontend/hooks/convex/parts";
import { until } from "./until";

/** What a chat view reads of either hook. */
interface Chat {
  readonly messages: readonly Message[];
  readonly isStreaming: boolean;
  readonly streamingPartsMap: ReadonlyMap<string, Part>;
  readonly streamingPartsOrder: readonly string[];
}

export class Shown<Hook extends Chat> {
  /** The results of the hook, oldest first. */
  readonly renders: Hook[] = [];

  get now(): Hook {
    const last = this.renders.at(-1);
    if (last === undefined) throw new Error("Nothing was rendered yet.");
    return last;
  }

  /** Wait until a chat is shown that meets the expectations. */
  async until(expectations: (now: Hook) => void): Promise<void> {
    await until(() => expectations(this.now));
  }

  /** Wait until the last reply is final; its row. */
  async untilFinal(replies: number): Promise<Message> {
    await this.until(({ messages }) => {
      expect(messages).toHaveLength(2 * replies);
      expect(isFinal(messages.at(-1)!)).toBe(true);
    });
    return this.now.messages.at(-1)!;
  }

  /** The lists of live part ids, without repetitions and without empty ones. */
  orders(): string[][] {
    const orders: string[][] = [];
    for (const { streamingPartsOrder: order } of this.renders) {
      if (order.length === 0 || same(order, orders.at(-1))) continue;
      orders.push([...order]);
    }
    return orders;
  }

  /** The live parts as they were shown last. */
  lastParts(): Part[] {
    const shown = this.renders.findLast((chat) => chat.streamingPartsOrder.length > 0);
    return shown ? livePartsOf(shown) : [];
  }
}

/** Shows a component that calls the hook for a task, and records what it returns. */
export function showHook<Hook extends Chat>(
  client: ConvexReactClient,
  useHook: (taskId: string | undefined) => Hook,
  taskId: string | undefined,
): { shown: Shown<Hook>; show: (taskId: string) => void; unmount: () => void } {
  const shown = new Shown<Hook>();
  function Probe({ taskId }: { taskId: string | undefined }) {
    shown.renders.push(useHook(taskId));
    return null;
  }
  // Strict mode mounts, unmounts and mounts again, as React may do by itself.
  const tree = (taskId: string | undefined) => (
    <StrictMode>
      <ConvexProvider client={client}>
        <Probe taskId={taskId} />
      </ConvexProvider>
    </StrictMode>
  );
  const { rerender, unmount } = render(tree(taskId));
  return { shown, show: (taskId) => rerender(tree(taskId)), unmount };
}

export function livePartsOf(chat: Chat): Part[] {
  return chat.streamingPartsOrder.map((id) => chat.streamingPartsMap.get(id)!);
}

export function isFinal(row: Message): boolean {
  return ["complete", "stopped", "failed"].includes(row.status);
}

/**
 * What must hold of any sequence of renders: ids only join at the end, text only grows,
 * and the reply is shown exactly once, from its first part to its end.
 */
export function expectNoFlicker(renders: readonly Chat[]): void {
  let before: Chat | undefined;
  for (const chat of renders) {
    const reply = chat.messages.at(-1);
    const live = chat.streamingPartsOrder.length > 0;
    const stored = reply?.role === "ASSISTANT" && isFinal(reply);
    expect(live && stored, "shown twice").toBe(false);
    expect(chat.streamingPartsMap.size).toBe(chat.streamingPartsOrder.length);
    if (before !== undefined && before.streamingPartsOrder.length > 0) {
      expect(live || stored, "shown not at all").toBe(true);
      if (live) expectGrowth(livePartsOf(before), livePartsOf(chat));
      else expectGrowth(livePartsOf(before), reply!.parts ?? []);
    }
    before = chat;
  }
}

function expectGrowth(before: readonly Part[], after: readonly Part[]): void {
  before.forEach((part, index) => {
    const grown = after[index];
    expect(grown?.id).toBe(part.id);
    if ("text" in part) {
      expect((grown as { text: string }).text.startsWith(part.text)).toBe(true);
    }
  });
}

function same(one: readonly string[], other: readonly string[] | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
