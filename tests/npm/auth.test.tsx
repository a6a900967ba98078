// @vitest-environment happy-dom
/** Tokens of users, and the admin key, as the official clients show them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { render, screen } from "@testing-library/react";
import { type AuthTokenFetcher, ConvexClient, ConvexHttpClient } from "convex/browser";
import {
  Authenticated,
  ConvexProviderWithAuth,
  Unauthenticated,
  useQuery,
} from "convex/react";
import { makeFunctionReference } from "convex/server";
import { useCallback, useMemo } from "react";
import { expect, onTestFinished, test } from "vitest";
import { OWN_FUNCTIONS, useDeployment } from "./support/deployment";
import { recorder } from "./support/logger";
import { Proxy } from "./support/proxy";
import { reactClients } from "./support/react";
import { rejection } from "./support/rejection";
import { Issuer } from "./support/tokens";
import { until } from "./support/until";

const users = {
  whoami: makeFunctionReference<"query", {}, string | null>("users:whoami"),
  identity: makeFunctionReference<"query", {}, Record<string, unknown>>(
    "users:identity",
  ),
  public: makeFunctionReference<"query", {}, string>("users:public"),
  whoamiByMutation: makeFunctionReference<"mutation", {}, string | null>(
    "users:whoamiByMutation",
  ),
  whoamiByAction: makeFunctionReference<"action", {}, string | null>(
    "users:whoamiByAction",
  ),
  secret: makeFunctionReference<"query", {}, unknown>("users:secret"),
};

const ADMIN_KEY = "the key of the admin, for tests only";
const issuer = new Issuer("https://issuer.test", "convex");
const stranger = new Issuer("https://stranger.test", "convex");
const deployment = useDeployment({
  functions: OWN_FUNCTIONS,
  options: (folder) => {
    const file = join(folder, "auth.json");
    writeFileSync(file, JSON.stringify({ providers: [issuer.provider()] }));
    return ["--auth", file, "--open"];
  },
  env: () => ({ KIT_ADMIN_KEY: ADMIN_KEY }),
});
const connectReact = reactClients(() => deployment.url);

function connectHttp(): ConvexHttpClient {
  return new ConvexHttpClient(deployment.url, { logger: false });
}

function connect(url = deployment.url): ConvexClient {
  const { logger } = recorder();
  // Tokens that live for seconds are refreshed a second before their end.
  const client = new ConvexClient(url, { logger, authRefreshTokenLeewaySeconds: 1 });
  onTestFinished(() => client.close());
  return client;
}

/**
 * The values of `users:whoami`, and what `setAuth` tells, without repetitions.
 *
 * The client tells that it is authenticated for each token, and values again when it
 * connects again.
 */
function follow(client: ConvexClient) {
  const seen: (string | null)[] = [];
  const told: boolean[] = [];
  client.onUpdate(users.whoami, {}, (user) => {
    if (seen.at(-1) !== user) seen.push(user);
  });
  const signIn = (fetchToken: AuthTokenFetcher) =>
    client.setAuth(fetchToken, (isAuthenticated) => {
      if (told.at(-1) !== isAuthenticated) told.push(isAuthenticated);
    });
  return { seen, told, signIn };
}

// --- over HTTP -----------------------------------------------------------------------

test("over HTTP a token is set, changed and cleared", async () => {
  const client = connectHttp();
  expect(await client.query(users.whoami)).toBeNull();
  client.setAuth(issuer.token("ada"));
  expect(await client.query(users.whoami)).toBe("ada");
  expect(await client.mutation(users.whoamiByMutation)).toBe("ada");
  expect(await client.action(users.whoamiByAction)).toBe("ada");
  expect(await client.consistentQuery(users.whoami)).toBe("ada");
  client.setAuth(issuer.token("grace"));
  expect(await client.query(users.whoami)).toBe("grace");
  client.clearAuth();
  expect(await client.query(users.whoami)).toBeNull();
});

test("functions are told what the token says of the user", async () => {
  const claims = { name: "Ada", email: "ada@example.test", email_verified: true };
  const auth = issuer.token("ada", { claims });
  const client = new ConvexHttpClient(deployment.url, { auth, logger: false });
  expect(await client.query(users.identity)).toMatchObject({
    tokenIdentifier: "https://issuer.test|ada",
    issuer: "https://issuer.test",
    subject: "ada",
    name: "Ada",
    email: "ada@example.test",
    emailVerified: true,
  });
});

