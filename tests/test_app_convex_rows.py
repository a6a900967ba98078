"""Rows of Convex's in the application's shapes, and what its hook makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kit.app.convex_rows import has_ended, moment_of, stored_message
from kit.app.hooks.stream_chunks import row_of_history

USAGE = {"promptTokens": 5.0, "completionTokens": 7.0, "totalTokens": 12.0}
TEXT = {"id": "text-0", "type": "text", "text": "It is 4.", "state": "done"}
CALL = {
    "id": "c1",
    "type": "tool-call",
    "toolCallId": "c1",
    "toolName": "calculator",
    "argsText": '{"expression": "2+2", "$deep": [1, 2.5, null, {"a": "\\u00e9"}]}',
    "state": "input-available",
}
RESULT = {
    "id": "c1-result",
    "type": "tool-result",
    "toolCallId": "c1",
    "toolName": "calculator",
    "resultText": '{"value": 4}',
    "isError": False,
}


def reply(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    return {
        "_id": "m1",
        "_creationTime": 1_700_000_000_123.25,
        "taskId": "t1",
        "role": "ASSISTANT",
        "content": text,
        "parts": list(parts),
        "llmModel": "claude-opus-5-5",
        "sequence": 1.0,
        "status": "complete",
        "finishReason": "stop",
        "promptMessageId": "m0",
        "streamId": "s1",
        **more,
    }


def prompt(**more: Any) -> dict[str, Any]:
    return {
        "_id": "m0",
        "_creationTime": 1_700_000_000_123.0,
        "taskId": "t1",
        "role": "USER",
        "content": "What is 2+2?",
        "sequence": 0.0,
        "status": "complete",
        **more,
    }


def parts_of(row: dict[str, Any]) -> Any:
    return stored_message(row)["metadata"]["parts"]


def test_a_prompt_is_a_users_message_without_metadata() -> None:
    assert stored_message(prompt(clientMessageId="c-1", llmModel="m")) == {
        "id": "m0",
        "role": "user",
        "content": "What is 2+2?",
        "llmModel": "m",
        "sequence": 0,
        "createdAt": "2023-11-14T22:13:20.123000+00:00",
        "clientMessageId": "c-1",
    }
    assert stored_message(prompt())["llmModel"] == ""


def test_a_reply_has_its_parts_in_the_applications_shapes() -> None:
    reasoning = {
        "id": "reasoning-0",
        "type": "reasoning",
        "text": "Hm.",
        "signature": "sig",
        "state": "done",
    }
    redacted = {"id": "redacted-reasoning-0", "type": "redacted-reasoning", "data": "x"}
    row = reply(reasoning, redacted, CALL, RESULT, TEXT, usage=USAGE)
    message = stored_message(row)
    assert (message["id"], message["role"]) == ("m1", "assistant")
    assert message["content"] == "It is 4."
    assert message["metadata"] == {
        "isStreaming": False,
        "parts": [
            {"type": "reasoning", "text": "Hm.", "signature": "sig"},
            {"type": "redacted-reasoning", "data": "x"},
            {
                "type": "tool-call",
                "toolCallId": "c1",
                "toolName": "calculator",
                "args": {"expression": "2+2", "$deep": [1, 2.5, None, {"a": "é"}]},
            },
            {
                "type": "tool-result",
                "toolCallId": "c1",
                "toolName": "calculator",
                "result": {"value": 4},
            },
            {"type": "text", "text": "It is 4."},
        ],
        "finishReason": "stop",
        "usage": {"promptTokens": 5, "completionTokens": 7, "totalTokens": 12},
    }


def test_a_failed_tool_has_a_result_that_says_so() -> None:
    failed = {**RESULT, "resultText": "division by zero", "isError": True}
    failure = {"success": False, "error": "division by zero"}
    assert parts_of(reply(CALL, failed))[1]["result"] == failure


def test_a_call_that_could_not_be_run_is_a_call_that_failed() -> None:
    broken = {
        **CALL,
        "argsText": '{"expr',
        "state": "input-error",
        "errorText": "not JSON",
    }
    call, result = parts_of(reply(broken))
    assert call["args"] == {}
    assert result["result"] == {"success": False, "error": "not JSON"}
    answered = {**RESULT, "resultText": "not JSON", "isError": True}
    assert parts_of(reply(broken, answered)) == [call, result]


@pytest.mark.parametrize(
    "text", ["plain words", "", "NaN", "[" * 100_000 + "]" * 100_000, "1e999"]
)
def test_a_tools_result_that_is_no_json_stays_text(text: str) -> None:
    assert parts_of(reply(CALL, {**RESULT, "resultText": text}))[1]["result"] == text


def test_arguments_that_are_no_object_are_none() -> None:
    assert parts_of(reply({**CALL, "argsText": "[1]"}))[0]["args"] == {}


def test_a_failed_reply_keeps_its_text_and_says_why() -> None:
    error = {"id": "error-0", "type": "error", "errorText": "overloaded", "kind": "k"}
    failed = {"status": "failed", "error": "overloaded"}
    for reason in ("error", "interrupted"):
        message = stored_message(reply(TEXT, error, **failed, finishReason=reason))
        assert message["content"] == "It is 4."
        assert message["metadata"]["finishReason"] == "error"
        assert message["metadata"]["parts"][1:] == [
            {"type": "error", "error": "overloaded", "finishReason": "error"}
        ]


def test_an_error_that_no_part_shows_becomes_one() -> None:
    row = reply(TEXT, status="failed", error="the lease ended")
    del row["finishReason"]
    assert parts_of(row)[1]["error"] == "the lease ended"
    assert row_of_history(stored_message(row), "t1")["status"] == "failed"


def test_a_reply_that_was_stopped_before_its_first_word_is_stopped() -> None:
    message = stored_message(reply(status="stopped", finishReason="aborted"))
    assert message["metadata"]["parts"] == []
    assert row_of_history(message, "t1")["status"] == "stopped"


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("complete", True),
        ("stopped", True),
        ("failed", True),
        ("streaming", False),
        ("stopping", False),
        ("queued", False),
    ],
)
def test_only_what_will_not_change_any_more_has_ended(status: str, ended: bool) -> None:
    assert has_ended(reply(status=status)) is ended


def test_text_that_no_database_takes_is_replaced() -> None:
    assert stored_message(prompt(content="a\0b"))["content"] == "a\ufffdb"


@pytest.mark.parametrize("client_id", ["", "x" * 129, "a\0b"])
def test_a_senders_id_that_sql_cannot_hold_is_left_out(client_id: str) -> None:
    assert "clientMessageId" not in stored_message(prompt(clientMessageId=client_id))
    kept = stored_message(prompt(clientMessageId="x" * 128))
    assert kept["clientMessageId"] == "x" * 128


def test_times_are_utc_to_the_microsecond() -> None:
    moment = datetime(2023, 11, 14, 22, 13, 20, 123250, UTC)
    assert moment_of(1_700_000_000_123.25) == moment


def test_the_front_end_shows_what_it_showed_before() -> None:
    """Read back from SQL by the Socket.IO hook, a reply is the row that it was."""
    error = {
        "id": "error-0",
        "type": "error",
        "errorText": "cut",
        "kind": "application",
    }
    row = reply(CALL, RESULT, TEXT, error, status="failed", finishReason="error")
    shown = row_of_history(stored_message(row), "t1")
    for name in ("_id", "_creationTime", "role", "content", "status", "llmModel"):
        assert shown[name] == row[name], name
    simple = [{**part, "argsText": "", "resultText": ""} for part in shown["parts"]]
    assert simple == [
        {**part, "argsText": "", "resultText": ""} for part in row["parts"]
    ]
