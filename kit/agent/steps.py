"""One model call's chunks: from the provider's ids to the reply's final ids.

Pure: takes what a `Conversation` yields in one step and says
what the reply's log shall hold instead. No I/O, no waiting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

from kit.errors import ToolErrorKind
from kit.parts import Chunk, FinishStep, ReasoningEnd, result_id

__all__ = ["Call", "Ids", "StepChunks"]

MAX_ID_LENGTH = 200


class Ids:
    """Hands out the part ids of one reply, each once."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    def number(
        self, prefix: Literal["text", "reasoning", "redacted-reasoning", "error"]
    ) -> str:
        """`text-0`, `text-1`, …"""
        while True:
            count = self._counts.get(prefix, 0)
            self._counts[prefix] = count + 1
            part_id = f"{prefix}-{count}"
            if part_id not in self._taken:
                self._taken.add(part_id)
                return part_id

    def call(self, local_id: str) -> str:
        """The provider's id, made unique: some providers count anew in each step."""
        base = local_id[:MAX_ID_LENGTH] or "call"
        part_id, count = base, 1
        while part_id in self._taken or result_id(part_id) in self._taken:
            count += 1
            part_id = f"{base}-{count}"
        self._taken |= {part_id, result_id(part_id)}
        return part_id


@dataclass
class Call:
    """A tool call of the step; once complete, it has `args` or an `error`."""

    id: str
    local_id: str
    name: str
    input_pieces: list[str] = field(default_factory=list)
    complete: bool = False
    args: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class StepChunks:
    """Rewrites the chunks of one step, and remembers its tool calls and its finish.

    Text blocks that follow each other directly become one part, empty ones none: a
    text part starts with its first text, and ends when something else begins.
    """

    def __init__(self, ids: Ids, *, max_input: int) -> None:
        self.finish: FinishStep | None = None
        self.calls: list[Call] = []
        self._ids = ids
        self._max_input = max_input
        self._texts: dict[str, str] = {}  # open blocks: local id -> final id
        self._reasonings: dict[str, str] = {}
        self._ended_text: str | None = None  # a part whose text-end is not out yet
        self._calls: dict[str, Call] = {}  # by local id

    def take(self, chunk: Chunk) -> Iterator[Chunk]:
        """What to write to the reply's log for this chunk."""
        match chunk["type"]:
            case "text-start":
                pass  # begins with its first text
            case "text-delta":
                yield from self._text(chunk["id"], chunk["delta"])
            case "text-end":
                yield from self._text_end(chunk["id"])
            case "reasoning-start":
                yield from self._reasoning_start(chunk["id"], chunk.get("redactedData"))
            case "reasoning-delta":
                yield from self._reasoning(chunk["id"], chunk["delta"])
            case "reasoning-end":
                yield from self._reasoning_end(chunk["id"], chunk.get("signature"))
            case "tool-input-start":
                yield from self._call_start(chunk["toolCallId"], chunk["toolName"])
            case "tool-input-delta":
                yield from self._input_delta(
                    chunk["toolCallId"], chunk["inputTextDelta"]
                )
            case "tool-input-available":
                yield from self._input(
                    chunk["toolCallId"], chunk["toolName"], chunk["inputText"], None
                )
            case "tool-input-error":
                yield from self._input(
                    chunk["toolCallId"],
                    chunk["toolName"],
                    chunk["inputText"],
                    chunk["errorText"],
                )
            case "finish-step":
                self.finish = chunk
                yield from self._end_blocks()
                yield chunk
            case (
                "start-step"
                | "tool-output-available"
                | "tool-output-error"
                | "error"
                | "abort"
                | "finish"
            ):
                raise TypeError(f"a model step cannot yield {chunk['type']!r}")
            case _:
                assert_never(chunk["type"])

    def abandon(self, reason: str) -> Iterator[Chunk]:
        """End what is open, and answer the tool calls: they will not be run."""
        yield from self._end_blocks()
        for call in self.calls:
            if not call.complete:
                text = "".join(call.input_pieces)
                yield self._fail_input(call, text, reason, "tool-not-run")
            elif call.error is None:
                yield {
                    "type": "tool-output-error",
                    "toolCallId": call.id,
                    "errorText": reason,
                    "errorKind": "tool-not-run",
                }

    # --- text ---------------------------------------------------------------------

    def _text(self, local_id: str, delta: str) -> Iterator[Chunk]:
        if not delta:
            return
        if local_id in self._texts:
            yield from self._settle_text()
        elif self._ended_text is not None:
            self._texts[local_id], self._ended_text = self._ended_text, None
        else:
            self._texts[local_id] = self._ids.number("text")
            yield {"type": "text-start", "id": self._texts[local_id]}
        yield {"type": "text-delta", "id": self._texts[local_id], "delta": delta}

    def _text_end(self, local_id: str) -> Iterator[Chunk]:
        if local_id in self._texts:
            yield from self._settle_text()
            self._ended_text = self._texts.pop(local_id)

    def _settle_text(self) -> Iterator[Chunk]:
        """Something else goes on: the last text part does not."""
        if self._ended_text is not None:
            yield {"type": "text-end", "id": self._ended_text}
            self._ended_text = None

    # --- reasoning ----------------------------------------------------------------

    def _reasoning_start(self, local_id: str, redacted: str | None) -> Iterator[Chunk]:
        yield from self._settle_text()
        if redacted is None:
            part_id = self._ids.number("reasoning")
            yield {"type": "reasoning-start", "id": part_id}
        else:
            part_id = self._ids.number("redacted-reasoning")
            yield {"type": "reasoning-start", "id": part_id, "redactedData": redacted}
        self._reasonings[local_id] = part_id

    def _reasoning(self, local_id: str, delta: str) -> Iterator[Chunk]:
        if not delta:
            return
        yield from self._settle_text()
        if local_id not in self._reasonings:
            yield from self._reasoning_start(local_id, None)
        part_id = self._reasonings[local_id]
        yield {"type": "reasoning-delta", "id": part_id, "delta": delta}

    def _reasoning_end(self, local_id: str, signature: str | None) -> Iterator[Chunk]:
        if local_id in self._reasonings:
            part_id = self._reasonings.pop(local_id)
            end: ReasoningEnd = {"type": "reasoning-end", "id": part_id}
            if signature is not None:
                end["signature"] = signature
            yield end

    def _end_blocks(self) -> Iterator[Chunk]:
        yield from self._settle_text()
        for local_id in list(self._texts):
            yield {"type": "text-end", "id": self._texts.pop(local_id)}
        for local_id in list(self._reasonings):
            yield from self._reasoning_end(local_id, None)

    # --- tool calls ---------------------------------------------------------------

    def _call_start(self, local_id: str, name: str) -> Iterator[Chunk]:
        yield from self._settle_text()
        call = Call(self._ids.call(local_id), local_id, name)
        self.calls.append(call)
        self._calls[local_id] = call
        yield {"type": "tool-input-start", "toolCallId": call.id, "toolName": name}

    def _input_delta(self, local_id: str, delta: str) -> Iterator[Chunk]:
        if not delta:
            return
        yield from self._settle_text()
        call = self._calls[local_id]
        call.input_pieces.append(delta)
        yield {
            "type": "tool-input-delta",
            "toolCallId": call.id,
            "inputTextDelta": delta,
        }

    def _input(
        self, local_id: str, name: str, text: str, error: str | None
    ) -> Iterator[Chunk]:
        if local_id not in self._calls:
            yield from self._call_start(local_id, name)
        yield from self._settle_text()
        call = self._calls[local_id]
        if error is None:
            call.args, error = _arguments(text, self._max_input)
        if error is not None:
            shown = text[: self._max_input]
            yield self._fail_input(call, shown, error, "tool-input")
            return
        call.complete = True
        yield {
            "type": "tool-input-available",
            "toolCallId": call.id,
            "toolName": call.name,
            "inputText": text if text.strip() else "{}",
        }

    def _fail_input(
        self, call: Call, text: str, error: str, kind: ToolErrorKind
    ) -> Chunk:
        call.complete, call.error = True, error
        return {
            "type": "tool-input-error",
            "toolCallId": call.id,
            "toolName": call.name,
            "inputText": text,
            "errorText": error,
            "errorKind": kind,
        }


def _arguments(text: str, max_length: int) -> tuple[dict[str, Any], str | None]:
    """The arguments in `text`, or why there are none."""
    if len(text) > max_length:
        return {}, f"the arguments are longer than {max_length:,} characters"
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return {}, f"the arguments are not JSON: {error}"
    if not isinstance(value, dict):
        return {}, "the arguments are not a JSON object"
    return value, None
