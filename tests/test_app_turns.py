"""Two records of a conversation as one: each once, in the order that it was held in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.app.tables import Message
from kit.app.turns import in_common, merge_turns


def message(name: str, at: float, **more: Any) -> Message:
    """`u1` is a user's, anything else an assistant's; `at` is in seconds."""
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    made: Any = {
        "id": name,
        "role": "user" if name.lstrip("cs")[0] == "u" else "assistant",
        "content": name,
        "llmModel": "m",
        "sequence": 0,
        "createdAt": moment.isoformat(),
        **more,
    }
    found: Message = made
    return found


def record(*names_and_times: Any) -> list[Message]:
    pairs = zip(names_and_times[::2], names_and_times[1::2], strict=True)
    return [message(name, at) for name, at in pairs]


def merged(stored: list[Message], others: list[Message]) -> list[str]:
    both = merge_turns(stored, others, in_common(stored, others))
    return [message["id"] for message in both]


def test_the_same_id_is_the_same_message() -> None:
    stored, others = record("u1", 0, "a1", 1), record("u1", 0, "a1", 1, "u2", 2)
    assert in_common(stored, others) == {"u1": "u1", "a1": "a1"}
    assert merged(stored, others) == ["u1", "a1", "u2"]


def test_the_same_client_message_id_is_the_same_message() -> None:
    stored = [message("su1", 0, clientMessageId="c"), message("sa1", 1)]
    others = [message("cu1", 0.5, clientMessageId="c"), message("ca1", 0.5)]
    assert in_common(stored, others) == {"cu1": "su1"}
    assert merged(stored, others) == ["su1", "ca1", "sa1"]


def test_messages_without_client_ids_are_not_the_same() -> None:
    assert in_common(record("su1", 0), record("cu1", 0)) == {}


def test_nothing_with_nothing_is_nothing() -> None:
    assert merged([], []) == []
    assert merged(record("u1", 0), []) == ["u1"]
    assert merged([], record("u1", 0, "a1", 0)) == ["u1", "a1"]


def test_turns_that_one_store_has_are_ordered_by_time() -> None:
    stored = record("su1", 0, "sa1", 1, "su3", 20, "sa3", 21)
    others = record("cu2", 10, "ca2", 10, "cu4", 30, "ca4", 30)
    assert merged(stored, others) == [
        *("su1", "sa1", "cu2", "ca2"),
        *("su3", "sa3", "cu4", "ca4"),
    ]


def test_a_turn_is_not_torn_apart() -> None:
    stored = record("su1", 0, "sa1", 5)  # the reply's row is written later
    others = record("cu2", 2, "ca2", 2)
    assert merged(stored, others) == ["su1", "sa1", "cu2", "ca2"]


def test_what_is_missing_of_a_turn_goes_into_it() -> None:
    """As a reply that failed on Convex: its prompt is stored, it is not."""
    stored = record("u1", 0, "u2", 10, "a2", 11)
    others = record("u1", 0, "a1", 0, "u2", 10, "a2", 10)
    assert merged(stored, others) == ["u1", "a1", "u2", "a2"]


def test_a_prompt_is_put_before_its_reply() -> None:
    stored = record("u0", 0, "a0", 0, "a1", 9)
    others = record("u1", 5, "a1", 5)
    both = merged(stored, others)
    assert both.index("u1") < both.index("a1")


@pytest.mark.parametrize("wrong", [-1000.0, 1000.0])
def test_what_both_have_counts_more_than_a_clock_that_is_wrong(wrong: float) -> None:
    stored = record("u1", 0, "a1", 1, "su2", 10, "sa2", 11, "u4", 30, "a4", 31)
    others = [
        message(name, at + wrong)
        for name, at in [("u1", 0.0), ("a1", 0.0), ("cu3", 20.0), ("ca3", 20.0)]
    ]
    others += [message("u4", 30 + wrong), message("a4", 30 + wrong)]
    both = merged(stored, others)
    assert both[:2] == ["u1", "a1"]
    assert both[-2:] == ["u4", "a4"]
    assert sorted(both[2:-2]) == ["ca3", "cu3", "sa2", "su2"]


def test_orders_that_contradict_each_other_lose_nothing() -> None:
    stored, others = (
        record("u1", 0, "u2", 1),
        record("u2", 0, "a2", 0, "u1", 1, "a1", 1),
    )
    assert merged(stored, others) == ["u1", "a1", "u2", "a2"]


def test_messages_before_the_first_users_come_first() -> None:
    stored = record("a0", 0, "u1", 1)
    assert merged(stored, record("cu2", 5)) == ["a0", "u1", "cu2"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["sql", "convex", "both", "failed"]), st.booleans()),
        max_size=12,
    ),
    st.sampled_from([0.0, 0.0, -3600.0, 3600.0, 0.4]),
)
def test_a_conversation_in_two_pieces_is_whole_again(
    turns: list[tuple[str, bool]], skew: float
) -> None:
    """Of a `failed` turn, SQL has the prompt only; the booleans say who answered."""
    truth: list[str] = []
    stored: list[Message] = []
    others: list[Message] = []
    for number, (where, answered) in enumerate(turns):
        turn = [f"u{number}", f"a{number}"][: 1 + answered]
        truth += turn
        if where != "convex":
            kept = turn[:1] if where == "failed" else turn
            stored += [message(name, 10.0 * number + len(name)) for name in kept]
        if where != "sql":
            others += [message(name, 10.0 * number + skew) for name in turn]
    both = merged(stored, others)
    assert sorted(both) == sorted(truth)
    for one in (stored, others):
        ids = [m["id"] for m in one]
        assert [name for name in both if name in ids] == ids
    if abs(skew) < 1:
        assert both == truth
    # Done again, there is nothing left to do.
    again = {m["id"]: m for m in [*stored, *others]}
    assert merged([again[name] for name in both], others) == both
