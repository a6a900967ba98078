"""Chunks and parts: what a model streams, and what a message is made of.

Holds the shapes of chunks (one event of a reply being written) and of parts (one
piece of a message), the fold from the one to the other, and the merging of
neighbouring deltas. Does not know where chunks come from, where they are stored,
or when: no I/O, no clock, no randomness.

Mirrors the AI SDK's UI message chunks in names and life cycle. Two things differ,
both because a Convex document may not hold arbitrary JSON (key names, depth, array
length): tool input and tool output travel as JSON *text*, and ids are final, that
is, the producer has already assigned `text-N`, `reasoning-N`,
`redacted-reasoning-N`, `<toolCallId>`, `<toolCallId>-result` and `error-N`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import (
    Any,
    Literal,
    NotRequired,
    TypeAlias,
    TypedDict,
    assert_never,
    cast,
    get_args,
)

from kit.errors import ErrorKind, ToolErrorKind

__all__ = [
    "CHUNK_TYPES",
    "Abort",
    "Chunk",
    "ChunkType",
    "ErrorChunk",
    "ErrorPart",
    "Finish",
    "FinishReason",
    "FinishStep",
    "Part",
    "PartChange",
    "PartsFold",
    "ReasoningDelta",
    "ReasoningEnd",
    "ReasoningPart",
    "ReasoningStart",
    "RedactedReasoningPart",
    "StartStep",
    "TextDelta",
    "TextEnd",
    "TextPart",
    "TextStart",
    "ToolCallPart",
    "ToolInputAvailable",
    "ToolInputDelta",
    "ToolInputError",
    "ToolInputStart",
    "ToolOutputAvailable",
    "ToolOutputError",
    "ToolResultPart",
    "Usage",
    "add_usage",
    "delta_fields",
    "fold",
    "merge_chunks",
    "result_id",
]

FinishReason = Literal[
    "stop",  # the model ended its turn
    "tool-calls",  # it waits for tool results
    "length",  # the token limit of the reply
    "content-filter",  # the provider refused or filtered
    "error",  # the call failed; an error part says why
    "interrupted",  # the producer died, or the stream ended without its last event
    "aborted",  # somebody stopped it
    "other",
]


class Usage(TypedDict):
    """Tokens as the provider counted them; what it did not say is absent."""

    promptTokens: float
    completionTokens: float
    totalTokens: float
    cachedTokens: NotRequired[float]
    reasoningTokens: NotRequired[float]
    cost: NotRequired[float]


# --- chunks ---------------------------------------------------------------------


class StartStep(TypedDict):
    """A model call begins."""

    type: Literal["start-step"]


class TextStart(TypedDict):
    type: Literal["text-start"]
    id: str


class TextDelta(TypedDict):
    type: Literal["text-delta"]
    id: str
    delta: str


class TextEnd(TypedDict):
    type: Literal["text-end"]
    id: str


class ReasoningStart(TypedDict):
    """`redactedData` makes it a redacted block: encrypted, whole, without deltas."""

    type: Literal["reasoning-start"]
    id: str
    redactedData: NotRequired[str]


class ReasoningDelta(TypedDict):
    type: Literal["reasoning-delta"]
    id: str
    delta: str


class ReasoningEnd(TypedDict):
    type: Literal["reasoning-end"]
    id: str
    signature: NotRequired[str]


class ToolInputStart(TypedDict):
    type: Literal["tool-input-start"]
    toolCallId: str
    toolName: str


class ToolInputDelta(TypedDict):
    type: Literal["tool-input-delta"]
    toolCallId: str
    inputTextDelta: str


class ToolInputAvailable(TypedDict):
    """The arguments are complete; `inputText` replaces what the deltas built."""

    type: Literal["tool-input-available"]
    toolCallId: str
    toolName: str
    inputText: str


class ToolInputError(TypedDict):
    """The arguments cannot be used: not JSON, or cut off."""

    type: Literal["tool-input-error"]
    toolCallId: str
    toolName: str
    inputText: str
    errorText: str
    errorKind: NotRequired[ToolErrorKind]


class ToolOutputAvailable(TypedDict):
    type: Literal["tool-output-available"]
    toolCallId: str
    outputText: str


class ToolOutputError(TypedDict):
    type: Literal["tool-output-error"]
    toolCallId: str
    errorText: str
    errorKind: NotRequired[ToolErrorKind]


class FinishStep(TypedDict):
    """A model call has ended; `rawFinishReason` is the provider's own word."""

    type: Literal["finish-step"]
    finishReason: FinishReason
    usage: NotRequired[Usage]
    rawFinishReason: NotRequired[str]