test.each([
  ["of another issuer", () => stranger.token("ada"), "NoAuthProvider"],
  ["that has ended", () => issuer.token("ada", { lives: -60 }), "Unauthenticated"],
  [
    "for others",
    () => issuer.token("ada", { claims: { aud: "others" } }),
    "NoAuthProvider",
  ],
  [
    "with another signature",
    () => issuer.token("ada").replace(/[^.]*$/, issuer.token("x").split(".")[2]!),
    "Unauthenticated",
  ],
  ["that is none", () => "no token", "InvalidAuthHeader"],
])("over HTTP a token %s is refused", async (_, token, code) => {
  const client = connectHttp();
  client.setAuth(token());
  const error = await rejection(client.query(users.public));
  expect(JSON.parse(error.message)).toMatchObject({ code });
  client.clearAuth();
  expect(await client.query(users.public)).toBe("for everybody");
});

// --- over the WebSocket --------------------------------------------------------------

test("a token is set and changed, and subscriptions follow", async () => {
  const client = connect();
  const { seen, told, signIn } = follow(client);
  await until(() => expect(seen).toEqual([null]));
  signIn(async () => issuer.token("ada"));
  await until(() => expect(seen).toEqual([null, "ada"]));
  expect(told).toEqual([true]);
  expect(client.getAuth()?.decoded).toMatchObject({ sub: "ada" });
  expect(await client.mutation(users.whoamiByMutation, {})).toBe("ada");
  expect(await client.action(users.whoamiByAction, {})).toBe("ada");
  signIn(async () => issuer.token("grace"));
  await until(() => expect(seen).toEqual([null, "ada", "grace"]));
  expect(await client.mutation(users.whoamiByMutation, {})).toBe("grace");
});

test("a token is cleared", async () => {
  const client = connect();
  const { seen, signIn } = follow(client);
  signIn(async () => issuer.token("ada"));
  await until(() => expect(seen.at(-1)).toBe("ada"));
  client.client.clearAuth();
  await until(() => expect(seen.at(-1)).toBeNull());
  expect(await client.mutation(users.whoamiByMutation, {})).toBeNull();
});

test("a token is refreshed before it ends, and nobody notices", async () => {
  const client = connect();
  const { seen, told, signIn } = follow(client);
  let fetched = 0;
  signIn(async () => {
    fetched += 1;
    return issuer.token("ada", { lives: 3 });
  });
  // One that is at hand, one that is new, and then one each two seconds.
  await until(() => expect(fetched).toBe(4));
  expect(await client.mutation(users.whoamiByMutation, {})).toBe("ada");
  expect(seen.at(-1)).toBe("ada");
  expect(seen.filter((user) => user !== null)).toEqual(["ada"]);
  expect(told).toEqual([true]);
});

test("a token that ends before it is refreshed is fetched anew", async () => {
  const client = connect();
  const { seen, told, signIn } = follow(client);
  const refreshed: boolean[] = [];
  // The clock of the client is an hour behind, so it thinks that there is time.
  const iat = Math.floor(Date.now() / 1000) - 3600;
  let lives = 3;
  signIn(async ({ forceRefreshToken }) => {
    refreshed.push(forceRefreshToken);
    const token = issuer.token("ada", { lives, claims: { iat } });
    if (forceRefreshToken) lives = 3600;
    return token;
  });
  await until(() => expect(seen.at(-1)).toBe("ada"));
  const ends = Date.now() + 3000;
  await until(() => expect(Date.now()).toBeGreaterThan(ends));
  expect(await client.mutation(users.whoamiByMutation, {})).toBe("ada");
  expect(seen.filter((user) => user !== null)).toEqual(["ada"]);
  expect(told).toEqual([true]);
  // The one at hand, a new one, and one because the server had refused that.
  expect(refreshed).toEqual([false, true, true]);
});

test("a token that is refused leaves a client that may call what is public", async () => {
  const client = connect();
  const { seen, told, signIn } = follow(client);
  signIn(async () => stranger.token("ada"));
  await until(() => expect(told).toEqual([false]));
  await until(() => expect(seen).toEqual([null]));
  expect(await client.query(users.public, {})).toBe("for everybody");
  signIn(async () => issuer.token("ada"));
  await until(() => expect(seen.at(-1)).toBe("ada"));
  expect(told).toEqual([false, true]);
});

