// @vitest-environment happy-dom
/** Paginated queries of the official clients against an embedded deployment. */
import { render } from "@testing-library/react";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import {
  ConvexProvider,
  type ConvexReactClient,
  insertAtPosition,
  usePaginatedQuery,
  usePaginatedQuery_experimental,
  type UsePaginatedQueryReturnType,
} from "convex/react";
import {
  makeFunctionReference,
  type PaginationOptions,
  type PaginationResult,
} from "convex/server";
import { ConvexError } from "convex/values";
import { expect, onTestFinished, test } from "vitest";
import {
  newChannel as newList,
  OWN_FUNCTIONS,
  useDeployment,
} from "./support/deployment";
import { recorder } from "./support/logger";
import { Proxy } from "./support/proxy";
import { reactClients } from "./support/react";
import { rejection } from "./support/rejection";
import { until } from "./support/until";

type PageArgs = { list: string; paginationOpts: PaginationOptions };
type Ranks = { list: string; ranks: number[] };
interface Item {
  list: string;
  rank: number;
}

const items = {
  page: makeFunctionReference<"query", PageArgs, PaginationResult<number>>(
    "items:page",
  ),
  pageDocuments: makeFunctionReference<"query", PageArgs, PaginationResult<Item>>(
    "items:pageDocuments",
  ),
  add: makeFunctionReference<"mutation", Ranks, null>("items:add"),
  remove: makeFunctionReference<"mutation", Ranks, null>("items:remove"),
  reorder: makeFunctionReference<"mutation", { list: string; order: string }, null>(
    "items:reorder",
  ),
};

const deployment = useDeployment({ functions: OWN_FUNCTIONS });
const connect = reactClients(() => deployment.url);

function range(from: number, to: number, step = 1): number[] {
  return Array.from({ length: (to - from) / step }, (_, index) => from + index * step);
}

/** A list of its own with items of these ranks. */
async function newItems(ranks: number[]): Promise<string> {
  const list = newList();
  const client = new ConvexHttpClient(deployment.url, { logger: false });
  await client.mutation(items.add, { list, ranks });
  return list;
}

type Shown = UsePaginatedQueryReturnType<typeof items.page>;

/** What usePaginatedQuery returns, render by render. */
function showPages(client: ConvexReactClient, list: string, initialNumItems: number) {
  const renders: Shown[] = [];
  function Pages() {
    renders.push(usePaginatedQuery(items.page, { list }, { initialNumItems }));
    return null;
  }
  render(
    <ConvexProvider client={client}>
      <Pages />
    </ConvexProvider>,
  );
  return {
    renders,
    now: () => renders.at(-1)!,
    until: (results: number[], status: Shown["status"]) =>
      until(() => expect(renders.at(-1)).toMatchObject({ results, status })),
  };
}

/** Nothing twice, nothing out of order, in any render. */
function expectInOrder(renders: readonly Shown[]): void {
  for (const { results } of renders) {
    expect(results).toEqual([...new Set(results)].sort((a, b) => a - b));
  }
}

test("pages are loaded one after the other, up to the end", async () => {
  const list = await newItems(range(0, 10));
  const shown = showPages(connect(), list, 4);
  expect(shown.now()).toMatchObject({ results: [], status: "LoadingFirstPage" });
  await shown.until(range(0, 4), "CanLoadMore");
  shown.now().loadMore(3);
  await until(() =>
    expect(shown.renders.map(({ status }) => status)).toContain("LoadingMore"),
  );
  await shown.until(range(0, 7), "CanLoadMore");
  shown.now().loadMore(3);
  await until(() => expect(shown.now().results).toEqual(range(0, 10)));
  if (shown.now().status === "CanLoadMore") shown.now().loadMore(3);
  await shown.until(range(0, 10), "Exhausted");
  expectInOrder(shown.renders);
});

test("an empty list is exhausted", async () => {
  const shown = showPages(connect(), newList(), 4);
  await shown.until([], "Exhausted");
});

