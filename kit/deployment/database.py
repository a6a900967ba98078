"""Documents, indexes, timestamps and session results in one SQLite file.

Holds bytes and rows: what a document may be is in `documents`, what a transaction read
and wrote in `transaction`, how SQLite is used and what a commit promises in
`sqlite_file`.

Timestamps are nanoseconds since the epoch, go up with every commit, and are stored with
it, so they never go back, even if the clock does.

One transaction at a time, in the thread that opened the database. After any error
from SQLite the transaction can only be rolled back.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kit.deployment.history import History
from kit.deployment.index_keys import Interval
from kit.deployment.schema import Schema
from kit.deployment.schema_change import apply_schema
from kit.deployment.sqlite_file import SqliteFile
from kit.deployment.tables import (
    BUILT_IN_INDEXES,
    SYSTEM_TABLES,
    Catalog,
    Index,
    Row,
    Table,
)
from kit.errors import DatabaseError

__all__ = ["Database", "SessionResult"]

FILE_NAME = "deployment.sqlite3"
APPLICATION_ID = 0x43565844  # "CVXD"
FORMAT_VERSION = 1

# How long a session's results answer for requests that are sent again.
RESULT_LIFETIME = 24 * 3600 * 10**9  # ns
RESULTS_BETWEEN_PRUNINGS = 1000

_TABLES = """
CREATE TABLE clock (timestamp INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
CREATE TABLE tables (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    checked TEXT  -- the validator that all its documents are known to match
);
CREATE TABLE indexes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_number INTEGER NOT NULL,
    name TEXT NOT NULL,
    fields TEXT NOT NULL,  -- JSON array
    UNIQUE (table_number, name)
);
CREATE TABLE documents (row INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE entries (
    index_id INTEGER NOT NULL,
    key BLOB NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (index_id, key)
) WITHOUT ROWID;
CREATE TABLE session_results (
    session TEXT NOT NULL,
    request TEXT NOT NULL,  -- a number of any size
    timestamp INTEGER NOT NULL,
    value TEXT NOT NULL,
    log_lines TEXT NOT NULL,  -- JSON array
    PRIMARY KEY (session, request)
);
CREATE INDEX session_results_by_age ON session_results (timestamp);
"""


class SessionResult(NamedTuple):
    """What a mutation of a session came to, to be answered again if it is re-sent."""

    session: str
    request: int
    value_json: str
    log_lines: list[str]


class Database:
    """The database of one deployment. Make it with `Database.open`."""

    def __init__(self, sqlite: SqliteFile, now: Callable[[], float]) -> None:
        self.catalog = Catalog()
        self.secret = b""
        """32 random bytes, the same for the life of the file: they seal cursors."""
        self._sqlite = sqlite
        self._now = now
        self._timestamp = 0
        # Tables made by the transaction under way.
        self._created: list[Table] = []
        self._results_saved = 0
        self._creation_time = 0.0
        # Once the file is open:
        self._schema: Schema
        self._history: History

    @classmethod
    def open(
        cls,
        data_dir: Path,
        schema: Schema | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> Database:
        """Open or create the database in `data_dir` and bring it to `schema`.

        Indexes that are new are filled, those no longer in the schema dropped;
        documents of tables whose validator changed are checked against it. `now`
        gives seconds since the epoch. Raises DatabaseError saying what to do, with
        nothing changed.
        """
        sqlite = SqliteFile(data_dir / FILE_NAME)
        database = cls(sqlite, now)
        try:
            database._prepare_file()
            database._load()
            database._apply(schema or Schema())
            database._history = History(sqlite, database.timestamp)
        except BaseException:
            sqlite.close()
            raise
        return database

    def close(self) -> None:
        """Close the file and release its lock; a transaction under way is undone."""
        self._sqlite.close()

    @property
    def timestamp(self) -> int:
        """Timestamp of the latest commit, ns since the epoch; 0 before the first."""
        return self._timestamp

    # --- transactions ---------------------------------------------------------

    def begin(self) -> None:
        """Start a transaction; ends with `commit` or `rollback`."""
        self._sqlite.begin()

    def commit(self, result: SessionResult | None = None) -> int:
        """Store the transaction under the next timestamp, and return that.

        Raises DatabaseError, with everything undone, if it cannot be stored or a
        statement before has failed.
        """
        timestamp = self._next_timestamp()
        try:
            self.check()
            self._sqlite.execute("UPDATE clock SET timestamp = ?", timestamp)
            if result is not None:
                self._save_result(timestamp, result)
            with self._history.commit(timestamp):
                self._sqlite.commit()
        except BaseException:
            self.rollback()
            raise
        self._created.clear()
        self._timestamp = timestamp
        return timestamp

    def rewind(self, timestamp: int) -> None:
        """Make all documents what they were at `timestamp`, ns since the epoch.

        For the transaction under way only, which is to end with `rollback`. Raises
        NotKept (see `history`) when that is too long ago, or has not been yet.
        """
        self._history.rewind(timestamp)

    def check(self) -> None:
        """Raises DatabaseError again if a statement of this transaction has failed.

        A function may have caught it the first time.
        """
        self._sqlite.check()

    def _next_timestamp(self) -> int:
        # Not before the creation times that were given out (ms): `_load` starts there.
        earliest = max(self._timestamp, int(self._creation_time * 1e6)) + 1
        return max(earliest, int(self._now() * 1e9))

    def rollback(self) -> None:
        """Undo the transaction under way, if there is one."""
        self._forget_tables(0)
        self._sqlite.rollback()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what the block did when it raises."""
        created = len(self._created)
        try:
            with self._sqlite.savepoint():
                yield
        except BaseException:
            self._forget_tables(created)
            raise

    # --- documents ------------------------------------------------------------

    def read(self, index_id: int, key: bytes) -> Row | None:
        """The document at exactly `key`."""
        found = self._sqlite.row(
            "SELECT row, text FROM entries JOIN documents USING (row) "
            "WHERE index_id = ? AND key = ?",
            index_id,
            key,
        )
        return None if found is None else Row(*found)

    def scan(
        self, index_id: int, interval: Interval, *, descending: bool = False
    ) -> Iterator[tuple[bytes, Row]]:
        """Keys and documents in the interval, in order; read as they are asked for.

        Nothing may be written while the iteration is under way.
        """
        order = "DESC" if descending else "ASC"
        rows = self._sqlite.rows(
            "SELECT key, row, text FROM entries JOIN documents USING (row) "
            f"WHERE index_id = ? AND key >= ? AND key < ? ORDER BY key {order}",
            index_id,
            *interval,
        )
        for key, number, text in rows:
            yield key, Row(number, text)

    def insert(self, text: str, entries: Sequence[tuple[int, bytes]]) -> None:
        """Store a document with its index entries."""
        row = self._sqlite.insert("INSERT INTO documents (text) VALUES (?)", text)
        self.add_entries((index_id, key, row) for index_id, key in entries)

    def update(
        self,
        row: int,
        text: str,
        removed: Sequence[tuple[int, bytes]],
        added: Sequence[tuple[int, bytes]],
    ) -> None:
        """Replace a document's text, and the index entries that changed."""
        self._sqlite.execute("UPDATE documents SET text = ? WHERE row = ?", text, row)
        if removed:
            self._remove_entries(removed)
        if added:
            self.add_entries((index_id, key, row) for index_id, key in added)

    def delete(self, row: int, entries: Iterable[tuple[int, bytes]]) -> None:
        """Remove a document with its index entries."""
        self._sqlite.execute("DELETE FROM documents WHERE row = ?", row)
        self._remove_entries(entries)

    def add_entries(self, entries: Iterable[tuple[int, bytes, int]]) -> None:
        """Enter documents in indexes: index id, key, number of the row."""
        self._sqlite.execute_many("INSERT INTO entries VALUES (?, ?, ?)", entries)

    def _remove_entries(self, entries: Iterable[tuple[int, bytes]]) -> None:
        self._sqlite.execute_many(
            "DELETE FROM entries WHERE index_id = ? AND key = ?", entries
        )

    # --- tables and indexes ---------------------------------------------------

    def create_table(self, name: str) -> Table:
        """Make a table with the next number; gone again if this is rolled back."""
        number, _ = SYSTEM_TABLES.get(name) or (self.catalog.next_number(), None)
        table = Table(number, name)
        self._sqlite.execute(
            "INSERT INTO tables (number, name) VALUES (?, ?)", number, name
        )
        for built_in in BUILT_IN_INDEXES:
            self.create_index(table, built_in, ())
        self._created.append(table)
        self.catalog.add(table)
        return table

    def create_index(self, table: Table, name: str, fields: tuple[str, ...]) -> Index:
        """Make an index without entries, under an id that was never used."""
        index_id = self._sqlite.insert(
            "INSERT INTO indexes (table_number, name, fields) VALUES (?, ?, ?)",
            table.number,
            name,
            json.dumps(fields),
        )
        table.indexes[name] = Index(index_id, name, fields)
        return table.indexes[name]

    def drop_index(self, table: Table, index: Index) -> None:
        """Remove an index with its entries."""
        self._sqlite.execute("DELETE FROM entries WHERE index_id = ?", index.id)
        self._sqlite.execute("DELETE FROM indexes WHERE id = ?", index.id)
        del table.indexes[index.name]

    def checked_rule(self, table: Table) -> str | None:
        """The validator that all documents of `table` are known to match."""
        rule: str | None = self._sqlite.value(
            "SELECT checked FROM tables WHERE number = ?", table.number
        )
        return rule

    def set_checked_rule(self, table: Table, rule: str | None) -> None:
        self._sqlite.execute(
            "UPDATE tables SET checked = ? WHERE number = ?", rule, table.number
        )

    def _forget_tables(self, kept: int) -> None:
        """Undo in memory the tables made since there were `kept` new ones."""
        while len(self._created) > kept:
            self.catalog.remove(self._created.pop())

    def next_creation_time(self, now: float) -> float:
        """A creation time for `now` (s), in ms: later than all given out before.

        So creation order holds within a transaction, between transactions in the same
        instant, and when the clock is set back.
        """
        earliest = math.nextafter(self._creation_time, math.inf)
        self._creation_time = max(now * 1000.0, earliest)
        return self._creation_time

    # --- session results ------------------------------------------------------

    def session_result(
        self, session: str, request: int
    ) -> tuple[int, SessionResult] | None:
        """Timestamp and result of a request of a session that was committed lately."""
        found = self._sqlite.row(
            "SELECT timestamp, value, log_lines FROM session_results "
            "WHERE session = ? AND request = ?",
            session,
            str(request),
        )
        if found is None:
            return None
        timestamp, value, lines = found
        return timestamp, SessionResult(session, request, value, json.loads(lines))

    def _save_result(self, timestamp: int, result: SessionResult) -> None:
        self._sqlite.execute(
            "INSERT INTO session_results VALUES (?, ?, ?, ?, ?)",
            result.session,
            str(result.request),
            timestamp,
            result.value_json,
            json.dumps(result.log_lines),
        )
        self._results_saved += 1
        if self._results_saved % RESULTS_BETWEEN_PRUNINGS == 0:
            self._prune_results(timestamp)

    def _prune_results(self, timestamp: int) -> None:
        self._sqlite.execute(
            "DELETE FROM session_results WHERE timestamp < ?",
            timestamp - RESULT_LIFETIME,
        )

    # --- opening --------------------------------------------------------------

    def _prepare_file(self) -> None:
        is_new = self._is_new()
        self._sqlite.use_log()
        # The first write takes the lock, and keeps it.
        self.begin()
        if is_new:
            for statement in _TABLES.split(";")[:-1]:
                self._sqlite.execute(statement)
            self._sqlite.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._sqlite.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        self._prepare_secret()
        self._sqlite.commit()

    def _prepare_secret(self) -> None:
        # Files made before there were cursors have no such table.
        self._sqlite.execute("CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL)")
        found = self._sqlite.row("SELECT value FROM secret")
        self.secret = secrets.token_bytes(32) if found is None else found[0]
        if found is None:
            self._sqlite.execute("INSERT INTO secret VALUES (?)", self.secret)

    def _is_new(self) -> bool:
        """Whether the file is still empty. Raises DatabaseError if it is another's."""
        application = self._sqlite.value("PRAGMA application_id")
        version = self._sqlite.value("PRAGMA user_version")
        if application == APPLICATION_ID and version == FORMAT_VERSION:
            return False
        if application == APPLICATION_ID:
            raise DatabaseError(
                f"{self._sqlite.path} has format {version}, this kit knows format "
                f"{FORMAT_VERSION}. Use the version of the kit that made it, or "
                "another --data folder."
            )
        if self._sqlite.value("SELECT count(*) FROM sqlite_master"):
            raise DatabaseError(
                f"{self._sqlite.path} belongs to another application. "
                "Use another --data folder."
            )
        return True

    def _load(self) -> None:
        self._timestamp = self._sqlite.value("SELECT timestamp FROM clock")
        self._creation_time = self._timestamp / 1e6
        for number, name in self._sqlite.rows("SELECT number, name FROM tables"):
            self.catalog.add(Table(number, name))
        for index_id, number, name, fields in self._sqlite.rows(
            "SELECT id, table_number, name, fields FROM indexes ORDER BY id"
        ):
            table = self.catalog.numbered(number)
            if table is None:
                raise DatabaseError(
                    f"{self._sqlite.path} is damaged: index {name} has no table."
                )
            table.indexes[name] = Index(index_id, name, tuple(json.loads(fields)))

    def change_schema(self, schema: Schema) -> None:
        """Bring the database to `schema`, outside of any transaction.

        Raises DatabaseError saying what to do, with nothing changed. Documents of
        before can no longer be had.
        """
        try:
            self._apply(schema)
        except BaseException:
            # In memory, too.
            self.catalog = Catalog()
            self._load()
            self._apply(self._schema)
            raise
        finally:
            self._history.forget()

    def _apply(self, schema: Schema) -> None:
        self.begin()
        try:
            apply_schema(self, schema)
            self._prune_results(int(self._now() * 1e9))
            self._sqlite.commit()
            self._schema = schema
        except BaseException:
            self.rollback()
            raise
        self._created.clear()