class ErrorChunk(TypedDict):
    """The reply failed, or broke off."""

    type: Literal["error"]
    id: str
    errorText: str
    kind: ErrorKind
    retryable: NotRequired[bool]


class Abort(TypedDict):
    type: Literal["abort"]
    reason: NotRequired[str]


class Finish(TypedDict):
    """The reply has ended; `usage` is the sum over its steps."""

    type: Literal["finish"]
    finishReason: FinishReason
    usage: NotRequired[Usage]


Chunk: TypeAlias = (
    StartStep
    | TextStart
    | TextDelta
    | TextEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | ToolInputStart
    | ToolInputDelta
    | ToolInputAvailable
    | ToolInputError
    | ToolOutputAvailable
    | ToolOutputError
    | FinishStep
    | ErrorChunk
    | Abort
    | Finish
)

ChunkType = Literal[
    "start-step",
    "text-start",
    "text-delta",
    "text-end",
    "reasoning-start",
    "reasoning-delta",
    "reasoning-end",
    "tool-input-start",
    "tool-input-delta",
    "tool-input-available",
    "tool-input-error",
    "tool-output-available",
    "tool-output-error",
    "finish-step",
    "error",
    "abort",
    "finish",
]
CHUNK_TYPES: frozenset[str] = frozenset(get_args(ChunkType))


def add_usage(total: Usage | None, usage: Usage | None) -> Usage | None:
    """The sum of two usages, where None and absent fields are unknown.

    A field that only one of them has is taken from it, so a sum is a lower bound.
    """
    if total is None or usage is None:
        return total or usage
    summed: Usage = {
        "promptTokens": total["promptTokens"] + usage["promptTokens"],
        "completionTokens": total["completionTokens"] + usage["completionTokens"],
        "totalTokens": total["totalTokens"] + usage["totalTokens"],
    }
    optional: tuple[Literal["cachedTokens", "reasoningTokens", "cost"], ...]
    optional = ("cachedTokens", "reasoningTokens", "cost")
    for name in optional:
        if name in total or name in usage:
            summed[name] = total.get(name, 0.0) + usage.get(name, 0.0)
    return summed


# --- parts ----------------------------------------------------------------------


class TextPart(TypedDict):
    id: str
    type: Literal["text"]
    text: str
    state: Literal["streaming", "done"]


class ReasoningPart(TypedDict):
    id: str
    type: Literal["reasoning"]
    text: str
    state: Literal["streaming", "done"]
    signature: NotRequired[str]


class RedactedReasoningPart(TypedDict):
    id: str
    type: Literal["redacted-reasoning"]
    data: str


class ToolCallPart(TypedDict):
    """`argsText` is JSON text, incomplete while the state is `input-streaming`."""

    id: str
    type: Literal["tool-call"]
    toolCallId: str
    toolName: str
    argsText: str
    state: Literal["input-streaming", "input-available", "input-error"]
    errorText: NotRequired[str]
    errorKind: NotRequired[ToolErrorKind]


class ToolResultPart(TypedDict):
    """`resultText` is JSON text, or an error in words if `isError`."""

    id: str
    type: Literal["tool-result"]
    toolCallId: str
    toolName: str
    resultText: str
    isError: bool
    errorKind: NotRequired[ToolErrorKind]


class ErrorPart(TypedDict):
    id: str
    type: Literal["error"]
    errorText: str
    kind: ErrorKind


Part: TypeAlias = (
    TextPart
    | ReasoningPart
    | RedactedReasoningPart
    | ToolCallPart
    | ToolResultPart
    | ErrorPart
)


@dataclass(frozen=True, slots=True)
class PartChange:
    """What one chunk did to one part.

    `text` is what an `appended` part grew by. A part that was `added` or `updated`
    is to be read anew.
    """

    part_id: str
    kind: Literal["added", "appended", "updated"]
    text: str = ""


def result_id(tool_call_id: str) -> str:
    """The id of the part that holds the result of a tool call."""
    return f"{tool_call_id}-result"


# --- the fold -------------------------------------------------------------------


class _Growing:
    """A part under construction: its text is kept as pieces and joined when read."""

    __slots__ = ("fields", "pieces", "text_field")

    def __init__(self, fields: dict[str, Any], text_field: str | None = None) -> None:
        self.fields = fields
        self.text_field = text_field
        self.pieces: list[str] = []

    def read(self) -> Part:
        if self.text_field is None:
            return cast(Part, dict(self.fields))
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        text = self.pieces[0] if self.pieces else ""
        return cast(Part, {**self.fields, self.text_field: text})


