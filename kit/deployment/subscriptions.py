"""The results that clients follow, shared by all sessions.

Holds one result for each (function path, arguments), whoever follows it, and which
index intervals it was read from; once the query has asked who calls, one result for
each user. After a commit it says which results may have changed; `refresh` runs such a
query once, however many follow it. A result that nobody follows any more is dropped.
It runs queries through the engine, without waiting; what a session has been sent is
not known here (`state`).

A page of a paginated query keeps its end as long as it is followed: that is in its
journal, which each run takes from the one before. Whoever comes later begins with a
page of its own, or with the journal that it had before its connection was lost.

The invariants that make transitions consistent: a result that is not stale is the
one that its query would have, for all who follow it, at the engine's latest timestamp,
because every commit marks what it touches before anything else happens; and of a
stale one all who follow it have been told.

Mirrors Convex's subscription manager and its query cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from msgspec import Raw

from kit.deployment.engine import QueryOutcome
from kit.deployment.failures import FunctionFailure
from kit.deployment.identity import NOBODY, Identity, UserIdentity
from kit.deployment.intervals import IntervalIndex
from kit.deployment.paths import parse_path
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.deployment.requests import decode_args, new_request_id
from kit.deployment.shared_queries import (
    NOTHING_READ,
    QueryFamily,
    QueryKey,
    SharedQuery,
    Subscription,
    Watcher,
)
from kit.deployment.state import QueryError, QueryResult
from kit.values import InvalidValue, JsonValue, canonical, from_json

__all__ = ["Subscriptions"]

RunQuery = Callable[[str, JsonValue, Identity, str | None], QueryOutcome]


class Subscriptions:
    """All followed queries of a deployment; `run_query` is the engine's."""

    def __init__(self, run_query: RunQuery) -> None:
        self._run_query = run_query
        # Those that newcomers can join.
        self._families: dict[QueryKey, QueryFamily] = {}
        self._followed: set[SharedQuery] = set()
        self._readers: dict[int, IntervalIndex[SharedQuery]] = {}

    def __len__(self) -> int:
        """How many results are held."""
        return len(self._followed)

    def subscribe(
        self,
        path: str,
        args: Raw,
        watcher: Watcher,
        query_id: int,
        identity: Identity = NOBODY,
        journal: str | None = None,
    ) -> Subscription:
        """Let `watcher` follow a query as its `query_id`. It is not run here.

        `journal`: of a page that it followed before.
        """
        decoded = decode_args(path, args)
        key = (*_key_of(path, decoded, args), identity.is_admin, journal)
        family = self._family(key, path, decoded)
        query = family.query_for(identity.user, journal)
        self._followed.add(query)
        return Subscription(watcher, query_id, identity, query)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Undo `subscribe`; the last one to leave drops the result."""
        query = subscription.query
        query.followers.discard(subscription)
        family = query.family
        if query.followers or family.queries.get(query.user) is not query:
            return
        self._follow(query, NOTHING_READ)
        self._followed.discard(query)
        del family.queries[query.user]
        if not family.queries:
            self._close(family)

    def change_identity(self, subscription: Subscription, identity: Identity) -> None:
        """Follow as somebody else; the watcher is told if that makes a difference."""
        before, subscription.identity = subscription.identity, identity
        family, journal = subscription.query.family, subscription.query.journal
        if before.is_admin != identity.is_admin:
            path, args, *_ = family.key
            key = (path, args, identity.is_admin, journal)
            family = self._family(key, family.path, family.args)
        query = family.query_for(identity.user, journal)
        if query is not subscription.query:
            self._move(subscription, query)
            subscription.watcher.query_changed(subscription.query_id)

    def refresh(self, subscription: Subscription) -> None:
        """Run a stale query, unless the subscription has ended.

        Raises what the engine raises when it, not the function, has failed; the query
        is stale then as before.
        """
        query = subscription.query
        if not query.stale or subscription not in query.followers:
            return
        outcome = self._run(query, subscription.identity)
        if outcome.identity_read and not query.family.personal:
            self._make_personal(query, subscription.identity.user)
        if outcome.journal is not None:
            self._close(query.family)
        query.journal = outcome.journal
        self._follow(query, outcome.read_set)
        query.result = _result_of(outcome)
        query.stale = False

    def committed(self, written: WriteSet) -> None:
        """Mark what a commit touched, and tell who follows it.

        Costs a lookup per key written in an index that somebody reads, and nothing
        for subscriptions on other indexes.
        """
        for index_id, keys in written.items():
            readers = self._readers.get(index_id)
            if readers is None:
                continue
            for key in keys:
                for query in readers.find(key):
                    _invalidate(query)

    def functions_changed(self) -> None:
        """Mark all results, and tell who follows them."""
        for query in self._followed:
            _invalidate(query)

    def _family(
        self, key: QueryKey, path: str, args: JsonValue | FunctionFailure
    ) -> QueryFamily:
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = QueryFamily(key, path, args)
        return family

    def _close(self, family: QueryFamily) -> None:
        """Let nobody join any more."""
        if self._families.get(family.key) is family:
            del self._families[family.key]

    def _run(self, query: SharedQuery, identity: Identity) -> QueryOutcome:
        path, args = query.family.path, query.family.args
        if isinstance(args, FunctionFailure):
            return QueryOutcome(None, args, [], NOTHING_READ, 0)
        return self._run_query(path, args, identity, query.journal)

    def _make_personal(self, query: SharedQuery, user: UserIdentity | None) -> None:
        """Leave `query` to those who follow as `user`; the others run it themselves.

        It was stale, so they have been told already.
        """
        family = query.family
        family.personal = True
        family.queries = {user: query}
        query.user = user
        for other in list(query.followers):
            if other.identity.user != user:
                own = family.query_for(other.identity.user, query.journal)
                self._move(other, own)

    def _move(self, subscription: Subscription, query: SharedQuery) -> None:
        # It joins before it leaves: its family is not to be dropped in between.
        self._followed.add(query)
        query.followers.add(subscription)
        self.unsubscribe(subscription)
        subscription.query = query

    def _follow(self, query: SharedQuery, read_set: ReadSet) -> None:
        """Have `query` found under what `read_set` holds, and under nothing else."""
        before, after = query.read_set.intervals, read_set.intervals
        query.read_set = read_set
        if before == after:
            return
        for index_id, intervals in after.items():
            readers = self._readers.setdefault(index_id, IntervalIndex())
            for interval in intervals:
                readers.add(interval, query)
        for index_id, intervals in before.items():
            readers = self._readers[index_id]
            for interval in set(intervals).difference(after.get(index_id, ())):
                readers.discard(interval, query)
            if not readers:
                del self._readers[index_id]


def _invalidate(query: SharedQuery) -> None:
    if query.stale:
        return
    query.stale = True
    for follower in query.followers:
        follower.watcher.query_changed(follower.query_id)


def _key_of(path: str, args: JsonValue | FunctionFailure, raw: Raw) -> tuple[str, str]:
    """One key for `m:f` and `m.js:f`, and for arguments that are the same value."""
    # What is invalid is followed too, and answered by a failure: as it was given.
    with contextlib.suppress(ValueError):
        path = parse_path(path).canonical
    if not isinstance(args, FunctionFailure):
        with contextlib.suppress(InvalidValue):
            return path, canonical(from_json(args))
    return path, "as given: " + bytes(raw).decode("utf-8", "replace")


def _result_of(outcome: QueryOutcome) -> QueryResult:
    log_lines = tuple(outcome.log_lines)
    error = outcome.error
    if error is None:
        assert outcome.value_json is not None
        return QueryResult(outcome.value_json, log_lines, outcome.journal)
    text = error.render(new_request_id())
    failed = QueryError(error.text, text, error.data_json)
    return QueryResult(failed, log_lines, outcome.journal)
