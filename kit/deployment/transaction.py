"""One transaction: what a function reads and writes, and the sets of both.

Every read is recorded as an interval of index keys, every write as the keys of the
document in each index, old and new. Writes go straight into SQLite's transaction, so
reads see them. Ids and documents are checked here, with Convex's texts, and what is
used is counted (`limits`); which tables a function may use is up to `contexts`. Mirrors
`Transaction` of Convex's `database` crate.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, TypeAlias

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
from kit.deployment.limits import Usage, bytes_in
from kit.deployment.read_sets import Reads, ReadSet, WriteSet
from kit.deployment.tables import CATALOG_INDEX, Index, Row, Table
from kit.values import JsonValue, ValidationFailed, Value, decode_trusted

__all__ = ["Found", "Transaction"]

Document: TypeAlias = dict[str, Any]


class Found(NamedTuple):
    """A document that a walk along an index has come to."""

    key: bytes
    size: int
    """In bytes, as it counts against the limits."""
    document: Document


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
        self._usage = Usage()
        self._reads = Reads()
        self._writes: list[tuple[int, bytes]] = []
        database.begin()

    @property
    def read_set(self) -> ReadSet:
        return self._reads.read_set()

    @property
    def write_set(self) -> WriteSet:
        written: dict[int, list[bytes]] = {}
        for index_id, key in self._writes:
            written.setdefault(index_id, []).append(key)
        return written

    @property
    def secret(self) -> bytes:
        """The deployment's, which seals cursors."""
        return self._database.secret

    def lift_limits(self) -> None:
        """Count no further: what follows is the deployment's own."""
        self._usage.lift()

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
        keep: Callable[[Document], bool] | None = None,
    ) -> list[Document]:
        """The documents in the interval that `keep` lets through, at most `limit`.

        When the limit is reached, the rest of the interval does not count as read.
        What is not kept does.
        """
        documents: list[Document] = []
        if limit == 0:
            return documents
        with closing(self.walk(index, interval, descending=descending)) as found:
            for _, _, document in found:
                if keep is None or keep(document):
                    documents.append(document)
                    if len(documents) == limit:
                        break
        return documents

    def walk(
        self, index: Index, interval: Interval, *, descending: bool = False
    ) -> Generator[Found]:
        """The documents in the interval, in order, as they are asked for.

        To be closed: what it has come to by then counts as read, or the interval when
        it came to the end. Nothing may be written meanwhile.
        """
        self._check_open()
        low, high = interval
        rows = self._database.scan(index.id, interval, descending=descending)
        # Nothing, as long as nothing was come to.
        passed = (high, high) if descending else (low, low)
        try:
            for key, row in rows:
                passed = (key, high) if descending else (low, after(key))
                self._usage.read(row.text)
                yield Found(key, bytes_in(row.text), decode_trusted(row.text))
            passed = interval
        finally:
            self._record(index.id, passed)

    def _find(self, text: str, method: str) -> _Stored | None:
        if not isinstance(text, str):
            raise UsageError(
                f"Invalid argument `id` for `db.{method}`, expected string but got "
                f"'{type(text).__name__}': {text!r}"
            )
        try:
            number, internal_id = decode_id(text)
        except ValueError as error:
            raise UsageError(
                f"Invalid argument `id` for `db.{method}`: Unable to decode ID: {error}"
            ) from None
        table = self._numbered(number)
        if table is None:
            return None
        by_id = table.by_id.id
        self._record(by_id, point(internal_id))
        row = self._database.read(by_id, internal_id)
        if row is None:
            return None
        self._usage.read(row.text)
        return _Stored(table, internal_id, row)

    def _record(self, index_id: int, interval: Interval) -> None:
        self._reads.add(index_id, interval)
        self._usage.intervals_read(len(self._reads))

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
        self._usage.write(text)
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
        self._usage.write("")
        entries = table.entries(decode_trusted(row.text), internal_id)
        self._database.delete(row.number, entries)
        self._writes += entries

    def count_schedule(self, due_ms: float, args: Value) -> None:
        """Note a function that is scheduled. Raises UsageError above the limits."""
        self._usage.schedule(args)
        self.due.append(due_ms)

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
        self._usage.write(text)
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

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                "`ctx` was used after its function had ended. Await every call in the "
                "function itself, not in a task or a thread"
            )


def _system_fields(json: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"_id": json["_id"], "_creationTime": json["_creationTime"]}
