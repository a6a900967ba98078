"""Messages as they are stored, and as they are read.

A message is one document, `chatMessages`, as long as that stays well below the 1 MiB
that a document may hold. Beyond, its parts are rows of `messageParts`, and the
document keeps the beginning of its text. Readers get the whole either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

from kit.convex._errors import refusal
from kit.convex._log import chunks_of
from kit.parts import Part, PartsFold
from kit.values import size_of

__all__ = [
    "MAX_STORED_PARTS",
    "UNFINISHED",
    "final_fields",
    "history_before",
    "newest",
    "newest_message",
    "oldest",
    "reply_to",
    "result_of",
]

UNFINISHED = ("queued", "streaming", "stopping")
"""The statuses of a message that has no parts yet."""
MAX_INLINE_BYTES = 512 * 1024
"""What a message's document may hold of content and parts."""
MAX_PIECE_CHARACTERS = 64 * 1024
"""Text in one row of messageParts: 256 KiB at most."""
MAX_STORED_PARTS = 4096
"""A Convex array holds at most 8192 elements."""
MAX_READ_BYTES = 8 * 1024 * 1024
"""What one query returns of messages: half of what a function may return."""
BATCH = 8
MAX_HISTORY = 64
"""Messages that the model is given, at most."""
MAX_HISTORY_BYTES = 1024 * 1024

_TEXT_FIELDS = {
    "text": "text",
    "reasoning": "text",
    "redacted-reasoning": "data",
    "tool-call": "argsText",
    "tool-result": "resultText",
    "error": "errorText",
}


async def newest(
    ctx: Any, task_id: str, limit: int, *, below: float = math.inf
) -> list[dict[str, Any]]:
    """The newest `limit` messages, in order; fewer if they are very large.

    `below`: only those with a smaller sequence.
    """
    rows: list[dict[str, Any]] = []
    room = MAX_READ_BYTES
    while len(rows) < limit:
        batch = await _before(ctx, task_id, below, min(BATCH, limit - len(rows)))
        for document in batch:
            row = await _whole(ctx, document)
            room -= size_of(row)
            if room < 0 and rows:
                return rows[::-1]
            rows.append(row)
        if len(batch) < BATCH:
            break
        below = batch[-1]["sequence"]
    return rows[::-1]


async def _before(
    ctx: Any, task_id: str, below: float, count: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        await ctx.db.query("chatMessages")
        .with_index(
            "by_task_sequence",
            lambda q: q.eq("taskId", task_id).lt("sequence", below),
        )
        .order("desc")
        .take(count)
    )
    return found


async def oldest(ctx: Any, task_id: str, limit: int, *, above: float) -> dict[str, Any]:
    """The first `limit` messages with a larger sequence; and whether there are `more`.

    Fewer, if together they would be very large.
    """
    rows: list[dict[str, Any]] = []
    room = MAX_READ_BYTES
    while True:
        batch = await _after(ctx, task_id, above, min(BATCH, limit + 1 - len(rows)))
        for document in batch:
            if len(rows) == limit:
                return {"messages": rows, "more": True}
            row = await _whole(ctx, document)
            room -= size_of(row)
            if room < 0 and rows:
                return {"messages": rows, "more": True}
            rows.append(row)
        if len(batch) < BATCH:
            return {"messages": rows, "more": False}
        above = batch[-1]["sequence"]


async def _after(
    ctx: Any, task_id: str, above: float, count: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        await ctx.db.query("chatMessages")
        .with_index(
            "by_task_sequence",
            lambda q: q.eq("taskId", task_id).gt("sequence", above),
        )
        .take(count)
    )
    return found


