"""The application's SQL database: tasks and their chat messages, through SQLAlchemy.

Holds two tables and the few reads and writes that the chat service needs; a SQLite
file by default, PostgreSQL by URL. Does not decide when something is written (that
is `kit.app.reply`) and knows nothing of sockets or Convex.

Mirrors the guide's application, which keeps these tables in PostgreSQL through
Prisma: a message has a `sequence` within its task, and `metadata` is one JSON value
with `parts`, `isStreaming`, `usage` and `finishReason`. Added here:
`client_message_id`, so that a message sent twice is stored once.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, Self, TypedDict, cast

from sqlalchemy import (
    JSON,
    URL,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from kit.deltas import valid_text
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

TaskStatus = Literal["INITIALIZING", "RUNNING", "COMPLETED", "STOPPED", "FAILED"]
Role = Literal["user", "assistant", "system"]


class Usage(TypedDict):
    """Tokens, in the application's own names."""

    promptTokens: int
    completionTokens: int
    totalTokens: int
    cacheReadInputTokens: NotRequired[int]


# One of text{text}, reasoning{text, signature?}, redacted-reasoning{data},
# tool-call{toolCallId, toolName, args}, tool-result{toolCallId, toolName, result},
# error{error, finishReason?}, each with its `type`.
MessagePart = dict[str, Any]


class MessageMetadata(TypedDict, total=False):
    isStreaming: bool
    parts: list[MessagePart]
    usage: Usage
    finishReason: str


class Message(TypedDict):
    """A stored message, as `chat-history` sends it."""

    id: str
    role: Role
    content: str
    llmModel: str
    sequence: int
    createdAt: str  # ISO 8601, UTC
    metadata: NotRequired[MessageMetadata]
    clientMessageId: NotRequired[str]


class Task(TypedDict):
    id: str
    title: str
    status: TaskStatus
    createdAt: str
    errorMessage: NotRequired[str]


_metadata = MetaData()

