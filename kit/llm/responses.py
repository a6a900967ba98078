"""OpenAI Responses, through the `openai` SDK.

Holds the adapter: requests, the meaning of events, the history as input items. Uses
`responses.create(stream=True)` only, and nothing is stored at OpenAI: `store` is off
and the whole history is sent each time, reasoning as encrypted items.

Mirrors https://platform.openai.com/docs/api-reference/responses-streaming. Events are
told apart by their `type`. Errors in the stream are events here, not exceptions.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, ClassVar, cast, get_args

import httpx2
import openai
import openai.resources.responses  # else imported while the first user waits
from openai.types.responses import ResponseStreamEvent

from kit.deltas import valid_text
from kit.llm.chunks import ChunkWriter, arguments_text, number_of, text_of, usage
from kit.llm.failures import Failures
from kit.llm.keys import free_answer
from kit.llm.openai_sdk import openai_client
from kit.llm.providers import ProviderName, Route
from kit.llm.step import DEFAULT_RETRY, EventStream, ModelCall, Retry
from kit.llm.wire import ToolResult, ToolSpec, Turn, spoken_turns
from kit.parts import Chunk, FinishReason, Usage

__all__ = ["ResponseReader", "ResponsesWire"]

# The SDK builds the schemas of all events when the first one arrives: 0.3 s in which
# the event loop stands still. Better here, where `load_sdk` has a thread wait.
for _event_class in get_args(get_args(ResponseStreamEvent)[0]):
    _event_class.model_rebuild()

INCOMPLETE_REASONS: Mapping[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content-filter",
}

# What only models that reason accept.
_REASONING = {
    "reasoning": {"summary": "auto"},
    "include": ["reasoning.encrypted_content"],
}


class ResponsesWire:
    """A `kit.llm.wire.Wire`. `transport` takes the network's place in tests."""

    provider: ClassVar[ProviderName] = "openai"

    def __init__(
        self,
        route: Route,
        *,
        retry: Retry = DEFAULT_RETRY,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.retry = retry
        self.failures = Failures(route, openai)
        self._client = openai_client(route, transport)
        self._without_reasoning: set[str] = set()  # models that refused to be asked

    def conversation(
        self,
        *,
        model: str,
        system: str | None,
        turns: Sequence[Turn],
        tools: Sequence[ToolSpec] = (),
    ) -> _Conversation:
        return _Conversation(self, model, system, turns, tools)

    async def check_key(self) -> None:
        await free_answer(self._client, self.failures)

    async def aclose(self) -> None:
        await self._client.close()

    async def open(self, request: dict[str, Any]) -> EventStream:
        """Send one request; its answer has begun when this returns.

        No API tells which models reason. One that does not is told by its refusal,
        and asked again without.
        """
        if not request["input"]:
            raise self.failures.no_prompt()
        model: str = request["model"]
        if model not in self._without_reasoning:
            try:
                return await self._create(request | _REASONING)
            except openai.BadRequestError as error:
                if not _is_about_reasoning(error):
                    raise
            self._without_reasoning.add(model)
        return await self._create(request)

    async def _create(self, request: dict[str, Any]) -> EventStream:
        stream = await self._client.responses.create(**request, stream=True)
        return cast(EventStream, stream)


def _is_about_reasoning(error: openai.BadRequestError) -> bool:
    return (error.param or "").startswith(("reasoning", "include"))


class _Conversation:
    """A `kit.llm.wire.Conversation`, its history as input items."""

    def __init__(
        self,
        wire: ResponsesWire,
        model: str,
        system: str | None,
        turns: Sequence[Turn],
        tools: Sequence[ToolSpec],
    ) -> None:
        self._wire = wire
        self._items: list[dict[str, Any]] = [
            {"role": turn.role, "content": turn.text} for turn in spoken_turns(turns)
        ]
        self._request: dict[str, Any] = {"model": model, "store": False}
        if system and system.strip():
            self._request["instructions"] = valid_text(system)
        if tools:
            self._request["tools"] = [_tool(spec) for spec in tools]

    def step(self) -> AsyncGenerator[Chunk, None]:
        wire = self._wire
        request = self._request | {"input": list(self._items)}
        return ModelCall(
            open=lambda: wire.open(request),
            reader=lambda: ResponseReader(wire.failures),
            accept=self._accept,
            failures=wire.failures,
            retry=wire.retry,
        ).chunks()

    def _accept(self, reader: ResponseReader) -> None:
        self._items += reader.items

    def add_tool_results(self, results: Sequence[ToolResult]) -> None:
        self._items += [
            {
                "type": "function_call_output",
                "call_id": result.tool_call_id,
                "output": result.text_for_model(),
            }
            for result in results
        ]


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
        # Strict, the default, refuses schemas with optional properties.
        "strict": False,
    }


