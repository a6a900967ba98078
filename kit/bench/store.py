"""Functions on a database of their own, in this process, with what they write counted.

Without a network and without other processes, so that small differences show. Bytes
are those of the documents' texts, as the deployment stores them: about what a billed
deployment counts, not what SQLite makes of it on the disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import kit.convex
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.functions import FunctionRegistry
from kit.deployment.index_keys import Interval
from kit.deployment.sqlite_file import SqliteFile
from kit.deployment.tables import Row
from kit.deployment.transaction import Transaction
from kit.errors import FunctionError
from kit.values import decode, to_json

__all__ = ["KIT", "Counts", "Store", "open_store", "said_before"]

KIT = Path(kit.convex.__file__).parent
DOCUMENTS_AT_ONCE = 2000


def said_before(messages: int) -> Iterator[tuple[Literal["user", "assistant"], str]]:
    """A conversation: who said what."""
    for number in range(messages):
        if number % 2:
            yield (
                "assistant",
                f"Answer {number}, in one or two sentences like this one.",
            )
        else:
            yield "user", f"Question {number}: what about it, and why?"


@dataclass
class Counts:
    """Documents and the bytes of their texts, each time one is written or read."""

    documents_written: int = 0
    bytes_written: int = 0
    documents_read: int = 0
    bytes_read: int = 0

    def since(self, before: Counts) -> Counts:
        return Counts(
            self.documents_written - before.documents_written,
            self.bytes_written - before.bytes_written,
            self.documents_read - before.documents_read,
            self.bytes_read - before.bytes_read,
        )


class _CountingDatabase(Database):
    """Counts what goes in and out."""

    def __init__(self, sqlite: SqliteFile, now: Callable[[], float]) -> None:
        super().__init__(sqlite, now)
        self.counts = Counts()

    def insert(self, text: str, entries: Sequence[tuple[int, bytes]]) -> None:
        self._count_written(text)
        super().insert(text, entries)

    def update(self, row: int, text: str, removed: Any, added: Any) -> None:
        self._count_written(text)
        super().update(row, text, removed, added)

    def read(self, index_id: int, key: bytes) -> Row | None:
        found = super().read(index_id, key)
        if found is not None:
            self._count_read(found)
        return found

    def scan(
        self, index_id: int, interval: Interval, *, descending: bool = False
    ) -> Iterator[tuple[bytes, Row]]:
        for key, row in super().scan(index_id, interval, descending=descending):
            self._count_read(row)
            yield key, row

    def _count_written(self, text: str) -> None:
        self.counts.documents_written += 1
        self.counts.bytes_written += len(text.encode())

    def _count_read(self, row: Row) -> None:
        self.counts.documents_read += 1
        self.counts.bytes_read += len(row.text.encode())


class Store:
    """Functions and their database; made by `open_store`."""

    def __init__(self, folder: Path, functions: Path) -> None:
        registry = FunctionRegistry.load(functions)
        database = _CountingDatabase.open(folder, registry.schema)
        assert isinstance(database, _CountingDatabase)
        self._database = database
        self.engine = Engine(database, registry)

    @property
    def counts(self) -> Counts:
        """Of all until now."""
        return replace(self._database.counts)

    def close(self) -> None:
        self._database.close()

    def call(self, path: str, args: Mapping[str, Any]) -> Any:
        """A mutation's value. Raises FunctionError."""
        outcome = self.engine.run_mutation(path, to_json(dict(args)), internal=True)
        if outcome.error is not None:
            raise FunctionError(path, outcome.error.message)
        assert outcome.value_json is not None
        return decode(outcome.value_json)

    def insert(self, table: str, documents: Sequence[Mapping[str, Any]]) -> list[str]:
        """Store many documents, past the functions; their ids."""
        ids = []
        for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
            transaction = Transaction(self._database, time.time())
            transaction.lift_limits()
            batch = documents[start : start + DOCUMENTS_AT_ONCE]
            ids += [transaction.insert(table, document) for document in batch]
            transaction.commit()
        return ids

    # --- one reply, with the kit's functions ----------------------------------------

    def create_task(self) -> str:
        return str(self.call("tasks:create", {"title": "Bench"}))

    def begin(self, task: str) -> str:
        """Begin a reply; the id of its stream."""
        request = {"taskId": task, "prompt": "Go on.", "model": "bench"}
        begun = self.call("streaming:begin", {**request, "leaseMs": 600_000})
        return str(begun["streamId"])

    def append(self, stream: str, seq: int, chunks: Sequence[Any]) -> None:
        delta = {"streamId": stream, "epoch": 1, "seq": seq, "chunks": list(chunks)}
        answer = self.call("streaming:append", delta)
        if answer["status"] != "ok":
            raise FunctionError("streaming:append", str(answer))

    def finalize(self, stream: str) -> None:
        ending = {"epoch": 1, "outcome": "complete", "finishReason": "stop"}
        self.call("streaming:finalize", {"streamId": stream, **ending})


@contextmanager
def open_store(functions: Path) -> Iterator[Store]:
    """A store in a temporary folder, with the functions of a folder."""
    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        store = Store(Path(folder), functions)
        try:
            yield store
        finally:
            store.close()
