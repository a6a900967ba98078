"""`ctx.db`: the documents, as queries and mutations reach them.

Which tables a function may reach is decided here; the rest is done by `transaction`. A
document is meant by its id alone, or by the name of its table and its id. Mirrors
Convex's `GenericDatabaseReader` and `GenericDatabaseWriter`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from kit.deployment.failures import UsageError
from kit.deployment.pagination import Journal
from kit.deployment.queries import Query
from kit.deployment.tables import is_private, is_system
from kit.deployment.transaction import Transaction
from kit.values import is_identifier

__all__ = ["DatabaseReader", "DatabaseWriter"]

Document: TypeAlias = dict[str, Any]


class DatabaseReader:
    """`ctx.db` of a query."""

    def __init__(
        self, transaction: Transaction, journal: Journal, *, of_system: bool = False
    ) -> None:
        self._transaction = transaction
        self._journal = journal
        self._of_system = of_system

    @property
    def system(self) -> DatabaseReader:
        """The same for system tables, such as `_scheduled_functions`."""
        return DatabaseReader(self._transaction, self._journal, of_system=True)

    async def get(self, *table_and_id: str) -> Document | None:
        """`get(table, id)` or `get(id)`: the document, or None if there is none."""
        table, (id,) = _with_table("get", ("id",), table_and_id)
        method = "system.get" if self._of_system else "get"
        found = self._table_of(id)
        if found is not None:
            _check_not_private(found)
            if is_system(found) != self._of_system:
                raise UsageError(
                    "User tables cannot be accessed with db.system."
                    if self._of_system
                    else "System tables can only be accessed with db.system."
                )
            _check_table(method, table, found)
        return self._transaction.get(id, method)

    def query(self, table: str) -> Query:
        """A query over the documents of `table`."""
        _check_name(table)
        self._check_place(table, "query")
        _check_not_private(table)
        return Query(self._transaction, table, self._journal)

    def normalize_id(self, table: str, id: str) -> str | None:
        """`id` if it is the id of a document of `table`, which need not exist."""
        self._check_place(table, "normalizeId")
        return id if self._table_of(id) == table else None

    def _check_place(self, table: str, method: str) -> None:
        """Raises UsageError for a system table outside `db.system`, or the reverse."""
        if is_system(table) != self._of_system:
            kind, place = ("System", "system.") if is_system(table) else ("User", "")
            raise UsageError(
                f"{kind} tables can only be accessed from db.{place}{method}()."
            )

    def _table_of(self, id: object) -> str | None:
        return self._transaction.table_of_id(id) if isinstance(id, str) else None


class DatabaseWriter(DatabaseReader):
    """`ctx.db` of a mutation."""

    async def insert(self, table: str, value: Document) -> str:
        """Store a new document; returns its id."""
        _check_name(table)
        _check_writable(table)
        return self._transaction.insert(table, value)

    async def patch(self, *table_id_and_fields: Any) -> None:
        """`patch(table, id, fields)` or `patch(id, fields)`: set some fields.

        A field set to UNSET is removed, None stays null.
        """
        table, (id, fields) = _with_table("patch", ("id", "value"), table_id_and_fields)
        self._check_target("patch", table, id)
        self._transaction.patch(id, fields)

    async def replace(self, *table_id_and_value: Any) -> None:
        """`replace(table, id, value)` or `replace(id, value)`: set all fields.

        The document keeps its id and creation time.
        """
        table, (id, value) = _with_table("replace", ("id", "value"), table_id_and_value)
        self._check_target("replace", table, id)
        self._transaction.replace(id, value)

    async def delete(self, *table_and_id: str) -> None:
        """`delete(table, id)` or `delete(id)`: remove the document."""
        table, (id,) = _with_table("delete", ("id",), table_and_id)
        self._check_target("delete", table, id)
        self._transaction.delete(id)

    def _check_target(self, method: str, table: str | None, id: object) -> None:
        found = self._table_of(id)
        if found is not None:
            _check_writable(found)
            _check_table(method, table, found)


def _with_table(
    method: str, names: tuple[str, ...], given: tuple[Any, ...]
) -> tuple[str | None, tuple[Any, ...]]:
    """The table, if there is an argument before those called `names`; and those."""
    if len(given) == len(names):
        return None, given
    if len(given) == len(names) + 1:
        return given[0], given[1:]
    raise TypeError(
        f"`{method}` takes `table`, {', '.join(f'`{name}`' for name in names)}, or the "
        f"same without `table`; it was given {len(given)} arguments"
    )


def _check_table(method: str, expected: str | None, found: str) -> None:
    if expected not in (None, found):
        raise UsageError(
            f"Invalid argument `id` for `db.{method}`: expected to be an "
            f'Id<"{expected}">, got Id<"{found}"> instead.'
        )


def _check_name(table: object) -> None:
    if not isinstance(table, str) or not is_identifier(table):
        raise UsageError(
            f"Invalid table name {table!r}: use up to 64 letters, digits and "
            "underscores, not starting with a digit"
        )


def _check_not_private(table: str) -> None:
    if is_private(table):
        raise UsageError(f"System table {table} is out of reach for functions.")


def _check_writable(table: str) -> None:
    if is_system(table):
        raise UsageError("System tables (prefixed with `_`) are read-only.")
