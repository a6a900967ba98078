"""`Deployment`: one Convex deployment, for code that awaits.

Puts together the calls (`kit.client.calls`) and the subscriptions
(`kit.client.link`). Nothing here ever blocks the event loop.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from kit.client.calls import Calls, Kind, origin
from kit.client.credentials import Credentials, credentials_of
from kit.client.link import Link, State, closed
from kit.client.subscription import Subscription
from kit.client.tracebacks import raised_here
from kit.errors import DeploymentUnreachable
from kit.llm.secret import Secret
from kit.values import JsonValue, Value, to_json

__all__ = ["ACTION_TIMEOUT", "Args", "Deployment"]

Args = Mapping[str, Any]

ACTION_TIMEOUT = 600.0


class Deployment:
    """A Convex deployment at a URL: embedded, self-hosted or in Convex's cloud.

    ```python
    async with Deployment("http://127.0.0.1:3210") as deployment:
        task = await deployment.mutation("tasks:create", {"title": "Try it"})
        async for messages in deployment.subscribe("messages:byTask", {"taskId": task}):
            ...
    ```

    Calls go over HTTP, subscriptions over the official client, which runs in a worker
    process. `connect()` is optional: the first use connects. A deployment that goes
    away shows as `state` "reconnecting" and heals by itself; subscriptions wait.

    Args and values are Convex values: None, bool, float (an int is sent as one), str,
    bytes, `convex.ConvexInt64`, list, dict. Args may hold a `kit.llm.secret.Secret`,
    which shows itself to the deployment alone. Belongs to the event loop of its first
    use.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        token: str | None = None,
        admin_key: str | None = None,
    ) -> None:
        """`timeout`: seconds for a query or a mutation. `token`: of the user as whom it
        acts, or else `admin_key`: the deployment's; see `set_auth`, `set_admin_auth`.

        Raises ConfigError for a bad URL, and for a token or a key that cannot be one.
        """
        self.url = origin(url)
        self.timeout = timeout
        credentials = credentials_of(token, admin_key)
        self._calls = Calls(self.url, credentials)
        self._link = Link(self.url, self._calls.probe, credentials)

    def set_auth(self, token: str | None) -> None:
        """Act as the user to whom this token (a JWT) was given; as nobody for None.

        From the next call on; subscriptions become those of that user within moments.
        A token ends: give a newer one before, and nothing is interrupted. Afterwards,
        calls raise RequestRejected (401), and so do subscriptions within some seconds,
        until there is a newer one. Raises ConfigError for what can be no token.
        """
        self._show(credentials_of(token, None))

    def set_admin_auth(self, admin_key: str) -> None:
        """Act as an admin: internal functions are in reach, and no user is signed in.

        Raises ConfigError for what can be no key.
        """
        self._show(credentials_of(None, admin_key))

    def _show(self, credentials: Credentials) -> None:
        self._calls.credentials = credentials
        self._link.show(credentials)

    @property
    def state(self) -> State:
        """`connecting` until the first answer, then `connected` or `reconnecting`.

        While there are subscriptions a loss is noticed within about a second, or five
        if the deployment is there but silent; otherwise by the next call.
        """
        return self._link.state

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._link.worker_pid

    def observe(self, callback: Callable[[State], None]) -> Callable[[], None]:
        """Call `callback(state)` at each change of state; call the result to stop.

        It runs in the event loop; an exception in it is logged.
        """
        return self._link.observe(callback)

    async def connect(self) -> None:
        """Make sure that a deployment answers.

        Raises DeploymentUnreachable within 5 s if none does; may then be tried again,
        and needs no `close()`.
        """
        try:
            await self._link.connect()
        except DeploymentUnreachable:
            if self.state == "connecting":
                await self._calls.close()
            raise

    async def until_connected(self, *, timeout: float | None = None) -> None:
        """Wait while the deployment is away; at once if it is not.

        Raises TimeoutError after `timeout` seconds (None: waits for ever), and
        DeploymentError if this object is or gets closed. Before the first answer it is
        `connect`, and raises what that raises.
        """
        await self.connect()
        changed = asyncio.Event()
        stop = self.observe(lambda _: changed.set())
        try:
            async with asyncio.timeout(timeout):
                while self.state == "reconnecting":
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise TimeoutError(
                f"{self.url} did not come back within {timeout:g} s."
            ) from None
        finally:
            stop()
        await self.connect()

    async def query(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Value:
        """Run a query, such as `messages:byTask`, and return its value.

        Raises FunctionError or ConvexFunctionError (it raised), RequestRejected (the
        deployment refused the request), DeploymentUnreachable (nobody answers),
        DeploymentError (no answer within `timeout` seconds), ValueError or TypeError
        (`args` hold something that is not a Convex value).
        """
        call = self._call("query", path, args, timeout or self.timeout)
        del args  # see `raised_here`
        return await raised_here(call)

    async def mutation(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Value:
        """Run a mutation and return its value. Raises as `query` does.

        It is sent once. After a lost connection or a timeout it may have run all the
        same, and cancelling does not undo it.
        """
        call = self._call("mutation", path, args, timeout or self.timeout)
        del args
        return await raised_here(call)

    async def action(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Value:
        """Run an action and return its value; `timeout` is 600 s by default.

        Raises as `query` does. It is sent once; after a lost connection, a timeout or a
        cancellation it may still be running.
        """
        call = self._call("action", path, args, timeout or ACTION_TIMEOUT)
        del args
        return await raised_here(call)

    async def _call(
        self, kind: Kind, path: str, args: Args | None, timeout: float
    ) -> Value:
        encoded = _encode(args)
        if self.state == "connecting":
            await self._link.connect()
        elif self.state == "closed":
            raise closed(self.url)
        try:
            return await self._calls.call(kind, path, encoded, timeout)
        except DeploymentUnreachable:
            self._link.suspect()
            raise

    def subscribe(self, path: str, args: Args | None = None) -> Subscription:
        """The values of a query, now and whenever they change.

        Returns at once. Raises ValueError or TypeError if `args` hold something that
        is not a Convex value, DeploymentError if this object has been closed; what the
        query raises comes out of the iteration.
        """
        slot = self._link.add(path, _encode(args))

        def release() -> None:
            self._link.remove(slot)

        subscription = Subscription(slot, self._link.attach, release)
        weakref.finalize(subscription, release).atexit = False
        return subscription

    async def close(self) -> None:
        """End the subscriptions, the worker and the connections.

        May be called again.
        """
        await self._link.close()
        await self._calls.close()

    async def __aenter__(self) -> Deployment:
        """Connects; raises DeploymentUnreachable within 5 s."""
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Deployment {self.url} {self.state}>"


def _encode(args: Args | None) -> JsonValue:
    if args is not None and not isinstance(args, Mapping):
        raise TypeError(
            f"args must be a dict of named arguments, not {type(args).__name__}"
        )
    return to_json(_revealed(dict(args or {})))


def _revealed(value: Any) -> Any:
    """The value with its secrets in the clear, for what is sent and nothing else."""
    match value:
        case Secret():
            return value.reveal()
        case dict():
            return {name: _revealed(item) for name, item in value.items()}
        case list() | tuple():
            return [_revealed(item) for item in value]
        case _:
            return value