_tasks = Table(
    "tasks",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("title", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error_message", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

_messages = Table(
    "chat_messages",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("llm_model", Text, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("total_tokens", Integer),
    Column("finish_reason", String(32)),
    Column("client_message_id", String(128)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("task_id", "sequence"),
    UniqueConstraint("task_id", "client_message_id"),
)

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}

# Seconds until a database host that does not answer counts as unreachable.
_CONNECT_TIMEOUT = 5


class History:
    """The open SQL history. Safe to share between asyncio tasks.

    Every method is one transaction: cancelled, it is rolled back. Every method raises
    DatabaseError when the database fails.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect, and create the tables that are missing.

        `url` is `sqlite+aiosqlite:///<file>` or `postgresql+psycopg://user:password@
        host:port/database` (the driver may be left out). Raises ConfigError, which
        never shows the password, when it is neither or the database cannot be used.
        """
        parsed = _parse(url)
        history = cls(_engine(parsed))
        try:
            _touch_file(parsed)
            async with history._engine.begin() as connection:
                await connection.run_sync(_metadata.create_all)
        except (SQLAlchemyError, OSError, UnicodeError) as error:
            await history.close()
            raise ConfigError(
                f"The SQL history at {history} cannot be used: "
                f"{history._reason(error)}. Check the URL, that the database exists "
                "and that it is running."
            ) from None
        return history

    async def close(self) -> None:
        """Close all connections; may be called twice."""
        await self._engine.dispose()

    def __str__(self) -> str:
        """The URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    async def create_task(self, title: str, *, task_id: str | None = None) -> str:
        """Store a new task; its id, `task_id` if given."""
        task_id = task_id or uuid.uuid4().hex
        now = datetime.now(UTC)
        async with self._transaction() as connection:
            await connection.execute(
                insert(_tasks).values(
                    id=task_id,
                    title=_storable(title),
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
                select(_tasks).where(_tasks.c.id == _storable(task_id))
            )
            row = found.one_or_none()
        return _as_task(row) if row else None

    async def set_task_status(
        self, task_id: str, status: TaskStatus, error_message: str | None = None
    ) -> None:
        """Store the task's status; an error message stays until the next status."""
        error = None if error_message is None else _storable(error_message)
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
            ours = _messages.c.task_id == task_id
            if client_message_id is not None:
                same = _messages.c.client_message_id == client_message_id
                known = await connection.execute(
                    select(_messages.c.id).where(ours, same)
                )
                if known.one_or_none() is not None:
                    return None
            last = func.coalesce(func.max(_messages.c.sequence), 0)
            await connection.execute(
                insert(_messages).values(
                    id=message_id,
                    task_id=task_id,
                    sequence=select(last + 1).where(ours).scalar_subquery(),
                    role=role,
                    llm_model=llm_model,
                    client_message_id=client_message_id,
                    created_at=datetime.now(UTC),
                    **_written(content, metadata),
                )
            )
        return message_id

    async def update_message(
        self, message_id: str, content: str, metadata: MessageMetadata
    ) -> None:
        """Replace a message's content and its whole metadata."""
        async with self._transaction() as connection:
            await connection.execute(
                update(_messages)
                .where(_messages.c.id == message_id)
                .values(**_written(content, metadata))
            )

    async def messages(self, task_id: str) -> list[Message]:
        """The task's messages by ascending sequence; empty for an unknown task."""
        async with self._transaction() as connection:
            rows = await connection.execute(
                select(_messages)
                .where(_messages.c.task_id == _storable(task_id))
                .order_by(_messages.c.sequence)
            )
            return [_as_message(row) for row in rows]

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


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise ConfigError(
            "The SQL history's URL cannot be read. Write sqlite+aiosqlite:///<file> "
            "or postgresql+psycopg://<user>:<password>@<host>:<port>/<database>."
        ) from None
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    if driver not in _DRIVERS.values():
        raise ConfigError(
            f"The SQL history cannot use {parsed.drivername}. Write "
            "sqlite+aiosqlite:///<file> or postgresql+psycopg://..."
        )
    return parsed.set(drivername=driver)


def _touch_file(url: URL) -> None:
    """Raise OSError if the SQLite file cannot be opened or created.

    aiosqlite would find out, too, but leaves a thread behind then, which may outlive
    the event loop that it reports to.
    """
    if url.get_backend_name() == "sqlite" and url.database not in (
        None,
        "",
        ":memory:",
    ):
        with open(url.database, "ab"):
            pass


def _engine(url: URL) -> AsyncEngine:
    postgres = url.get_backend_name() == "postgresql"
    try:
        engine = create_async_engine(
            url,
            hide_parameters=True,  # or a user's text would stand in error messages
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_TIMEOUT} if postgres else {},
        )
    except ImportError:
        raise ConfigError(
            "PostgreSQL needs its driver. "
            "Install it: pip install 'convex-streaming-kit[postgres]'"
        ) from None
    if not postgres:
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer; a message belongs to a task that exists."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


async def _touch(connection: AsyncConnection, task_id: str, **values: object) -> None:
    """Update the task's row, which locks it until the transaction ends."""
    touched = await connection.execute(
        update(_tasks)
        .where(_tasks.c.id == task_id)
        .values(updated_at=datetime.now(UTC), **values)
    )
    if touched.rowcount == 0:
        raise DatabaseError(f"The SQL history has no task {task_id}.")


def _written(content: str, metadata: MessageMetadata | None) -> dict[str, Any]:
    """The columns that hold a message's text and state."""
    columns: dict[str, Any] = {"content": _storable(content), "metadata": metadata}
    if metadata is not None:
        columns["finish_reason"] = metadata.get("finishReason")
        if usage := metadata.get("usage"):
            columns["prompt_tokens"] = usage["promptTokens"]
            columns["completion_tokens"] = usage["completionTokens"]
            columns["total_tokens"] = usage["totalTokens"]
    return columns


def _storable(text: str) -> str:
    """`text` with what no UTF-8 database takes (NUL, lone surrogates) as U+FFFD."""
    return valid_text(text.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _as_task(row: Row[Any]) -> Task:
    task: Task = {
        "id": row.id,
        "title": row.title,
        "status": cast(TaskStatus, row.status),
        "createdAt": _iso(row.created_at),
    }
    if row.error_message is not None:
        task["errorMessage"] = row.error_message
    return task


def _as_message(row: Row[Any]) -> Message:
    message: Message = {
        "id": row.id,
        "role": cast(Role, row.role),
        "content": row.content,
        "llmModel": row.llm_model,
        "sequence": row.sequence,
        "createdAt": _iso(row.created_at),
    }
    if row.metadata is not None:
        message["metadata"] = row.metadata
    if row.client_message_id is not None:
        message["clientMessageId"] = row.client_message_id
    return message


def _iso(moment: datetime) -> str:
    """SQLite gives back what it was given, UTC, without saying so."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()
