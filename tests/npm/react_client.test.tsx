// @vitest-environment happy-dom
/** `ConvexReactClient` and its hooks against an embedded deployment. */
import { render, screen } from "@testing-library/react";
import {
  ConvexProvider,
  type ConvexReactClient,
  useAction,
  useConvexConnectionState,
  useMutation,
  useQueries,
  useQuery,
} from "convex/react";
import { ConvexError } from "convex/values";
import { Component, type ReactNode } from "react";
import { expect, onTestFinished, test } from "vitest";
import { newChannel, notes, useDeployment, work } from "./support/deployment";
import { complaints } from "./support/console";
import { Proxy } from "./support/proxy";
import { reactClients } from "./support/react";
import { rejection } from "./support/rejection";
import { until } from "./support/until";

const deployment = useDeployment();
const connect = reactClients(() => deployment.url);

function show(client: ConvexReactClient, content: ReactNode) {
  return render(<ConvexProvider client={client}>{content}</ConvexProvider>);
}

function Notes({ channel }: { channel: string }) {
  const list = useQuery(notes.list, { channel });
  return <p data-testid="notes">{list === undefined ? "loading" : list.join(" ")}</p>;
}

function text(id: string): string | null {
  return screen.getByTestId(id).textContent;
}

test("useQuery is undefined first, then the value, then each later one", async () => {
  const client = connect();
  const channel = newChannel();
  show(client, <Notes channel={channel} />);
  expect(text("notes")).toBe("loading");
  await until(() => expect(text("notes")).toBe(""));
  await client.mutation(notes.add, { channel, body: "one" });
  await until(() => expect(text("notes")).toBe("one"));
  await connect().mutation(notes.add, { channel, body: "two" });
  await until(() => expect(text("notes")).toBe("one two"));
});

test("useQuery follows its arguments, and skips", async () => {
  const client = connect();
  const [first, second] = [newChannel(), newChannel()];
  await client.mutation(notes.add, { channel: first, body: "first" });
  await client.mutation(notes.add, { channel: second, body: "second" });

  function Either({ channel }: { channel: string | null }) {
    const list = useQuery(notes.list, channel === null ? "skip" : { channel });
    return <p data-testid="either">{String(list)}</p>;
  }
  const inProvider = (channel: string | null) => (
    <ConvexProvider client={client}>
      <Either channel={channel} />
    </ConvexProvider>
  );
  const { rerender } = render(inProvider(first));
  await until(() => expect(text("either")).toBe("first"));
  rerender(inProvider(second));
  await until(() => expect(text("either")).toBe("second"));
  rerender(inProvider(null));
  expect(text("either")).toBe("undefined");
});

test("queries of one client change in one render", async () => {
  const client = connect();
  const channel = newChannel();
  const seen: string[] = [];
  function Both() {
    const list = useQuery(notes.list, { channel });
    const count = useQuery(notes.count, { channel });
    seen.push(`${list?.length} ${count}`);
    return null;
  }
  show(client, <Both />);
  await until(() => expect(seen.at(-1)).toBe("0 0"));
  for (let index = 0; index < 10; index++) {
    await client.mutation(notes.add, { channel, body: "x" });
  }
  await until(() => expect(seen.at(-1)).toBe("10 10"));
  for (const pair of seen) {
    const [list, count] = pair.split(" ");
    expect(list).toBe(count);
  }
});

class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  override componentDidCatch() {}
  override render() {
    const { error } = this.state;
    return error ? <p data-testid="error">{error.message}</p> : this.props.children;
  }
}

test("the error of a query is thrown to the next boundary", async () => {
  function Failing() {
    useQuery(notes.failing, { channel: "always empty" });
    return null;
  }
  show(
    connect(),
    <Boundary>
      <Failing />
    </Boundary>,
  );
  await until(() => expect(text("error")).toContain("the channel is empty"));
  expect(text("error")).toContain("[CONVEX Q(notes:failing)]");
  complaints(); // React reports what a boundary has caught
});

test("useQueries gives an error as a value", async () => {
  const channel = newChannel();
  const queries = {
    list: { query: notes.list, args: { channel } },
    failing: { query: notes.failing, args: { channel } },
  };
  let results: Record<string, unknown> = {};
  function Queries() {
    results = useQueries(queries);
    return null;
  }
  const client = connect();
  show(client, <Queries />);
  await until(() => expect(results.list).toEqual([]));
  expect(results.failing).toBeInstanceOf(Error);
  await client.mutation(notes.add, { channel, body: "one" });
  await until(() => expect(results).toEqual({ list: ["one"], failing: ["one"] }));
});

test("useMutation and useAction call, and throw what the function throws", async () => {
  const client = connect();
  const channel = newChannel();
  let add!: ReturnType<typeof useMutation<typeof notes.add>>;
  let refuse!: ReturnType<typeof useMutation<typeof notes.refuse>>;
  let act!: ReturnType<typeof useAction<typeof work.add>>;
  function Calls() {
    add = useMutation(notes.add);
    refuse = useMutation(notes.refuse);
    act = useAction(work.add);
    return <Notes channel={channel} />;
  }
  show(client, <Calls />);
  await add({ channel, body: "one" });
  await act({ channel, body: "two" });
  await until(() => expect(text("notes")).toBe("one two"));
  const error = await rejection(refuse({ data: { code: "Taken" } }));
  expect(error).toBeInstanceOf(ConvexError);
  expect((error as ConvexError<{ code: string }>).data).toEqual({ code: "Taken" });
  const wrong = await rejection(add({ channel: 5 as unknown as string, body: "b" }));
  expect(wrong.message).toContain("ArgumentValidationError");
});

