"""The application's own model calls: one reply as a stream of StreamChunk objects.

Holds the application's flat chunk format, which is what `stream-chunk` carries over
Socket.IO, and how the kit's chunks (`kit.parts`) become such. Used where the
application streams by itself: before the migration, and as Option 1's fallback. Does
not send, store or retry anything.

Mirrors the guide's `llmService.createMessageStream`. A StreamChunk has no id, no
number and no message: whoever misses one cannot know it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Literal, NotRequired, TypedDict, assert_never

import msgspec

from kit.agent import Tool, stream_reply
from kit.app.history import Message, Usage
from kit.errors import LLMError
from kit.llm.route import load_sdk, open_wire, route
from kit.llm.wire import Turn
from kit.parts import Chunk
from kit.parts import Usage as CountedUsage
from kit.serving import keep_loaded

__all__ = [
    "LLMService",
    "StreamChunk",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallStart",
    "ToolResult",
    "stored_usage",
    "tool_arguments",
    "tool_failure",
    "tool_output",
]


class ToolCallStart(TypedDict):
    id: str
    name: str


class ToolCallDelta(TypedDict):
    id: str
    name: str
    argsTextDelta: str


class ToolCall(TypedDict):
    id: str
    name: str
    args: dict[str, Any]


class ToolResult(TypedDict):
    id: str
    result: Any
    isValid: NotRequired[bool]


class StreamChunk(TypedDict):
    """One event of a reply: `type`, and the field that belongs to it."""

    type: Literal[
        "content",
        "reasoning",
        "reasoning-signature",
        "redacted-reasoning",
        "tool-call-start",
        "tool-call-delta",
        "tool-call",
        "tool-result",
        "usage",
        "complete",
        "error",
    ]
    content: NotRequired[str]
    reasoning: NotRequired[str]
    reasoningSignature: NotRequired[str]
    redactedReasoningData: NotRequired[str]
    toolCallStart: NotRequired[ToolCallStart]
    toolCallDelta: NotRequired[ToolCallDelta]
    toolCall: NotRequired[ToolCall]
    toolResult: NotRequired[ToolResult]
    usage: NotRequired[Usage]
    error: NotRequired[str]
    finishReason: NotRequired[str]
    sentAt: NotRequired[float]  # added: ms of the epoch, when it was emitted


class LLMService:
    """Streams replies; keys come with the call or from `env`, by the kit's routing."""

    def __init__(
        self,
        env: Mapping[str, str] = os.environ,
        *,
        tools: Mapping[str, Tool] = MappingProxyType({}),
    ) -> None:
        self._env = env
        self._tools = tools

    async def create_message_stream(
        self,
        system_prompt: str,
        messages: Sequence[Message],
        model: str,
        api_keys: Mapping[str, str | None] = MappingProxyType({}),
    ) -> AsyncGenerator[StreamChunk, None]:
        """Ask `model` to answer `messages`, the last of which is the user's.

        Ends with a `complete` chunk, or with an `error` chunk when there is no key,
        or the provider refuses, fails or is cut off: LLMError is never raised.
        Closing the generator, or cancelling its task, closes the provider's
        connection. Raises ConfigError for a malformed setting in the environment.
        """
        try:
            chosen = route(model, api_keys, self._env)
        except LLMError as error:
            yield _error(str(error))
            return
        if await asyncio.to_thread(load_sdk, chosen.wire):  # slow, the first time
            keep_loaded()
        wire = open_wire(chosen)
        try:
            conversation = wire.conversation(
                model=chosen.model,
                system=system_prompt,
                turns=_turns(messages),
                tools=[tool.spec for tool in self._tools.values()],
            )
            translation = _Translation()
            async with aclosing(stream_reply(conversation, self._tools)) as chunks:
                async for chunk in chunks:
                    for stream_chunk in translation.apply(chunk):
                        yield stream_chunk
        finally:
            await wire.aclose()


def _turns(messages: Sequence[Message]) -> list[Turn]:
    """What the model reads of the history: who said what."""
    return [
        Turn(message["role"], message["content"])
        for message in messages
        if message["role"] != "system"
    ]


