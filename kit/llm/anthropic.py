"""Anthropic Messages, through the `anthropic` SDK.

Holds the adapter: requests, the meaning of events, the history as Anthropic wants it
back. Uses `messages.create(stream=True)` only: the SDK's stream helper re-parses tool
input on every delta and falls over small deviations.

Mirrors https://docs.anthropic.com/en/api/messages-streaming. Events are told apart by
their `type`: the SDK builds unknown ones as the first class of the union.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import anthropic
import anthropic.resources.messages  # else imported while the first user waits
import httpx2

from kit.deltas import valid_text
from kit.llm.chunks import (
    ChunkWriter,
    arguments_object,
    number_of,
    text_of,
    usage,
)
from kit.llm.failures import Failures
from kit.llm.keys import free_answer
from kit.llm.providers import ProviderName, Route
from kit.llm.step import DEFAULT_RETRY, EventStream, ModelCall, Retry
from kit.llm.transport import NO_KEY, http_client, quiet_loggers, timeouts
from kit.llm.wire import ToolResult, ToolSpec, Turn, spoken_turns
from kit.parts import Chunk, FinishReason, Usage

__all__ = ["AnthropicWire", "MessageReader"]

log = logging.getLogger(__name__)

_API_VERSION = "2026-10-21"

# `max_tokens` is a required argument. A model's own maximum would leave less of the
# context window to the history than a reply ever needs.
_LONGEST_REPLY = 32_000
# For a model that the API tells nothing about; all current models allow for more.
_SAFE_MAX_TOKENS = 16_000
_CARD_TIMEOUT = 3.0  # seconds

FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool-calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
}


@dataclass(frozen=True)
class _ModelCard:
    """What has to be known of a model before it can be asked."""

    max_tokens: int = _SAFE_MAX_TOKENS
    # Models think by default and do not show it by default; older ones reject this.
    summarized_thinking: bool = False


# Asked once per process, as wires are opened per reply. By base URL and model.
_cards: dict[tuple[str, str], _ModelCard] = {}


class AnthropicWire:
    """A `kit.llm.wire.Wire`. `transport` takes the network's place in tests."""

    provider: ClassVar[ProviderName] = "anthropic"

    def __init__(
        self,
        route: Route,
        *,
        retry: Retry = DEFAULT_RETRY,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.retry = retry
        self.failures = Failures(route, anthropic)
        self._base_url = route.base_url
        self._unknown: set[str] = set()  # models that the API told nothing about
        self._client = anthropic.AsyncAnthropic(
            api_key=NO_KEY,
            base_url=route.base_url,
            max_retries=0,
            timeout=timeouts(route),
            default_headers={"anthropic-version": _API_VERSION},
            open_telemetry=False,
            http_client=http_client(route, transport),
        )
        quiet_loggers()

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
        """Send one request; its answer has begun when this returns."""
        if not request["messages"]:
            raise self.failures.no_prompt()
        card = await self._card(request["model"])
        request = request | {"max_tokens": card.max_tokens}
        if card.summarized_thinking:
            request["thinking"] = {"type": "adaptive", "display": "summarized"}
        stream = await self._client.messages.create(**request, stream=True)
        return cast(EventStream, stream)

    async def _card(self, model: str) -> _ModelCard:
        """What the API tells about the model; a cautious guess if it does not.

        Never fails: if the key or the model is wrong, the call itself says so.
        """
        known = (self._base_url, model)
        if model in self._unknown:
            return _ModelCard()
        if known not in _cards:
            try:
                async with asyncio.timeout(_CARD_TIMEOUT):
                    info = await self._client.models.retrieve(model)
                _cards[known] = _read_card(info)
            except Exception as error:
                log.debug("no card of model %s: %s", model, type(error).__name__)
                self._unknown.add(model)
                return _ModelCard()
        return _cards[known]


def _read_card(info: Any) -> _ModelCard:
    limit = number_of(info, "max_tokens") or _SAFE_MAX_TOKENS
    thinking = getattr(getattr(info, "capabilities", None), "thinking", None)
    adaptive = getattr(getattr(thinking, "types", None), "adaptive", None)
    supported = getattr(adaptive, "supported", False) is True
    return _ModelCard(min(int(limit), _LONGEST_REPLY), supported)


class _Conversation:
    """A `kit.llm.wire.Conversation`, its history as Messages."""

    def __init__(
        self,
        wire: AnthropicWire,
        model: str,
        system: str | None,
        turns: Sequence[Turn],
        tools: Sequence[ToolSpec],
    ) -> None:
        self._wire = wire
        self._messages: list[dict[str, Any]] = [
            {"role": turn.role, "content": turn.text} for turn in spoken_turns(turns)
        ]
        self._request: dict[str, Any] = {"model": model}
        if system and system.strip():
            self._request["system"] = valid_text(system)
        if tools:
            self._request["tools"] = [_tool(spec) for spec in tools]

    def step(self) -> AsyncGenerator[Chunk, None]:
        wire = self._wire
        request = self._request | {"messages": list(self._messages)}
        return ModelCall(
            open=lambda: wire.open(request),
            reader=lambda: MessageReader(wire.failures),
            accept=self._accept,
            failures=wire.failures,
            retry=wire.retry,
        ).chunks()

    def _accept(self, reader: MessageReader) -> None:
        if reader.content:
            message = {"role": "assistant", "content": reader.content}
            self._messages.append(message)

    def add_tool_results(self, results: Sequence[ToolResult]) -> None:
        # All results of a step in one message.
        content = [
            {
                "type": "tool_result",
                "tool_use_id": result.tool_call_id,
                "content": valid_text(result.text),
                "is_error": result.is_error,
            }
            for result in results
        ]
        self._messages.append({"role": "user", "content": content})


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "input_schema": spec.parameters,
        # Without it arguments arrive in one piece, when they are complete.
        "eager_input_streaming": True,
    }


