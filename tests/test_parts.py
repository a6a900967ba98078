from __future__ import annotations

from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.parts import (
    CHUNK_TYPES,
    Chunk,
    Part,
    PartChange,
    PartsFold,
    fold,
    merge_chunks,
    result_id,
)

REPLY: list[Chunk] = [
    {"type": "start-step"},
    {"type": "reasoning-start", "id": "reasoning-0"},
    {"type": "reasoning-delta", "id": "reasoning-0", "delta": "Let me "},
    {"type": "reasoning-delta", "id": "reasoning-0", "delta": "think."},
    {"type": "reasoning-end", "id": "reasoning-0", "signature": "sig"},
    {"type": "text-start", "id": "text-0"},
    {"type": "text-delta", "id": "text-0", "delta": "Look: "},
    {"type": "text-end", "id": "text-0"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "calculator"},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"a"'},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": ":1}"},
    {
        "type": "tool-input-available",
        "toolCallId": "c1",
        "toolName": "calculator",
        "inputText": '{"a":1}',
    },
    {"type": "finish-step", "finishReason": "tool-calls"},
    {"type": "tool-output-available", "toolCallId": "c1", "outputText": "2"},
    {"type": "start-step"},
    {"type": "text-start", "id": "text-1"},
    {"type": "text-delta", "id": "text-1", "delta": "two"},
    {"type": "text-end", "id": "text-1"},
    {"type": "finish-step", "finishReason": "stop"},
    {"type": "finish", "finishReason": "stop"},
]


def test_a_reply_folds_into_parts_in_first_seen_order() -> None:
    assert fold(REPLY) == [
        {
            "id": "reasoning-0",
            "type": "reasoning",
            "text": "Let me think.",
            "state": "done",
            "signature": "sig",
        },
        {"id": "text-0", "type": "text", "text": "Look: ", "state": "done"},
        {
            "id": "c1",
            "type": "tool-call",
            "toolCallId": "c1",
            "toolName": "calculator",
            "argsText": '{"a":1}',
            "state": "input-available",
        },
        {
            "id": "c1-result",
            "type": "tool-result",
            "toolCallId": "c1",
            "toolName": "calculator",
            "resultText": "2",
            "isError": False,
        },
        {"id": "text-1", "type": "text", "text": "two", "state": "done"},
    ]
    folded = PartsFold(REPLY)
    assert folded.order == ["reasoning-0", "text-0", "c1", result_id("c1"), "text-1"]
    assert folded.content() == "Look: two"


def test_every_chunk_says_which_part_it_changed_and_how() -> None:
    folded = PartsFold()
    changes = [folded.apply(chunk) for chunk in REPLY[:12]]
    assert changes == [
        None,
        PartChange("reasoning-0", "added"),
        PartChange("reasoning-0", "appended", "Let me "),
        PartChange("reasoning-0", "appended", "think."),
        PartChange("reasoning-0", "updated"),
        PartChange("text-0", "added"),
        PartChange("text-0", "appended", "Look: "),
        PartChange("text-0", "updated"),
        PartChange("c1", "added"),
        PartChange("c1", "appended", '{"a"'),
        PartChange("c1", "appended", ":1}"),
        PartChange("c1", "updated"),
    ]


def test_a_part_read_while_it_grows_is_what_it_is_so_far() -> None:
    folded = PartsFold(REPLY[:3])
    assert folded.part("reasoning-0") == {
        "id": "reasoning-0",
        "type": "reasoning",
        "text": "Let me ",
        "state": "streaming",
    }
    folded.apply(REPLY[3])
    assert cast(dict[str, str], folded.part("reasoning-0"))["text"] == "Let me think."


def test_a_part_that_was_handed_out_is_not_changed_afterwards() -> None:
    folded = PartsFold(REPLY[:7])
    before = folded.part("text-0")
    folded.apply(REPLY[7])
    assert before["type"] == "text"
    assert before["state"] == "streaming"


def test_an_unknown_part_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        PartsFold().part("text-0")


