"""What documents were a moment ago, so that a query can be run as of then.

Triggers note the old state of whatever a commit changes, in a table that SQLite keeps
in memory; `rewind` puts it back within a transaction, which is to be rolled back once
the query has run. So a query of the past runs as any other, and sees what it would
have seen. Kept is what changed in the last half minute at least, as in Convex, unless
that is more than `MOST_KEPT`.

What is noted belongs to the transaction that causes it: a rollback takes it along.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kit.deployment.sqlite_file import SqliteFile

__all__ = ["History", "NotKept"]

RETENTION = 30 * 10**9  # ns
MOST_KEPT = 64 * 1024 * 1024  # bytes, roughly
ROW_OVERHEAD = 100  # bytes

# One row for each change: of a document (its old `text`, NULL if there was none), or of
# an index entry (its old `row`, NULL if there was none).
_TABLE = """
CREATE TEMP TABLE changes (
    step INTEGER PRIMARY KEY AUTOINCREMENT,
    row INTEGER,
    text TEXT,
    index_id INTEGER,
    key BLOB
)
"""
_TRIGGERS = {
    "INSERT ON main.documents": "(row) VALUES (new.row)",
    "UPDATE ON main.documents": "(row, text) VALUES (old.row, old.text)",
    "DELETE ON main.documents": "(row, text) VALUES (old.row, old.text)",
    "INSERT ON main.entries": "(index_id, key) VALUES (new.index_id, new.key)",
    "DELETE ON main.entries": (
        "(row, index_id, key) VALUES (old.row, old.index_id, old.key)"
    ),
}

# Of all changes of one thing in a span of steps, the first knows what it was before.
_DOCUMENTS_BEFORE = """
SELECT row, text, min(step) FROM changes
WHERE index_id IS NULL AND step > ? AND step <= ? GROUP BY row
"""
_ENTRIES_BEFORE = """
SELECT index_id, key, row, min(step) FROM changes
WHERE index_id IS NOT NULL AND step > ? AND step <= ? GROUP BY index_id, key
"""


class NotKept(Exception):
    """What documents were at a time is not known any more, or not yet."""


class _Commit(NamedTuple):
    timestamp: int
    step: int
    """The last of its changes."""
    size: int
    """What noting its changes takes, in bytes."""


class History:
    """The changes of an open file, noted from now on."""

    def __init__(self, sqlite: SqliteFile, timestamp: int) -> None:
        """`timestamp`: of the latest commit. There must be no transaction."""
        self._sqlite = sqlite
        # The newest commit that can be gone back to, but not beyond; those after it.
        self._oldest = _Commit(timestamp, 0, 0)
        self._commits: deque[_Commit] = deque()
        self._size = 0
        sqlite.execute("PRAGMA temp_store = MEMORY")
        sqlite.execute(_TABLE)
        for number, (change, values) in enumerate(_TRIGGERS.items()):
            sqlite.execute(
                f"CREATE TEMP TRIGGER note_{number} AFTER {change} "
                f"BEGIN INSERT INTO changes {values}; END"
            )

    @property
    def _latest(self) -> _Commit:
        return self._commits[-1] if self._commits else self._oldest

    @contextmanager
    def commit(self, timestamp: int) -> Iterator[None]:
        """The block commits what was changed in the transaction, under `timestamp`."""
        last = self._latest.step
        step, count, size = self._sqlite.row(
            "SELECT max(step), count(*), total(length(text)) + total(length(key)) "
            "FROM changes WHERE step > ?",
            last,
        )
        dropped = self._dropped(timestamp)
        if dropped:
            forget = dropped[-1].step
            self._sqlite.execute("DELETE FROM changes WHERE step <= ?", forget)
        yield
        for commit in dropped:
            self._commits.popleft()
            self._size -= commit.size
            self._oldest = commit
        commit = _Commit(timestamp, step or last, int(size) + count * ROW_OVERHEAD)
        self._commits.append(commit)
        self._size += commit.size

    def _dropped(self, now: int) -> list[_Commit]:
        """The oldest commits, if it is time to forget some. Several at a time."""
        if not self._commits:
            return []
        too_old = self._commits[0].timestamp < now - 2 * RETENTION
        if not too_old and self._size <= MOST_KEPT:
            return []
        dropped: list[_Commit] = []
        size = self._size
        for commit in self._commits:
            if commit.timestamp >= now - RETENTION and size <= MOST_KEPT // 2:
                break
            dropped.append(commit)
            size -= commit.size
        return dropped

    def forget(self) -> None:
        """Let nothing of before be had any more. There must be no transaction.

        For changes of tables and indexes, which cannot be undone.
        """
        (step,) = self._sqlite.row("SELECT max(step) FROM changes")
        latest = self._latest
        self._sqlite.execute("DELETE FROM changes")
        self._oldest = _Commit(latest.timestamp, step or latest.step, 0)
        self._commits.clear()
        self._size = 0

    def rewind(self, timestamp: int) -> None:
        """Make all documents what they were at `timestamp`, for the transaction.

        The transaction is to be rolled back. Costs as much as what has changed since.
        Raises NotKept.
        """
        latest = self._latest
        if timestamp > latest.timestamp:
            raise NotKept(
                f"The timestamp {timestamp} is later than the latest one of this "
                f"deployment, {latest.timestamp}"
            )
        if timestamp < self._oldest.timestamp:
            raise NotKept(
                f"What documents were at the timestamp {timestamp} is no longer known: "
                f"this deployment keeps what has changed in the last "
                f"{RETENTION // 10**9} s"
            )
        then = self._oldest
        for commit in reversed(self._commits):
            if commit.timestamp <= timestamp:
                then = commit
                break
        self._undo(then.step, latest.step)

    def _undo(self, after: int, last: int) -> None:
        """Undo the changes in a span of steps. That is noted in turn, as any change."""
        rows, many = self._sqlite.rows, self._sqlite.execute_many
        documents = [found[:2] for found in rows(_DOCUMENTS_BEFORE, after, last)]
        entries = [found[:3] for found in rows(_ENTRIES_BEFORE, after, last)]
        many("DELETE FROM documents WHERE row = ?", ((row,) for row, _ in documents))
        many(
            "INSERT INTO documents (row, text) VALUES (?, ?)",
            ((row, text) for row, text in documents if text is not None),
        )
        many(
            "DELETE FROM entries WHERE index_id = ? AND key = ?",
            ((index_id, key) for index_id, key, _ in entries),
        )
        many(
            "INSERT INTO entries (index_id, key, row) VALUES (?, ?, ?)",
            (entry for entry in entries if entry[2] is not None),
        )
