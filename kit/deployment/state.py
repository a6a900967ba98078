"""PURE: what one session holds and is owed.

Holds, for one WebSocket: the query ids that the client subscribed, the result last
sent for each, which of them may have changed, the removals not yet confirmed, and the
version that the client is at. Messages go in, a Transition comes out. It does not run
queries, know their function paths or arguments (`subscriptions` does), read a clock,
wait, or write to a socket (`session` does).

Mirrors `state.rs` of Convex's sync worker. The rules:

* A Transition is due after every ModifyQuerySet, Authenticate, mutation response and
  action response, and when a subscribed query may have changed. Whatever becomes due
  until the next Transition is built goes into that one.
* A Transition starts exactly where the previous one ended; its timestamp never goes
  back; all results that the client then holds are those of that timestamp.
* A result equal to the one last sent (value and log lines; for errors the text
  without its request id) is left out.
* A query that failed stays subscribed.

The session builds the next Transition only once the previous one is with the
transport. So a slow client makes nothing pile up: it gets the newest state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from msgspec import UNSET, Raw, UnsetType

from kit.errors import ProtocolError
from kit.protocol import (
    Add,
    Authenticate,
    Connect,
    Modification,
    ModifyQuerySet,
    QueryFailed,
    QueryRemoved,
    QueryUpdated,
    Remove,
    StateVersion,
    Transition,
)

__all__ = [
    "OutOfStep",
    "QueryError",
    "QueryResult",
    "QuerySetChange",
    "SyncState",
]


class OutOfStep(ProtocolError):
    """The client and this session cannot go on together: close, it reconnects.

    Unlike for a plain ProtocolError, reconnecting helps: the fault is in what the two
    sides remember, not in the message.
    """


@dataclass(frozen=True, slots=True)
class QueryError:
    """How a query failed."""

    # Without the request id, which differs each time.
    message: str
    # As the client sees it, with the request id.
    text: str = field(compare=False)
    # JSON text of a ConvexError's data; None for any other error.
    data: str | None = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query returned: JSON text of the value, or how it failed."""

    value: str | QueryError
    log_lines: tuple[str, ...] = ()
    # Of a page: the client gives it back when it subscribes anew.
    journal: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class QuerySetChange:
    """What to unsubscribe, then what to subscribe.

    An id that comes and goes within one message is in neither.
    """

    removed: tuple[int, ...]
    added: tuple[Add, ...]