test("who one is outlives a lost connection and a crash", async () => {
  const proxy = await Proxy.before(deployment.url);
  onTestFinished(() => proxy.close());
  const client = connect(proxy.url);
  const { seen, signIn } = follow(client);
  signIn(async () => issuer.token("ada"));
  await until(() => expect(seen.at(-1)).toBe("ada"));
  proxy.cut();
  expect(await client.mutation(users.whoamiByMutation, {})).toBe("ada");
  await deployment.process.kill();
  await deployment.process.start();
  expect(await client.mutation(users.whoamiByMutation, {})).toBe("ada");
  expect(seen.filter((user) => user !== null)).toEqual(["ada"]);
});

// --- in React ------------------------------------------------------------------------

test("ConvexProviderWithAuth: signed in, as another, and out", async () => {
  const client = connectReact();
  function User() {
    const user = useQuery(users.whoami);
    return <p data-testid="user">{String(user)}</p>;
  }
  /** What an application's own provider gives. */
  const signedInAs = (user: string | null) =>
    function useAuth() {
      const fetchAccessToken = useCallback(
        async () => (user === null ? null : issuer.token(user)),
        [user],
      );
      return useMemo(
        () => ({ isLoading: false, isAuthenticated: user !== null, fetchAccessToken }),
        [fetchAccessToken],
      );
    };
  const tree = (user: string | null) => (
    <ConvexProviderWithAuth client={client} useAuth={signedInAs(user)}>
      <User />
      <Authenticated>
        <p data-testid="in">welcome</p>
      </Authenticated>
      <Unauthenticated>
        <p data-testid="out">sign in</p>
      </Unauthenticated>
    </ConvexProviderWithAuth>
  );
  const user = () => screen.getByTestId("user").textContent;

  const { rerender } = render(tree(null));
  await until(() => expect(screen.queryByTestId("out")).not.toBeNull());
  await until(() => expect(user()).toBe("null"));
  rerender(tree("ada"));
  await until(() => expect(user()).toBe("ada"));
  await until(() => expect(screen.queryByTestId("in")).not.toBeNull());
  expect(screen.queryByTestId("out")).toBeNull();
  rerender(tree("grace"));
  await until(() => expect(user()).toBe("grace"));
  rerender(tree(null));
  await until(() => expect(user()).toBe("null"));
  await until(() => expect(screen.queryByTestId("out")).not.toBeNull());
  expect(screen.queryByTestId("in")).toBeNull();
});

test("ConvexReactClient.clearAuth", async () => {
  const client = connectReact();
  client.setAuth(async () => issuer.token("ada"));
  await until(async () => {
    expect(await client.mutation(users.whoamiByMutation)).toBe("ada");
  });
  client.clearAuth();
  expect(await client.mutation(users.whoamiByMutation)).toBeNull();
});

// --- the admin key -------------------------------------------------------------------

/** The clients have these for Convex's own tools; their types do not show them. */
interface ForAdmins {
  setAdminAuth(key: string, actingAs?: object): void;
  function(path: string, component: undefined, args: object): Promise<unknown>;
}

test("an admin reaches internal functions, and may act as a user", async () => {
  const client = connectHttp();
  const admin = client as unknown as ForAdmins;
  const refused = await rejection(client.query(users.secret));
  expect(refused.message).toContain("Could not find public function");
  admin.setAdminAuth(ADMIN_KEY);
  expect(await client.query(users.secret)).toBe("nobody");
  expect(await admin.function("users:secret", undefined, {})).toBe("nobody");
  admin.setAdminAuth(ADMIN_KEY, { issuer: "https://i.test", subject: "ada" });
  expect(await client.query(users.whoami)).toBe("ada");
  admin.setAdminAuth("a wrong key, and long enough");
  const error = await rejection(client.query(users.public));
  expect(JSON.parse(error.message)).toMatchObject({ code: "BadAdminKey" });
});

test.each([
  ["ConvexClient", () => connect()],
  ["ConvexReactClient", () => connectReact()],
])("an admin reaches internal functions with %s", async (_, connect) => {
  const client = connect();
  (client as unknown as ForAdmins).setAdminAuth(ADMIN_KEY, {
    issuer: "https://i.test",
    subject: "ada",
  });
  expect(await client.query(users.secret, {})).toMatchObject({ subject: "ada" });
  expect(await client.query(users.whoami, {})).toBe("ada");
});
