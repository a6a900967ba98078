"""Anthropic's events become chunks, and go back as Anthropic wants them."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from llm_helpers import (
    NO_RETRY,
    WEATHER,
    asked,
    collect,
    failure,
    opened,
    response,
    scripted,
    sse,
    talking,
)

from kit.llm import anthropic as adapter
from kit.llm.providers import Route
from kit.llm.secret import Secret
from kit.llm.wire import ToolResult, Turn
from kit.parts import Chunk, FinishReason


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **change: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": change}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ended(stop_reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    fields = {"usage": usage} if usage else {}
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason}, **fields}


def begun(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"content": [], "usage": usage}}


def body(*events: dict[str, Any]) -> httpx2.Response:
    return response(sse(*events, named=True))


async def chunks_of(*events: dict[str, Any]) -> list[Chunk]:
    async with talking("anthropic", body(*events)) as conversation:
        return await collect(conversation)


async def test_every_kind_of_block_has_its_chunks() -> None:
    chunks = await chunks_of(
        begun(input_tokens=5, output_tokens=1),
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm"),
        delta(0, type="signature_delta", signature="sig"),
        stop(0),
        start(1, type="redacted_thinking", data="blob"),
        stop(1),
        start(2, type="text", text=""),
        delta(2, type="text_delta", text="Hi "),
        delta(2, type="text_delta", text="🙂"),
        stop(2),
        start(3, type="tool_use", id="t1", name="get_weather", input={}),
        delta(3, type="input_json_delta", partial_json=""),
        delta(3, type="input_json_delta", partial_json='{"city":'),
        delta(3, type="input_json_delta", partial_json=' "Oslo"}'),
        stop(3),
        ended("tool_use", output_tokens=9),
        {"type": "message_stop"},
    )
    assert chunks == [
        {"type": "reasoning-start", "id": "0"},
        {"type": "reasoning-delta", "id": "0", "delta": "Hm"},
        {"type": "reasoning-end", "id": "0", "signature": "sig"},
        {"type": "reasoning-start", "id": "1", "redactedData": "blob"},
        {"type": "reasoning-end", "id": "1"},
        {"type": "text-start", "id": "2"},
        {"type": "text-delta", "id": "2", "delta": "Hi 🙂"},
        {"type": "text-end", "id": "2"},
        {"type": "tool-input-start", "toolCallId": "t1", "toolName": "get_weather"},
        {
            "type": "tool-input-delta",
            "toolCallId": "t1",
            "inputTextDelta": '{"city": "Oslo"}',
        },
        {
            "type": "tool-input-available",
            "toolCallId": "t1",
            "toolName": "get_weather",
            "inputText": '{"city": "Oslo"}',
        },
        {
            "type": "finish-step",
            "finishReason": "tool-calls",
            "usage": {"promptTokens": 5, "completionTokens": 9, "totalTokens": 14},
            "rawFinishReason": "tool_use",
        },
    ]


async def test_thinking_that_is_not_shown_still_has_its_signature() -> None:
    chunks = await chunks_of(
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="signature_delta", signature="sig"),
        stop(0),
        ended(),
    )
    assert chunks[:2] == [
        {"type": "reasoning-start", "id": "0"},
        {"type": "reasoning-end", "id": "0", "signature": "sig"},
    ]


async def test_events_of_unknown_types_are_passed_over() -> None:
    # The SDK builds them as the first class of the union, RawMessageStartEvent.
    chunks = await chunks_of(
        {"type": "new_thing", "message": 5},
        start(0, type="new_block", novel=1),
        delta(0, type="new_delta", text="not text"),
        stop(0),
        delta(7, type="text_delta", text="of a block that never began"),
        stop(7),
        start(1, type="text", text="Hi"),
        delta(1, type="citations_delta", citation={}),
        stop(1),
        ended(),
    )
    assert [chunk["type"] for chunk in chunks] == [
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
    ]


async def test_arguments_may_come_whole_in_the_start() -> None:
    chunks = await chunks_of(
        start(0, type="tool_use", id="t1", name="f", input={"a": "ü"}),
        stop(0),
        ended("tool_use"),
    )
    [available] = [c for c in chunks if c["type"] == "tool-input-available"]
    assert json.loads(available["inputText"]) == {"a": "ü"}


async def test_blocks_left_open_are_closed_at_the_end() -> None:
    chunks = await chunks_of(start(0, type="text", text="Hi"), ended())
    assert [chunk["type"] for chunk in chunks][-2:] == ["text-end", "finish-step"]


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "tool-calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content-filter"),
        ("compaction", "other"),
    ],
)
async def test_a_stop_reason_has_its_word(told: str, ours: FinishReason) -> None:
    assert await chunks_of(ended(told)) == [
        {"type": "finish-step", "finishReason": ours, "rawFinishReason": told}
    ]


async def test_usage_is_cumulative_and_counts_the_cache_as_prompt() -> None:
    chunks = await chunks_of(
        begun(
            input_tokens=10,
            cache_read_input_tokens=100,
            cache_creation_input_tokens=7,
            output_tokens=1,
        ),
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}},
        ended(
            output_tokens=20,
            input_tokens=11,
            output_tokens_details={"thinking_tokens": 4},
        ),
    )
    assert chunks[-1] == {
        "type": "finish-step",
        "finishReason": "stop",
        "rawFinishReason": "end_turn",
        "usage": {
            "promptTokens": 118,
            "completionTokens": 20,
            "totalTokens": 138,
            "cachedTokens": 100,
            "reasoningTokens": 4,
        },
    }


async def test_a_message_without_usage_has_none() -> None:
    assert "usage" not in (await chunks_of(begun(), ended()))[-1]


async def test_an_error_in_the_stream_is_told_by_its_type() -> None:
    # The SDK raises APIStatusError with the status of the stream, 200.
    error_event = {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
    }
    events = start(0, type="text", text="Hi"), error_event
    async with talking("anthropic", body(*events)) as conversation:
        error, _ = await failure(conversation)
    assert (error.kind, error.status, error.midstream) == ("overloaded", None, True)


async def test_an_error_under_another_name_is_seen_too() -> None:
    error_event = {"type": "error", "error": {"type": "api_error", "message": "Oh"}}
    oddly = response(b"event: message\n" + sse(error_event))
    async with talking("anthropic", oddly) as conversation:
        error, _ = await failure(conversation)
    assert (error.kind, "Oh" in str(error)) == ("server", True)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start"},
        {"type": "message_delta"},
        {"type": "content_block_start", "index": 0},
    ],
)
async def test_events_without_their_fields_never_crash(event: dict[str, Any]) -> None:
    async with talking("anthropic", body(event)) as conversation:
        error, _ = await failure(conversation)
    assert error.kind in ("protocol", "interrupted")


# --- what goes back ---------------------------------------------------------------


def sent(request: httpx2.Request) -> Any:
    return json.loads(request.content)


async def test_the_reply_goes_back_unchanged_with_all_results_in_one_message() -> None:
    seen: list[httpx2.Request] = []
    first = body(
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm 🙂"),
        delta(0, type="signature_delta", signature="sig"),
        stop(0),
        start(1, type="redacted_thinking", data="blob"),
        stop(1),
        start(2, type="text", text=""),
        stop(2),
        start(3, type="tool_use", id="t1", name="f", input={}),
        delta(3, type="input_json_delta", partial_json='{"a": "ü"}'),
        stop(3),
        start(4, type="tool_use", id="t2", name="g", input={}),
        stop(4),
        ended("tool_use"),
    )
    answers = first, body(start(0, type="text", text="Done"), ended())
    async with talking("anthropic", *answers, seen=seen) as conversation:
        await collect(conversation)
        conversation.add_tool_results(
            [ToolResult("t1", "one"), ToolResult("t2", "boom", is_error=True)]
        )
        await collect(conversation)
    assert sent(seen[1])["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm 🙂", "signature": "sig"},
                {"type": "redacted_thinking", "data": "blob"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "ü"}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": "one",
                    "is_error": False,
                },
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "content": "boom",
                    "is_error": True,
                },
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "7"])
async def test_arguments_that_are_no_object_go_back_wrapped(arguments: str) -> None:
    seen: list[httpx2.Request] = []
    first = body(
        start(0, type="tool_use", id="t1", name="f", input={}),
        delta(0, type="input_json_delta", partial_json=arguments),
        stop(0),
        ended("tool_use"),
    )
    async with talking("anthropic", first, body(ended()), seen=seen) as conversation:
        chunks = await collect(conversation)
        conversation.add_tool_results([ToolResult("t1", "no", is_error=True)])
        await collect(conversation)
    [available] = [c for c in chunks if c["type"] == "tool-input-available"]
    assert available["inputText"] == arguments.strip()
    [call] = sent(seen[1])["messages"][1]["content"]
    assert call["input"] == {"INVALID_JSON": arguments.strip()}


async def test_a_request_holds_what_it_must() -> None:
    seen: list[httpx2.Request] = []
    async with talking("anthropic", body(ended()), seen=seen, tools=[WEATHER]) as talk:
        await collect(talk)
    request = sent(seen[0])
    assert request["stream"] is True
    assert request["max_tokens"] == 16_000
    assert "temperature" not in request
    assert "thinking" not in request  # nothing is known of this model
    assert request["tools"] == [
        {
            "name": WEATHER.name,
            "description": WEATHER.description,
            "input_schema": WEATHER.parameters,
            "eager_input_streaming": True,
        }
    ]


# --- the card of a model ----------------------------------------------------------


def wire_with_cards(
    cards: list[httpx2.Response | Exception], seen: list[Any]
) -> adapter.AnthropicWire:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method != "GET":
            seen.append(sent(request))
            return body(ended())
        seen.append(request.url.path)
        card = cards.pop(0)
        if isinstance(card, Exception):
            raise card
        return card

    way = Route(
        "anthropic",
        "anthropic-messages",
        "claude-opus-5-5",
        Secret("sk-00000000"),
        f"https://{len(seen)}-{id(cards)}.example",  # its own place in the cache
    )
    transport = httpx2.MockTransport(answer)
    return adapter.AnthropicWire(way, retry=NO_RETRY, transport=transport)


async def ask_twice(wire: adapter.AnthropicWire) -> None:
    async with opened(wire):
        for _ in range(2):
            turns = [Turn("user", "hi")]
            await collect(wire.conversation(model="m", system=None, turns=turns))


async def test_the_card_is_asked_for_once_and_decides_the_request() -> None:
    thinking = {"types": {"adaptive": {"supported": True}}}
    card = {"id": "m", "max_tokens": 9000, "capabilities": {"thinking": thinking}}
    seen: list[Any] = []
    await ask_twice(wire_with_cards([httpx2.Response(200, json=card)], seen))
    assert seen[0] == "/v1/models/m"
    assert [type(entry) for entry in seen] == [str, dict, dict]
    for request in seen[1:]:
        assert request["max_tokens"] == 9000
        assert request["thinking"] == {"type": "adaptive", "display": "summarized"}


async def test_a_reply_is_given_less_than_the_whole_context() -> None:
    seen: list[Any] = []
    card = httpx2.Response(200, json={"id": "m", "max_tokens": 128_000})
    await ask_twice(wire_with_cards([card], seen))
    assert seen[1]["max_tokens"] == 32_000


@pytest.mark.parametrize(
    "card",
    [
        lambda: httpx2.Response(404, json={"error": {"message": "gone"}}),
        lambda: httpx2.Response(200, text="<html>"),
        lambda: httpx2.Response(200, json={"max_tokens": "many", "capabilities": 5}),
        lambda: httpx2.ConnectError("refused"),
    ],
)
async def test_a_missing_card_delays_nothing_and_fails_nothing(card: Any) -> None:
    seen: list[Any] = []
    await ask_twice(wire_with_cards([card()], seen))
    assert [type(entry) for entry in seen] == [str, dict, dict]
    assert all(request["max_tokens"] == 16_000 for request in seen[1:])


async def test_a_card_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "_CARD_TIMEOUT", 0.02)
    seen: list[Any] = []
    wire = wire_with_cards([], seen)

    async def never(model: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(wire._client.models, "retrieve", never)
    await ask_twice(wire)
    assert len(seen) == 2


async def test_summarized_thinking_is_asked_of_the_scripted_provider() -> None:
    async with scripted() as url, asked(url, "claude-opus-5-5") as conversation:
        chunks = await collect(conversation)
    assert chunks[1]["type"] == "reasoning-delta"
