from __future__ import annotations

from typing import Any

import pytest

from kit.app.comparison import compare
from kit.app.tables import Message

PARTS = [{"type": "tool-call", "toolCallId": "c", "toolName": "f", "args": {"b": 1}}]


def message(message_id: str, role: str = "assistant", **more: Any) -> Message:
    made: Any = {
        "id": message_id,
        "role": role,
        "content": f"says {message_id}",
        "llmModel": "m",
        "sequence": 1,
        "createdAt": "2026-01-01T00:00:00+00:00",
        **more,
    }
    if message_id not in "ux":
        metadata = {"isStreaming": False, "parts": PARTS, "finishReason": "stop"}
        made["metadata"] = metadata | more.get("metadata", {})
    found: Message = made
    return found


def test_nothing_is_equal_to_nothing() -> None:
    assert compare([], []).equal


def test_the_same_said_is_equal_whatever_ids_times_and_numbers() -> None:
    convex = [message("u", "user", clientMessageId="c"), message("a")]
    sql = [
        message("x", "user", clientMessageId="c", content="says u", sequence=7),
        message("a", createdAt="2026-02-02T00:00:00+00:00", sequence=9),
    ]
    found = compare(convex, sql)
    assert found.equal
    assert found.convex_digest == found.sql_digest
    assert found.only_in_sql == 0


def test_what_only_sql_has_is_counted_and_no_difference() -> None:
    found = compare([message("a")], [message("z"), message("a"), message("y")])
    assert found.equal
    assert found.only_in_sql == 2


def test_a_missing_message_is_named() -> None:
    found = compare([message("u", "user"), message("a")], [message("a")])
    assert (found.missing, found.differences) == (("u",), ())
    assert found.convex_digest != found.sql_digest
    assert not found.equal


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"content": "else"}, "content"),
        ({"role": "user"}, "role"),
        ({"llmModel": "n"}, "model"),
        ({"metadata": {"parts": []}}, "parts"),
        ({"metadata": {"parts": [{**PARTS[0], "args": {"b": 1.0}}]}}, "parts"),
        ({"metadata": {"finishReason": "aborted"}}, "finish reason"),
        ({"metadata": {"usage": {"totalTokens": 1}}}, "usage"),
        ({"metadata": {"isStreaming": True}}, "streaming"),
    ],
)
def test_what_differs_is_named(changed: dict[str, Any], said: str) -> None:
    found = compare([message("a")], [message("a", **changed)])
    assert found.differences == (f"assistant's message a differs in {said}",)
    assert found.convex_digest != found.sql_digest


def test_the_order_of_arguments_in_json_does_not_matter() -> None:
    one = {"parts": [{"args": {"a": 1, "b": 2}}]}
    other = {"parts": [{"args": {"b": 2, "a": 1}}]}
    assert compare([message("a", metadata=one)], [message("a", metadata=other)]).equal


def test_another_order_of_messages_is_a_difference() -> None:
    found = compare([message("a"), message("b")], [message("b"), message("a")])
    assert found.differences == (
        "assistant's message b comes before others in SQL that it follows on Convex",
    )
    assert not found.equal
