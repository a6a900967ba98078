"""One client on one WebSocket: the I/O around a `SyncState`.

Holds the socket, the queries that it follows and what is waiting to be sent. Two tasks
and a timer: one reads messages and does at once what they ask (a mutation has run and
its answer is queued before the next message is looked at, so mutations of one socket
are in order); one is the only writer, and builds a Transition whenever one is due and
the previous one is with the transport. So a client that reads slowly holds up nobody,
and nothing piles up for it: it gets the newest state when it is ready.

Mirrors `worker.rs` of Convex's sync crate. What a session is owed is decided in
`state`, what its queries return in `subscriptions`, how it ends in `farewell`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import assert_never

from msgspec import UNSET, UnsetType

from kit.deployment.auth import AuthFailed
from kit.deployment.farewell import AuthRefused, Overloaded, Stopping, farewell
from kit.deployment.identity import NOBODY, Identity
from kit.deployment.responses import action_response, mutation_response
from kit.deployment.runtime import Runtime
from kit.deployment.shared_queries import Subscription
from kit.deployment.socket import Socket
from kit.deployment.state import SyncState
from kit.errors import ProtocolError
from kit.protocol import (
    Action,
    ActionResponse,
    Add,
    Authenticate,
    ClientMessage,
    Connect,
    Event,
    ModifyQuerySet,
    Mutation,
    MutationResponse,
    Ping,
    encode,
    parse,
)

__all__ = ["KeepAlive", "Session"]

log = logging.getLogger(__name__)

# A client that does not read its answers is not listened to beyond this many.
MAX_UNSENT = 256
MAX_ACTIONS = 1000
# Rounds in which others may have their turn between two queries, before a session
# that never finds all its results fresh at once runs them in one go.
PATIENT_ROUNDS = 3

_PING = encode(Ping())


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Seconds, as the official server has them.

    `ping`: between WebSocket pings, which the Python client needs every 30 s or so.
    `idle`: of silence until a Ping message; the JavaScript client needs one each 60 s.
    `silence`: without a sign of the client until it is given up.
    """

    ping: float = 5.0
    idle: float = 15.0
    silence: float = 120.0


