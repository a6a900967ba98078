"""Pieces become chunks: parts open, fill and close; arguments are collected."""

from types import SimpleNamespace

import pytest

from kit.llm.chunks import ChunkWriter, number_of, text_of, usage


def test_a_text_part_opens_with_its_first_words() -> None:
    writer = ChunkWriter()
    writer.text("a", "")
    assert writer.take() == []
    writer.text("a", "Hel")
    writer.text("a", "lo")
    writer.end("a")
    writer.end("a")
    assert writer.take() == [
        {"type": "text-start", "id": "a"},
        {"type": "text-delta", "id": "a", "delta": "Hel"},
        {"type": "text-delta", "id": "a", "delta": "lo"},
        {"type": "text-end", "id": "a"},
    ]


def test_reasoning_may_be_empty_and_still_carries_its_signature() -> None:
    writer = ChunkWriter()
    writer.reasoning("r")
    writer.end("r", "signed")
    assert writer.take() == [
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-end", "id": "r", "signature": "signed"},
    ]


def test_a_character_cut_in_two_is_joined() -> None:
    writer = ChunkWriter()
    said = [writer.text("a", piece) for piece in ("x\ud83d", "\ude42y", "\ud83d")]
    writer.end("a")
    assert said == ["x", "🙂y", ""]
    deltas = [c["delta"] for c in writer.take() if c["type"] == "text-delta"]
    assert deltas == ["x", "🙂y", "\ufffd"]


def test_a_cut_character_in_arguments_is_joined() -> None:
    writer = ChunkWriter()
    writer.call(0, "c1", "tool")
    writer.arguments(0, '{"a": "\ud83d')
    writer.arguments(0, '\ude42"}')
    writer.end_call(0)
    assert writer.calls[0].text == '{"a": "🙂"}'


def test_arguments_are_collected_and_handed_out_once() -> None:
    writer = ChunkWriter()
    writer.call(0, "c1", "tool")
    writer.call(0, "c1", "tool")
    writer.arguments(0, '{"a":')
    writer.arguments(0, " 1}")
    writer.end_call(0)
    writer.end_call(0)
    writer.arguments(0, "late")
    assert writer.take()[-1] == {
        "type": "tool-input-available",
        "toolCallId": "c1",
        "toolName": "tool",
        "inputText": '{"a": 1}',
    }


def test_the_whole_arguments_go_before_their_pieces() -> None:
    writer = ChunkWriter()
    writer.call(0, "c1", "tool")
    writer.arguments(0, '{"a"')
    writer.end_call(0, '{"a": 1}')
    assert writer.calls[0].text == '{"a": 1}'


def test_a_call_without_arguments_has_an_empty_object() -> None:
    writer = ChunkWriter()
    writer.call(0, "c1", "tool")
    assert writer.calls[0].text == "{}"


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    writer = ChunkWriter()
    writer.call(0, "", "tool")
    writer.call(1, "", "tool")
    ids = {call.id for call in writer.calls}
    assert len(ids) == 2
    assert all(ids)


def test_finishing_closes_what_is_open() -> None:
    writer = ChunkWriter()
    writer.text("a", "x")
    writer.reasoning("r", "y")
    writer.call(0, "c1", "tool")
    types = [chunk["type"] for chunk in writer.finish("stop")][-4:]
    assert types == ["text-end", "reasoning-end", "tool-input-available", "finish-step"]


def test_the_last_chunk_tells_only_what_is_known() -> None:
    assert ChunkWriter().finish("stop") == [
        {"type": "finish-step", "finishReason": "stop"}
    ]
    assert ChunkWriter().finish("other", "novel", usage(1, 2)) == [
        {
            "type": "finish-step",
            "finishReason": "other",
            "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
            "rawFinishReason": "novel",
        }
    ]


def test_unknown_counts_are_absent_and_never_zero() -> None:
    assert usage(None, 5) is None
    assert usage(5, None) is None
    assert usage(1, 2, 4, cached=0, reasoning=1, cost=0.5) == {
        "promptTokens": 1,
        "completionTokens": 2,
        "totalTokens": 4,
        "cachedTokens": 0,
        "reasoningTokens": 1,
        "cost": 0.5,
    }


@pytest.mark.parametrize("value", [None, 5, ["x"], {"a": 1}])
def test_fields_of_the_wrong_type_count_as_absent(value: object) -> None:
    assert text_of(SimpleNamespace(field=value), "field") == ""
    assert text_of(None, "field") == ""


@pytest.mark.parametrize("value", [None, "5", True, [5]])
def test_numbers_of_the_wrong_type_count_as_absent(value: object) -> None:
    assert number_of(SimpleNamespace(field=value), "field") is None
    assert number_of(SimpleNamespace(field=1.5), "field") == 1.5