def test_redacted_reasoning_is_one_whole_part() -> None:
    chunks: list[Chunk] = [
        {
            "type": "reasoning-start",
            "id": "redacted-reasoning-0",
            "redactedData": "gAAA",
        },
        {"type": "reasoning-end", "id": "redacted-reasoning-0"},
    ]
    assert fold(chunks) == [
        {"id": "redacted-reasoning-0", "type": "redacted-reasoning", "data": "gAAA"}
    ]


def test_arguments_that_cannot_be_used_show_with_the_reason() -> None:
    chunks: list[Chunk] = [
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "t"},
        {
            "type": "tool-input-error",
            "toolCallId": "c1",
            "toolName": "t",
            "inputText": '{"a',
            "errorText": "not JSON",
        },
    ]
    (part,) = fold(chunks)
    assert part["type"] == "tool-call"
    assert (part["state"], part["argsText"]) == ("input-error", '{"a')
    assert part["errorText"] == "not JSON"


def test_a_failed_tool_is_a_result_that_is_an_error() -> None:
    chunks: list[Chunk] = [
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "t",
            "inputText": "{}",
        },
        {"type": "tool-output-error", "toolCallId": "c1", "errorText": "boom"},
    ]
    _, part = fold(chunks)
    assert part["type"] == "tool-result"
    assert (part["resultText"], part["isError"], part["toolName"]) == (
        "boom",
        True,
        "t",
    )


def test_an_error_is_a_part_beside_the_text_so_far() -> None:
    chunks: list[Chunk] = [
        {"type": "text-delta", "id": "text-0", "delta": "half"},
        {"type": "error", "id": "error-0", "errorText": "gone", "kind": "connection"},
    ]
    folded = PartsFold(chunks)
    assert folded.content() == "half"
    assert folded.part("error-0") == {
        "id": "error-0",
        "type": "error",
        "errorText": "gone",
        "kind": "connection",
    }


