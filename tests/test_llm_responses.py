"""OpenAI's events become chunks, and items go back as they came."""

import json
from typing import Any

import httpx2
import pytest
from llm_helpers import WEATHER, collect, failure, response, sse, talking

from kit.errors import LLMErrorKind
from kit.llm.wire import ToolResult
from kit.parts import Chunk, FinishReason


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{name}", **fields}


def done(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return event(status, response={"status": status, **fields})


def body(*events: dict[str, Any]) -> httpx2.Response:
    return response(sse(*events, named=True))


async def chunks_of(*events: dict[str, Any]) -> list[Chunk]:
    async with talking("openai", body(*events)) as conversation:
        return await collect(conversation)


REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "One"}],
    "encrypted_content": "complete",
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "c1",
    "name": "get_weather",
    "arguments": '{"city": "Oslo"}',
    "status": "completed",
}


async def test_every_kind_of_item_has_its_chunks() -> None:
    summary = "reasoning_summary_text.delta"
    chunks = await chunks_of(
        event("created", response={"id": "r"}),
        event("in_progress", response={"id": "r"}),
        event("output_item.added", output_index=0, item={"type": "reasoning"}),
        event(summary, output_index=0, summary_index=0, delta="One"),
        event(summary, output_index=0, summary_index=1, delta="Two"),
        event("output_item.done", output_index=0, item=REASONING),
        event("output_item.added", output_index=1, item={"type": "message"}),
        event("output_text.delta", output_index=1, content_index=0, delta="Hi "),
        event("output_text.delta", output_index=1, content_index=0, delta="🙂"),
        event("output_text.done", output_index=1, content_index=0, text="Hi 🙂"),
        event("output_item.done", output_index=1, item={"type": "message"}),
        event("output_item.added", output_index=2, item=CALL | {"arguments": ""}),
        event("function_call_arguments.delta", output_index=2, delta='{"city":'),
        event("function_call_arguments.delta", output_index=2, delta=' "Oslo"}'),
        event("function_call_arguments.done", output_index=2, arguments="…"),
        event("output_item.done", output_index=2, item=CALL),
        done(
            usage={
                "input_tokens": 5,
                "output_tokens": 9,
                "total_tokens": 14,
                "input_tokens_details": {"cached_tokens": 2},
                "output_tokens_details": {"reasoning_tokens": 3},
            }
        ),
    )
    assert chunks == [
        {"type": "reasoning-start", "id": "reasoning-0"},
        {"type": "reasoning-delta", "id": "reasoning-0", "delta": "One\n\nTwo"},
        {"type": "reasoning-end", "id": "reasoning-0"},
        {"type": "text-start", "id": "text-1-0"},
        {"type": "text-delta", "id": "text-1-0", "delta": "Hi 🙂"},
        {"type": "text-end", "id": "text-1-0"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "get_weather"},
        {
            "type": "tool-input-delta",
            "toolCallId": "c1",
            "inputTextDelta": '{"city": "Oslo"}',
        },
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "get_weather",
            "inputText": '{"city": "Oslo"}',
        },
        {
            "type": "finish-step",
            "finishReason": "tool-calls",
            "usage": {
                "promptTokens": 5,
                "completionTokens": 9,
                "totalTokens": 14,
                "cachedTokens": 2,
                "reasoningTokens": 3,
            },
            "rawFinishReason": "completed",
        },
    ]


async def test_reasoning_in_full_is_shown_too() -> None:
    chunks = await chunks_of(
        event("reasoning_text.delta", output_index=0, delta="Hm"), done()
    )
    assert chunks[1] == {"type": "reasoning-delta", "id": "reasoning-0", "delta": "Hm"}


async def test_a_refusal_is_text_that_ends_as_filtered() -> None:
    chunks = await chunks_of(
        event("refusal.delta", output_index=0, content_index=0, delta="I can't"),
        event("refusal.done", output_index=0, content_index=0, refusal="I can't"),
        done(),
    )
    assert chunks[1]["type"] == "text-delta"
    assert chunks[-1] == {
        "type": "finish-step",
        "finishReason": "content-filter",
        "rawFinishReason": "completed",
    }


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content-filter"),
        ("novel", "other"),
    ],
)
async def test_an_incomplete_response_says_why(reason: str, ours: FinishReason) -> None:
    chunks = await chunks_of(done("incomplete", incomplete_details={"reason": reason}))
    assert chunks == [
        {"type": "finish-step", "finishReason": ours, "rawFinishReason": reason}
    ]


