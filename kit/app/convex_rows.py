"""A message of Convex's as the application's SQL history has it. Pure.

Holds how a row of `messages:byTask` becomes a `Message`: roles, times, and parts in
the application's shapes. The way back is `kit.app.hooks.stream_chunks.row_of_history`.

The application has no words for some of what Convex stores: ids of parts, kinds of
errors, arguments that are no JSON object, costs. That is left out; nothing that was
said is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from kit.app.llm_service import (
    stored_usage,
    tool_arguments,
    tool_failure,
    tool_output,
)
from kit.app.tables import (
    CLIENT_ID_LENGTH,
    Message,
    MessageMetadata,
    MessagePart,
    storable,
)
from kit.parts import Part, result_id

__all__ = ["has_ended", "moment_of", "stored_message"]


def has_ended(row: Mapping[str, Any]) -> bool:
    """Whether nothing of the message will change any more."""
    return row["status"] in ("complete", "stopped", "failed")


def moment_of(milliseconds: float) -> datetime:
    """A time of Convex's, which counts milliseconds since the epoch."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def stored_message(row: Mapping[str, Any]) -> Message:
    """The message in a row that has ended; it keeps its id and the time it was begun.

    `sequence` is Convex's, and counts otherwise than SQL's.
    """
    message: Message = {
        "id": row["_id"],
        "role": row["role"].lower(),
        "content": storable(row["content"]),
        "llmModel": storable(row.get("llmModel", "")),
        "sequence": int(row["sequence"]),
        "createdAt": moment_of(row["_creationTime"]).isoformat(),
    }
    client_id = row.get("clientMessageId", "")
    if _fits(client_id):
        message["clientMessageId"] = client_id
    if row["role"] == "ASSISTANT":
        message["metadata"] = _metadata(row)
    return message


def _fits(client_id: str) -> bool:
    """Whether SQL can hold it; without it, the message is known by its own id."""
    return 0 < len(client_id) <= CLIENT_ID_LENGTH and client_id == storable(client_id)


def _metadata(row: Mapping[str, Any]) -> MessageMetadata:
    parts = list(_parts(row.get("parts", ())))
    error = row.get("error")
    if error is not None and not any(part.get("error") == error for part in parts):
        parts.append(_error(error))
    metadata: MessageMetadata = {
        "isStreaming": False,
        "parts": parts,
        "finishReason": _finish_reason(row),
    }
    if "usage" in row:
        metadata["usage"] = stored_usage(row["usage"])
    return metadata


def _finish_reason(row: Mapping[str, Any]) -> str:
    """The application tells by this word alone how a reply ended."""
    match row["status"]:
        case "failed":
            return "error"
        case "stopped":
            return "aborted"
        case _:
            return str(row.get("finishReason", "other"))


def _parts(parts: Iterable[Part]) -> Iterator[MessagePart]:
    parts = list(parts)
    answered = {part["id"] for part in parts if part["type"] == "tool-result"}
    for part in parts:
        match part["type"]:
            case "text":
                yield {"type": "text", "text": part["text"]}
            case "reasoning":
                reasoning = {"type": "reasoning", "text": part["text"]}
                if "signature" in part:
                    reasoning["signature"] = part["signature"]
                yield reasoning
            case "redacted-reasoning":
                yield {"type": "redacted-reasoning", "data": part["data"]}
            case "tool-call":
                yield {
                    "type": "tool-call",
                    "toolCallId": part["toolCallId"],
                    "toolName": part["toolName"],
                    "args": tool_arguments(part["argsText"]),
                }
                # The application shows a call that could not be run as one that failed.
                if "errorText" in part and result_id(part["id"]) not in answered:
                    yield _result(part, tool_failure(part["errorText"]))
            case "tool-result":
                text = part["resultText"]
                failed = part["isError"]
                yield _result(part, tool_failure(text) if failed else tool_output(text))
            case "error":
                yield _error(part["errorText"])
            case _:
                assert_never(part["type"])


def _result(part: Mapping[str, Any], result: Any) -> MessagePart:
    return {
        "type": "tool-result",
        "toolCallId": part["toolCallId"],
        "toolName": part["toolName"],
        "result": result,
    }


def _error(text: str) -> MessagePart:
    return {"type": "error", "error": text, "finishReason": "error"}