# --- the stream -------------------------------------------------------------------


class MessageReader:
    """Reads the events of one message. `content` is the message, to be sent back.

    Thinking blocks have to come back unchanged, in order and with their signature.
    Blocks of types that the kit does not ask for are passed over.
    """

    def __init__(self, failures: Failures) -> None:
        self.content: list[dict[str, Any]] = []
        self._failures = failures
        self._writer = ChunkWriter()
        self._blocks: dict[int, _Block] = {}
        self._stop_reason = ""
        self._counted: dict[str, float] = {}
        self._thought: float | None = None

    @property
    def complete(self) -> bool:
        return bool(self._stop_reason)

    def feed(self, event: Any) -> list[Chunk]:
        index = getattr(event, "index", None)
        match getattr(event, "type", None):
            case "message_start":
                self._count(getattr(event.message, "usage", None))
            case "content_block_start" if isinstance(index, int):
                self._start(index, event.content_block)
            case "content_block_delta" if index in self._blocks:
                self._fill(self._blocks[index], event.delta)
            case "content_block_stop" if index in self._blocks:
                self._stop(self._blocks.pop(index))
            case "message_delta":
                reason = text_of(event.delta, "stop_reason")
                self._stop_reason = reason or self._stop_reason
                self._count(getattr(event, "usage", None))
            case "error":
                # Usually raised by the SDK; it depends on the name of the SSE event.
                raise self._failures.in_stream(getattr(event, "error", None))
            case _:
                pass
        return self._writer.take()

    def finish(self) -> list[Chunk]:
        for block in self._blocks.values():
            self._stop(block)
        reason = FINISH_REASONS.get(self._stop_reason, "other")
        return self._writer.finish(reason, self._stop_reason, self._usage())

    # --- blocks ---

    def _start(self, index: int, opened: Any) -> None:
        block = _Block(str(index), text_of(opened, "type"))
        self._blocks[index] = block
        match block.kind:
            case "text":
                self._add_text(block, text_of(opened, "text"))
            case "thinking":
                block.signature = text_of(opened, "signature")
                self._add_thinking(block, text_of(opened, "thinking"))
            case "redacted_thinking":
                block.pieces.append(text_of(opened, "data"))
                self._writer.redacted(block.id, block.text)
            case "tool_use":
                call_id, name = text_of(opened, "id"), text_of(opened, "name")
                self._writer.call(block.id, call_id, name)
                given = getattr(opened, "input", None)
                if given:  # some servers send all arguments at once, in the start
                    text = json.dumps(given, ensure_ascii=False)
                    self._writer.arguments(block.id, text)

    def _fill(self, block: _Block, delta: Any) -> None:
        match getattr(delta, "type", None):
            case "text_delta":
                self._add_text(block, text_of(delta, "text"))
            case "thinking_delta":
                self._add_thinking(block, text_of(delta, "thinking"))
            case "signature_delta":
                block.signature = text_of(delta, "signature")
            case "input_json_delta":
                self._writer.arguments(block.id, text_of(delta, "partial_json"))

    def _add_text(self, block: _Block, text: str) -> None:
        block.pieces.append(self._writer.text(block.id, text))

    def _add_thinking(self, block: _Block, text: str) -> None:
        block.pieces.append(self._writer.reasoning(block.id, text))

    def _stop(self, block: _Block) -> None:
        self._writer.end(block.id, block.signature)
        self._writer.end_call(block.id)
        match block.kind:
            case "text" if block.text:  # an empty one would be refused
                self.content.append({"type": "text", "text": block.text})
            case "thinking":
                self.content.append(
                    {
                        "type": "thinking",
                        "thinking": block.text,
                        "signature": block.signature,
                    }
                )
            case "redacted_thinking":
                self.content.append({"type": "redacted_thinking", "data": block.text})
            case "tool_use":
                self.content.append(self._call_made(block.id))

    def _call_made(self, key: str) -> dict[str, Any]:
        call = self._writer.call_made(key)
        return {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": arguments_object(call.text),
        }

    # --- usage ---

    def _count(self, told: Any) -> None:
        """Counts are cumulative: the newest of each holds."""
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ):
            number = number_of(told, name)
            if number is not None:
                self._counted[name] = number
        details = getattr(told, "output_tokens_details", None)
        thought = number_of(details, "thinking_tokens")
        self._thought = self._thought if thought is None else thought

    def _usage(self) -> Usage | None:
        counted = self._counted
        fresh, cached = counted.get("input_tokens"), "cache_read_input_tokens"
        if fresh is None:
            return None
        prompt = fresh + counted.get(cached, 0)
        prompt += counted.get("cache_creation_input_tokens", 0)
        return usage(
            prompt,
            counted.get("output_tokens"),
            cached=counted.get(cached),
            reasoning=self._thought,
        )


@dataclass
class _Block:
    """A content block under way."""

    id: str
    kind: str
    pieces: list[str] = field(default_factory=list)
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)