async def _whole(ctx: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The message with its parts, wherever they are stored."""
    if not _is_spilled(document):
        return document
    parts = await _stored_parts(ctx, document["_id"])
    return {**document, "parts": parts, "content": _content(parts)}


def _is_spilled(document: dict[str, Any]) -> bool:
    return (
        document["role"] == "ASSISTANT"
        and "parts" not in document
        and document["status"] not in UNFINISHED
    )


async def _stored_parts(ctx: Any, message_id: str) -> list[Part]:
    rows = (
        await ctx.db.query("messageParts")
        .with_index("by_message", lambda q: q.eq("messageId", message_id))
        .collect()
    )
    return _joined(row["part"] for row in rows)


async def final_fields(ctx: Any, message_id: str, parts: list[Part]) -> dict[str, Any]:
    """What to store in the message's document; stores the rest in messageParts."""
    fields = {"content": _content(parts), "parts": parts}
    if size_of(fields) <= MAX_INLINE_BYTES:
        return fields
    for index, piece in enumerate(_pieces(parts)):
        row = {"messageId": message_id, "index": index, "part": piece}
        await ctx.db.insert("messageParts", row)
    return {"content": _content(parts)[:MAX_PIECE_CHARACTERS]}


def _pieces(parts: Iterable[Part]) -> Iterable[Part]:
    for part in parts:
        name = _TEXT_FIELDS[part["type"]]
        text = str(part.get(name))
        for start in range(0, max(len(text), 1), MAX_PIECE_CHARACTERS):
            piece = text[start : start + MAX_PIECE_CHARACTERS]
            yield cast(Part, {**part, name: piece})


def _joined(pieces: Iterable[Part]) -> list[Part]:
    joined: list[dict[str, Any]] = []
    for piece in pieces:
        name = _TEXT_FIELDS[piece["type"]]
        if joined and joined[-1]["id"] == piece["id"]:
            joined[-1][name] += piece.get(name)
        else:
            joined.append(dict(piece))
    return cast(list[Part], joined)


def _content(parts: Iterable[Part]) -> str:
    return "".join(part["text"] for part in parts if part["type"] == "text")


async def newest_message(ctx: Any, task_id: str) -> dict[str, Any] | None:
    """The last message of a task, as it is stored."""
    found = await _before(ctx, task_id, math.inf, 1)
    return found[0] if found else None


async def reply_to(ctx: Any, prompt_message_id: str) -> dict[str, Any] | None:
    """The assistant's message that answers this prompt."""
    found: dict[str, Any] | None = (
        await ctx.db.query("chatMessages")
        .with_index(
            "by_promptMessageId", lambda q: q.eq("promptMessageId", prompt_message_id)
        )
        .order("desc")
        .first()
    )
    return found


async def history_before(ctx: Any, message_id: str) -> dict[str, Any]:
    """The conversation up to this reply, as text: `{"system", "turns"}`.

    Neighbouring turns of one role become one, as after a reply without text. Replies
    that failed or were stopped are there with the text they have.

    After a reply that failed as too large for its model there is half of what was too
    much, the newest first, and without the prompt that is too long by itself: otherwise
    each message after it would fail, too.
    """
    message = await _message(ctx, message_id)
    rows = await newest(ctx, message["taskId"], MAX_HISTORY, below=message["sequence"])
    texts = [await _text_of(ctx, row) for row in rows]
    sizes = [len(text.encode()) for text in texts]
    room, refused = _room(rows, sizes)
    system: list[str] = []
    turns: list[dict[str, str]] = []
    for row, text, size in reversed(list(zip(rows, texts, sizes, strict=True))):
        if size > room and turns:
            if row["_id"] in refused:
                continue
            break
        room -= size
        if row["role"] == "SYSTEM":
            system.insert(0, text)
        elif text.strip():
            _prepend(turns, "user" if row["role"] == "USER" else "assistant", text)
    return {"system": "\n\n".join(system), "turns": turns}


def _room(rows: list[dict[str, Any]], sizes: list[int]) -> tuple[int, set[str]]:
    """How many bytes of these messages the model is given, and the prompts that were
    too much for it."""
    room, before = MAX_HISTORY_BYTES, 0
    refused: set[str] = set()
    size_of_prompt: dict[str, int] = {}
    for row, size in zip(rows, sizes, strict=True):
        if row["role"] == "USER":
            size_of_prompt[row["_id"]] = size
        elif row.get("errorKind") == "too-large":
            prompt_id = row["promptMessageId"]
            prompt = size_of_prompt.get(prompt_id, 0)
            refused.add(prompt_id)
            # One that had no room anyway says nothing about what was before it.
            if prompt <= room:
                room = min(room, before) // 2
            if prompt > room:
                before -= prompt
        before += size
    return room, refused


def _prepend(turns: list[dict[str, str]], role: str, text: str) -> None:
    if turns and turns[0]["role"] == role:
        turns[0]["text"] = f"{text}\n\n{turns[0]['text']}"
    else:
        turns.insert(0, {"role": role, "text": text})


async def _text_of(ctx: Any, row: dict[str, Any]) -> str:
    """The text of a message, also of one that is still being written."""
    if row["status"] in UNFINISHED:
        return PartsFold(await chunks_of(ctx, row["streamId"])).content()
    text: str = row["content"]
    return text


async def result_of(ctx: Any, message_id: str) -> dict[str, Any]:
    """What a reply came to, for the one who asked for it."""
    message = await _whole(ctx, await _message(ctx, message_id))
    return {
        "status": message["status"],
        "text": message["content"],
        "toolCallIds": [
            part["toolCallId"]
            for part in message.get("parts", [])
            if part["type"] == "tool-call"
        ],
        "usage": message.get("usage"),
        "finishReason": message.get("finishReason"),
        "error": message.get("error"),
        "errorKind": message.get("errorKind"),
    }


async def _message(ctx: Any, message_id: str) -> dict[str, Any]:
    message: dict[str, Any] | None = await ctx.db.get(message_id)
    if message is None:
        raise refusal("NotFound", f"There is no message {message_id}.")
    return message