# --- the stream -------------------------------------------------------------------


class ResponseReader:
    """Reads the events of one response. `items` is its output, to be sent back.

    Items go back as they came in `response.output_item.done`: encrypted reasoning is
    complete only there.
    """

    def __init__(self, failures: Failures) -> None:
        self.items: list[dict[str, Any]] = []
        self._failures = failures
        self._writer = ChunkWriter()
        self._summary_of: dict[int, Any] = {}  # per reasoning item, its newest part
        self._refused = False
        self._end: tuple[FinishReason, str] | None = None
        self._usage: Usage | None = None

    @property
    def complete(self) -> bool:
        return self._end is not None

    def feed(self, event: Any) -> list[Chunk]:
        index = getattr(event, "output_index", 0)
        match getattr(event, "type", None):
            case "response.output_item.added":
                self._begin_call(index, event.item)
                self._writer.arguments(index, text_of(event.item, "arguments"))
            case "response.output_text.delta":
                self._writer.text(_text_id(event), text_of(event, "delta"))
            case "response.refusal.delta":
                self._refused = True
                self._writer.text(_text_id(event), text_of(event, "delta"))
            case "response.output_text.done" | "response.refusal.done":
                self._writer.end(_text_id(event))
            case "response.reasoning_summary_text.delta":
                self._summarise(index, event)
            case "response.reasoning_text.delta":
                self._writer.reasoning(f"reasoning-{index}", text_of(event, "delta"))
            case "response.function_call_arguments.delta":
                self._writer.arguments(index, text_of(event, "delta"))
            case "response.output_item.done":
                self._item_done(index, event.item)
            case "response.completed" | "response.incomplete":
                self._ended(event.response)
            case "response.failed":
                raise self._failures.in_stream(_error_object(event.response.error))
            case "error":
                raise self._failures.in_stream(_error_object(event))
            case _:
                pass
        return self._writer.take()

    def finish(self) -> list[Chunk]:
        reason, raw = self._end or ("other", "")
        return self._writer.finish(reason, raw, self._usage)

    # --- items ---

    def _begin_call(self, index: int, item: Any) -> None:
        if text_of(item, "type") == "function_call":
            call_id, name = text_of(item, "call_id"), text_of(item, "name")
            self._writer.call(index, call_id, name)

    def _summarise(self, index: int, event: Any) -> None:
        """A summary comes in parts, which are shown as paragraphs of one."""
        part_id = f"reasoning-{index}"
        part = getattr(event, "summary_index", 0)
        if self._summary_of.setdefault(index, part) != part:
            self._summary_of[index] = part
            self._writer.reasoning(part_id, "\n\n")
        self._writer.reasoning(part_id, text_of(event, "delta"))

    def _item_done(self, index: int, item: Any) -> None:
        # As JSON, without fields that did not come: the API refuses some as null.
        made = item.to_dict(mode="json", warnings=False)
        self.items.append(made)
        match text_of(item, "type"):
            case "reasoning":
                self._writer.end(f"reasoning-{index}")
            case "function_call":
                arguments = text_of(item, "arguments")
                self._begin_call(index, item)  # if no event announced it
                self._writer.end_call(index, arguments)
                made["arguments"] = arguments_text(arguments or "{}")

    # --- the end ---

    def _ended(self, response: Any) -> None:
        details = getattr(response, "incomplete_details", None)
        raw = text_of(details, "reason") or text_of(response, "status")
        reason: FinishReason
        if text_of(response, "status") == "incomplete":
            reason = INCOMPLETE_REASONS.get(raw, "other")
        elif self._refused:
            reason = "content-filter"
        else:
            reason = "tool-calls" if self._writer.calls else "stop"
        self._end = reason, raw
        self._usage = _read_usage(getattr(response, "usage", None))


def _text_id(event: Any) -> str:
    index = getattr(event, "output_index", 0)
    return f"text-{index}-{getattr(event, 'content_index', 0)}"


def _read_usage(told: Any) -> Usage | None:
    prompt_details = getattr(told, "input_tokens_details", None)
    output_details = getattr(told, "output_tokens_details", None)
    return usage(
        number_of(told, "input_tokens"),
        number_of(told, "output_tokens"),
        number_of(told, "total_tokens"),
        cached=number_of(prompt_details, "cached_tokens"),
        reasoning=number_of(output_details, "reasoning_tokens"),
    )


def _error_object(source: Any) -> dict[str, Any]:
    """What `response.error` holds; the `error` event has the same at its top."""
    return {name: getattr(source, name, None) for name in ("code", "message")}