test("pages grow and shrink without a gap and without an overlap", async () => {
  const list = await newItems(range(0, 100, 10));
  const client = connect();
  const shown = showPages(client, list, 3);
  await shown.until([0, 10, 20], "CanLoadMore");
  shown.now().loadMore(3);
  await shown.until(range(0, 60, 10), "CanLoadMore");

  // In the first page, at its edge, in the second page, and beyond.
  await client.mutation(items.add, { list, ranks: [5, 21, 45, 95] });
  await shown.until([0, 5, 10, 20, 21, 30, 40, 45, 50], "CanLoadMore");
  await client.mutation(items.remove, { list, ranks: [0, 10, 20] });
  await shown.until([5, 21, 30, 40, 45, 50], "CanLoadMore");
  await client.mutation(items.remove, { list, ranks: [30, 40, 45, 50] });
  await shown.until([5, 21], "CanLoadMore");
  shown.now().loadMore(3);
  await shown.until([5, 21, 60, 70, 80], "CanLoadMore");
  await client.mutation(items.add, { list, ranks: [50] });
  await shown.until([5, 21, 50, 60, 70, 80], "CanLoadMore");
  expectInOrder(shown.renders);
});

test("a page that grows is split, and shows the same", async () => {
  const list = await newItems([0, 100]);
  const client = connect();
  const shown = showPages(client, list, 2);
  await shown.until([0, 100], "CanLoadMore");
  for (const ranks of [range(1, 10), range(10, 50), range(50, 100)]) {
    await client.mutation(items.add, { list, ranks });
  }
  await shown.until(range(0, 101), "CanLoadMore");
  await client.mutation(items.remove, { list, ranks: range(20, 80) });
  await shown.until([...range(0, 20), ...range(80, 101)], "CanLoadMore");
  expectInOrder(shown.renders);
});

test("pages are the same after a lost connection", async () => {
  const list = await newItems(range(0, 100, 10));
  const proxy = await Proxy.before(deployment.url);
  onTestFinished(() => proxy.close());
  const shown = showPages(connect(proxy.url), list, 3);
  await shown.until([0, 10, 20], "CanLoadMore");
  shown.now().loadMore(3);
  await shown.until(range(0, 60, 10), "CanLoadMore");

  // Were the first page to begin anew with three items, 20 would be missing.
  proxy.cut();
  const http = new ConvexHttpClient(deployment.url, { logger: false });
  await http.mutation(items.add, { list, ranks: [5] });
  await shown.until([0, 5, 10, 20, 30, 40, 50], "CanLoadMore");
  expectInOrder(shown.renders);
});

test("pages are the same after a crash", async () => {
  const list = await newItems(range(0, 100, 10));
  const shown = showPages(connect(), list, 3);
  await shown.until([0, 10, 20], "CanLoadMore");
  shown.now().loadMore(3);
  await shown.until(range(0, 60, 10), "CanLoadMore");
  await deployment.process.kill();
  await deployment.process.start();
  const http = new ConvexHttpClient(deployment.url, { logger: false });
  await http.mutation(items.add, { list, ranks: [5] });
  await shown.until([0, 5, 10, 20, 30, 40, 50], "CanLoadMore");
  expectInOrder(shown.renders);
});

test("when the cursors become invalid, the hook begins again", async () => {
  const list = await newItems(range(0, 6));
  const client = connect();
  const shown = showPages(client, list, 2);
  await shown.until([0, 1], "CanLoadMore");
  shown.now().loadMore(2);
  await shown.until([0, 1, 2, 3], "CanLoadMore");
  await client.mutation(items.reorder, { list, order: "desc" });
  await shown.until([5, 4], "CanLoadMore");
  shown.now().loadMore(10);
  await shown.until([5, 4, 3, 2, 1, 0], "Exhausted");
});

