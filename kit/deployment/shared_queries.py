"""What is followed: subscriptions, the results that they share, and who shares them.

Holds the three nouns and what follows from one alone. Making, running and dropping
them is up to `subscriptions`.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from kit.deployment.failures import FunctionFailure
from kit.deployment.identity import Identity, UserIdentity
from kit.deployment.read_sets import ReadSet
from kit.deployment.state import QueryResult
from kit.values import JsonValue

__all__ = [
    "NOTHING_READ",
    "QueryFamily",
    "QueryKey",
    "SharedQuery",
    "Subscription",
    "Watcher",
]

# Function path, arguments, whether internal functions are within reach, and the
# journal to begin with.
QueryKey: TypeAlias = tuple[str, str, bool, str | None]

NOTHING_READ = ReadSet({})


class Watcher(Protocol):
    """Who follows a query: told once that it is stale, and again once it was not."""

    def query_changed(self, query_id: int) -> None: ...


class Subscription:
    """One watcher follows one query, under an id of its own, as somebody."""

    __slots__ = ("identity", "query", "query_id", "watcher")

    def __init__(
        self, watcher: Watcher, query_id: int, identity: Identity, query: SharedQuery
    ) -> None:
        self.watcher = watcher
        self.query_id = query_id
        self.identity = identity
        self.query = query
        query.followers.add(self)

    def __repr__(self) -> str:
        return f"<Subscription {self.query_id} to {self.query!r}>"

    @property
    def stale(self) -> bool:
        """Whether a commit may have changed the result, or there is none yet."""
        return self.query.stale

    @property
    def result(self) -> QueryResult:
        """The newest result, as of the latest timestamp unless `stale`."""
        return self.query.result


class SharedQuery:
    """One result, followed by at least one subscription."""

    __slots__ = (
        "_result",
        "family",
        "followers",
        "journal",
        "read_set",
        "stale",
        "user",
    )

    def __init__(
        self, family: QueryFamily, user: UserIdentity | None, journal: str | None
    ) -> None:
        self.family = family
        # Whose result it is, in a family that is personal.
        self.user = user
        # For the next run.
        self.journal = journal
        self.followers: set[Subscription] = set()
        self.stale = True
        self.read_set = NOTHING_READ
        self._result: QueryResult | None = None

    @property
    def result(self) -> QueryResult:
        if self._result is None:
            raise AssertionError(f"{self!r} has not run yet")
        return self._result

    @result.setter
    def result(self, result: QueryResult) -> None:
        self._result = result

    def __repr__(self) -> str:
        state = "stale" if self.stale else "fresh"
        return (
            f"<SharedQuery {self.family.path} {state} followers={len(self.followers)}>"
        )


class QueryFamily:
    """One query with its arguments, and its results.

    One for everybody, until the query is seen to ask who calls. From then on it is
    `personal`: one for each user.
    """

    __slots__ = ("args", "key", "path", "personal", "queries")

    def __init__(
        self, key: QueryKey, path: str, args: JsonValue | FunctionFailure
    ) -> None:
        self.key = key
        self.path = path
        self.args = args
        self.personal = False
        self.queries: dict[UserIdentity | None, SharedQuery] = {}

    def query_for(self, user: UserIdentity | None, journal: str | None) -> SharedQuery:
        """The one that `user` is to follow; a new one begins with `journal`."""
        whose = user if self.personal else None
        query = self.queries.get(whose)
        if query is None:
            query = self.queries[whose] = SharedQuery(self, whose, journal)
        return query
