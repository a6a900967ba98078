"""Chat Completions and its dialects become chunks, and go back unchanged."""

import json
from typing import Any

import httpx2
import pytest
from llm_helpers import WEATHER, collect, failure, response, sse, talking, text_in

from kit.errors import LLMErrorKind
from kit.llm.wire import ToolResult
from kit.parts import Chunk, FinishReason


def chunk(
    delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def call(index: int | None, **fields: Any) -> dict[str, Any]:
    function = {k: v for k, v in fields.items() if k in ("name", "arguments")}
    piece = {"function": function} | ({"id": fields["id"]} if "id" in fields else {})
    return chunk(
        {"tool_calls": [piece | ({"index": index} if index is not None else {})]}
    )


def body(*events: Any, end: bytes = b"data: [DONE]\n\n") -> httpx2.Response:
    return response(sse(*events), end)


async def chunks_of(*events: Any) -> list[Chunk]:
    async with talking("openrouter", body(*events)) as conversation:
        return await collect(conversation)


async def test_reasoning_text_and_calls_have_their_chunks() -> None:
    detail = {"type": "reasoning.text", "index": 0, "format": "f"}
    chunks = await chunks_of(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning": "Hm", "reasoning_details": [detail | {"text": "Hm"}]}),
        chunk({"reasoning_details": [detail | {"signature": "sig"}]}),
        chunk({"content": "Hi "}),
        chunk({"content": "🙂"}),
        call(0, id="c1", name="get_weather", arguments=""),
        call(0, arguments='{"city":'),
        call(1, id="c2", name="clock", arguments="{}"),
        call(0, arguments=' "Oslo"}'),
        chunk({"content": ""}, "tool_calls", native_finish_reason="tool_use"),
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 9,
                "total_tokens": 14,
                "cost": 0.25,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        },
    )
    assert chunks == [
        {"type": "reasoning-start", "id": "reasoning-0"},
        {"type": "reasoning-delta", "id": "reasoning-0", "delta": "Hm"},
        {"type": "reasoning-end", "id": "reasoning-0", "signature": "sig"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Hi 🙂"},
        {"type": "text-end", "id": "text-1"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "get_weather"},
        {
            "type": "tool-input-delta",
            "toolCallId": "c1",
            "inputTextDelta": '{"city":',
        },
        {"type": "tool-input-start", "toolCallId": "c2", "toolName": "clock"},
        {"type": "tool-input-delta", "toolCallId": "c2", "inputTextDelta": "{}"},
        {
            "type": "tool-input-delta",
            "toolCallId": "c1",
            "inputTextDelta": ' "Oslo"}',
        },
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "get_weather",
            "inputText": '{"city": "Oslo"}',
        },
        {
            "type": "tool-input-available",
            "toolCallId": "c2",
            "toolName": "clock",
            "inputText": "{}",
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
                "cost": 0.25,
            },
            "rawFinishReason": "tool_use",
        },
    ]


async def test_text_and_reasoning_in_turns_are_parts_of_their_own() -> None:
    chunks = await chunks_of(
        chunk({"content": "a"}),
        chunk({"reasoning": "b"}),
        chunk({"content": "c"}),
        chunk({}, "stop"),
    )
    assert [
        (c["id"], c["delta"])
        for c in chunks
        if c["type"] == "text-delta" or c["type"] == "reasoning-delta"
    ] == [("text-0", "a"), ("reasoning-1", "b"), ("text-2", "c")]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm"},
        {"reasoning_content": "Hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]},
        {
            "reasoning": "Hm",
            "reasoning_content": "Hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}],
        },
    ],
)
async def test_every_dialect_of_reasoning_is_shown_once(delta: dict[str, Any]) -> None:
    chunks = await chunks_of(chunk(delta), chunk({}, "stop"))
    assert [c["delta"] for c in chunks if c["type"] == "reasoning-delta"] == ["Hm"]


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        ("stop", "stop"),
        ("tool_calls", "tool-calls"),
        ("function_call", "tool-calls"),
        ("length", "length"),
        ("content_filter", "content-filter"),
        ("novel", "other"),
    ],
)
async def test_a_finish_reason_has_its_word(told: str, ours: FinishReason) -> None:
    assert await chunks_of(chunk({}, told)) == [
        {"type": "finish-step", "finishReason": ours, "rawFinishReason": told}
    ]


