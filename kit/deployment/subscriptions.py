"""The results that clients follow, shared by all sessions.

Holds one result for each (function path, arguments), whoever follows it, and which
index intervals it was read from. After a commit it says which results may have
changed; `refresh` runs such a query once, however many follow it. A result that
nobody follows any more is dropped. It runs queries through the engine, without waiting;
what a session has been sent is not known here (`state`).

The invariant that makes transitions consistent: a result that is not stale is the
one that its query would have at the engine's latest timestamp, because every commit
marks what it touches before anything else happens.

Mirrors Convex's subscription manager and its query cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from msgspec import Raw

from kit.deployment.engine import QueryOutcome
from kit.deployment.failures import FunctionFailure
from kit.deployment.intervals import IntervalIndex
from kit.deployment.paths import parse_path
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.deployment.requests import decode_args, new_request_id
from kit.deployment.state import QueryError, QueryResult
from kit.values import InvalidValue, JsonValue, canonical, from_json

__all__ = ["SharedQuery", "Subscriptions", "Watcher"]

RunQuery = Callable[[str, JsonValue], QueryOutcome]
QueryKey = tuple[str, str]

_NOTHING_READ = ReadSet({})


class Watcher(Protocol):
    """Who follows a query: told once that it is stale, and again once it was not."""

    def query_changed(self, query_id: int) -> None: ...


class SharedQuery:
    """One query with its arguments, followed by at least one watcher."""

    __slots__ = ("_result", "args", "key", "path", "read_set", "stale", "watchers")

    def __init__(
        self, key: QueryKey, path: str, args: JsonValue | FunctionFailure
    ) -> None:
        self.key = key
        self.path = path
        self.args = args
        # Who follows, under which query id of its own.
        self.watchers: set[tuple[Watcher, int]] = set()
        # Whether a commit may have changed the result, or there is none yet.
        self.stale = True
        self.read_set = _NOTHING_READ
        self._result: QueryResult | None = None

    @property
    def result(self) -> QueryResult:
        """The newest result, as of the latest timestamp unless `stale`."""
        if self._result is None:
            raise AssertionError(f"{self!r} has not run yet")
        return self._result

    @result.setter
    def result(self, result: QueryResult) -> None:
        self._result = result

    def __repr__(self) -> str:
        state = "stale" if self.stale else "fresh"
        return f"<SharedQuery {self.path} {state} watchers={len(self.watchers)}>"


class Subscriptions:
    """All followed queries of a deployment; `run_query` is the engine's."""

    def __init__(self, run_query: RunQuery) -> None:
        self._run_query = run_query
        self._queries: dict[QueryKey, SharedQuery] = {}
        self._readers: dict[int, IntervalIndex[SharedQuery]] = {}

    def __len__(self) -> int:
        return len(self._queries)

    def subscribe(
        self, path: str, args: Raw, watcher: Watcher, query_id: int
    ) -> SharedQuery:
        """Let `watcher` follow a query as its `query_id`. It is not run here."""
        decoded = decode_args(path, args)
        key = _key_of(path, decoded, args)
        query = self._queries.get(key)
        if query is None:
            query = self._queries[key] = SharedQuery(key, path, decoded)
        query.watchers.add((watcher, query_id))
        return query

    def unsubscribe(self, query: SharedQuery, watcher: Watcher, query_id: int) -> None:
        """Undo `subscribe`; the last one to leave drops the result."""
        query.watchers.discard((watcher, query_id))
        if not query.watchers and self._queries.get(query.key) is query:
            del self._queries[query.key]
            self._follow(query, _NOTHING_READ)

    def refresh(self, query: SharedQuery) -> None:
        """Run a stale query, if anybody still follows it.

        Raises what the engine raises when it, not the function, has failed; the query
        is stale then as before.
        """
        if not query.stale or not query.watchers:
            return
        outcome = self._run(query)
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

    def _run(self, query: SharedQuery) -> QueryOutcome:
        if isinstance(query.args, FunctionFailure):
            return QueryOutcome(None, query.args, [], _NOTHING_READ, 0)
        return self._run_query(query.path, query.args)

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
    for watcher, query_id in query.watchers:
        watcher.query_changed(query_id)


def _key_of(path: str, args: JsonValue | FunctionFailure, raw: Raw) -> QueryKey:
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
        return QueryResult(outcome.value_json, log_lines)
    text = error.render(new_request_id())
    return QueryResult(QueryError(error.text, text, error.data_json), log_lines)
