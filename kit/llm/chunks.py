"""From a provider's pieces to the chunks of one step.

Holds what all readers do alike: opening, filling and closing parts, collecting the
arguments of tool calls, and joining characters that were cut in two. Pure. What a
provider's events mean is in the adapters; what chunks mean is in `kit.parts`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from kit.deltas import valid_text
from kit.parts import Chunk, FinishReason, FinishStep, Usage

__all__ = [
    "CallMade",
    "ChunkWriter",
    "arguments_object",
    "arguments_text",
    "number_of",
    "text_of",
    "usage",
]


def text_of(source: Any, name: str) -> str:
    """A text field of an event; "" if it is absent or anything else.

    The SDKs do not validate what arrives, so a field may hold any JSON.
    """
    value = getattr(source, name, None)
    return value if isinstance(value, str) else ""


def number_of(source: Any, name: str) -> float | None:
    """A number field of an event; None if it is absent or anything else."""
    value = getattr(source, name, None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def usage(
    prompt: float | None,
    completion: float | None,
    total: float | None = None,
    *,
    cached: float | None = None,
    reasoning: float | None = None,
    cost: float | None = None,
) -> Usage | None:
    """What the provider counted; None if it did not say. Unknown is absent, not 0."""
    if prompt is None or completion is None:
        return None
    counted: Usage = {
        "promptTokens": prompt,
        "completionTokens": completion,
        "totalTokens": prompt + completion if total is None else total,
    }
    if cached is not None:
        counted["cachedTokens"] = cached
    if reasoning is not None:
        counted["reasoningTokens"] = reasoning
    if cost is not None:
        counted["cost"] = cost
    return counted


@dataclass
class CallMade:
    """A tool call as far as it has come; `text` is its arguments' JSON text."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    closed: bool = False

    @property
    def text(self) -> str:
        # A call without arguments may come with none at all.
        return "".join(self.pieces).strip() or "{}"


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments of a call as they may be sent back; wrapped, if they are no object.

    Only an object may come back: Anthropic refuses anything else, and so do many of the
    servers behind the other two wires. This is how Anthropic's guide to fine-grained
    tool streaming wraps what is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": text}


def arguments_text(text: str) -> str:
    """The same as JSON text; unchanged, if it may be sent back as it is."""
    value = arguments_object(text)
    return json.dumps(value) if "INVALID_JSON" in value else text


class _Joiner:
    """Joins a surrogate pair that a provider cut in two.

    A server that slices text by UTF-16 units sends half an emoji, as an escape, at the
    end of one delta and the other half in the next.
    """

    def __init__(self) -> None:
        self._half = ""

    def push(self, delta: str) -> str:
        text = self._half + delta
        self._half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            self._half, text = text[-1], text[:-1]
        return valid_text(text)

    def rest(self) -> str:
        """The replacement character, if the other half never came."""
        half, self._half = self._half, ""
        return valid_text(half)


@dataclass
class _OpenPart:
    kind: str  # text or reasoning
    joiner: _Joiner = field(default_factory=_Joiner)


class ChunkWriter:
    """Collects chunks: methods add, `take` hands them out.

    Parts open with their first delta. `key` is whatever tells the tool calls of one
    step apart.
    """

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._parts: dict[str, _OpenPart] = {}
        self._calls: dict[Any, tuple[CallMade, _Joiner]] = {}

    def take(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        return chunks

    @property
    def calls(self) -> list[CallMade]:
        """The tool calls of the step, in the order in which they began."""
        return [call for call, _ in self._calls.values()]

    # --- text and reasoning ---

    def text(self, part_id: str, delta: str) -> str:
        """Add to a text part; what was added, which may lack half a character."""
        if part_id not in self._parts:
            if not delta:
                return ""
            self._parts[part_id] = _OpenPart("text")
            self._chunks.append({"type": "text-start", "id": part_id})
        delta = self._parts[part_id].joiner.push(delta)
        if delta:
            self._chunks.append({"type": "text-delta", "id": part_id, "delta": delta})
        return delta

    def reasoning(self, part_id: str, delta: str = "") -> str:
        """Add to a reasoning part, which opens even if it will stay empty."""
        if part_id not in self._parts:
            self._parts[part_id] = _OpenPart("reasoning")
            self._chunks.append({"type": "reasoning-start", "id": part_id})
        delta = self._parts[part_id].joiner.push(delta)
        if delta:
            self._chunks.append(
                {"type": "reasoning-delta", "id": part_id, "delta": delta}
            )
        return delta

    def redacted(self, part_id: str, data: str) -> None:
        """A block of encrypted reasoning, whole."""
        self._chunks.append(
            {"type": "reasoning-start", "id": part_id, "redactedData": data}
        )
        self._chunks.append({"type": "reasoning-end", "id": part_id})

    def end(self, part_id: str, signature: str = "") -> None:
        """Close a text or reasoning part, if it is open."""
        part = self._parts.pop(part_id, None)
        if part is None:
            return
        rest = part.joiner.rest()
        if part.kind == "text":
            if rest:
                self._chunks.append(
                    {"type": "text-delta", "id": part_id, "delta": rest}
                )
            self._chunks.append({"type": "text-end", "id": part_id})
            return
        if rest:
            self._chunks.append(
                {"type": "reasoning-delta", "id": part_id, "delta": rest}
            )
        if signature:
            self._chunks.append(
                {"type": "reasoning-end", "id": part_id, "signature": signature}
            )
        else:
            self._chunks.append({"type": "reasoning-end", "id": part_id})

    # --- tool calls ---

    def call(self, key: Any, call_id: str, name: str) -> None:
        """Begin a tool call. One without an id gets one: results need it."""
        if key in self._calls:
            return
        call = CallMade(call_id or f"call_{uuid.uuid4().hex}", name)
        self._calls[key] = (call, _Joiner())
        self._chunks.append(
            {"type": "tool-input-start", "toolCallId": call.id, "toolName": name}
        )

    def call_made(self, key: Any) -> CallMade:
        """The call that began under this key. Raises KeyError."""
        return self._calls[key][0]

    def arguments(self, key: Any, delta: str) -> None:
        """Add to the arguments of a call that has begun and not ended."""
        if key not in self._calls or self._calls[key][0].closed:
            return
        call, joiner = self._calls[key]
        delta = joiner.push(delta)
        if delta:
            call.pieces.append(delta)
            self._chunks.append(
                {
                    "type": "tool-input-delta",
                    "toolCallId": call.id,
                    "inputTextDelta": delta,
                }
            )

    def end_call(self, key: Any, text: str = "") -> None:
        """The arguments are complete; `text`, if given, is all of them."""
        if key not in self._calls or self._calls[key][0].closed:
            return
        call, joiner = self._calls[key]
        call.pieces.append(joiner.rest())
        if text:
            call.pieces = [valid_text(text)]
        call.closed = True
        self._chunks.append(
            {
                "type": "tool-input-available",
                "toolCallId": call.id,
                "toolName": call.name,
                "inputText": call.text,
            }
        )

    # --- the end ---

    def finish(
        self, reason: FinishReason, raw: str = "", counted: Usage | None = None
    ) -> list[Chunk]:
        """Close what is open and end the step."""
        for part_id in list(self._parts):
            self.end(part_id)
        for key in list(self._calls):
            self.end_call(key)
        last: FinishStep = {"type": "finish-step", "finishReason": reason}
        if counted is not None:
            last["usage"] = counted
        if raw:
            last["rawFinishReason"] = raw
        self._chunks.append(last)
        return self.take()