class _Translation:
    """Turns the kit's chunks into StreamChunks. Knows the names of the tools called."""

    def __init__(self) -> None:
        self._tool_names: dict[str, str] = {}
        self._failed = False

    def apply(self, chunk: Chunk) -> Iterator[StreamChunk]:
        match chunk["type"]:
            case "text-delta":
                yield {"type": "content", "content": chunk["delta"]}
            case "reasoning-start":
                if data := chunk.get("redactedData"):
                    yield {"type": "redacted-reasoning", "redactedReasoningData": data}
            case "reasoning-delta":
                yield {"type": "reasoning", "reasoning": chunk["delta"]}
            case "reasoning-end":
                if signature := chunk.get("signature"):
                    yield {
                        "type": "reasoning-signature",
                        "reasoningSignature": signature,
                    }
            case "tool-input-start":
                call_id, name = chunk["toolCallId"], chunk["toolName"]
                self._tool_names[call_id] = name
                start: ToolCallStart = {"id": call_id, "name": name}
                yield {"type": "tool-call-start", "toolCallStart": start}
            case "tool-input-delta":
                delta: ToolCallDelta = {
                    "id": chunk["toolCallId"],
                    "name": self._tool_names.get(chunk["toolCallId"], ""),
                    "argsTextDelta": chunk["inputTextDelta"],
                }
                yield {"type": "tool-call-delta", "toolCallDelta": delta}
            case "tool-input-available":
                yield _tool_call(
                    chunk["toolCallId"], chunk["toolName"], chunk["inputText"]
                )
            case "tool-input-error":
                # The guide's application has no such chunk: there, too, a call that
                # cannot be run is shown as a call and its failed result.
                yield _tool_call(
                    chunk["toolCallId"], chunk["toolName"], chunk["inputText"]
                )
                yield _failed_result(chunk["toolCallId"], chunk["errorText"])
            case "tool-output-available":
                result: ToolResult = {
                    "id": chunk["toolCallId"],
                    "result": tool_output(chunk["outputText"]),
                    "isValid": True,
                }
                yield {"type": "tool-result", "toolResult": result}
            case "tool-output-error":
                yield _failed_result(chunk["toolCallId"], chunk["errorText"])
            case "error":
                self._failed = True
                yield _error(chunk["errorText"])
            case "finish":
                if usage := chunk.get("usage"):
                    yield {"type": "usage", "usage": stored_usage(usage)}
                if not self._failed:  # an error has ended the stream already
                    yield {"type": "complete", "finishReason": chunk["finishReason"]}
            case "start-step" | "text-start" | "text-end" | "finish-step" | "abort":
                pass  # the application's format has no word for them
            case _:
                assert_never(chunk["type"])


def _tool_call(call_id: str, name: str, input_text: str) -> StreamChunk:
    args = tool_arguments(input_text)
    call: ToolCall = {"id": call_id, "name": name, "args": args}
    return {"type": "tool-call", "toolCall": call}


def _failed_result(call_id: str, error: str) -> StreamChunk:
    result: ToolResult = {
        "id": call_id,
        "result": tool_failure(error),
        "isValid": False,
    }
    return {"type": "tool-result", "toolResult": result}


def _error(text: str) -> StreamChunk:
    return {"type": "error", "error": text, "finishReason": "error"}


def tool_arguments(input_text: str) -> dict[str, Any]:
    """A call's arguments, as the application has them: none if they are no object."""
    args = tool_output(input_text)
    return args if isinstance(args, dict) else {}


def tool_output(output_text: str) -> Any:
    """The value of a JSON text; the text itself if it is not JSON."""
    try:
        return msgspec.json.decode(output_text)
    except (msgspec.DecodeError, RecursionError):
        return output_text


def tool_failure(error: str) -> dict[str, Any]:
    """What the application has as the result of a tool that failed."""
    return {"success": False, "error": error}


def stored_usage(counted: CountedUsage) -> Usage:
    """A reply's token counts in the application's names and whole numbers."""
    usage: Usage = {
        "promptTokens": int(counted["promptTokens"]),
        "completionTokens": int(counted["completionTokens"]),
        "totalTokens": int(counted["totalTokens"]),
    }
    if "cachedTokens" in counted:
        usage["cacheReadInputTokens"] = int(counted["cachedTokens"])
    return usage