async def test_stop_with_calls_or_a_refusal_means_more_than_stop() -> None:
    chunks = await chunks_of(
        call(0, id="c1", name="f", arguments="{}"), chunk({}, "stop")
    )
    assert chunks[-1]["type"] == "finish-step"
    assert chunks[-1]["finishReason"] == "tool-calls"
    chunks = await chunks_of(chunk({"refusal": "I can't"}), chunk({}, "stop"))
    assert text_in(chunks) == "I can't"
    assert chunks[-1]["type"] == "finish-step"
    assert chunks[-1]["finishReason"] == "content-filter"


async def test_neither_done_nor_usage_is_needed_but_a_finish_reason_is() -> None:
    end = body(chunk({"content": "Hi"}), chunk({}, "stop"), end=b"")
    async with talking("openrouter", end) as conversation:
        assert (await collect(conversation))[-1]["type"] == "finish-step"
    no_end = body(chunk({"content": "Hi"}))
    async with talking("openrouter", no_end) as conversation:
        error, _ = await failure(conversation)
    assert error.kind == "interrupted"


async def test_comments_keep_the_stream_alive_and_say_nothing() -> None:
    comments = b": OPENROUTER PROCESSING\n\n" * 3
    stream = response(comments, sse(chunk({"content": "Hi"})), comments)
    stream.stream.pieces += (sse(chunk({}, "stop")),)  # type: ignore[union-attr]
    async with talking("openrouter", stream) as conversation:
        assert text_in(await collect(conversation)) == "Hi"


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (
            {
                "error": {"code": 502, "message": "Oh"},
                "choices": [{"delta": {}, "finish_reason": "error"}],
            },
            "server",
        ),
        ({"error": {"code": 429, "message": "Oh"}}, "rate-limit"),
        (
            {
                "error": {
                    "code": "server_error",
                    "message": "Oh",
                    "metadata": {"error_type": "provider_overloaded"},
                }
            },
            "server",
        ),
        # vLLM's way: to the SDK an empty chunk.
        ({"object": "error", "message": "Oh", "code": 400}, "bad-request"),
        (chunk({}, "error"), "server"),
    ],
)
async def test_an_error_in_the_stream_is_never_success(
    failing: dict[str, Any], kind: LLMErrorKind
) -> None:
    stream = body(chunk({"content": "Hi"}), failing)
    async with talking("openrouter", stream) as conversation:
        error, chunks = await failure(conversation)
    assert (error.kind, error.midstream, text_in(chunks)) == (kind, True, "Hi")


async def test_calls_without_index_are_told_apart() -> None:
    chunks = await chunks_of(
        call(None, id="c1", name="f", arguments='{"a": 1}'),
        call(None, name="g", arguments='{"b":'),
        call(None, arguments=" 2}"),
        chunk({}, "tool_calls"),
    )
    available = [c for c in chunks if c["type"] == "tool-input-available"]
    assert [(c["toolName"], c["inputText"]) for c in available] == [
        ("f", '{"a": 1}'),
        ("g", '{"b": 2}'),
    ]
    assert available[0]["toolCallId"] == "c1"
    assert available[1]["toolCallId"] not in ("", "c1")


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": None},
        {"choices": [{"delta": {"content": 5, "tool_calls": [{}]}}]},
        {"choices": [{"delta": {"reasoning_details": ["x", None]}}]},
        {"usage": {"prompt_tokens": "many"}, "choices": []},
        {},
    ],
)
async def test_events_with_odd_fields_never_crash(event: dict[str, Any]) -> None:
    chunks = await chunks_of(event, chunk({"content": "Hi"}), chunk({}, "stop"))
    assert text_in(chunks) == "Hi"


