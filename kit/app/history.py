"""The application's SQL database: tasks and their chat messages, through SQLAlchemy.

Holds the few reads and writes that the chat service needs; a SQLite file by default,
PostgreSQL by URL. The tables are in `kit.app.tables`. Does not decide when something
is written (that is `kit.app.reply`) and knows nothing of sockets or Convex.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import (
    Connection,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kit.app.locked_task import LockedTask
from kit.app.sql_engine import open_engine, parse_url, touch_file
from kit.app.tables import (
    TABLES,
    Message,
    MessageMetadata,
    MessagePart,
    Role,
    Task,
    TaskStatus,
    Usage,
    as_message,
    as_task,
    message_table,
    storable,
    task_table,
    written,
)
from kit.errors import ConfigError, DatabaseError

__all__ = [
    "History",
    "Message",
    "MessageMetadata",
    "MessagePart",
    "Role",
    "Task",
    "TaskStatus",
    "Usage",
]


class History:
    """The open SQL history. Safe to share between asyncio tasks.

    Every method is one transaction: cancelled, it is rolled back. Every method raises
    DatabaseError when the database fails.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str, *, create: bool = True) -> Self:
        """Connect, and create the tables that are missing.

        `url` is `sqlite+aiosqlite:///<file>` or `postgresql+psycopg://user:password@
        host:port/database` (the driver may be left out). With `create` False nothing is
        created, no SQLite file either: the history must be there. Raises ConfigError,
        which never shows the password, when it is neither or cannot be used.
        """
        parsed = parse_url(url)
        history = cls(open_engine(parsed))
        try:
            touch_file(parsed, create=create)
            async with history._engine.begin() as connection:
                if create:
                    await connection.run_sync(TABLES.create_all)
                missing = await connection.run_sync(_missing_tables)
        except (SQLAlchemyError, OSError, UnicodeError) as error:
            await history.close()
            raise ConfigError(
                f"The SQL history at {history} cannot be used: "
                f"{history._reason(error)}. Check the URL, that the database exists "
                "and that it is running."
            ) from None
        if missing:
            await history.close()
            raise ConfigError(
                f"The database at {history} has no table {' and no '.join(missing)}: "
                "it is not the application's history. Check the URL."
            )
        return history

    async def close(self) -> None:
        """Close all connections; may be called twice."""
        await self._engine.dispose()

    def __str__(self) -> str:
        """The URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def locked(self, task_id: str) -> AsyncIterator[LockedTask]:
        """The task for the length of a block, which is one transaction.

        Others who change the task wait meanwhile (on SQLite: who change anything). An
        exception in the block undoes all of it.
        """
        async with self._transaction() as connection:
            yield await LockedTask.lock(connection, task_id)

    async def create_task(self, title: str, *, task_id: str | None = None) -> str:
        """Store a new task; its id, `task_id` if given."""
        task_id = task_id or uuid.uuid4().hex
        now = datetime.now(UTC)
        async with self._transaction() as connection:
            await connection.execute(
                insert(task_table).values(
                    id=task_id,
                    title=storable(title),
                    status="INITIALIZING",
                    created_at=now,
                    updated_at=now,
                )
            )
        return task_id

    async def task(self, task_id: str) -> Task | None:
        """The task, or None if there is no such task."""
        async with self._transaction() as connection:
            found = await connection.execute(
                select(task_table).where(task_table.c.id == storable(task_id))
            )
            row = found.one_or_none()
        return as_task(row) if row else None

    async def running_tasks(self) -> list[str]:
        """The ids of the tasks that are RUNNING, the longest untouched first."""
        async with self._transaction() as connection:
            found = await connection.execute(
                select(task_table.c.id)
                .where(task_table.c.status == "RUNNING")
                .order_by(task_table.c.updated_at)
            )
            return list(found.scalars())

    async def set_task_status(
        self, task_id: str, status: TaskStatus, error_message: str | None = None
    ) -> None:
        """Store the task's status; an error message stays until the next status."""
        error = None if error_message is None else storable(error_message)
        async with self._transaction() as connection:
            await _touch(connection, task_id, status=status, error_message=error)

    async def add_message(
        self,
        task_id: str,
        role: Role,
        content: str,
        *,
        llm_model: str,
        metadata: MessageMetadata | None = None,
        message_id: str | None = None,
        client_message_id: str | None = None,
    ) -> str | None:
        """Append a message to the task; its id, `message_id` if given.

        None, and nothing stored, if the task already has a message with this
        `client_message_id`.
        """
        message_id = message_id or uuid.uuid4().hex
        async with self._transaction() as connection:
            # Touching the task first locks it: from here on nobody else counts or
            # appends its messages.
            await _touch(connection, task_id)
            ours = message_table.c.task_id == task_id
            if client_message_id is not None:
                same = message_table.c.client_message_id == client_message_id
                known = await connection.execute(
                    select(message_table.c.id).where(ours, same)
                )
                if known.one_or_none() is not None:
                    return None
            last = func.coalesce(func.max(message_table.c.sequence), 0)
            await connection.execute(
                insert(message_table).values(
                    id=message_id,
                    task_id=task_id,
                    sequence=select(last + 1).where(ours).scalar_subquery(),
                    role=role,
                    llm_model=llm_model,
                    client_message_id=client_message_id,
                    created_at=datetime.now(UTC),
                    **written(content, metadata),
                )
            )
        return message_id

    async def update_message(
        self, message_id: str, content: str, metadata: MessageMetadata
    ) -> None:
        """Replace a message's content and its whole metadata."""
        async with self._transaction() as connection:
            await connection.execute(
                update(message_table)
                .where(message_table.c.id == message_id)
                .values(**written(content, metadata))
            )

    async def messages(self, task_id: str) -> list[Message]:
        """The task's messages by ascending sequence; empty for an unknown task."""
        async with self._transaction() as connection:
            rows = await connection.execute(
                select(message_table)
                .where(message_table.c.task_id == storable(task_id))
                .order_by(message_table.c.sequence)
            )
            return [as_message(row) for row in rows]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(
                f"The SQL history at {self} failed: {self._reason(error)}."
            ) from None

    def _reason(self, error: Exception) -> str:
        """What the driver said, on one line, without SQL, values or password."""
        said: object = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(error, OSError) and error.strerror:
            said = error.strerror
        text = " ".join(str(said).split()).rstrip(".") or type(said).__name__
        password = self._engine.url.password
        return text.replace(password, "***") if password else text


def _missing_tables(connection: Connection) -> list[str]:
    there = inspect(connection).get_table_names()
    return [name for name in TABLES.tables if name not in there]


async def _touch(connection: AsyncConnection, task_id: str, **values: object) -> None:
    """Update the task's row, which locks it until the transaction ends."""
    touched = await connection.execute(
        update(task_table)
        .where(task_table.c.id == task_id)
        .values(updated_at=datetime.now(UTC), **values)
    )
    if touched.rowcount == 0:
        raise DatabaseError(f"The SQL history has no task {task_id}.")
