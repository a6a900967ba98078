"""What keeps a deployment's subscriptions fed: the state, the prober, the worker.

Holds the connection state of one deployment and all slots. Does not make calls and
does not know what a value means.

```text
connecting ──answered──► connected ──no answer twice, worker died──► reconnecting
                             ▲                                           │
                             └───────────── answered, new worker ────────┘
any ──close──► closed
```

The prober asks `/version` each second while there are subscriptions. After an outage
the worker is replaced: the official client's own back-off grows to 15 s, a new client
connects at once. All slots are subscribed again in the new one. So it is when a token
has ended, with which the official client goes on trying, and another one is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from kit.client.background import cancel, keep_awake, spawn
from kit.client.credentials import NOTHING, Credentials
from kit.client.subscription import Failed, Slot, Succeeded
from kit.client.worker_process import WorkerMessage, WorkerProcess
from kit.errors import (
    ConvexFunctionError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
    RequestRejected,
)
from kit.values import JsonValue, from_json

__all__ = ["Link", "State"]

logger = logging.getLogger("kit.client")

State = Literal["connecting", "connected", "reconnecting", "closed"]
Probe = Callable[[float], Awaitable[None]]

CONNECT_TIMEOUT = 4.0
PROBE_TIMEOUT = 2.0
PROBE_INTERVAL = 1.0
RETRY_INTERVAL = 0.3
MUTE_WORKERS = 2  # that many have ended in a row without an outcome: say so
TOKEN_LEEWAY = 10.0  # so long after its end, a deployment may still take a token
MUTE_ROUNDS = 8  # that many rounds of the prober, and no outcome: say so


class Link:
    """The connection to one deployment, shared by all its subscriptions.

    `probe(timeout)` raises DeploymentUnreachable unless a deployment answers.
    Everything here runs in the loop that connects first.
    """

    def __init__(
        self, url: str, probe: Probe, credentials: Credentials = NOTHING
    ) -> None:
        self._url = url
        self._probe = probe
        self._credentials = credentials
        self._outdated = False  # the worker has a token that has ended
        self.state: State = "connecting"
        self._closed = False
        self._observers: list[Callable[[State], None]] = []
        self._slots: dict[int, Slot] = {}
        self._next_id = 0
        self._worker: WorkerProcess | None = None
        self._mute_workers = 0
        self._mute_rounds = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connecting = asyncio.Lock()
        self._news = asyncio.Event()
        self._suspected = False
        self._next_probe = 0.0  # in the loop's time
        self._tasks: list[asyncio.Task[None]] = []

    # --- state ------------------------------------------------------------------

    def observe(self, callback: Callable[[State], None]) -> Callable[[], None]:
        """Call `callback` with each new state; the result stops that."""
        self._observers.append(callback)

        def stop() -> None:
            with contextlib.suppress(ValueError):
                self._observers.remove(callback)

        return stop

    def _become(self, state: State) -> None:
        if state == self.state or (self._closed and state != "closed"):
            return
        logger.info("%s: %s", self._url, state)
        self.state = state
        for callback in list(self._observers):
            try:
                callback(state)
            except Exception:
                logger.exception("An observer of %s failed", self._url)

    # --- life -------------------------------------------------------------------

    async def connect(self) -> None:
        """Make sure that a deployment has answered once; start what keeps it so.

        Raises DeploymentUnreachable within 5 s; may be tried again.
        """
        async with self._connecting:
            if self._loop is None and not self._closed:
                await self._probe(CONNECT_TIMEOUT)
            if self._closed:
                raise closed(self._url)
            if self._loop is not None:
                return
            self._loop = asyncio.get_running_loop()
            self._tasks = [
                spawn(self._supervise(), f"link to {self._url}"),
                spawn(keep_awake(), "keep awake"),
            ]
            self._become("connected")

    async def attach(self) -> None:
        """Connect, for a subscription: it must be used in the loop that feeds it.

        Raises DeploymentUnreachable, or DeploymentError in another loop.
        """
        await self.connect()
        if self._loop is not asyncio.get_running_loop():
            raise DeploymentError(
                f"The Deployment for {self._url} was first used in another event loop, "
                "where its subscriptions are fed. Make a Deployment in this one."
            )

    @property
    def worker_pid(self) -> int | None:
        return self._worker.pid if self._worker is not None else None

    async def close(self) -> None:
        """End all subscriptions and the worker. May be called again."""
        self._closed = True
        for slot in self._slots.values():
            slot.close()
        self._slots.clear()
        self._become("closed")
        await cancel(*self._tasks)
        await self._stop_worker()

    def suspect(self) -> None:
        """A call could not reach the deployment: look now, not at the next second."""
        self._suspected = True
        self._news.set()

    def show(self, credentials: Credentials) -> None:
        """Act as somebody else from now on, or with a newer token."""
        self._outdated |= _seconds_since_end(self._credentials) > 0
        self._credentials = credentials
        if self._worker is not None:
            self._worker.show(credentials)
        self._news.set()

    # --- subscriptions ----------------------------------------------------------

    def add(self, path: str, args: JsonValue) -> Slot:
        """A slot for a new subscription; it fills once there is a connection."""
        if self._closed:
            raise closed(self._url)
        slot = Slot(self._next_id, path, args)
        self._next_id += 1
        self._slots[slot.id] = slot
        if self._worker is not None:
            self._worker.subscribe(slot.id, path, args)
        self._news.set()
        return slot

    def remove(self, slot: Slot) -> None:
        """Unsubscribe, from whatever thread the garbage collector runs in."""
        if self._loop is None:
            self._remove(slot)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                self._loop.call_soon_threadsafe(self._remove, slot)

    def _remove(self, slot: Slot) -> None:
        slot.close()
        if self._slots.pop(slot.id, None) is not None and self._worker is not None:
            self._worker.unsubscribe(slot.id)

    def _take(self, message: WorkerMessage) -> None:
        slot = self._slots.get(message.id)
        if slot is None:
            return  # unsubscribed while it was under way
        self._mute_workers = 0
        if isinstance(message.value, msgspec.Raw):
            slot.put(Succeeded(bytes(message.value)))
        else:
            slot.put(Failed(_error_of(slot.path, message)))

    # --- supervision ------------------------------------------------------------

    async def _supervise(self) -> None:
        while True:
            try:
                await self._step()
            except Exception:
                logger.exception("The link to %s failed; it goes on", self._url)
                await asyncio.sleep(RETRY_INTERVAL)

    async def _step(self) -> None:
        if self.state == "reconnecting":
            if self._mute_workers:
                await asyncio.sleep(min(RETRY_INTERVAL * 2**self._mute_workers, 5.0))
            if await self._answers():
                await self._stop_worker()
                await self._start_worker_if_needed()
                self._become("connected")
            else:
                await asyncio.sleep(RETRY_INTERVAL)
            return
        if self._outdated:
            await self._stop_worker()
        await self._start_worker_if_needed()
        await self._wait_for_news()
        now = asyncio.get_running_loop().time()
        if now < self._next_probe and not self._suspected:
            return
        self._next_probe = now + PROBE_INTERVAL
        self._count_mute_round()
        self._tell_if_token_ended()
        looking = self._slots or self._suspected
        self._suspected = False
        if looking and not await self._answers() and not await self._answers():
            # Twice: after a cell that blocked the loop, a probe may time out although
            # its answer is there.
            self._become("reconnecting")

    async def _wait_for_news(self) -> None:
        """Wait for a new subscription, a suspicion, or the time of the next probe."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._next_probe):
                await self._news.wait()
        self._news.clear()

    async def _answers(self) -> bool:
        try:
            await self._probe(PROBE_TIMEOUT)
        except DeploymentUnreachable:
            return False
        return True

    async def _start_worker_if_needed(self) -> None:
        if self._worker is not None or not self._slots:
            return
        self._worker = await WorkerProcess.start(
            self._url, on_message=self._take, on_end=self._worker_ended
        )
        self._mute_rounds = 0
        self._outdated = False
        self._worker.show(self._credentials)
        for slot in self._slots.values():
            self._worker.subscribe(slot.id, slot.path, slot.args)

    async def _stop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    def _worker_ended(self, worker: WorkerProcess) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        logger.warning("The subscription worker ended: %s", worker.tail)
        if self.state == "connected" and not worker.has_spoken:
            self._mute_workers += 1
        if self._mute_workers >= MUTE_WORKERS:
            self._tell_mute(worker)
        self._become("reconnecting")
        self._news.set()

    def _count_mute_round(self) -> None:
        # Rounds, not seconds: a cell that blocks the loop for long is one round.
        if self._worker is None or self._worker.has_spoken or not self._slots:
            self._mute_rounds = 0
            return
        self._mute_rounds += 1
        if self._mute_rounds == MUTE_ROUNDS:
            self._tell_mute(self._worker)

    def _tell_mute(self, worker: WorkerProcess) -> None:
        reason = (
            "it answers HTTP, but no subscription gets a value over its WebSocket at "
            f"/api/sync; the subscription worker logged: {worker.tail}"
        )
        if self._credentials.kind != "nobody":
            reason += f". Does it accept the {self._credentials.kind}? A call tells"
        for slot in self._slots.values():
            slot.put(Failed(DeploymentUnreachable(self._url, reason)))

    def _tell_if_token_ended(self) -> None:
        """The official client is silent about it, and tries again for ever."""
        if _seconds_since_end(self._credentials) > TOKEN_LEEWAY:
            text = "The token has ended. Give a new one with set_auth()."
            for slot in self._slots.values():
                slot.put(Failed(RequestRejected(401, "TokenExpired", text)))


def _seconds_since_end(credentials: Credentials) -> float:
    ends = credentials.ends
    return -math.inf if ends is None else time.time() - ends


def _error_of(path: str, message: WorkerMessage) -> DeploymentError:
    if isinstance(message.refused, str):
        code = "BadConvexFunctionIdentifier"
        return RequestRejected(400, code, f"{path!r}: {message.refused}")
    text = message.error or "Server Error"
    if isinstance(message.data, msgspec.Raw):
        data = from_json(msgspec.json.decode(message.data))
        return ConvexFunctionError(path, text, data)
    return FunctionError(path, text)


def closed(url: str) -> DeploymentError:
    return DeploymentError(f"The Deployment for {url} has been closed. Make another.")
