from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from kit.deltas import (
    MAX_BATCH_CHUNKS,
    TextRepair,
    take_batch,
    text_bytes,
    valid_text,
)
from kit.parts import Chunk, PartsFold, TextDelta, fold


def delta(text: str, part_id: str = "text-0") -> TextDelta:
    return {"type": "text-delta", "id": part_id, "delta": text}


def repaired(chunks: list[Chunk]) -> list[Chunk]:
    repair = TextRepair()
    done = [clean for chunk in chunks for clean in repair.repair(chunk)]
    return done + list(repair.rest())


def test_a_batch_is_merged_and_takes_all_that_fits() -> None:
    assert take_batch([delta("a"), delta("b")], 1000) == ([delta("ab")], [])
    assert take_batch([], 1000) == ([], [])


def test_what_does_not_fit_is_left_in_order() -> None:
    chunks: list[Chunk] = [delta("a" * 40, "a"), delta("b" * 40, "b"), delta("c", "c")]
    batch, rest = take_batch(chunks, 100)
    assert (batch, rest) == (chunks[:1], chunks[1:])


def test_a_batch_is_also_bounded_in_chunks() -> None:
    steps: list[Chunk] = [{"type": "start-step"}] * (MAX_BATCH_CHUNKS + 1)
    batch, rest = take_batch(steps, 10**9)
    assert (len(batch), len(rest)) == (MAX_BATCH_CHUNKS, 1)


@given(st.text(alphabet="aé€😀", min_size=1, max_size=400), st.integers(8, 200))
def test_a_long_delta_is_split_between_code_points(text: str, limit: int) -> None:
    rest: list[Chunk] = [delta(text)]
    batches = []
    while rest:
        batch, rest = take_batch(rest, limit + 16)
        assert len(batch) == 1 or sum(map(text_bytes, batch)) <= limit + 16
        batches += batch
    assert PartsFold(batches).content() == text
    assert all(
        len(c["delta"].encode()) <= limit + 16 for c in cast(list[TextDelta], batches)
    )


def test_a_chunk_that_cannot_be_split_is_cut_with_a_mark() -> None:
    chunk: Chunk = {
        "type": "tool-output-available",
        "toolCallId": "c",
        "outputText": "x" * 10_000,
    }
    ((cut,), rest) = take_batch([chunk], 1000)
    assert cut["type"] == "tool-output-available"
    assert cut["outputText"].endswith("… (cut: too long)")
    assert text_bytes(cut) < 1000
    assert (rest, cut["toolCallId"]) == ([], "c")


def test_the_halves_of_a_surrogate_pair_in_two_deltas_are_joined() -> None:
    assert repaired([delta("a\ud83d"), delta("\ude00b")]) == [delta("a"), delta("😀b")]
    assert repaired([delta("\ud83d"), delta("\ude00")]) == [delta("😀")]
    assert repaired([delta("\ud83d\ude00")]) == [delta("😀")]


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert repaired([delta("\ud83d"), delta("x")]) == [delta("\ufffdx")]
    assert repaired([delta("\ude00x")]) == [delta("\ufffdx")]
    assert repaired([delta("a\ud83d")]) == [delta("a"), delta("\ufffd")]


def test_a_held_half_is_given_up_when_another_part_goes_on() -> None:
    end: Chunk = {"type": "text-end", "id": "text-0"}
    assert repaired([delta("\ud83d"), end]) == [delta("\ufffd"), end]
    other = delta("\ude00", "text-1")
    assert repaired([delta("\ud83d"), other]) == [
        delta("\ufffd"),
        delta("\ufffd", "text-1"),
    ]


def test_surrogates_in_other_chunks_are_replaced_too() -> None:
    error: Chunk = {
        "type": "error",
        "id": "e",
        "errorText": "\ud83d!",
        "kind": "server",
    }
    assert repaired([error]) == [{**error, "errorText": "\ufffd!"}]


def test_valid_text_is_handed_through_as_it_is() -> None:
    chunk = delta("grüße 😀 \ufeff")
    assert next(TextRepair().repair(chunk)) is chunk


surrogates = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from(["\ud83d", "\ude00"]),
    ),
    max_size=12,
)


@given(st.lists(surrogates, max_size=8))
def test_however_it_was_split_the_text_is_the_repaired_whole(texts: list[str]) -> None:
    chunks = repaired([delta(text) for text in texts])
    for chunk in chunks:
        text_bytes(chunk)  # would raise on a lone surrogate
    assert PartsFold(chunks).content() == valid_text("".join(texts))
    assert len(fold(chunks)) <= 1


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert valid_text("a\ud83d") == "a\ufffd"
    assert valid_text("\ud83d\ude42") == "🙂"
    assert valid_text("naïve 🙂") == "naïve 🙂"
