"""The application's Socket.IO format in the kit's shapes."""

from typing import Any

import pytest

from kit.app.hooks.stream_chunks import ChunkCounter, row_of_history
from kit.parts import Part, fold

TASK = "task-1"


def parts_of(*stream_chunks: dict[str, Any]) -> list[Part]:
    counter = ChunkCounter()
    return fold(chunk for given in stream_chunks for chunk in counter.convert(given))


def text(content: str) -> dict[str, Any]:
    return {"type": "content", "content": content}


def reasoning(content: str) -> dict[str, Any]:
    return {"type": "reasoning", "reasoning": content}


def test_neighbouring_pieces_of_text_are_one_part() -> None:
    (part,) = parts_of(text("Hel"), text("lo"), {"type": "complete"})
    assert part == {"id": "text-0", "type": "text", "text": "Hello", "state": "done"}


def test_another_kind_of_chunk_ends_the_growing_part() -> None:
    parts = parts_of(
        reasoning("hm"),
        {"type": "reasoning-signature", "reasoningSignature": "sig"},
        reasoning("again"),
        {"type": "redacted-reasoning", "redactedReasoningData": "xyz"},
        text("so"),
    )
    assert parts == [
        {
            "id": "reasoning-0",
            "type": "reasoning",
            "text": "hm",
            "signature": "sig",
            "state": "done",
        },
        {"id": "reasoning-1", "type": "reasoning", "text": "again", "state": "done"},
        {"id": "redacted-reasoning-0", "type": "redacted-reasoning", "data": "xyz"},
        {"id": "text-0", "type": "text", "text": "so", "state": "streaming"},
    ]


def test_a_tool_call_and_its_result() -> None:
    call = {"id": "c1", "name": "add"}
    parts = parts_of(
        text("Let me see."),
        {"type": "tool-call-start", "toolCallStart": call},
        {"type": "tool-call-delta", "toolCallDelta": {**call, "argsTextDelta": '{"a'}},
        {"type": "tool-call", "toolCall": {**call, "args": {"a": 1}}},
        {"type": "tool-result", "toolResult": {"id": "c1", "result": {"sum": 1}}},
        text("One."),
    )
    assert [part["id"] for part in parts] == ["text-0", "c1", "c1-result", "text-1"]
    assert parts[1] == {
        "id": "c1",
        "type": "tool-call",
        "toolCallId": "c1",
        "toolName": "add",
        "argsText": '{"a": 1}',
        "state": "input-available",
    }
    assert parts[2]["type"] == "tool-result"
    assert parts[2]["resultText"] == '{"sum": 1}'
    assert parts[2]["toolName"] == "add"


def test_a_delta_whose_start_was_missed_still_names_its_tool() -> None:
    delta = {"id": "c1", "name": "add", "argsTextDelta": "{"}
    (part,) = parts_of({"type": "tool-call-delta", "toolCallDelta": delta})
    assert part["type"] == "tool-call"
    assert part["toolName"] == "add"
    assert part["state"] == "input-streaming"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"success": False, "error": "no such city"}, "no such city"),
        ("bad", '"bad"'),
    ],
)
def test_a_failed_tool_result_is_an_error_in_words(result: Any, told: str) -> None:
    failed = {"id": "c1", "result": result, "isValid": False}
    (part,) = parts_of({"type": "tool-result", "toolResult": failed})
    assert part["type"] == "tool-result"
    assert part["isError"]
    assert part["resultText"] == told


def test_an_error_is_a_part_behind_what_came_before() -> None:
    parts = parts_of(text("So far"), {"type": "error", "error": "cut off"})
    assert [part["id"] for part in parts] == ["text-0", "error-0"]
    assert parts[0] == {**parts[0], "state": "done"}


def test_chunks_for_other_views_make_no_parts() -> None:
    assert parts_of({"type": "usage", "usage": {}}, {"type": "todo-update"}) == []


def test_a_chunk_without_its_field_is_an_error() -> None:
    with pytest.raises(KeyError):
        ChunkCounter().convert({"type": "content"})


# --- history ----------------------------------------------------------------------


def stored(**fields: Any) -> dict[str, Any]:
    return {
        "id": "m1",
        "role": "assistant",
        "content": "Hello",
        "llmModel": "claude-opus-5-5",
        "sequence": 2,
        "createdAt": "1970-01-01T00:00:01.500000+00:00",
        **fields,
    }


def test_a_stored_message_becomes_a_row_as_convex_gives_it() -> None:
    row = row_of_history(stored(role="user", clientMessageId="c"), TASK)
    assert row == {
        "_id": "m1",
        "_creationTime": 1500.0,
        "taskId": TASK,
        "role": "USER",
        "content": "Hello",
        "llmModel": "claude-opus-5-5",
        "sequence": 2.0,
        "status": "complete",
        "clientMessageId": "c",
    }


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({"isStreaming": True}, "streaming"),
        ({"isStreaming": False, "finishReason": "stop"}, "complete"),
        ({"finishReason": "aborted"}, "stopped"),
        ({"finishReason": "error"}, "failed"),
        ({}, "complete"),
    ],
)
def test_the_status_follows_from_the_metadata(
    metadata: dict[str, Any], status: str
) -> None:
    assert row_of_history(stored(metadata=metadata), TASK)["status"] == status


def test_stored_parts_get_the_ids_that_live_ones_had() -> None:
    usage = {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3}
    metadata = {
        "usage": usage,
        "finishReason": "stop",
        "parts": [
            {"type": "reasoning", "text": "hm", "signature": "s"},
            {"type": "redacted-reasoning", "data": "x"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool-call", "toolCallId": "c", "toolName": "f", "args": {}},
            {
                "type": "tool-result",
                "toolCallId": "c",
                "toolName": "f",
                "result": {"success": False, "error": "no"},
            },
            {"type": "error", "error": "cut off", "finishReason": "error"},
        ],
    }
    row = row_of_history(stored(metadata=metadata), TASK)
    assert row["usage"] == usage
    assert row["finishReason"] == "stop"
    assert [part["id"] for part in row["parts"]] == [
        "reasoning-0",
        "redacted-reasoning-0",
        "text-0",
        "c",
        "c-result",
        "error-0",
    ]
    assert row["parts"][2]["state"] == "done"
    assert row["parts"][4]["isError"]
