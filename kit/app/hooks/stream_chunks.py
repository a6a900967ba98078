"""The application's Socket.IO format in the kit's shapes.

Holds how a StreamChunk becomes chunks, and how a message of `chat-history` becomes a
row as `messages:byTask` gives it. Pure. The format itself is the application's: a
flat object with a `type` and one field, without id, number or message.

Since a StreamChunk has no id, part ids are counted here, in the client, as the guide's
front end does: two clients that joined at different times count differently. Unlike
there, neighbouring pieces of text make one part at once, not when drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from kit.parts import Chunk, Part, fold

__all__ = ["ChunkCounter", "row_of_history"]

StreamChunk = Mapping[str, Any]


class ChunkCounter:
    """Turns the StreamChunks of one reply into chunks with part ids."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._open: tuple[str, str] | None = None  # kind and id of the growing part

    def convert(self, stream_chunk: StreamChunk) -> list[Chunk]:
        """The chunks that one StreamChunk stands for; none for an unknown type.

        Raises KeyError, TypeError or ValueError if its field is missing or of another
        shape.
        """
        return list(self._convert(stream_chunk))

    def _convert(self, given: StreamChunk) -> Iterator[Chunk]:
        match given["type"]:
            case "content":
                yield from self._grow("text")
                yield {
                    "type": "text-delta",
                    "id": self._id("text"),
                    "delta": given["content"],
                }
            case "reasoning":
                yield from self._grow("reasoning")
                yield {
                    "type": "reasoning-delta",
                    "id": self._id("reasoning"),
                    "delta": given["reasoning"],
                }
            case "reasoning-signature":
                yield from self._end(given["reasoningSignature"])
            case "redacted-reasoning":
                yield from self._end()
                yield {
                    "type": "reasoning-start",
                    "id": self._next("redacted-reasoning"),
                    "redactedData": given["redactedReasoningData"],
                }
            case "tool-call-start":
                yield from self._end()
                yield _tool_start(given["toolCallStart"])
            case "tool-call-delta":
                delta = given["toolCallDelta"]
                yield from self._end()
                yield _tool_start(delta)  # its own start may have been missed
                yield {
                    "type": "tool-input-delta",
                    "toolCallId": delta["id"],
                    "inputTextDelta": delta["argsTextDelta"],
                }
            case "tool-call":
                call = given["toolCall"]
                yield from self._end()
                yield {
                    "type": "tool-input-available",
                    "toolCallId": call["id"],
                    "toolName": call["name"],
                    "inputText": _json_text(call["args"]),
                }
            case "tool-result":
                yield from self._end()
                yield _tool_result(given["toolResult"])
            case "error":
                yield from self._end()
                yield {
                    "type": "error",
                    "id": self._next("error"),
                    "errorText": str(given["error"]),
                    "kind": "application",
                }
            case "complete":
                yield from self._end()

    def _grow(self, kind: str) -> Iterator[Chunk]:
        """Make sure that a part of this kind is the growing one."""
        if self._open is not None and self._open[0] == kind:
            return
        yield from self._end()
        part_id = self._next(kind)
        self._open = (kind, part_id)
        if kind == "text":
            yield {"type": "text-start", "id": part_id}
        else:
            yield {"type": "reasoning-start", "id": part_id}

    def _end(self, signature: str | None = None) -> Iterator[Chunk]:
        """End the growing part, if there is one."""
        if self._open is None:
            return
        kind, part_id = self._open
        self._open = None
        if kind == "text":
            yield {"type": "text-end", "id": part_id}
        elif signature is None:
            yield {"type": "reasoning-end", "id": part_id}
        else:
            yield {"type": "reasoning-end", "id": part_id, "signature": signature}

    def _id(self, kind: str) -> str:
        return f"{kind}-{self._counts[kind] - 1}"

    def _next(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._id(kind)


def _tool_start(call: Mapping[str, Any]) -> Chunk:
    return {
        "type": "tool-input-start",
        "toolCallId": call["id"],
        "toolName": call["name"],
    }


def _tool_result(result: Mapping[str, Any]) -> Chunk:
    value = result["result"]
    if result.get("isValid") is False:
        failure = value.get("error") if isinstance(value, dict) else None
        return {
            "type": "tool-output-error",
            "toolCallId": result["id"],
            "errorText": failure if isinstance(failure, str) else _json_text(value),
        }
    return {
        "type": "tool-output-available",
        "toolCallId": result["id"],
        "outputText": _json_text(value),
    }


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- history ----------------------------------------------------------------------


def row_of_history(message: Mapping[str, Any], task_id: str) -> dict[str, Any]:
    """A stored message of the application as a row of `messages:byTask`.

    Raises KeyError, TypeError or ValueError if it is not such a message.
    """
    metadata = message.get("metadata") or {}
    row = {
        "_id": message["id"],
        "_creationTime": _milliseconds(message["createdAt"]),
        "taskId": task_id,
        "role": message["role"].upper(),
        "content": message["content"],
        "sequence": float(message["sequence"]),
        "status": _status(metadata),
    }
    for name in ("llmModel", "clientMessageId"):
        if name in message:
            row[name] = message[name]
    for name in ("finishReason", "usage"):
        if name in metadata:
            row[name] = metadata[name]
    if "parts" in metadata:
        row["parts"] = _parts(metadata["parts"])
    return row


def _milliseconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp() * 1000


def _status(metadata: Mapping[str, Any]) -> str:
    if metadata.get("isStreaming"):
        return "streaming"
    match metadata.get("finishReason"):
        case "error":
            return "failed"
        case "aborted":
            return "stopped"
        case _:
            return "complete"


def _parts(stored: Iterable[Mapping[str, Any]]) -> list[Part]:
    """The application's stored parts, which have no ids, as the kit's."""
    counter = ChunkCounter()
    chunks: list[Chunk] = []
    for part in stored:
        for stream_chunk in _stream_chunks_of(part):
            chunks += counter.convert(stream_chunk)
    chunks += counter.convert({"type": "complete"})
    return fold(chunks)


def _stream_chunks_of(part: Mapping[str, Any]) -> Iterator[StreamChunk]:
    match part["type"]:
        case "text":
            yield {"type": "content", "content": part["text"]}
        case "reasoning":
            yield {"type": "reasoning", "reasoning": part["text"]}
            if "signature" in part:
                signature = part["signature"]
                yield {"type": "reasoning-signature", "reasoningSignature": signature}
        case "redacted-reasoning":
            yield {"type": "redacted-reasoning", "redactedReasoningData": part["data"]}
        case "tool-call":
            call = {
                "id": part["toolCallId"],
                "name": part["toolName"],
                "args": part["args"],
            }
            yield {"type": "tool-call", "toolCall": call}
        case "tool-result":
            value = part["result"]
            failed = isinstance(value, dict) and value.get("success") is False
            result = {
                "id": part["toolCallId"],
                "result": value,
                "isValid": not failed,
            }
            yield {"type": "tool-result", "toolResult": result}
        case "error":
            yield {"type": "error", "error": part["error"]}
