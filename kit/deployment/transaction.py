"""One transaction: what a function reads and writes, and the sets of both.

Every read is recorded as an interval of index keys, every write as the keys of the
document in each index, old and new. Writes go straight into SQLite's transaction, so
reads see them. Ids, documents and limits are checked here, with Convex's texts; which
tables a function may use is up to `contexts`. Mirrors `Transaction` of Convex's
`database` crate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from kit.deployment.database import Database, SessionResult
from kit.deployment.documents import (
    check_document,
    document_of,
    fields_of,
    patched,
    text_of,
)
from kit.deployment.failures import UsageError
from kit.deployment.ids import decode_id, encode_id, new_internal_id
from kit.deployment.index_keys import Interval, after, encode_value, point
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.deployment.tables import CATALOG_INDEX, Index, Row, Table
from kit.values import (
    JsonValue,
    ValidationFailed,
    Value,
    decode_trusted,
    format_bytes,
    size_of,
)

__all__ = ["Transaction"]

MAX_DOCUMENTS_READ = 32_000
MAX_BYTES_READ = 16 * 1024 * 1024
MAX_INTERVALS_READ = 4096
MAX_DOCUMENTS_WRITTEN = 16_000
MAX_BYTES_WRITTEN = 16 * 1024 * 1024
MAX_SCHEDULED = 1000
MAX_BYTES_SCHEDULED = 16 * 1024 * 1024

_READ_LESS = (
    "Consider using smaller limits in your queries, paginating your queries, or using "
    "indexed queries with a selective index range expressions."
)


class _Stored(NamedTuple):
    """A document that was found, and where."""

    table: Table
    internal_id: bytes
    row: Row


class Transaction:
    """Reads and writes for one function, from construction to `commit` or `end`.

    `now` is in seconds since the epoch. Unusable afterwards: a further read or write
    raises UsageError.
    """

    def __init__(self, database: Database, now: float) -> None:
        self.now = now
        self.due: list[float] = []
        """When the functions scheduled by this transaction are due, in ms."""
        self.committed: int | None = None
        """The timestamp under which this was stored, once it was."""
        self._database = database
        self._catalog = database.catalog
        self._open = True
        self._limited = True
        self._reads: list[tuple[int, Interval]] = []
        self._writes: list[tuple[int, bytes]] = []
        self._documents_read = self._bytes_read = 0
        self._documents_written = self._bytes_written = 0
        self._scheduled_bytes = 0
        database.begin()

    @property
    def read_set(self) -> ReadSet:
        return ReadSet.of(self._reads)

    @property
    def write_set(self) -> WriteSet:
        written: dict[int, list[bytes]] = {}
        for index_id, key in self._writes:
            written.setdefault(index_id, []).append(key)
        return written

    def lift_limits(self) -> None:
        """Count no further: what follows is the deployment's own."""
        self._limited = False

    def commit(self, result: SessionResult | None = None) -> int:
        """Store what was written, and what a session's mutation came to.

        Returns the new timestamp; that of the latest commit if there was nothing to
        store. Raises DatabaseError, with everything undone.
        """
        self._open = False
        if not self._writes and result is None:
            self.end()
            return self._database.timestamp
        self.committed = self._database.commit(result)
        return self.committed

    def end(self) -> None:
        """Undo everything unless it was committed."""
        self._open = False
        self._database.rollback()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what the block wrote and scheduled when it raises.

        What it read stays in the read set: it led to what happened.
        """
        writes, due = len(self._writes), len(self.due)
        try:
            with self._database.savepoint():
                yield
        except BaseException:
            del self._writes[writes:]
            del self.due[due:]
            raise

    # --- tables ---------------------------------------------------------------

    def table(self, name: str) -> Table | None:
        """The table with this name; that there is none counts as read."""
        self._check_open()
        found = self._catalog.named(name)
        if found is None:
            self._record(CATALOG_INDEX, point(encode_value(name)))
        return found

    def table_of_id(self, text: str) -> str | None:
        """The name of the table of an id; None if `text` is not the id of any."""
        try:
            number, _ = decode_id(text)
        except ValueError:
            return None
        found = self._numbered(number)
        return None if found is None else found.name

    def _numbered(self, number: int) -> Table | None:
        self._check_open()
        found = self._catalog.numbered(number)
        if found is None:
            self._record(CATALOG_INDEX, point(encode_value(float(number))))
        return found

    def _create_table(self, name: str) -> Table:
        table = self._database.create_table(name)
        for value in (name, float(table.number)):
            self._writes.append((CATALOG_INDEX, encode_value(value)))
        return table

    # --- reading --------------------------------------------------------------

    def get(self, text: str, method: str = "get") -> dict[str, Value] | None:
        """The document with this id, or None. Raises UsageError if it is no id."""
        stored = self._find(text, method)
        return None if stored is None else decode_trusted(stored.row.text)

    def scan(
        self,
        index: Index,
        interval: Interval,
        *,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[dict[str, Value]]:
        """The documents in the interval, in order, at most `limit`.

        When the limit is reached, the rest of the interval does not count as read.
        """
        self._check_open()
        if limit == 0:
            return []
        low, high = interval
        documents: list[dict[str, Value]] = []
        try:
            rows = self._database.scan(index.id, interval, descending=descending)
            for key, row in rows:
                self._count_read(row)
                documents.append(decode_trusted(row.text))
                if len(documents) == limit:
                    low, high = (key, high) if descending else (low, after(key))
                    break
        finally:
            self._record(index.id, (low, high))
        return documents

    def _find(self, text: str, method: str) -> _Stored | None:
        try:
            number, internal_id = decode_id(text)
        except (ValueError, TypeError, AttributeError) as error:
            problem = error if isinstance(text, str) else f"not a string: {text!r}"
            raise UsageError(
                f"Invalid argument `id` for `db.{method}`: Unable to decode ID: "
                f"{problem}"
            ) from None
        table = self._numbered(number)
        if table is None:
            return None
        by_id = table.by_id.id
        self._record(by_id, point(internal_id))
        row = self._database.read(by_id, internal_id)
        if row is None:
            return None
        self._count_read(row)
        return _Stored(table, internal_id, row)

    def _record(self, index_id: int, interval: Interval) -> None:
        self._reads.append((index_id, interval))
        if len(self._reads) > MAX_INTERVALS_READ and self._limited:
            raise UsageError(
                "Too many reads in a single function execution "
                f"(limit: {MAX_INTERVALS_READ}). {_READ_LESS}"
            )

    def _count_read(self, row: Row) -> None:
        if not self._limited:
            return
        self._documents_read += 1
        self._bytes_read += _bytes_in(row.text)
        if self._documents_read > MAX_DOCUMENTS_READ:
            raise UsageError(
                "Too many documents read in a single function execution "
                f"(limit: {MAX_DOCUMENTS_READ}). {_READ_LESS}"
            )
        if self._bytes_read > MAX_BYTES_READ:
            raise UsageError(
                "Too many bytes read in a single function execution "
                f"(limit: {MAX_BYTES_READ} bytes). {_READ_LESS}"
            )

    # --- writing --------------------------------------------------------------

    def insert(self, table_name: str, value: Any) -> str:
        """Store a new document; returns its id. Makes the table if there is none."""
        self._check_open()
        table = self._catalog.named(table_name) or self._create_table(table_name)
        internal_id = new_internal_id(self.now)
        text_id = encode_id(table.number, internal_id)
        system_fields = {
            "_id": text_id,
            "_creationTime": self._database.next_creation_time(self.now),
        }
        json = fields_of(value, system_fields, "insert")
        text = text_of(table, json)
        document = document_of(json, text)
        self._check_schema(table, document)
        self._count_write(text)
        entries = table.entries(document, internal_id)
        self._database.insert(text, entries)
        self._writes += entries
        return text_id

    def patch(self, text_id: str, fields: Any) -> None:
        """Set some fields of a document; UNSET removes one."""
        stored = self._require(text_id, "patch", "Update")
        json = msgspec.json.decode(stored.row.text)
        self._update(stored, json, patched(json, fields, _system_fields(json)))

    def replace(self, text_id: str, value: Any) -> None:
        """Give a document other fields."""
        stored = self._require(text_id, "replace", "Replace")
        json = msgspec.json.decode(stored.row.text)
        new = fields_of(value, _system_fields(json), "replace")
        self._update(stored, json, new)

    def delete(self, text_id: str) -> None:
        """Remove a document."""
        table, internal_id, row = self._require(text_id, "delete", "Delete")
        self._count_write("")
        entries = table.entries(decode_trusted(row.text), internal_id)
        self._database.delete(row.number, entries)
        self._writes += entries

    def count_schedule(self, due_ms: float, args: Value) -> None:
        """Note a function that is scheduled. Raises UsageError above the limits."""
        self.due.append(due_ms)
        self._scheduled_bytes += size_of(args)
        if len(self.due) > MAX_SCHEDULED:
            raise UsageError(
                "Too many functions scheduled by this mutation "
                f"(limit: {MAX_SCHEDULED})"
            )
        if self._scheduled_bytes > MAX_BYTES_SCHEDULED:
            raise UsageError(
                "Too large total size of the arguments of scheduled functions from "
                f"this mutation (limit: {MAX_BYTES_SCHEDULED} bytes)"
            )

    def _require(self, text_id: str, method: str, verb: str) -> _Stored:
        stored = self._find(text_id, method)
        if stored is None:
            raise UsageError(f"{verb} on nonexistent document ID {text_id}")
        return stored

    def _update(
        self, stored: _Stored, old_json: dict[str, JsonValue], json: JsonValue
    ) -> None:
        table, internal_id, row = stored
        text = text_of(table, json)
        if text == row.text:
            return
        document = document_of(json, text)
        self._check_schema(table, document)
        self._count_write(text)
        old = table.entries(document_of(old_json, row.text), internal_id)
        new = table.entries(document, internal_id)
        moved = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
        removed = [entry for entry, _ in moved]
        self._database.update(row.number, text, removed, [entry for _, entry in moved])
        self._writes += new
        self._writes += removed

    def _check_schema(self, table: Table, document: dict[str, Value]) -> None:
        try:
            check_document(table, document, self.table_of_id)
        except ValidationFailed as error:
            raise UsageError(
                f'Failed to insert or update a document in table "{table.name}" '
                f"because it does not match the schema: {error}"
            ) from None

    def _count_write(self, text: str) -> None:
        if not self._limited:
            return
        self._documents_written += 1
        self._bytes_written += _bytes_in(text)
        if self._documents_written > MAX_DOCUMENTS_WRITTEN:
            raise UsageError(
                "Too many writes in a single function execution "
                f"(limit: {MAX_DOCUMENTS_WRITTEN})"
            )
        if self._bytes_written > MAX_BYTES_WRITTEN:
            raise UsageError(
                "Too many bytes written in a single function execution "
                f"(limit: {format_bytes(MAX_BYTES_WRITTEN)})"
            )

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                "`ctx` was used after its function had ended. Await every call in the "
                "function itself, not in a task or a thread"
            )


def _bytes_in(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _system_fields(json: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"_id": json["_id"], "_creationTime": json["_creationTime"]}
