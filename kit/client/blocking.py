"""`BlockingDeployment`: a deployment without `await`, for plain cells and scripts.

Holds an event loop, or the running one opened for nesting. All the work is
`Deployment`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from kit.client.deployment import Args, Deployment
from kit.client.link import State, closed
from kit.client.subscription import Subscription
from kit.errors import ConfigError
from kit.values import Value

__all__ = ["BlockingDeployment", "Values"]

T = TypeVar("T")


class BlockingDeployment:
    """`Deployment` with the same methods, called without `await`.

    ```python
    with BlockingDeployment("http://127.0.0.1:3210") as deployment:
        task = deployment.mutation("tasks:create", {"title": "Try it"})
        for messages in deployment.subscribe("messages:byTask", {"taskId": task}):
            break
    ```

    In a script it runs an event loop of its own while a call waits. Where a loop is
    already running, as in every notebook cell, making one calls `nest_asyncio.apply()`,
    which lets a running loop run again from the inside. That costs, for the rest of
    the process: tasks become 1.5 to 2 times slower, `asyncio.run(loop_factory=...)`
    breaks (Python 3.12 and later), and clicks on widgets wait until the cell has ended,
    sometimes longer. Where `await` can be written, and that is in every cell, use
    `Deployment`.

    Belongs to the thread that made it. State changes are seen only while a call waits.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        token: str | None = None,
        admin_key: str | None = None,
    ) -> None:
        """See `Deployment`.

        Raises ConfigError as that does, and where the running loop cannot be nested.
        """
        self._deployment = Deployment(
            url, timeout=timeout, token=token, admin_key=admin_key
        )
        self._loop, self._owns_loop = _loop_to_run()

    @property
    def url(self) -> str:
        return self._deployment.url

    @property
    def timeout(self) -> float:
        return self._deployment.timeout

    def set_auth(self, token: str | None) -> None:
        """See `Deployment.set_auth`."""
        self._deployment.set_auth(token)

    def set_admin_auth(self, admin_key: str) -> None:
        """See `Deployment.set_admin_auth`."""
        self._deployment.set_admin_auth(admin_key)

    @property
    def state(self) -> State:
        """See `Deployment.state`."""
        return self._deployment.state

    def observe(self, callback: Callable[[State], None]) -> Callable[[], None]:
        """See `Deployment.observe`."""
        return self._deployment.observe(callback)

    def connect(self) -> None:
        """See `Deployment.connect`."""
        self._run(self._deployment.connect())

    def query(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Value:
        """See `Deployment.query`."""
        call = self._deployment.query(path, args, timeout=timeout)
        del args  # see `kit.client.tracebacks`
        return self._run(call)

    def mutation(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Value:
        """See `Deployment.mutation`."""
        call = self._deployment.mutation(path, args, timeout=timeout)
        del args
        return self._run(call)

    def action(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Value:
        """See `Deployment.action`."""
        call = self._deployment.action(path, args, timeout=timeout)
        del args
        return self._run(call)

    def subscribe(
        self, path: str, args: Args | None = None, *, timeout: float | None = None
    ) -> Values:
        """The values of a query, now and whenever they change: an endless iterator.

        Each step waits up to `timeout` seconds (None: for ever) for a value that
        differs from the last one, and raises TimeoutError if none comes; the iterator
        is usable after that. Raises as `Subscription` does. Unsubscribes when closed
        or no longer referenced.
        """
        return Values(self, path, args, timeout)

    def close(self) -> None:
        """See `Deployment.close`."""
        if self._loop.is_closed():
            return
        self._run(self._deployment.close())
        if self._owns_loop:
            self._run(self._loop.shutdown_default_executor())
            self._loop.close()

    def __enter__(self) -> BlockingDeployment:
        """Connects; raises DeploymentUnreachable within 5 s."""
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<BlockingDeployment {self.url} {self.state}>"

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            coroutine.close()
            raise closed(self.url)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        finally:
            task.cancel()  # only after an interrupt is it still running


class Values(Iterator[Value]):
    """The iterator that `BlockingDeployment.subscribe` gives."""

    def __init__(
        self,
        deployment: BlockingDeployment,
        path: str,
        args: Args | None,
        timeout: float | None,
    ) -> None:
        self._owner = deployment
        self._subscription: Subscription = deployment._deployment.subscribe(path, args)
        self._timeout = timeout

    def __next__(self) -> Value:
        if self._owner.state == "closed":
            raise StopIteration
        try:
            return self._owner._run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Value:
        try:
            async with asyncio.timeout(self._timeout):
                return await anext(self._subscription)
        except TimeoutError:
            raise TimeoutError(
                f"{self._subscription}: no new value within {self._timeout:g} s."
            ) from None

    def close(self) -> None:
        """Unsubscribe. Iterating ends; may be called again."""
        if self._owner.state != "closed":
            self._owner._run(self._subscription.aclose())


def _loop_to_run() -> tuple[asyncio.AbstractEventLoop, bool]:
    """The loop to run calls in, and whether it is a new one of ours."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.new_event_loop(), True
    import nest_asyncio  # changes asyncio for the whole process: only on request

    try:
        nest_asyncio.apply(running)
    except ValueError as error:
        raise ConfigError(
            f"This event loop cannot be entered again ({error}). "
            "Use Deployment and await its methods."
        ) from None
    return running, False