class PartsFold:
    """Chunks in, parts out, in the order in which their ids were first seen.

    Applying a delta costs O(len(delta)), whatever the length of the part. The fold
    forgives what a faulty producer or a log with a lost head may hold: a delta
    without its start opens the part, a second start of an id changes nothing, a
    chunk of a type that this version does not know is ignored.
    """

    def __init__(self, chunks: Iterable[Chunk] = ()) -> None:
        self._parts: dict[str, _Growing] = {}
        for chunk in chunks:
            self.apply(chunk)

    def __repr__(self) -> str:
        return f"<PartsFold {', '.join(self._parts) or 'empty'}>"

    @property
    def order(self) -> list[str]:
        """The ids of all parts, first seen first."""
        return list(self._parts)

    def part(self, part_id: str) -> Part:
        """One part, as a dict of its own. Raises KeyError for an unknown id."""
        return self._parts[part_id].read()

    def snapshot(self) -> list[Part]:
        """All parts in order."""
        return [growing.read() for growing in self._parts.values()]

    def content(self) -> str:
        """The plain text of the reply: its text parts, one after the other."""
        return "".join(
            piece
            for growing in self._parts.values()
            if growing.fields["type"] == "text"
            for piece in growing.pieces
        )

    def apply(self, chunk: Chunk) -> PartChange | None:
        """Fold one chunk in. None if it changes no part (steps, finish, abort)."""
        if chunk["type"] not in CHUNK_TYPES:
            return None
        match chunk["type"]:
            case "text-start":
                return self._open(chunk["id"], "text")
            case "reasoning-start":
                if "redactedData" in chunk:
                    data = chunk["redactedData"]
                    return self._put(chunk["id"], "redacted-reasoning", data=data)
                return self._open(chunk["id"], "reasoning")
            case "text-delta":
                return self._append(chunk["id"], "text", chunk["delta"])
            case "reasoning-delta":
                return self._append(chunk["id"], "reasoning", chunk["delta"])
            case "text-end":
                return self._end(chunk["id"])
            case "reasoning-end":
                return self._end(chunk["id"], chunk.get("signature"))
            case "tool-input-start":
                return self._open_call(chunk["toolCallId"], chunk["toolName"])
            case "tool-input-delta":
                return self._append_input(chunk["toolCallId"], chunk["inputTextDelta"])
            case "tool-input-available":
                return self._set_input(chunk, "input-available")
            case "tool-input-error":
                return self._set_input(chunk, "input-error")
            case "tool-output-available":
                return self._put_result(chunk["toolCallId"], chunk["outputText"])
            case "tool-output-error":
                return self._put_failed_result(
                    chunk["toolCallId"], chunk["errorText"], chunk.get("errorKind")
                )
            case "error":
                text, kind = chunk["errorText"], chunk["kind"]
                return self._put(chunk["id"], "error", errorText=text, kind=kind)
            case "start-step" | "finish-step" | "abort" | "finish":
                return None
            case _:
                assert_never(chunk["type"])

    def close(self, reason: str) -> list[PartChange]:
        """End what is still open, as when a producer was stopped or died.

        Text and reasoning become done; a tool call whose arguments are incomplete
        becomes an input error, and one without a result gets an error result, both
        saying `reason`, of kind `tool-not-run`.
        """
        changes = []
        for part_id, growing in list(self._parts.items()):
            match growing.fields.get("state"):
                case "streaming":
                    growing.fields["state"] = "done"
                    changes.append(PartChange(part_id, "updated"))
                case "input-streaming":
                    growing.fields |= {
                        "state": "input-error",
                        "errorText": reason,
                        "errorKind": "tool-not-run",
                    }
                    changes.append(PartChange(part_id, "updated"))
                case "input-available" if result_id(part_id) not in self._parts:
                    changes.append(
                        self._put_failed_result(part_id, reason, "tool-not-run")
                    )
        return changes

    def _add(
        self, fields: dict[str, Any], text_field: str | None = None
    ) -> PartChange | None:
        part_id: str = fields["id"]
        if part_id in self._parts:
            return None
        self._parts[part_id] = _Growing(fields, text_field)
        return PartChange(part_id, "added")

    def _open(self, part_id: str, kind: str) -> PartChange | None:
        fields = {"id": part_id, "type": kind, "text": "", "state": "streaming"}
        return self._add(fields, "text")

    def _open_call(self, call_id: str, tool_name: str) -> PartChange | None:
        return self._add(
            {
                "id": call_id,
                "type": "tool-call",
                "toolCallId": call_id,
                "toolName": tool_name,
                "argsText": "",
                "state": "input-streaming",
            },
            "argsText",
        )

    def _put(self, part_id: str, part_type: str, **fields: Any) -> PartChange:
        """A part that arrives whole; a second one with its id replaces it."""
        known = part_id in self._parts
        self._parts[part_id] = _Growing({"id": part_id, "type": part_type, **fields})
        return PartChange(part_id, "updated" if known else "added")

    def _append(self, part_id: str, kind: str, delta: str) -> PartChange:
        added = self._open(part_id, kind)
        self._parts[part_id].pieces.append(delta)
        return PartChange(part_id, "added" if added else "appended", delta)

    def _append_input(self, call_id: str, delta: str) -> PartChange:
        added = self._open_call(call_id, "")
        self._parts[call_id].pieces.append(delta)
        return PartChange(call_id, "added" if added else "appended", delta)

    def _end(self, part_id: str, signature: str | None = None) -> PartChange | None:
        growing = self._parts.get(part_id)
        if growing is None or "state" not in growing.fields:
            return None  # never seen, or a redacted block, which has no state
        growing.fields["state"] = "done"
        if signature is not None:
            growing.fields["signature"] = signature
        return PartChange(part_id, "updated")

    def _set_input(
        self,
        chunk: ToolInputAvailable | ToolInputError,
        state: Literal["input-available", "input-error"],
    ) -> PartChange:
        call_id = chunk["toolCallId"]
        added = self._open_call(call_id, chunk["toolName"])
        growing = self._parts[call_id]
        growing.pieces = [chunk["inputText"]]
        growing.fields |= {"toolName": chunk["toolName"], "state": state}
        if chunk["type"] == "tool-input-error":
            growing.fields["errorText"] = chunk["errorText"]
            if "errorKind" in chunk:
                growing.fields["errorKind"] = chunk["errorKind"]
        return added or PartChange(call_id, "updated")

    def _put_failed_result(
        self, call_id: str, text: str, kind: ToolErrorKind | None
    ) -> PartChange:
        told = {} if kind is None else {"errorKind": kind}
        return self._put_result(call_id, text, is_error=True, **told)

    def _put_result(
        self, call_id: str, text: str, *, is_error: bool = False, **told: str
    ) -> PartChange:
        call = self._parts.get(call_id)
        return self._put(
            result_id(call_id),
            "tool-result",
            toolCallId=call_id,
            toolName=call.fields.get("toolName", "") if call else "",
            resultText=text,
            isError=is_error,
            **told,
        )


