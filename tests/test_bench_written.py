"""What a reply makes the store write."""

from typing import Any

import pytest

from kit.bench.written import Written, written_by_guide, written_by_kit

TOKENS = ["word "] * 400


def by_kit(count: int, tokens_per_append: int = 2) -> Written:
    deltas: list[list[Any]] = [[{"type": "text-start", "id": "text-0"}]]
    for start in range(0, count, tokens_per_append):
        text = "".join(TOKENS[start : min(count, start + tokens_per_append)])
        deltas.append([{"type": "text-delta", "id": "text-0", "delta": text}])
    return written_by_kit("kit", deltas, TOKENS[:count])


def test_the_kit_writes_two_documents_for_each_append() -> None:
    short, long = by_kit(100), by_kit(400)
    assert long.appends - short.appends == 150
    assert long.documents - short.documents == 300
    assert long.bytes_per_token <= short.bytes_per_token
    assert long.text_bytes == 2_000


def test_larger_appends_write_less() -> None:
    assert by_kit(400, 10).beyond_text < by_kit(400, 2).beyond_text / 3


@pytest.mark.parametrize("parts", [True, False])
def test_the_guides_way_writes_all_of_it_for_each_token(parts: bool) -> None:
    short = written_by_guide(TOKENS[:100], parts=parts)
    long = written_by_guide(TOKENS[:400], parts=parts)
    assert short.documents == 100 + 3
    # Each token writes all the text before it: half of the reply on average.
    for found in (short, long):
        assert found.bytes > found.tokens * found.text_bytes / 2
    assert long.bytes_per_token > 2 * short.bytes_per_token


def test_a_part_for_each_token_is_what_makes_it_large() -> None:
    lean = written_by_guide(TOKENS, parts=False)
    assert written_by_guide(TOKENS, parts=True).bytes > 5 * lean.bytes