async def test_a_call_that_no_event_announced_is_not_lost() -> None:
    chunks = await chunks_of(
        event("output_item.done", output_index=0, item=CALL), done()
    )
    assert [chunk["type"] for chunk in chunks] == [
        "tool-input-start",
        "tool-input-available",
        "finish-step",
    ]


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (
            event("failed", response={"error": {"code": "server_error"}}),
            "server",
        ),
        (
            event("failed", response={"error": {"code": "rate_limit_exceeded"}}),
            "rate-limit",
        ),
        (event("failed", response={"status": "failed"}), "server"),
        (event("failed", response={"status": "failed", "error": None}), "server"),
        ({"type": "error", "code": "invalid_prompt", "message": "Oh"}, "bad-request"),
        ({"type": "error", "code": None, "message": "Oh"}, "server"),
        # The SDK raises this one, and yields the others.
        (
            {"type": "error", "error": {"code": "server_error", "message": "Oh"}},
            "server",
        ),
    ],
)
async def test_an_error_in_the_stream_is_never_success(
    failing: dict[str, Any], kind: LLMErrorKind
) -> None:
    text = event("output_text.delta", output_index=0, content_index=0, delta="Hi")
    async with talking("openai", body(text, failing)) as conversation:
        error, chunks = await failure(conversation)
    assert (error.kind, error.midstream) == (kind, True)
    assert len(chunks) == 2


async def test_events_of_unknown_types_are_passed_over() -> None:
    chunks = await chunks_of(
        event("novel", response={"error": {"code": "server_error"}}),
        event("output_text.delta", output_index=0, content_index=0, delta="Hi"),
        event("output_text.annotation.added", annotation={}),
        done(),
    )
    assert [chunk["type"] for chunk in chunks] == [
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
    ]


async def test_an_event_without_data_is_an_error_of_the_protocol() -> None:
    # The SDK decodes its empty data as JSON.
    stream = response(b"event: ping\n\n")
    async with talking("openai", stream) as conversation:
        error, _ = await failure(conversation)
    assert error.kind == "protocol"


# --- what goes back ---------------------------------------------------------------


def sent(request: httpx2.Request) -> Any:
    return json.loads(request.content)


async def test_items_go_back_as_they_came_also_those_of_unknown_types() -> None:
    seen: list[httpx2.Request] = []
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hi", "novel": [1]}],
    }
    novel = {"type": "novel_item", "nested": {"a": [1, {"b": None}]}}
    items = [REASONING, message, novel, CALL]
    first = body(
        event("output_item.added", output_index=0, item=REASONING | {"summary": []}),
        *(
            event("output_item.done", output_index=index, item=item)
            for index, item in enumerate(items)
        ),
        done(),
    )
    async with talking("openai", first, body(done()), seen=seen) as conversation:
        await collect(conversation)
        conversation.add_tool_results([ToolResult("c1", "boom", is_error=True)])
        await collect(conversation)
    assert sent(seen[1])["input"] == [
        {"role": "user", "content": "hi"},
        *items,
        {"type": "function_call_output", "call_id": "c1", "output": "Error: boom"},
    ]


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", ""])
async def test_arguments_that_are_no_object_go_back_wrapped(arguments: str) -> None:
    seen: list[httpx2.Request] = []
    made = CALL | {"arguments": arguments}
    first = body(event("output_item.done", output_index=0, item=made), done())
    async with talking("openai", first, body(done()), seen=seen) as conversation:
        await collect(conversation)
        conversation.add_tool_results([ToolResult("c1", "no", is_error=True)])
        await collect(conversation)
    wrapped = {"INVALID_JSON": arguments} if arguments else {}
    back = sent(seen[1])["input"][1]
    assert back == made | {"arguments": back["arguments"]}
    assert json.loads(back["arguments"]) == wrapped


async def test_a_request_holds_what_it_must() -> None:
    seen: list[httpx2.Request] = []
    async with talking("openai", body(done()), seen=seen, tools=[WEATHER]) as talk:
        await collect(talk)
    request = sent(seen[0])
    assert request["store"] is False
    assert request["stream"] is True
    assert request["include"] == ["reasoning.encrypted_content"]
    assert request["reasoning"] == {"summary": "auto"}
    assert request["tools"] == [
        {
            "type": "function",
            "name": WEATHER.name,
            "description": WEATHER.description,
            "parameters": WEATHER.parameters,
            "strict": False,
        }
    ]


def rejected(param: str) -> httpx2.Response:
    return httpx2.Response(400, json={"error": {"message": "no", "param": param}})


@pytest.mark.parametrize("param", ["reasoning.summary", "include"])
async def test_a_model_that_does_not_reason_is_asked_again_without(param: str) -> None:
    seen: list[httpx2.Request] = []
    answers = rejected(param), body(done()), body(done())
    async with talking("openai", *answers, seen=seen) as conversation:
        await collect(conversation)
        await collect(conversation)
    assert ["reasoning" in sent(request) for request in seen] == [True, False, False]
    assert "include" not in sent(seen[1])


async def test_other_refusals_are_final() -> None:
    seen: list[httpx2.Request] = []
    async with talking("openai", rejected("input"), seen=seen) as conversation:
        error, _ = await failure(conversation)
    assert (error.kind, len(seen)) == ("bad-request", 1)
