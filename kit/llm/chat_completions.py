"""Chat Completions in OpenRouter's dialect, through the `openai` SDK.

Holds the adapter: requests, the meaning of chunks, the history as messages. Uses
`chat.completions.create(stream=True)` only. Serves OpenRouter and, by
KIT_OPENROUTER_BASE_URL, servers that speak the same (vLLM, Ollama, …).

Mirrors https://openrouter.ai/docs/api-reference/streaming. Reasoning is no part of
OpenAI's types: `reasoning` and `reasoning_details` (OpenRouter) or
`reasoning_content` (vLLM, DeepSeek) are read from the fields that the SDK keeps.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, ClassVar, cast

import httpx2
import openai
import openai.resources.chat  # else imported while the first user waits

from kit.deltas import valid_text
from kit.llm.chunks import ChunkWriter, arguments_text, number_of, text_of, usage
from kit.llm.failures import Failures
from kit.llm.keys import free_answer
from kit.llm.openai_sdk import openai_client
from kit.llm.providers import ProviderName, Route
from kit.llm.step import DEFAULT_RETRY, EventStream, ModelCall, Retry
from kit.llm.wire import ToolResult, ToolSpec, Turn, spoken_turns
from kit.parts import Chunk, FinishReason, Usage

__all__ = ["ChatCompletionsWire", "CompletionReader"]

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "length": "length",
    "content_filter": "content-filter",
}

_REASONING_FIELDS = ("reasoning", "reasoning_content", "reasoning_details")

# Not among OpenAI's parameters, so it goes beside them.
_REASONING = {"extra_body": {"reasoning": {"enabled": True}}}


class ChatCompletionsWire:
    """A `kit.llm.wire.Wire`. `transport` takes the network's place in tests."""

    provider: ClassVar[ProviderName] = "openrouter"

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
        told = await free_answer(self._client, self.failures)
        left = told.get("limit_remaining") if isinstance(told, Mapping) else None
        if isinstance(left, int | float) and left <= 0:
            raise self.failures.no_credit()

    async def aclose(self) -> None:
        await self._client.close()

    async def open(self, request: dict[str, Any]) -> EventStream:
        """Send one request; its answer has begun when this returns.

        OpenRouter ignores the wish for reasoning where it cannot be had. Other servers
        may refuse it, and are asked again without.
        """
        if all(message["role"] == "system" for message in request["messages"]):
            raise self.failures.no_prompt()
        model: str = request["model"]
        if model not in self._without_reasoning:
            try:
                return await self._create(request | _REASONING)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if "reasoning" not in str(error):
                    raise
            self._without_reasoning.add(model)
        return await self._create(request)

    async def _create(self, request: dict[str, Any]) -> EventStream:
        stream = await self._client.chat.completions.create(
            **request,
            stream=True,
            # OpenRouter always tells; others tell if they are asked.
            stream_options={"include_usage": True},
        )
        return cast(EventStream, stream)


class _Conversation:
    """A `kit.llm.wire.Conversation`, its history as chat messages."""

    def __init__(
        self,
        wire: ChatCompletionsWire,
        model: str,
        system: str | None,
        turns: Sequence[Turn],
        tools: Sequence[ToolSpec],
    ) -> None:
        self._wire = wire
        self._messages: list[dict[str, Any]] = []
        if system and system.strip():
            self._messages.append({"role": "system", "content": valid_text(system)})
        self._messages += [
            {"role": turn.role, "content": turn.text} for turn in spoken_turns(turns)
        ]
        self._request: dict[str, Any] = {"model": model}
        if tools:
            self._request["tools"] = [_tool(spec) for spec in tools]

    def step(self) -> AsyncGenerator[Chunk, None]:
        wire = self._wire
        request = self._request | {"messages": list(self._messages)}
        return ModelCall(
            open=lambda: wire.open(request),
            reader=lambda: CompletionReader(wire.failures),
            accept=self._accept,
            failures=wire.failures,
            retry=wire.retry,
        ).chunks()

    def _accept(self, reader: CompletionReader) -> None:
        self._messages.append(reader.message)

    def add_tool_results(self, results: Sequence[ToolResult]) -> None:
        self._messages += [
            {
                "role": "tool",
                "tool_call_id": result.tool_call_id,
                "content": result.text_for_model(),
            }
            for result in results
        ]


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        },
    }


# --- the stream -------------------------------------------------------------------