test("useConvexConnectionState tells of the connection", async () => {
  const client = connect();
  function State() {
    const { isWebSocketConnected } = useConvexConnectionState();
    return <p data-testid="state">{String(isWebSocketConnected)}</p>;
  }
  show(
    client,
    <>
      <State />
      <Notes channel={newChannel()} />
    </>,
  );
  await until(() => expect(text("state")).toBe("true"));
});

// --- optimistic updates ------------------------------------------------------------

/** A client whose answers can be held back: what it guesses can be seen. */
async function connectByProxy() {
  const proxy = await Proxy.before(deployment.url);
  onTestFinished(() => proxy.close());
  return { client: connect(proxy.url), proxy };
}

/** All that a view of the channel's notes has shown, without repetitions. */
function record(client: ConvexReactClient, channel: string): string[] {
  const shown: string[] = [];
  function Recorder() {
    const list = useQuery(notes.list, { channel });
    const now = list === undefined ? "loading" : list.join(" ");
    if (shown.at(-1) !== now) shown.push(now);
    return null;
  }
  show(client, <Recorder />);
  return shown;
}

test("an optimistic update shows at once, and gives way to the real value", async () => {
  const { client, proxy } = await connectByProxy();
  const channel = newChannel();
  const shown = record(client, channel);
  await until(() => expect(shown).toEqual(["loading", ""]));
  proxy.hold();
  const mutation = client.mutation(
    notes.add,
    { channel, body: "real" },
    {
      optimisticUpdate: (store) => {
        const list = store.getQuery(notes.list, { channel }) ?? [];
        store.setQuery(notes.list, { channel }, [...list, "guess"]);
      },
    },
  );
  await until(() => expect(shown.at(-1)).toBe("guess"));
  proxy.release();
  await mutation;
  await until(() => expect(shown.at(-1)).toBe("real"));
  expect(shown).toEqual(["loading", "", "guess", "real"]);
});

test("an optimistic update of a mutation that fails is rolled back", async () => {
  const { client, proxy } = await connectByProxy();
  const channel = newChannel();
  await client.mutation(notes.add, { channel, body: "one" });
  const shown = record(client, channel);
  await until(() => expect(shown).toEqual(["loading", "one"]));
  proxy.hold();
  const failing = client.mutation(
    notes.refuse,
    { data: "no" },
    {
      optimisticUpdate: (store) =>
        store.setQuery(notes.list, { channel }, ["one", "guess"]),
    },
  );
  await until(() => expect(shown.at(-1)).toBe("one guess"));
  proxy.release();
  expect(await rejection(failing)).toBeInstanceOf(ConvexError);
  await until(() => expect(shown.at(-1)).toBe("one"));
  expect(shown).toEqual(["loading", "one", "one guess", "one"]);
});

test("optimistic updates are applied anew to what arrives before their end", async () => {
  const { client, proxy } = await connectByProxy();
  const channel = newChannel();
  const shown = record(client, channel);
  await until(() => expect(shown.at(-1)).toBe(""));
  const add = (body: string) =>
    client.mutation(
      notes.add,
      { channel, body },
      {
        optimisticUpdate: (store) => {
          const list = store.getQuery(notes.list, { channel }) ?? [];
          store.setQuery(notes.list, { channel }, [...list, `${body}?`]);
        },
      },
    );
  const other = connect();
  proxy.hold();
  const mutations = [add("a"), add("b")];
  await until(() => expect(shown.at(-1)).toBe("a? b?"));
  await other.mutation(notes.add, { channel, body: "theirs" });
  proxy.release();
  await Promise.all(mutations);
  await until(() =>
    expect(shown.at(-1)?.split(" ").sort()).toEqual(["a", "b", "theirs"]),
  );
  for (const state of shown.slice(shown.indexOf("a? b?"))) {
    for (const body of ["a", "b"]) expect(state).toContain(body); // never gone again
  }
});

test("useMutation takes an optimistic update", async () => {
  const { client, proxy } = await connectByProxy();
  const channel = newChannel();
  let add!: ReturnType<typeof useMutation<typeof notes.add>>;
  function Adder() {
    add = useMutation(notes.add).withOptimisticUpdate((store, { body }) => {
      store.setQuery(notes.list, { channel }, [`${body}?`]);
    });
    return <Notes channel={channel} />;
  }
  show(client, <Adder />);
  await until(() => expect(text("notes")).toBe(""));
  proxy.hold();
  const mutation = add({ channel, body: "one" });
  await until(() => expect(text("notes")).toBe("one?"));
  proxy.release();
  await mutation;
  await until(() => expect(text("notes")).toBe("one"));
});