def fold(chunks: Iterable[Chunk]) -> list[Part]:
    """The parts that a whole log of chunks amounts to."""
    return PartsFold(chunks).snapshot()


# --- merging --------------------------------------------------------------------

_DELTA_FIELDS: dict[str, tuple[str, str]] = {
    "text-delta": ("id", "delta"),
    "reasoning-delta": ("id", "delta"),
    "tool-input-delta": ("toolCallId", "inputTextDelta"),
}


def delta_fields(chunk: Chunk) -> tuple[str, str] | None:
    """The names of a delta's id field and text field; None for other chunks."""
    return _DELTA_FIELDS.get(chunk["type"])


def merge_chunks(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The same log with neighbouring deltas of one part as one chunk.

    Folding the result gives the same parts. Chunks are not changed in place. Costs
    O(total text).
    """
    merged: list[Chunk] = []
    run: list[str] = []  # the texts of the deltas that end `merged`, if several
    for chunk in chunks:
        names = delta_fields(chunk)
        if names is not None and merged and _continues(merged[-1], chunk, names[0]):
            run.append(_get(chunk, names[1]))
            continue
        _seal(merged, run)
        merged.append(chunk)
        run = [_get(chunk, names[1])] if names is not None else []
    _seal(merged, run)
    return merged


def _seal(merged: list[Chunk], run: list[str]) -> None:
    if len(run) > 1:
        names = delta_fields(merged[-1])
        assert names is not None
        merged[-1] = cast(Chunk, {**merged[-1], names[1]: "".join(run)})


def _continues(last: Chunk, chunk: Chunk, id_field: str) -> bool:
    return last["type"] == chunk["type"] and _get(last, id_field) == _get(
        chunk, id_field
    )


def _get(chunk: Chunk, field: str) -> str:
    text: str = cast(dict[str, str], chunk)[field]
    return text
