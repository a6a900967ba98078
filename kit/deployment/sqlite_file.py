"""One SQLite file: statements, transactions, and errors that say what to do.

Knows no table: what is kept in the file is `database`'s.

**What a commit promises.** The file is in WAL mode with `synchronous=NORMAL`: a commit
that has returned survives the end of this process, `kill -9` included, because it is
with the operating system then; it is not forced to the disk one by one, so a power cut
may take the last commits (never half of one, and the file stays whole).

The folder is locked from `use_log` to the close: two deployments would not see each
other's commits. The lock is a file of its own, because the database is open twice, the
second time to make checkpoints (`checkpoints`). It ends with the process.

One transaction at a time, in the thread that opened the file. After any error from
SQLite the transaction can only be rolled back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from kit.deployment.checkpoints import Checkpoints
from kit.errors import DatabaseError

__all__ = ["SqliteFile"]

# How long to wait for the lock: a deployment that is being stopped needs a moment.
LOCK_WAIT = 2.0  # s

# The log has each page that a commit changes, whole: small pages make a small log.
PAGE_SIZE = 1024  # bytes
COMMITS_BETWEEN_CHECKPOINTS = 500
# Should checkpoints lag behind, whoever commits makes one, and the log begins anew.
LONGEST_LOG = 64 * 1024  # pages

Cursor: TypeAlias = sqlite3.Cursor


class SqliteFile:
    """An open file. Every method raises DatabaseError."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, with its folder. Nothing is locked yet."""
        _make_folder(path.parent)
        self.path = path
        # The first error from SQLite in the transaction under way.
        self._failure: DatabaseError | None = None
        self._depth = 0  # of savepoints
        self._commits = 0
        self._checkpoints = Checkpoints(path)
        self._lock: sqlite3.Connection | None = None
        try:
            self.connection = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise _explain(path, error) from error

    def use_log(self) -> None:
        """Lock the folder and keep a write-ahead log; nothing is written before."""
        try:
            self._lock = sqlite3.connect(
                self.path.with_suffix(".lock"), timeout=LOCK_WAIT, isolation_level=None
            )
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error
        self.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a file that is new
        if self.value("PRAGMA journal_mode = WAL") != "wal":
            raise DatabaseError(
                f"SQLite cannot keep a write-ahead log beside {self.path}. "
                "Use a --data folder on a local disk."
            )
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute(f"PRAGMA wal_autocheckpoint = {LONGEST_LOG}")

    def close(self) -> None:
        """Release the lock; a transaction under way is undone."""
        self._checkpoints.close()
        self.connection.close()
        if self._lock is not None:
            self._lock.close()

    # --- transactions ---------------------------------------------------------

    def begin(self) -> None:
        """Start a transaction; ends with `commit` or `rollback`."""
        self._failure = None
        self._depth = 0
        self.execute("BEGIN")

    def commit(self) -> None:
        """Store the transaction. When this raises, it is still to be rolled back."""
        self.execute("COMMIT")
        self._commits += 1
        if self._commits % COMMITS_BETWEEN_CHECKPOINTS == 0:
            self._checkpoints.begin_one()

    def rollback(self) -> None:
        """Undo the transaction under way, if there is one."""
        if self.connection.in_transaction:
            self.execute("ROLLBACK")

    def check(self) -> None:
        """Raises DatabaseError again if a statement of this transaction has failed.

        A function may have caught it the first time.
        """
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what the block did when it raises."""
        depth = self._depth
        # A name for each depth: a block that was interrupted before it could undo its
        # own savepoint is undone by the one around it.
        name = f"depth_{depth}"
        self._depth = depth + 1
        try:
            self.execute(f"SAVEPOINT {name}")
            try:
                yield
            except BaseException:
                self.execute(f"ROLLBACK TO {name}")
                self.execute(f"RELEASE {name}")
                raise
            self.execute(f"RELEASE {name}")
        finally:
            self._depth = depth

    # --- statements -----------------------------------------------------------

    def execute(self, statement: str, *values: Any) -> Cursor:
        """Run one statement; rows are read with `fetch`."""
        try:
            return self.connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def insert(self, statement: str, *values: Any) -> int:
        """Run an INSERT; returns the number of the new row."""
        row = self.execute(statement, *values).lastrowid
        assert row is not None
        return row

    def execute_many(
        self, statement: str, rows: Iterable[tuple[int | bytes, ...]]
    ) -> None:
        """Run one statement for each of `rows`."""
        try:
            self.connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def fetch(self, cursor: Cursor) -> Any:
        """The next row; None after the last."""
        try:
            return cursor.fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def rows(self, statement: str, *values: Any) -> Iterator[Any]:
        """The rows of a query, read as they are asked for."""
        cursor = self.execute(statement, *values)
        while row := self.fetch(cursor):
            yield row

    def row(self, statement: str, *values: Any) -> Any:
        """The first row of a query, or None."""
        return self.fetch(self.execute(statement, *values))

    def value(self, statement: str, *values: Any) -> Any:
        """The first column of a query's first row, which must exist."""
        return self.row(statement, *values)[0]

    def _failed(self, error: sqlite3.Error) -> DatabaseError:
        """The error to raise. The transaction can only be rolled back from here on."""
        self._failure = _explain(self.path, error)
        return self._failure


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"The data folder {folder} cannot be made or used: "
            f"{error.strerror or error}. Use another --data folder."
        ) from error


def _explain(path: Path, error: sqlite3.Error) -> DatabaseError:
    """What happened to the file, and what to do about it."""
    code = getattr(error, "sqlite_errorname", "no code")
    return DatabaseError(f"{path}: {error} ({code}). {_advice(code)}")


def _advice(code: str) -> str:
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            "Another deployment is using this folder: stop it, or use another --data "
            "folder."
        )
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_FORMAT")):
        return (
            "The file is damaged, or no database: move it away to start afresh, or put "
            "back a copy."
        )
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return (
            "The file cannot be opened for writing: check who owns it and its folder, "
            "or use another --data folder."
        )
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return (
            "Check the disk's free space and health. What was committed before is kept."
        )
    return "What was committed before is kept."
