"""Brings the tables and indexes of a database to a schema, when it is opened.

New tables and indexes are made and filled, indexes that the schema no longer has are
dropped, and the documents of a table whose validator changed are checked against it. A
table that the schema no longer mentions stays, with its documents, and takes anything.
Works in a transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import msgspec

from kit.deployment.documents import check_document, document_of
from kit.deployment.index_keys import Interval, after, starting_with
from kit.deployment.schema import Schema, TableDefinition
from kit.deployment.tables import (
    BUILT_IN_INDEXES,
    SYSTEM_TABLES,
    Catalog,
    Index,
    Row,
    Table,
)
from kit.errors import DatabaseError
from kit.values import ValidationFailed

__all__ = ["Store", "apply_schema"]

PAGE = 1000


class Store(Protocol):
    """What a schema change needs of a database."""

    catalog: Catalog

    def create_table(self, name: str) -> Table: ...

    def create_index(
        self, table: Table, name: str, fields: tuple[str, ...]
    ) -> Index: ...

    def drop_index(self, table: Table, index: Index) -> None: ...

    def scan(
        self, index_id: int, interval: Interval, *, descending: bool = False
    ) -> Iterator[tuple[bytes, Row]]: ...

    def add_entries(self, entries: Iterable[tuple[int, bytes, int]]) -> None: ...

    def checked_rule(self, table: Table) -> str | None:
        """The validator that all documents of `table` are known to match."""

    def set_checked_rule(self, table: Table, rule: str | None) -> None: ...


def apply_schema(store: Store, schema: Schema) -> None:
    """Raises DatabaseError, naming the document, if one does not match `schema`."""
    definitions = {name: table for name, (_, table) in SYSTEM_TABLES.items()}
    definitions.update(schema.tables)
    # All tables first: documents of one may hold ids of another.
    for name, definition in definitions.items():
        table = store.catalog.named(name) or store.create_table(name)
        table.validator = definition.validator if schema.validates else None
    for table in store.catalog:
        added = _change_indexes(store, table, definitions.get(table.name))
        _change_rule(store, table, added)


def _change_indexes(
    store: Store, table: Table, definition: TableDefinition | None
) -> list[Index]:
    """Make and drop indexes; returns those that are new, still without entries."""
    wanted = {} if definition is None else definition.indexes
    for name, index in list(table.indexes.items()):
        kept = name in wanted and wanted[name].fields == index.fields
        if name not in BUILT_IN_INDEXES and not kept:
            store.drop_index(table, index)
    return [
        store.create_index(table, name, definition.fields)
        for name, definition in wanted.items()
        if name not in table.indexes
    ]


def _change_rule(store: Store, table: Table, added: Sequence[Index]) -> None:
    rule = None if table.validator is None else str(table.validator)
    known = store.checked_rule(table)
    if added or rule not in (None, known):
        for internal_id, row in _documents(store, table):
            document = document_of(msgspec.json.decode(row.text), row.text)
            _check(store.catalog, table, document)
            store.add_entries(
                (index.id, index.key(document, internal_id), row.number)
                for index in added
            )
    if rule != known:
        store.set_checked_rule(table, rule)


def _check(catalog: Catalog, table: Table, document: dict[str, object]) -> None:
    try:
        check_document(table, document, catalog.table_of_id)
    except ValidationFailed as error:
        raise DatabaseError(
            f'Document with ID "{document["_id"]}" in table "{table.name}" does not '
            f"match the schema: {error}\n"
            "Let the schema allow it (v.optional, v.union), change the document under "
            "the schema of before, or use another --data folder."
        ) from None


def _documents(store: Store, table: Table) -> Iterator[tuple[bytes, Row]]:
    """All documents by internal id, in pages: entries may be added meanwhile."""
    low, high = starting_with(b"")
    while page := list(islice(store.scan(table.by_id.id, (low, high)), PAGE)):
        yield from page
        low = after(page[-1][0])
