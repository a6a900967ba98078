"""The official `convex` client in a process of its own, for tests.

It holds the interpreter lock while it waits, so a test that used it directly could be
neither timed out nor interrupted. Each call here is a message to the process; waiting
for the answer has a limit.
"""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import convex

TIMEOUT = 20.0  # s


class OfficialClient:
    """A `ConvexClient` in another process."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(url, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def query(self, path: str, args: dict[str, Any] | None = None) -> Any:
        return self._ask("query", path, args)

    def mutation(self, path: str, args: dict[str, Any] | None = None) -> Any:
        return self._ask("mutation", path, args)

    def action(self, path: str, args: dict[str, Any] | None = None) -> Any:
        return self._ask("action", path, args)

    def set_auth(self, token: str) -> None:
        self._ask("set_auth", token)

    def clear_auth(self) -> None:
        self._ask("clear_auth")

    def set_admin_auth(self, key: str) -> None:
        self._ask("set_admin_auth", key)

    def subscribe(
        self, path: str, args: dict[str, Any] | None = None
    ) -> "OfficialSubscription":
        return OfficialSubscription(self, self._ask("subscribe", path, args))

    def begin(self, method: str, *args: Any) -> None:
        """Ask without waiting; `finish` waits."""
        self._connection.send((method, args))

    def finish(self, timeout: float = TIMEOUT) -> Any:
        """The answer to `begin`. Raises what the client raised."""
        if not self._connection.poll(timeout):
            raise AssertionError(f"The official client did not answer in {timeout} s")
        kind, result = self._connection.recv()
        if kind == "convex error":
            raise convex.ConvexError(*result)
        if kind == "error":
            raise result
        return result

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _ask(self, method: str, *args: Any) -> Any:
        self.begin(method, *args)
        return self.finish()


class OfficialSubscription:
    """A `QuerySubscription` in another process."""

    def __init__(self, client: OfficialClient, number: int) -> None:
        self._client = client
        self._number = number

    def next(self) -> Any:
        """The next value. Raises what the iterator raises."""
        return self._client._ask("next", self._number)

    def until(self, value: Any) -> None:
        """Take values until this one comes."""
        while (found := self.next()) != value:
            assert found is not None

    def unsubscribe(self) -> None:
        self._client._ask("unsubscribe", self._number)


@contextmanager
def official_client(url: str) -> Iterator[OfficialClient]:
    client = OfficialClient(url)
    try:
        yield client
    finally:
        client.close()


def _serve(url: str, connection: Connection) -> None:
    """The process: one call after the other."""
    client = convex.ConvexClient(url)
    subscriptions: list[convex.QuerySubscription] = []
    while True:
        method, args = connection.recv()
        result: Any = None
        try:
            match method:
                case "subscribe":
                    subscriptions.append(client.subscribe(*args))
                    result = len(subscriptions) - 1
                case "next":
                    result = next(subscriptions[args[0]])
                case "unsubscribe":
                    subscriptions[args[0]].unsubscribe()
                case _:
                    result = getattr(client, method)(*args)
        except convex.ConvexError as error:
            connection.send(("convex error", (str(error), error.data)))
        except Exception as error:
            connection.send(("error", error))
        else:
            connection.send(("value", result))