test("an optimistic update may insert into a loaded page", async () => {
  const list = await newItems([0, 10, 20, 30]);
  const proxy = await Proxy.before(deployment.url);
  onTestFinished(() => proxy.close());
  const client = connect(proxy.url);
  const seen: number[][] = [];
  function Pages() {
    const { results } = usePaginatedQuery(
      items.pageDocuments,
      { list },
      { initialNumItems: 3 },
    );
    seen.push(results.map(({ rank }) => rank));
    return null;
  }
  render(
    <ConvexProvider client={client}>
      <Pages />
    </ConvexProvider>,
  );
  await until(() => expect(seen.at(-1)).toEqual([0, 10, 20]));
  proxy.hold();
  const adding = client.mutation(
    items.add,
    { list, ranks: [15] },
    {
      optimisticUpdate: (store) =>
        insertAtPosition({
          paginatedQuery: items.pageDocuments,
          argsToMatch: { list },
          sortOrder: "asc",
          sortKeyFromItem: ({ rank }) => rank,
          localQueryStore: store,
          item: { list, rank: 14 },
        }),
    },
  );
  await until(() => expect(seen.at(-1)).toEqual([0, 10, 14, 20]));
  proxy.release();
  await adding;
  await until(() => expect(seen.at(-1)).toEqual([0, 10, 15, 20]));
});

test("the newer hook: usePaginatedQuery_experimental", async () => {
  const list = await newItems(range(0, 5));
  let data: number[] | undefined;
  let loadMore: (count: number) => void = () => {};
  let canLoadMore = true;
  function Pages() {
    const pages = usePaginatedQuery_experimental({
      query: items.page,
      args: { list },
      initialNumItems: 2,
    });
    ({ data, loadMore, canLoadMore } = pages);
    return null;
  }
  const client = connect();
  render(
    <ConvexProvider client={client}>
      <Pages />
    </ConvexProvider>,
  );
  await until(() => expect(data).toEqual([0, 1]));
  loadMore(10);
  await until(() => expect(data).toEqual(range(0, 5)));
  expect(canLoadMore).toBe(false);
  await client.mutation(items.add, { list, ranks: [0.5, 9] });
  await until(() => expect(data).toEqual([0, 0.5, 1, 2, 3, 4, 9]));
});

test("ConvexClient.onPaginatedUpdate_experimental", async () => {
  const list = await newItems(range(0, 5));
  const client = new ConvexClient(deployment.url, { logger: recorder().logger });
  onTestFinished(() => client.close());
  const seen: unknown[] = [];
  const { getCurrentValue } = client.onPaginatedUpdate_experimental(
    items.page,
    { list } as PageArgs, // it adds the other one
    { initialNumItems: 2 },
    (value) => seen.push(value),
  );
  await until(() =>
    expect(getCurrentValue()).toMatchObject({
      results: [0, 1],
      status: "CanLoadMore",
    }),
  );
  getCurrentValue()!.loadMore(10);
  await until(() =>
    expect(getCurrentValue()).toMatchObject({
      results: range(0, 5),
      status: "Exhausted",
    }),
  );
  expect(seen.length).toBeGreaterThan(0);
});

// --- by hand -------------------------------------------------------------------------

test("over HTTP, cursors lead from page to page", async () => {
  const list = await newItems(range(0, 7));
  const client = new ConvexHttpClient(deployment.url, { logger: false });
  const pages: number[][] = [];
  let cursor: string | null = null;
  for (let isDone = false; !isDone;) {
    const paginationOpts: PaginationOptions = { numItems: 3, cursor };
    const result: PaginationResult<number> = await client.query(items.page, {
      list,
      paginationOpts,
    });
    pages.push(result.page);
    ({ isDone, continueCursor: cursor } = result);
  }
  expect(pages.flat()).toEqual(range(0, 7));
  expect(pages[0]).toEqual([0, 1, 2]);
});

test("what cannot be paginated is refused", async () => {
  const client = new ConvexHttpClient(deployment.url, { logger: false });
  const list = await newItems(range(0, 4));
  const page = (numItems: number, cursor: string | null) =>
    client.query(items.page, { list, paginationOpts: { numItems, cursor } });
  expect((await rejection(page(0, null))).message).toContain(
    "Must request at least 1 document while paginating",
  );
  const { continueCursor } = await page(2, null);
  await client.mutation(items.reorder, { list, order: "desc" });
  const error = await rejection(page(2, continueCursor));
  expect(error).toBeInstanceOf(ConvexError);
  expect((error as ConvexError<{ [key: string]: string | boolean }>).data).toEqual({
    isConvexSystemError: true,
    paginationError: "InvalidCursor",
  });
  expect(await rejection(page(2, "no cursor"))).toBeInstanceOf(Error);
});