class Session:
    """Serves one accepted socket: `await session.run()`."""

    def __init__(
        self, runtime: Runtime, socket: Socket, *, keep_alive: KeepAlive | None = None
    ) -> None:
        self._runtime = runtime
        self._socket = socket
        self._keep_alive = keep_alive or KeepAlive()
        self._state = SyncState()
        self._queries: dict[int, Subscription] = {}
        self._identity = NOBODY
        # The client's own once it has sent Connect; until then a random one.
        self._session_id = str(uuid.uuid4())
        self._connected = False
        # The client's clock minus ours in ms, once known.
        self._clock_skew: int | UnsetType = UNSET
        # Encoded messages, oldest first; the writer alone takes from it.
        self._unsent: deque[bytes] = deque()
        self._work = asyncio.Event()
        self._drained = asyncio.Event()
        self._actions = 0
        self._loop = asyncio.get_running_loop()
        self._last_sent = self._loop.time()
        # Done when something else than the client ends the session.
        self._ended: asyncio.Future[None] = self._loop.create_future()

    def __repr__(self) -> str:
        return f"<Session {self._state!r} unsent={len(self._unsent)}>"

    async def run(self) -> None:
        """Serve until the client goes or errs, or `stop` is called; then close."""
        reading, writing, watching = (
            asyncio.create_task(work)
            for work in (self._read(), self._write(), self._watch())
        )
        ends = (reading, writing, watching, self._ended)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            # What the reader has found out comes first: it is what the client did.
            done = [end for end in ends if end.done()]
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            self._unsubscribe_all()
        await self._close(next(filter(None, (end.exception() for end in done)), None))

    def stop(self) -> None:
        """Close because the deployment stops; `run` returns soon."""
        self._end(Stopping())

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def query_changed(self, query_id: int) -> None:
        """A commit touched what a followed query read (see `Watcher`)."""
        self._state.query_changed(query_id)
        self._work.set()

    # --- reading --------------------------------------------------------------

    async def _read(self) -> None:
        """Take messages until the client is gone. Raises what ends the session."""
        while (text := await self._socket.receive()) is not None:
            self._take(parse(text))
            if self._state.due:
                self._work.set()
            # Others have their turn between two functions.
            await asyncio.sleep(0)
            while len(self._unsent) > MAX_UNSENT:
                self._drained.clear()
                await self._drained.wait()

    def _take(self, message: ClientMessage) -> None:
        match message:
            case Connect():
                self._connect(message)
            case ModifyQuerySet():
                self._modify_query_set(message)
            case Mutation():
                self._mutate(message)
            case Action():
                self._act(message)
            case Authenticate():
                self._authenticate(message)
            case Event():
                pass
            case _:
                assert_never(message)

    def _connect(self, message: Connect) -> None:
        self._state.connect(message, self._runtime.engine.latest_timestamp)
        self._session_id = str(message.session_id)
        self._connected = True
        if message.client_ts is not None:
            self._clock_skew = message.client_ts - time.time_ns() // 1_000_000

    def _authenticate(self, message: Authenticate) -> None:
        try:
            identity = self._runtime.auth.of_message(message)
        except AuthFailed as reason:
            raise AuthRefused(reason, attempted=True) from None
        self._state.authenticate(message)
        self._identity = identity
        for subscription in self._queries.values():
            self._runtime.subscriptions.change_identity(subscription, identity)

    def _check_identity(self) -> None:
        """Before anything is run. Raises AuthRefused once the token has ended."""
        try:
            self._runtime.auth.check_current(self._identity)
        except AuthFailed as reason:
            raise AuthRefused(reason, attempted=False) from None

    def _modify_query_set(self, message: ModifyQuerySet) -> None:
        for modification in message.modifications:
            if isinstance(modification, Add):
                _check_component(modification)
        change = self._state.modify_query_set(message)
        for query_id in change.removed:
            self._unsubscribe(query_id)
        for add in change.added:
            self._queries[add.query_id] = self._runtime.subscriptions.subscribe(
                add.udf_path,
                add.args,
                self,
                add.query_id,
                self._identity,
                add.journal,
            )

    def _unsubscribe(self, query_id: int) -> None:
        self._runtime.subscriptions.unsubscribe(self._queries.pop(query_id))

    def _unsubscribe_all(self) -> None:
        for query_id in list(self._queries):
            self._unsubscribe(query_id)

    def _mutate(self, message: Mutation) -> None:
        _check_component(message)
        self._check_identity()
        # Without Connect there is no session in which a request could be repeated.
        known = (self._session_id, message.request_id) if self._connected else None
        outcome = self._runtime.mutation(
            message.udf_path, message.args, self._identity, session=known
        )
        self._respond(mutation_response(self._session_id, message.request_id, outcome))

    def _act(self, message: Action) -> None:
        _check_component(message)
        self._check_identity()
        if self._actions >= MAX_ACTIONS:
            raise Overloaded("TooManyConcurrentActions")
        self._actions += 1
        # The action goes on when this client goes away.
        self._runtime.spawn(self._run_action(message, self._identity))

    async def _run_action(self, message: Action, identity: Identity) -> None:
        try:
            outcome = await self._runtime.action(
                message.udf_path, message.args, identity
            )
        except Exception as error:
            self._end(error)
            return
        self._actions -= 1
        self._respond(action_response(self._session_id, message.request_id, outcome))

    def _respond(self, response: MutationResponse | ActionResponse) -> None:
        self._unsent.append(encode(response))
        self._state.responded()
        self._work.set()

    # --- writing --------------------------------------------------------------

    async def _write(self) -> None:
        """Send what is queued, and Transitions when they are due. Never returns."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self._flush()
            if self._state.due:
                await self._refresh()
                # Nothing may come between: results are those of this timestamp, and
                # the answers queued by now go first.
                self._unsent.append(self._transition())
                await self._flush()

    async def _flush(self) -> None:
        while self._unsent:
            await self._socket.send(self._unsent[0])
            self._unsent.popleft()
            self._last_sent = self._loop.time()
            if len(self._unsent) <= MAX_UNSENT:
                self._drained.set()

    async def _refresh(self) -> None:
        """Run the pending queries that are stale; all are fresh when this returns."""
        for round_number in range(PATIENT_ROUNDS + 1):
            self._check_identity()
            stale = self._stale_queries()
            if not stale:
                return
            for subscription in stale:
                self._runtime.subscriptions.refresh(subscription)
                if round_number < PATIENT_ROUNDS:
                    await asyncio.sleep(0)

    def _stale_queries(self) -> list[Subscription]:
        pending = (self._queries[query_id] for query_id in self._state.pending)
        return [subscription for subscription in pending if subscription.stale]

    def _transition(self) -> bytes:
        results = {
            query_id: self._queries[query_id].result for query_id in self._state.pending
        }
        transition = self._state.transition(
            results,
            self._runtime.engine.latest_timestamp,
            client_clock_skew=self._clock_skew,
            server_ts=time.time_ns(),
        )
        return encode(transition)

    # --- watching and closing -------------------------------------------------

    async def _watch(self) -> None:
        """Keep the client's timers from running out; return when it is silent."""
        while True:
            await asyncio.sleep(self._keep_alive.ping)
            now = self._loop.time()
            if now - self._socket.last_heard > self._keep_alive.silence:
                log.info(
                    "A client was silent for %.0f s: dropped", self._keep_alive.silence
                )
                return
            if self._unsent:
                continue  # what is being sent shows that we are there
            if now - self._last_sent >= self._keep_alive.idle:
                self._unsent.append(_PING)
                self._work.set()
            try:
                async with asyncio.timeout(self._keep_alive.ping):
                    await self._socket.ping()
            except TimeoutError:
                pass  # it does not read; `last_heard` will tell

    async def _close(self, error: BaseException | None) -> None:
        last = farewell(error, self._state.identity_version)
        if last.is_failure:
            log.error("A session failed", exc_info=error)
        elif last.note:
            log.info("Closing a session: %s", last.note)
        await self._socket.close(last.code, last.reason, last=last.last)


def _check_component(message: Add | Mutation | Action) -> None:
    """Raises ProtocolError for a function of another component than the root."""
    if message.component_path:
        raise ProtocolError(
            f"Component {message.component_path[:80]!r} not found: this deployment has "
            "no components"
        )
