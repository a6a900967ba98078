"""`ctx`: what queries and mutations are given.

* both: `ctx.db` (get, query, normalize_id, system), `ctx.run_query`, `ctx.auth`,
  `ctx.now()`;
* mutations only: `ctx.db` (insert, patch, replace, delete), `ctx.run_mutation`,
  `ctx.scheduler`.

Which tables a function may reach is decided here; the rest is done by `transaction`
and by whoever runs the function. An action's `ctx` is the executor's. Mirrors Convex's
`GenericQueryCtx` and `GenericMutationCtx`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from kit.deployment.failures import UsageError
from kit.deployment.queries import Query
from kit.deployment.tables import is_system
from kit.deployment.transaction import Transaction
from kit.values import Value, is_identifier

__all__ = [
    "Auth",
    "DatabaseReader",
    "DatabaseWriter",
    "MutationCtx",
    "QueryCtx",
    "Runner",
    "Scheduler",
    "due_time",
]

Document = dict[str, Any]

_READ_ONLY = "System tables (prefixed with `_`) are read-only."
_USE_SYSTEM = "System tables can only be accessed with db.system."
_ONLY_SYSTEM = "db.system can only access system tables (prefixed with `_`)."


class Runner(Protocol):
    """What runs a function, as its `ctx` sees it."""

    transaction: Transaction

    def user_identity(self) -> Document | None: ...

    def call_query(self, path: str, args: Document | None) -> Value: ...

    def call_mutation(self, path: str, args: Document | None) -> Value: ...

    def schedule(self, path: str, args: Document | None, due_ms: float) -> str: ...

    def cancel(self, job_id: str) -> None: ...


class DatabaseReader:
    """`ctx.db` of a query."""

    def __init__(self, transaction: Transaction, *, of_system: bool = False) -> None:
        self._transaction = transaction
        self._of_system = of_system

    @property
    def system(self) -> DatabaseReader:
        """The same for system tables, such as `_scheduled_functions`."""
        return DatabaseReader(self._transaction, of_system=True)

    async def get(self, id: str) -> Document | None:
        """The document with this id, or None if there is none (any more)."""
        table = self._transaction.table_of_id(id) if isinstance(id, str) else None
        if table is not None:
            self._check_access(table)
        return self._transaction.get(id)

    def query(self, table: str) -> Query:
        """A query over the documents of `table`."""
        self._check_access(table)
        return Query(self._transaction, table)

    def normalize_id(self, table: str, id: str) -> str | None:
        """`id` if it is the id of a document of `table`, which need not exist."""
        return id if self._transaction.table_of_id(id) == table else None

    def _check_access(self, table: str) -> None:
        if is_system(table) != self._of_system:
            raise UsageError(_ONLY_SYSTEM if self._of_system else _USE_SYSTEM)


class DatabaseWriter(DatabaseReader):
    """`ctx.db` of a mutation."""

    async def insert(self, table: str, value: Document) -> str:
        """Store a new document; returns its id."""
        if is_system(table):
            raise UsageError(_READ_ONLY)
        if not is_identifier(table):
            raise UsageError(
                f"Invalid table name {table!r}: use up to 64 letters, digits and "
                "underscores, not starting with a digit"
            )
        return self._transaction.insert(table, value)

    async def patch(self, id: str, fields: Document) -> None:
        """Set some fields; a field set to UNSET is removed, None stays null."""
        self._check_writable(id)
        self._transaction.patch(id, fields)

    async def replace(self, id: str, value: Document) -> None:
        """Give the document other fields; it keeps its id and creation time."""
        self._check_writable(id)
        self._transaction.replace(id, value)

    async def delete(self, id: str) -> None:
        """Remove the document."""
        self._check_writable(id)
        self._transaction.delete(id)

    def _check_writable(self, id: str) -> None:
        table = self._transaction.table_of_id(id) if isinstance(id, str) else None
        if table is not None and is_system(table):
            raise UsageError(_READ_ONLY)


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
        self, due_ms: float, path: str, args: Document | None = None
    ) -> str:
        """Run a mutation or action at a time in ms since the epoch, or at once."""
        return self._runner.schedule(path, args, due_ms)

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


class QueryCtx:
    """`ctx` of a query."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.db = DatabaseReader(runner.transaction)
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

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self.db = DatabaseWriter(runner.transaction)
        self.scheduler = Scheduler(runner)

    async def run_mutation(self, path: str, args: Document | None = None) -> Value:
        """Run another mutation in the same transaction; returns its result.

        If it fails, only what it wrote is undone; its failure is raised here.
        """
        return self._runner.call_mutation(path, args)