# --- what goes back ---------------------------------------------------------------


def sent(request: httpx2.Request) -> Any:
    return json.loads(request.content)


async def test_reasoning_details_go_back_joined_and_otherwise_unchanged() -> None:
    seen: list[httpx2.Request] = []
    text = {"type": "reasoning.text", "format": "f", "index": 0}
    sealed = {"type": "reasoning.encrypted", "format": "f", "index": 1}
    first = body(
        chunk({"reasoning_details": [text | {"text": "H", "signature": None}]}),
        chunk({"reasoning_details": [text | {"text": "m"}]}),
        chunk({"reasoning_details": [text | {"signature": "sig"}]}),
        chunk({"reasoning_details": [sealed | {"data": "blob", "id": "r1"}]}),
        chunk({"reasoning_details": [sealed | {"data": "blub", "id": "r2"}]}),
        chunk({"content": "Let me see"}),
        call(0, id="c1", name="f", arguments='{"a": 1}'),
        call(1, id="c2", name="g"),
        chunk({}, "tool_calls"),
    )
    last = body(chunk({"content": "Done"}), chunk({}, "stop"))
    async with talking("openrouter", first, last, seen=seen) as conversation:
        await collect(conversation)
        conversation.add_tool_results(
            [ToolResult("c1", "one"), ToolResult("c2", "boom", is_error=True)]
        )
        await collect(conversation)
    assert sent(seen[1])["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "Let me see",
            "reasoning_details": [
                text | {"text": "Hm", "signature": "sig"},
                sealed | {"data": "blob", "id": "r1"},
                sealed | {"data": "blub", "id": "r2"},
            ],
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a": 1}'},
                },
                {
                    "id": "c2",
                    "type": "function",
                    "function": {"name": "g", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: boom"},
    ]


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "7"])
async def test_arguments_that_are_no_object_go_back_wrapped(arguments: str) -> None:
    seen: list[httpx2.Request] = []
    first = body(
        call(0, id="c1", name="f", arguments=arguments), chunk({}, "tool_calls")
    )
    last = body(chunk({"content": "Done"}), chunk({}, "stop"))
    async with talking("openrouter", first, last, seen=seen) as conversation:
        chunks = await collect(conversation)
        conversation.add_tool_results([ToolResult("c1", "no", is_error=True)])
        await collect(conversation)
    [available] = [c for c in chunks if c["type"] == "tool-input-available"]
    assert available["inputText"] == arguments.strip()
    [made] = sent(seen[1])["messages"][1]["tool_calls"]
    wrapped = {"INVALID_JSON": arguments.strip()}
    assert json.loads(made["function"]["arguments"]) == wrapped


async def test_a_request_holds_what_it_must() -> None:
    seen: list[httpx2.Request] = []
    stream = body(chunk({}, "stop"))
    async with talking("openrouter", stream, seen=seen, tools=[WEATHER]) as talk:
        await collect(talk)
    request = sent(seen[0])
    assert request["stream"] is True
    assert request["stream_options"] == {"include_usage": True}
    assert request["reasoning"] == {"enabled": True}
    assert request["tools"] == [
        {
            "type": "function",
            "function": {
                "name": WEATHER.name,
                "description": WEATHER.description,
                "parameters": WEATHER.parameters,
            },
        }
    ]


async def test_a_server_that_knows_no_reasoning_is_asked_again_without() -> None:
    seen: list[httpx2.Request] = []
    told = {"error": {"message": "property 'reasoning' is unsupported"}}
    answers = (
        httpx2.Response(400, json=told),
        body(chunk({}, "stop")),
        body(chunk({}, "stop")),
    )
    async with talking("openrouter", *answers, seen=seen) as conversation:
        await collect(conversation)
        await collect(conversation)
    assert ["reasoning" in sent(request) for request in seen] == [True, False, False]
