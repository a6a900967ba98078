"""One subscription as its consumer sees it, and the slot its outcomes arrive in.

Holds the newest outcome of one subscribed query and the iterator over it. Does not
know where outcomes come from: `kit.client.link` puts them in.

The slot outlives what feeds it. When a worker is replaced, the same slot gets the
outcomes of the next one, and an outcome that the consumer has already taken is not
given to it again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from kit.errors import DeploymentError
from kit.values import JsonValue, Value, from_json

__all__ = ["Failed", "Outcome", "Slot", "Subscription", "Succeeded"]

_REQUEST_ID = re.compile(r"\[Request ID: [^\]]*\] ")


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The query's value, as encoded JSON text: decoded only if somebody takes it."""

    value_json: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """What taking this outcome raises."""

    error: DeploymentError

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the same failure: each run has its own request id in the text."""
        data = getattr(self.error, "data", None)
        return _REQUEST_ID.sub("", str(self.error)), repr(data)


Outcome = Succeeded | Failed


def _same(one: Outcome, other: Outcome | None) -> bool:
    if isinstance(one, Failed) and isinstance(other, Failed):
        return one.key == other.key
    return one == other


class Slot:
    """Where the outcomes of one subscribed query arrive; the newest one stays."""

    def __init__(self, slot_id: int, path: str, args: JsonValue) -> None:
        self.id = slot_id
        self.path = path
        self.args = args
        self.outcome: Outcome | None = None
        self.closed = False
        self.changed = asyncio.Event()
        self._latest: Value = None
        self._undecoded: bytes | None = None

    def put(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if isinstance(outcome, Succeeded):
            self._undecoded = outcome.value_json
        self.changed.set()

    @property
    def latest(self) -> Value:
        """The newest value; None before the first."""
        if self._undecoded is not None:
            self._latest = from_json(msgspec.json.decode(self._undecoded))
            self._undecoded = None
        return self._latest

    def close(self) -> None:
        self.closed = True
        self.changed.set()


class Subscription:
    """The values of one query, as they change: an async iterator.

    ```python
    async for messages in deployment.subscribe("messages:byTask", {"taskId": task}):
        print(len(messages))
    ```

    Yields the present value, then each new one. Values equal to the last one taken are
    not repeated. A consumer that is slower than the changes skips to the newest value;
    nothing piles up. While the deployment is unreachable it waits; when the deployment
    is back it goes on with the newest value.

    Taking the next value raises FunctionError (or ConvexFunctionError) if the query
    failed, and DeploymentUnreachable if nobody has ever answered at the URL; the
    subscription stays usable, and the next call waits for the next outcome.
    Cancelling a pending `anext` (a timeout, a stopped task) loses nothing.

    Ends on `aclose()`, at the end of an `async with` block, when the deployment object
    is closed, or when the last reference to it goes: leaving an `async for` is enough.
    """

    def __init__(
        self,
        slot: Slot,
        connect: Callable[[], Awaitable[None]],
        release: Callable[[], object],
    ) -> None:
        self._slot = slot
        self._connect = connect
        self._release = release
        self._taken: Outcome | None = None

    @property
    def latest(self) -> Value:
        """The newest value that has arrived, taken or not; None before the first."""
        return self._slot.latest

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Value:
        slot = self._slot
        if not slot.closed:
            await self._connect()
        while not slot.closed:
            outcome = slot.outcome
            if outcome is not None and not _same(outcome, self._taken):
                self._taken = outcome
                return self._open(outcome)
            slot.changed.clear()
            await slot.changed.wait()
        raise StopAsyncIteration

    def _open(self, outcome: Outcome) -> Value:
        match outcome:
            case Succeeded():
                return self._slot.latest
            case Failed(error):
                raise error

    async def aclose(self) -> None:
        """Unsubscribe. A pending `anext` ends the iteration. May be called again."""
        self._release()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._slot.closed else "open"
        return f"<Subscription {self._slot.path} {self._slot.args} {state}>"
