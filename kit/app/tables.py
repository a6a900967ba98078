"""The SQL tables of the application, and what a row of them is to it.

Holds the shapes of tasks and messages, the two tables, and how the one becomes the
other. Does not read or write: that is `kit.app.history`.

Mirrors the guide's application, which keeps these tables in PostgreSQL through
Prisma: a message has a `sequence` within its task, and `metadata` is one JSON value
with `parts`, `isStreaming`, `usage` and `finishReason`. Added here:
`client_message_id`, so that a message sent twice is stored once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict, cast

from sqlalchemy import (
    JSON,
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
)

from kit.deltas import valid_text

__all__ = [
    "CLIENT_ID_LENGTH",
    "TABLES",
    "Message",
    "MessageMetadata",
    "MessagePart",
    "Role",
    "Task",
    "TaskStatus",
    "Usage",
    "as_message",
    "as_task",
    "message_table",
    "storable",
    "task_table",
    "written",
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


CLIENT_ID_LENGTH = 128
"""Characters of a `client_message_id`, at most."""

TABLES = MetaData()

task_table = Table(
    "tasks",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("title", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error_message", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

message_table = Table(
    "chat_messages",
    TABLES,
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
    Column("client_message_id", String(CLIENT_ID_LENGTH)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("task_id", "sequence"),
    UniqueConstraint("task_id", "client_message_id"),
)


def written(content: str, metadata: MessageMetadata | None) -> dict[str, Any]:
    """The columns that hold a message's text and state."""
    columns: dict[str, Any] = {"content": storable(content), "metadata": metadata}
    if metadata is not None:
        columns["finish_reason"] = metadata.get("finishReason")
        if usage := metadata.get("usage"):
            columns["prompt_tokens"] = usage["promptTokens"]
            columns["completion_tokens"] = usage["completionTokens"]
            columns["total_tokens"] = usage["totalTokens"]
    return columns


def storable(text: str) -> str:
    """`text` with what no UTF-8 database takes (NUL, lone surrogates) as U+FFFD."""
    return valid_text(text.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def as_task(row: Row[Any]) -> Task:
    task: Task = {
        "id": row.id,
        "title": row.title,
        "status": cast(TaskStatus, row.status),
        "createdAt": _iso(row.created_at),
    }
    if row.error_message is not None:
        task["errorMessage"] = row.error_message
    return task


def as_message(row: Row[Any]) -> Message:
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