class SyncState:
    """The state of one session, from an empty query set at version zero."""

    def __init__(self) -> None:
        # What the client has asked for; the next Transition moves it there.
        self._query_set = 0
        self._identity = 0
        # Where the client is: the end of the last Transition.
        self._version = StateVersion.at(0, 0, 0)
        self._timestamp = 0
        # Live queries and the result last sent; None until there was one.
        self._sent: dict[int, QueryResult | None] = {}
        # Live queries whose result may not be the one last sent.
        self._pending: set[int] = set()
        # Removed by the client, not yet confirmed to it.
        self._removed: set[int] = set()
        self._connected = False
        self._due = False

    def __repr__(self) -> str:
        return (
            f"<SyncState queries={len(self._sent)} pending={len(self._pending)} "
            f"version={self._query_set}.{self._identity}@{self._timestamp}>"
        )

    @property
    def identity_version(self) -> int:
        """How many changes of identity were taken."""
        return self._identity

    @property
    def due(self) -> bool:
        """Whether the client is owed a Transition."""
        return self._due

    @property
    def pending(self) -> frozenset[int]:
        """The query ids whose results `transition` needs."""
        return frozenset(self._pending)

    def connect(self, message: Connect, latest_timestamp: int) -> None:
        """Take the first message of a socket.

        Raises OutOfStep when the client has seen a later time than `latest_timestamp`
        (the deployment's): going on would show it an older state. Raises ProtocolError
        on a second Connect or a broken timestamp.
        """
        if self._connected:
            raise ProtocolError("Connect was sent twice on one socket")
        observed = message.observed()
        if observed > latest_timestamp:
            raise OutOfStep(
                f"the client has observed timestamp {observed}, "
                f"this deployment is at {latest_timestamp}"
            )
        self._connected = True

    def modify_query_set(self, message: ModifyQuerySet) -> QuerySetChange:
        """Take a change of the query set; answer what to subscribe and unsubscribe.

        Raises ProtocolError when the versions do not fit, OutOfStep when a query id is
        added twice or an unknown one is removed; nothing has changed then.
        """
        if message.base_version != self._query_set:
            raise ProtocolError(
                f"Base version {message.base_version} passed up doesn't match "
                f"the current version {self._query_set}"
            )
        if message.new_version <= message.base_version:
            raise ProtocolError(
                f"New version {message.new_version} passed up isn't greater than "
                f"the base version {message.base_version}"
            )
        self._check_query_ids(message)
        added: dict[int, Add] = {}
        removed: list[int] = []
        for change in message.modifications:
            match change:
                case Add(query_id):
                    self._sent[query_id] = None
                    self._pending.add(query_id)
                    self._removed.discard(query_id)
                    added[query_id] = change
                case Remove(query_id):
                    del self._sent[query_id]
                    self._pending.discard(query_id)
                    self._removed.add(query_id)
                    if added.pop(query_id, None) is None:
                        removed.append(query_id)
                case _:
                    assert_never(change)
        self._query_set = message.new_version
        self._due = True
        return QuerySetChange(tuple(removed), tuple(added.values()))

    def _check_query_ids(self, message: ModifyQuerySet) -> None:
        """Nothing is changed by a message that asks for something impossible."""
        live: dict[int, bool] = {}
        for change in message.modifications:
            query_id = change.query_id
            is_live = live.get(query_id, query_id in self._sent)
            if isinstance(change, Add) and is_live:
                raise OutOfStep(f"query {query_id} was added twice")
            if isinstance(change, Remove) and not is_live:
                raise OutOfStep(f"query {query_id} was removed, but is not subscribed")
            live[query_id] = isinstance(change, Add)

    def authenticate(self, message: Authenticate) -> None:
        """Take a change of identity that has been found to be right.

        Whose results are not those of the new identity is for `query_changed` to say.
        Raises OutOfStep when the version does not fit.
        """
        if message.base_version != self._identity:
            raise OutOfStep(
                f"identity version {message.base_version} was passed up, "
                f"the current one is {self._identity}"
            )
        self._identity += 1
        self._due = True

    def responded(self) -> None:
        """A mutation or an action was answered: the client waits for a Transition."""
        self._due = True

    def query_changed(self, query_id: int) -> None:
        """The result of this query may be another. No longer subscribed: nothing."""
        if query_id in self._sent:
            self._pending.add(query_id)
            self._due = True

    def transition(
        self,
        results: Mapping[int, QueryResult],
        timestamp: int,
        *,
        client_clock_skew: int | UnsetType = UNSET,
        server_ts: int | UnsetType = UNSET,
    ) -> Transition:
        """Bring the client to `timestamp` (nanoseconds); nothing is due afterwards.

        `results` holds every pending query's result, and every query that is not
        pending must be unchanged at `timestamp`.
        """
        if timestamp < self._timestamp:
            raise AssertionError(
                f"timestamp {timestamp} is before {self._timestamp}, which was sent"
            )
        modifications: dict[int, Modification] = {
            query_id: QueryRemoved(query_id) for query_id in self._removed
        }
        for query_id in self._pending:
            result = results[query_id]
            if result != self._sent[query_id]:
                modifications[query_id] = _modification(query_id, result)
            self._sent[query_id] = result

        start = self._version
        self._version = StateVersion.at(self._query_set, self._identity, timestamp)
        self._timestamp = timestamp
        self._removed.clear()
        self._pending.clear()
        self._due = False
        return Transition(
            start,
            self._version,
            [modifications[query_id] for query_id in sorted(modifications)],
            client_clock_skew,
            server_ts,
        )


def _modification(query_id: int, result: QueryResult) -> QueryUpdated | QueryFailed:
    match result.value:
        case str(value):
            return QueryUpdated(query_id, Raw(value), result.log_lines, result.journal)
        case QueryError(text=text, data=data):
            return QueryFailed(
                query_id,
                text,
                UNSET if data is None else Raw(data),
                result.log_lines,
                result.journal,
            )
        case _:
            assert_never(result.value)
