"""Model calls in the application's flat chunk format, over the real SDKs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from kit.agent import Tool
from kit.app.history import Message
from kit.app.llm_service import LLMService, StreamChunk, stored_usage
from kit.errors import ConfigError
from kit.llm.scripted import create_app
from kit.llm.wire import ToolSpec

SENTINEL = "sk-ant-sentinel-9f8e7d6c5b"


@pytest.fixture
async def scripted() -> AsyncIterator[TestServer]:
    server = TestServer(create_app(pace=0))
    await server.start_server()
    yield server
    await server.close()


def said(text: str, role: Any = "user") -> Message:
    return {
        "id": "m",
        "role": role,
        "content": text,
        "llmModel": "m",
        "sequence": 1,
        "createdAt": "2025-12-08T00:00:00+00:00",
    }


def service(scripted: TestServer, tools: dict[str, Tool] | None = None) -> LLMService:
    return LLMService(
        {"KIT_SCRIPTED_URL": str(scripted.make_url(""))}, tools=tools or {}
    )


async def collect(
    service: LLMService, model: str, *messages: Message, **kwargs: Any
) -> list[StreamChunk]:
    stream = service.create_message_stream(
        "Be brief.", messages or [said("hello")], model, **kwargs
    )
    async with aclosing(stream) as chunks:
        return [chunk async for chunk in chunks]


def types(chunks: list[StreamChunk]) -> list[str]:
    """The types in order, repetitions once."""
    found: list[str] = []
    for chunk in chunks:
        if found[-1:] != [chunk["type"]]:
            found.append(chunk["type"])
    return found


def text(chunks: list[StreamChunk]) -> str:
    return "".join(chunk.get("content", "") for chunk in chunks)


@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "gpt-6.2-sol", "vendor/scripted-text"]
)
async def test_a_reply_is_content_usage_and_complete_on_every_wire(
    scripted: TestServer, model: str
) -> None:
    chunks = await collect(service(scripted), model)
    assert text(chunks)
    assert types(chunks)[-3:] == ["content", "usage", "complete"]
    assert chunks[-1] == {"type": "complete", "finishReason": "stop"}
    usage = chunks[-2]["usage"]
    assert usage["totalTokens"] == usage["promptTokens"] + usage["completionTokens"]
    assert all(isinstance(count, int) for count in usage.values())


async def test_each_chunk_has_its_type_and_one_field(scripted: TestServer) -> None:
    chunks = await collect(service(scripted), "claude-scripted-think")
    assert {frozenset(chunk) for chunk in chunks} == {
        frozenset({"type", "reasoning"}),
        frozenset({"type", "reasoningSignature"}),
        frozenset({"type", "redactedReasoningData"}),
        frozenset({"type", "content"}),
        frozenset({"type", "usage"}),
        frozenset({"type", "finishReason"}),
    }


async def test_the_history_is_what_the_model_reads(scripted: TestServer) -> None:
    history = [said("first"), said("answer", "assistant"), said("note", "system")]
    chunks = await collect(service(scripted), "claude-opus-5-5", *history, said("last"))
    assert "last" in text(chunks)
    assert "note" not in text(chunks)


def tool(name: str, run: Any) -> dict[str, Tool]:
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    return {name: Tool(ToolSpec(name, "A tool.", schema), run)}


async def test_a_tool_call_is_streamed_and_answered(scripted: TestServer) -> None:
    tools = tool("lookup", lambda args: {"found": [args]})
    chunks = await collect(service(scripted, tools), "claude-scripted-tool")
    of_type = {chunk["type"]: chunk for chunk in chunks}
    start = of_type["tool-call-start"]["toolCallStart"]
    call = of_type["tool-call"]["toolCall"]
    result = of_type["tool-result"]["toolResult"]
    assert start["id"] == call["id"] == result["id"]
    assert start["name"] == call["name"] == "lookup"
    assert result["result"] == {"found": [call["args"]]}
    assert result["isValid"] is True
    deltas = [c["toolCallDelta"] for c in chunks if c["type"] == "tool-call-delta"]
    assert {delta["name"] for delta in deltas} == {"lookup"}
    assert "".join(delta["argsTextDelta"] for delta in deltas).startswith("{")
    assert chunks[-1]["type"] == "complete"


async def test_a_failing_tool_is_a_failed_result(scripted: TestServer) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise ValueError("no luck")

    chunks = await collect(service(scripted, tool("f", fail)), "claude-scripted-tool")
    (result,) = [c["toolResult"] for c in chunks if c["type"] == "tool-result"]
    assert result["isValid"] is False
    assert result["result"] == {"success": False, "error": "ValueError: no luck"}


async def test_arguments_that_are_no_json_are_a_call_and_its_failed_result(
    scripted: TestServer,
) -> None:
    tools = tool("f", lambda args: args)
    chunks = await collect(service(scripted, tools), "claude-scripted-broken-tool")
    (call,) = [c["toolCall"] for c in chunks if c["type"] == "tool-call"]
    (result,) = [c["toolResult"] for c in chunks if c["type"] == "tool-result"]
    assert call["args"] == {}
    assert (result["id"], result["isValid"]) == (call["id"], False)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("claude-scripted-error-mid", "anthropic"),
        ("claude-scripted-http-401", "401"),
        ("nobody-knows-this", "nobody-knows-this"),
    ],
)
async def test_a_failure_is_one_error_chunk_and_no_complete(
    scripted: TestServer, model: str, said: str
) -> None:
    chunks = await collect(service(scripted), model)
    (error,) = [chunk for chunk in chunks if chunk["type"] == "error"]
    assert said in error["error"]
    assert error["finishReason"] == "error"
    assert "complete" not in types(chunks)


async def test_no_key_is_an_error_chunk_that_says_what_to_set() -> None:
    (chunk,) = await collect(LLMService({}), "claude-opus-5-5")
    assert chunk["type"] == "error"
    assert "ANTHROPIC_API_KEY" in chunk["error"]


async def test_a_key_that_is_refused_is_not_shown(scripted: TestServer) -> None:
    keys = {"anthropic": "refused-" + SENTINEL}
    chunks = await collect(service(scripted), "claude-opus-5-5", api_keys=keys)
    assert types(chunks) == ["error"]
    assert SENTINEL not in str(chunks)


async def test_a_bad_setting_is_raised() -> None:
    with pytest.raises(ConfigError, match="KIT_SCRIPTED_URL"):
        await collect(LLMService({"KIT_SCRIPTED_URL": "nonsense"}), "claude-opus-5-5")


async def test_closing_the_stream_closes_the_provider_call(
    scripted: TestServer,
) -> None:
    model = "claude-scripted-text:tokens=100000,pace=100"
    stream = service(scripted).create_message_stream("", [said("hi")], model)
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            if chunk["type"] == "content":
                break
    async with aiohttp.ClientSession() as session:
        while True:  # until the provider has noticed
            async with session.get(scripted.make_url("/log")) as response:
                log = await response.text()
            if "disconnected" in log:
                break


def test_usage_is_counted_in_whole_tokens() -> None:
    counted: Any = {
        "promptTokens": 1.0,
        "completionTokens": 2.0,
        "totalTokens": 3.0,
        "cachedTokens": 1.0,
        "cost": 0.1,
    }
    assert stored_usage(counted) == {
        "promptTokens": 1,
        "completionTokens": 2,
        "totalTokens": 3,
        "cacheReadInputTokens": 1,
    }