def test_the_fold_forgives_a_log_with_a_lost_head() -> None:
    chunks: list[Chunk] = [
        {"type": "text-end", "id": "text-7"},
        {"type": "text-delta", "id": "text-0", "delta": "b"},
        {"type": "text-start", "id": "text-0"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{"},
        {"type": "tool-output-available", "toolCallId": "other", "outputText": "1"},
    ]
    folded = PartsFold(chunks)
    assert folded.order == ["text-0", "c", "other-result"]
    assert folded.content() == "b"


def test_a_chunk_of_a_later_version_is_ignored() -> None:
    folded = PartsFold()
    assert folded.apply(cast(Chunk, {"type": "source-url", "url": "…"})) is None
    assert folded.snapshot() == []


def test_closing_ends_what_is_open_and_nothing_else() -> None:
    chunks: list[Chunk] = [
        *REPLY[:14],
        {"type": "text-delta", "id": "text-1", "delta": "open"},
        {"type": "tool-input-start", "toolCallId": "c2", "toolName": "t"},
        {
            "type": "tool-input-available",
            "toolCallId": "c3",
            "toolName": "t",
            "inputText": "{}",
        },
    ]
    folded = PartsFold(chunks)
    assert folded.close("stopped") == [
        PartChange("text-1", "updated"),
        PartChange("c2", "updated"),
        PartChange("c3-result", "added"),
    ]
    assert folded.close("stopped") == []
    states = {p["id"]: p.get("state") for p in folded.snapshot()}
    assert states["text-1"] == "done"
    assert states["c1"] == "input-available"
    assert states["c2"] == "input-error"
    assert folded.part("c3-result") == {
        "id": "c3-result",
        "type": "tool-result",
        "toolCallId": "c3",
        "toolName": "t",
        "resultText": "stopped",
        "isError": True,
        "errorKind": "tool-not-run",
    }


def test_merging_joins_neighbouring_deltas_of_one_part_only() -> None:
    chunks: list[Chunk] = [
        {"type": "text-delta", "id": "text-0", "delta": "a"},
        {"type": "text-delta", "id": "text-0", "delta": "b"},
        {"type": "text-delta", "id": "text-1", "delta": "c"},
        {"type": "reasoning-delta", "id": "text-1", "delta": "d"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "}"},
    ]
    kept = [dict(chunk) for chunk in chunks]
    assert merge_chunks(chunks) == [
        {"type": "text-delta", "id": "text-0", "delta": "ab"},
        {"type": "text-delta", "id": "text-1", "delta": "c"},
        {"type": "reasoning-delta", "id": "text-1", "delta": "d"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{}"},
    ]
    assert chunks == kept


# --- properties -----------------------------------------------------------------

ids = st.sampled_from(["a", "b", "c"])
texts = st.text(max_size=5)


def _chunk(kind: str, part_id: str, text: str) -> Chunk:
    named = {
        "id": part_id,
        "toolCallId": part_id,
        "toolName": "t",
        "delta": text,
        "inputTextDelta": text,
        "inputText": text,
        "outputText": text,
        "errorText": text,
        "kind": "server",
        "finishReason": "stop",
    }
    fields = {
        "text-start": ["id"],
        "text-delta": ["id", "delta"],
        "text-end": ["id"],
        "reasoning-start": ["id"],
        "reasoning-delta": ["id", "delta"],
        "reasoning-end": ["id"],
        "tool-input-start": ["toolCallId", "toolName"],
        "tool-input-delta": ["toolCallId", "inputTextDelta"],
        "tool-input-available": ["toolCallId", "toolName", "inputText"],
        "tool-input-error": ["toolCallId", "toolName", "inputText", "errorText"],
        "tool-output-available": ["toolCallId", "outputText"],
        "tool-output-error": ["toolCallId", "errorText"],
        "error": ["id", "errorText", "kind"],
        "finish": ["finishReason"],
        "finish-step": ["finishReason"],
    }.get(kind, [])
    return cast(Chunk, {"type": kind} | {name: named[name] for name in fields})


def _ids_by_family(kind: str, part_id: str) -> str:
    """As from a producer: an id belongs to one type of part."""
    return f"{kind.split('-')[0]}-{part_id}"


logs = st.lists(
    st.builds(
        lambda kind, part_id, text: _chunk(kind, _ids_by_family(kind, part_id), text),
        st.sampled_from(sorted(CHUNK_TYPES)),
        ids,
        texts,
    ),
    max_size=30,
)


@given(logs)
def test_merging_first_changes_no_part(log: list[Chunk]) -> None:
    assert fold(merge_chunks(log)) == fold(log)


@given(logs)
def test_merging_twice_is_merging_once(log: list[Chunk]) -> None:
    merged = merge_chunks(log)
    assert merge_chunks(merged) == merged


@given(logs, st.integers(0, 30))
def test_batches_merged_apart_give_the_same_parts(log: list[Chunk], at: int) -> None:
    assert fold(merge_chunks(log[:at]) + merge_chunks(log[at:])) == fold(log)


@given(st.text(min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=8))
def test_any_split_of_a_text_gives_the_same_part(text: str, cuts: list[int]) -> None:
    bounds = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[a:b] for a, b in pairwise(bounds)]
    folded = PartsFold()
    for piece in pieces:
        folded.apply({"type": "text-delta", "id": "text-0", "delta": piece})
    expected: list[Part] = [
        {"id": "text-0", "type": "text", "text": text, "state": "streaming"}
    ]
    assert folded.snapshot() == expected


@given(logs)
def test_what_the_changes_say_rebuilds_the_parts(log: list[Chunk]) -> None:
    folded = PartsFold()
    seen: dict[str, Part] = {}
    for chunk in log:
        change = folded.apply(chunk)
        if change is None:
            continue
        if change.kind == "appended":
            part = cast(dict[str, str], dict(seen[change.part_id]))
            part["argsText" if "argsText" in part else "text"] += change.text
            seen[change.part_id] = cast(Part, part)
        else:
            seen[change.part_id] = folded.part(change.part_id)
    assert list(seen.values()) == folded.snapshot()
