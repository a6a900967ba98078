"""`ctx`: what queries and mutations are given.

* both: `ctx.db` (`ctx_db`), `ctx.run_query`, `ctx.auth`, `ctx.now()`;
* mutations only: `ctx.run_mutation`, `ctx.scheduler`, and a `ctx.db` that writes.

Nothing is done here: it is up to `transaction`, and to whoever runs the function. An
action's `ctx` is the executor's. Mirrors Convex's `GenericQueryCtx` and
`GenericMutationCtx`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from kit.deployment.ctx_db import DatabaseReader, DatabaseWriter
from kit.deployment.failures import UsageError
from kit.deployment.not_offered import NotOffered
from kit.deployment.pagination import Journal
from kit.deployment.transaction import Transaction
from kit.values import Value

__all__ = [
    "Auth",
    "MutationCtx",
    "QueryCtx",
    "Runner",
    "Scheduler",
    "due_time",
    "time_in_ms",
]

Document: TypeAlias = dict[str, Any]


class Runner(Protocol):
    """What runs a function, as its `ctx` sees it."""

    transaction: Transaction

    def user_identity(self) -> Document | None: ...

    def call_query(self, path: str, args: Document | None) -> Value: ...

    def call_mutation(self, path: str, args: Document | None) -> Value: ...

    def schedule(self, path: str, args: Document | None, due_ms: float) -> str: ...

    def cancel(self, job_id: str) -> None: ...


class Auth:
    """`ctx.auth`."""

    def __init__(self, user_identity: Callable[[], Document | None]) -> None:
        self._user_identity = user_identity

    async def get_user_identity(self) -> Document | None:
        """Who calls: `tokenIdentifier`, `subject`, `issuer` and what else their token
        says; None for nobody, for an admin, and in a scheduled function."""
        return self._user_identity()


class Scheduler:
    """`ctx.scheduler` of a mutation: schedules when, and only if, it is committed."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def run_after(
        self, delay_ms: float, path: str, args: Document | None = None
    ) -> str:
        """Run a mutation or action after `delay_ms`; returns the id of the job."""
        due_ms = due_time(delay_ms, self._runner.transaction.now * 1000.0)
        return self._runner.schedule(path, args, due_ms)

    async def run_at(
        self, due: float | datetime, path: str, args: Document | None = None
    ) -> str:
        """Run a mutation or action at a time: ms since the epoch, or a datetime.

        A time that has passed is now.
        """
        return self._runner.schedule(path, args, time_in_ms(due))

    async def cancel(self, id: str) -> None:
        """Do not run the job if it has not begun; let it schedule nothing if it has."""
        self._runner.cancel(id)


def due_time(delay_ms: float, now_ms: float) -> float:
    """When a delay ends, ms since the epoch. Raises UsageError for a bad delay."""
    if isinstance(delay_ms, bool) or not isinstance(delay_ms, int | float):
        raise UsageError("`delayMs` must be a number")
    if not math.isfinite(delay_ms):
        raise UsageError("`delayMs` must be a finite number")
    if delay_ms < 0:
        raise UsageError("`delayMs` must be non-negative")
    return now_ms + delay_ms


def time_in_ms(time: object) -> float:
    """A time in ms since the epoch. Raises UsageError for what is none."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise UsageError(
                "The invoke time has no time zone: use e.g. datetime.now(UTC)"
            )
        return time.timestamp() * 1000.0
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise UsageError(
            "The invoke time must be a datetime, or a timestamp in ms since the epoch"
        )
    return float(time)


class QueryCtx:
    """`ctx` of a query."""

    storage = NotOffered("File storage (`ctx.storage`)")
    meta = NotOffered("Function metadata (`ctx.meta`)")

    def __init__(self, runner: Runner, journal: Journal) -> None:
        self._runner = runner
        self.db = DatabaseReader(runner.transaction, journal)
        self.auth = Auth(runner.user_identity)

    def now(self) -> float:
        """Ms since the epoch, a whole number; the same throughout the execution."""
        return float(math.floor(self._runner.transaction.now * 1000.0))

    async def run_query(self, path: str, args: Document | None = None) -> Value:
        """Run another query in the same transaction; returns its result."""
        return self._runner.call_query(path, args)


class MutationCtx(QueryCtx):
    """`ctx` of a mutation."""

    db: DatabaseWriter

    def __init__(self, runner: Runner, journal: Journal) -> None:
        super().__init__(runner, journal)
        self.db = DatabaseWriter(runner.transaction, journal)
        self.scheduler = Scheduler(runner)

    async def run_mutation(self, path: str, args: Document | None = None) -> Value:
        """Run another mutation in the same transaction; returns its result.

        If it fails, only what it wrote is undone; its failure is raised here.
        """
        return self._runner.call_mutation(path, args)