class CompletionReader:
    """Reads the chunks of one completion. `message` is the answer, to be sent back.

    The finish reason is the terminal event: usage and `[DONE]` follow it, or do not.
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._writer = ChunkWriter()
        self._open = ""  # the part being written
        self._call: Any = None  # the tool call being written
        self._runs = 0
        self._text: list[str] = []
        self._details = _Details()
        self._refused = False
        self._finish_reason = ""
        self._native_reason = ""
        self._usage: Usage | None = None

    @property
    def complete(self) -> bool:
        return bool(self._finish_reason)

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message, with its reasoning as it came."""
        message: dict[str, Any] = {"role": "assistant"}
        message["content"] = "".join(self._text) or None
        details = self._details.merged()
        if details:
            message["reasoning_details"] = details
        calls = self._writer.calls
        if calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": arguments_text(call.text),
                    },
                }
                for call in calls
            ]
        elif message["content"] is None:
            message["content"] = ""
        return message

    def feed(self, event: Any) -> list[Chunk]:
        if getattr(event, "object", None) == "error":
            # vLLM's way, which the SDK takes for an empty chunk.
            raise self._failures.in_stream(
                {name: getattr(event, name, None) for name in ("code", "message")}
            )
        told = getattr(event, "usage", None)
        if told is not None:
            self._usage = _read_usage(told)
        for choice in getattr(event, "choices", None) or ():
            self._choice(choice)
        return self._writer.take()

    def finish(self) -> list[Chunk]:
        reason = FINISH_REASONS.get(self._finish_reason, "other")
        if reason == "stop" and self._refused:
            reason = "content-filter"
        if reason == "stop" and self._writer.calls:
            reason = "tool-calls"  # some servers end every answer with "stop"
        self._end_run()
        raw = self._native_reason or self._finish_reason
        return self._writer.finish(reason, raw, self._usage)

    def _choice(self, choice: Any) -> None:
        delta = getattr(choice, "delta", None)
        self._reasoning(delta)
        refusal = text_of(delta, "refusal")
        self._refused = self._refused or bool(refusal)
        self._add_text(text_of(delta, "content") + refusal)
        for call in getattr(delta, "tool_calls", None) or ():
            self._tool_call(call)
        reason = text_of(choice, "finish_reason")
        if reason == "error":
            raise self._failures.in_stream(None, "the model stopped with an error")
        self._finish_reason = reason or self._finish_reason
        if _has(choice, "native_finish_reason"):
            native = text_of(choice, "native_finish_reason")
            self._native_reason = native or self._native_reason

    # --- text and reasoning: one run at a time ---

    def _run(self, kind: str) -> str:
        """The part that is being written, a new one if that is of another kind."""
        if not self._open.startswith(kind):
            self._end_run()
            self._open = f"{kind}-{self._runs}"
            self._runs += 1
        return self._open

    def _end_run(self) -> None:
        if self._open.startswith("reasoning"):
            self._writer.end(self._open, self._details.take_signature())
        else:
            self._writer.end(self._open)
        self._open = ""

    def _add_text(self, text: str) -> None:
        if text:
            self._text.append(self._writer.text(self._run("text"), text))

    def _reasoning(self, delta: Any) -> None:
        if not _has(delta, *_REASONING_FIELDS):
            return  # as in every chunk of text
        details = getattr(delta, "reasoning_details", None) or ()
        shown = "".join([self._details.add(detail) for detail in details])
        # The fields say the same: one of them is shown.
        text = (
            text_of(delta, "reasoning") or text_of(delta, "reasoning_content") or shown
        )
        if text:
            self._writer.reasoning(self._run("reasoning"), text)

    # --- tool calls ---

    def _tool_call(self, piece: Any) -> None:
        function = getattr(piece, "function", None)
        key = getattr(piece, "index", None)
        call_id, name = text_of(piece, "id"), text_of(function, "name")
        if key is None:  # some servers leave it out
            key = call_id or (len(self._writer.calls) if name else self._call)
        self._call = key
        if name:
            self._end_run()
            self._writer.call(key, call_id, name)
        self._writer.arguments(key, text_of(function, "arguments"))


def _has(source: Any, *names: str) -> bool:
    """Whether an event came with any of these fields, which the SDK may not know.

    Reading one that is absent costs as much as parsing half of the event: the SDK's
    model goes a long way to raise AttributeError.
    """
    extra = getattr(source, "model_extra", None)
    if extra is None:  # no event of the SDK: read it, and see
        return True
    return any(name in extra or name in vars(source) for name in names)


class _Details:
    """`reasoning_details`, whose fragments are joined by index and type.

    They have to come back beside the tool calls exactly as the model made them.
    """

    def __init__(self) -> None:
        self._merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._signature = ""

    def merged(self) -> list[dict[str, Any]]:
        return list(self._merged.values())

    def take_signature(self) -> str:
        """The signature of the reasoning since the last call, if it came."""
        signature, self._signature = self._signature, ""
        return signature

    def add(self, fragment: Any) -> str:
        """Take one fragment in; the text in it that can be shown."""
        if not isinstance(fragment, Mapping):
            return ""
        key = tuple(fragment.get(name) for name in ("index", "type"))
        if "data" in fragment:  # whole blocks, told apart by their id as well
            key += (fragment.get("id"),)
        detail = self._merged.setdefault(key, {})
        for name, value in fragment.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                detail[name] = str(detail.get(name) or "") + value
            elif value is not None or name not in detail:
                detail[name] = value
        signature = fragment.get("signature")
        if isinstance(signature, str):
            self._signature = signature
        shown = fragment.get("text") or fragment.get("summary")
        return shown if isinstance(shown, str) else ""


def _read_usage(told: Any) -> Usage | None:
    prompt_details = getattr(told, "prompt_tokens_details", None)
    completion_details = getattr(told, "completion_tokens_details", None)
    return usage(
        number_of(told, "prompt_tokens"),
        number_of(told, "completion_tokens"),
        number_of(told, "total_tokens"),
        cached=number_of(prompt_details, "cached_tokens"),
        reasoning=number_of(completion_details, "reasoning_tokens"),
        cost=number_of(told, "cost"),
    )
