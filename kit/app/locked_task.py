"""One task of the SQL history while nobody else may change it.

Holds what is read and written there as one change: `History.locked` opens and ends the
transaction. For whoever puts messages between others, which needs their numbers to
stand still; to add one at the end, `History.add_message` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.app.tables import (
    Message,
    TaskStatus,
    as_message,
    message_table,
    storable,
    task_table,
    written,
)
from kit.errors import MessageIdTaken

__all__ = ["LockedTask"]


class LockedTask:
    """A task in a transaction; `exists` says whether there is one with this id."""

    def __init__(
        self, connection: AsyncConnection, task_id: str, *, exists: bool
    ) -> None:
        self.exists = exists
        self._connection = connection
        self._task_id = task_id
        self._ours = message_table.c.task_id == task_id

    @classmethod
    async def lock(cls, connection: AsyncConnection, task_id: str) -> Self:
        """Wait until nobody else changes the task, and keep them out from then on."""
        # An update is the lock that SQLite and PostgreSQL have in common, and must be
        # the first statement: SQLite cannot turn a reader into a writer.
        locked = await connection.execute(
            update(task_table)
            .where(task_table.c.id == task_id)
            .values(id=task_table.c.id)
        )
        return cls(connection, task_id, exists=locked.rowcount > 0)

    async def create(self, title: str, *, created_at: datetime) -> None:
        """Store the task, INITIALIZING, with the id that was looked for."""
        await self._connection.execute(
            insert(task_table).values(
                id=self._task_id,
                title=storable(title),
                status="INITIALIZING",
                created_at=created_at.astimezone(UTC),
                updated_at=datetime.now(UTC),
            )
        )
        self.exists = True

    async def messages(self) -> list[Message]:
        """Its messages by ascending sequence."""
        rows = await self._connection.execute(
            select(message_table).where(self._ours).order_by(message_table.c.sequence)
        )
        return [as_message(row) for row in rows]

    async def arrange(self, messages: Sequence[Message]) -> None:
        """Store its messages in this order: those it has, and new ones among them.

        All that are stored must be there, in the order that they have. They are not
        changed; only their sequence grows where a new one comes before them. A new
        one's own `sequence` is ignored.

        Raises MessageIdTaken if a message of another task has the id of a new one,
        ValueError if a stored one is missing or elsewhere.
        """
        stored = await self._sequences()
        if [m["id"] for m in messages if m["id"] in stored] != list(stored):
            raise ValueError("The stored messages must all be there, in their order.")
        moved: list[dict[str, Any]] = []
        new: list[dict[str, Any]] = []
        last = 0
        for message in messages:
            message_id = message["id"]
            last = max(last + 1, stored.get(message_id, 0))
            if message_id not in stored:
                new.append(self._row(message, last))
            elif last != stored[message_id]:
                moved.append({"moved": message_id, "to": last})
        # From the last one on: then no number is given while somebody still has it.
        await self._move(moved[::-1])
        await self._insert(new)

    async def set_status(self, status: TaskStatus, error_message: str | None) -> None:
        """Store the task's status, and its error message or that there is none."""
        error = None if error_message is None else storable(error_message)
        await self._connection.execute(
            update(task_table)
            .where(task_table.c.id == self._task_id)
            .values(status=status, error_message=error)
        )

    async def _sequences(self) -> dict[str, int]:
        rows = await self._connection.execute(
            select(message_table.c.id, message_table.c.sequence)
            .where(self._ours)
            .order_by(message_table.c.sequence)
        )
        return {row.id: row.sequence for row in rows}

    async def _move(self, moved: list[dict[str, Any]]) -> None:
        if moved:
            await self._connection.execute(
                update(message_table)
                .where(message_table.c.id == bindparam("moved"))
                .values(sequence=bindparam("to")),
                moved,
            )

    async def _insert(self, new: list[dict[str, Any]]) -> None:
        for start in range(0, len(new), _AT_ONCE):
            rows = new[start : start + _AT_ONCE]
            await self._refuse_taken([row["id"] for row in rows])
            await self._connection.execute(insert(message_table), rows)

    async def _refuse_taken(self, ids: list[str]) -> None:
        found = await self._connection.execute(
            select(message_table.c.id, message_table.c.task_id)
            .where(message_table.c.id.in_(ids))
            .limit(1)
        )
        if (taken := found.one_or_none()) is not None:
            raise MessageIdTaken(
                f"Message {taken.id} of task {self._task_id} cannot be stored: task "
                f"{taken.task_id} has a message with this id. Nothing was changed."
            )

    def _row(self, message: Message, sequence: int) -> dict[str, Any]:
        created_at = datetime.fromisoformat(message["createdAt"])
        return {
            "id": message["id"],
            "task_id": self._task_id,
            "sequence": sequence,
            "role": message["role"],
            "llm_model": storable(message["llmModel"]),
            "client_message_id": message.get("clientMessageId"),
            "created_at": created_at.astimezone(UTC),
            **_UNKNOWN,
            **written(message["content"], message.get("metadata")),
        }


_AT_ONCE = 500
"""Rows to insert in one statement: databases limit what may be asked in one."""

# Rows that are inserted together must have the same columns.
_UNKNOWN = dict.fromkeys(
    ("prompt_tokens", "completion_tokens", "total_tokens", "finish_reason")
)
