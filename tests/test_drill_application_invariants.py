"""Each invariant of an application run holds for a good run, and can fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kit.drill.application_invariants import APPLICATION_INVARIANTS
from kit.drill.checking import check
from kit.drill.history import ReplySeen, Row, RunSeen, ViewerSeen
from kit.drill.schedule import Plan

KEY = "sk-drill-"
SHARED = (
    "everything comes in time",
    "each end has its reason",
    "one generation per message",
    "the log has no gaps",
    "the message is its log",
    "the message is what was said",
    "viewers get each chunk once",
    "what is shown only grows",
    "the swap is atomic",
)
"""Held by other runs too, and shown to fail with them."""


def on_convex(number: int, text: str) -> list[dict[str, Any]]:
    part = {"id": "text-0", "type": "text", "text": text, "state": "done"}
    question = {
        "_id": f"p{number}",
        "role": "USER",
        "content": f"Message {number}",
        "status": "complete",
        "clientMessageId": f"c{number}",
    }
    answer = {
        "_id": f"m{number}",
        "role": "ASSISTANT",
        "content": text,
        "parts": [part],
        "status": "complete",
        "promptMessageId": f"p{number}",
        "streamId": f"s{number}",
    }
    return [question, answer]


def in_sql(number: int, text: str, message_id: str) -> list[dict[str, Any]]:
    metadata = {"isStreaming": False, "parts": [{"type": "text", "text": text}]}
    return [
        {
            "id": f"q{number}",
            "role": "user",
            "content": f"Message {number}",
            "clientMessageId": f"c{number}",
        },
        {"id": message_id, "role": "assistant", "content": text, "metadata": metadata},
    ]


def log(text: str) -> list[Any]:
    chunks = [
        {"type": "text-start", "id": "text-0"},
        {"type": "text-delta", "id": "text-0", "delta": text},
        {"type": "text-end", "id": "text-0"},
    ]
    return [{"seq": 0.0, "chunks": chunks}]


def good_run(option: int = 1) -> RunSeen:
    """A reply of Convex's, one by the fallback if there is one, and the probe."""
    run = RunSeen(Plan(1, "application", (), (), (), option))
    texts = ["Rain fell", "Snow fell", "Yes"]
    fallen_back = {1} if option == 1 else set()
    for number, text in enumerate(texts):
        seen = ReplySeen(f"c{number}", [], 1, ["complete"], text)
        seen.is_probe = number == 2
        run.replies.append(seen)
        if number not in fallen_back:
            run.rows += on_convex(number, text)
            run.logs[f"s{number}"] = log(text)
        if option == 1:
            message_id = "sql-1" if number in fallen_back else f"m{number}"
            run.stored += in_sql(number, text, message_id)
    run.task = {"status": "COMPLETED"}
    run.stored_task = {"status": "COMPLETED"}
    shown: list[Row] = [
        {"role": role, "content": content, "status": "complete"}
        for number, text in enumerate(texts)
        for role, content in (("USER", f"Message {number}"), ("ASSISTANT", text))
    ]
    chunks = {stream: deltas[0]["chunks"] for stream, deltas in run.logs.items()}
    run.viewers = [
        ViewerSeen("log 0", "log", 0.0, [], copy.deepcopy(run.rows), chunks),
        ViewerSeen("hybrid 1", "hybrid", 0.0, [], list(shown)),
    ]
    return run


@pytest.mark.parametrize("option", [1, 2])
def test_a_good_run_violates_nothing(option: int) -> None:
    assert check(good_run(option), KEY) == []


# --- what is wrong ------------------------------------------------------------------


def streams_on_convex(run: RunSeen) -> None:
    run.rows[1] = {**run.rows[1], "status": "streaming"}


def spoil_stored(run: RunSeen, index: int, **fields: Any) -> None:
    run.stored[index] = {**run.stored[index], **fields}


def streams_in_sql(run: RunSeen) -> None:
    spoil_stored(run, 3, metadata={"isStreaming": True})


def runs_on_convex(run: RunSeen) -> None:
    run.task = {"status": "RUNNING"}


def runs_in_sql(run: RunSeen) -> None:
    run.stored_task = {"status": "RUNNING"}


def has_no_task_in_sql(run: RunSeen) -> None:
    run.stored_task = None


def stored_a_message_twice(run: RunSeen) -> None:
    run.stored.append({**run.stored[0], "id": "q9"})


def began_a_message_twice(run: RunSeen) -> None:
    run.rows.append({**run.rows[0], "_id": "p9"})


def did_not_answer(run: RunSeen) -> None:
    del run.stored[3]


def has_messages_of_nobody(run: RunSeen) -> None:
    run.rows += [
        {**run.rows[0], "_id": "x", "clientMessageId": str(n)} for n in (7, 8, 9)
    ]


def answered_twice(run: RunSeen) -> None:
    spoil_stored(run, 1, id="another")


def has_no_copy(run: RunSeen) -> None:
    del run.stored[1]


def has_half_a_copy(run: RunSeen) -> None:
    spoil_stored(run, 1, content="Rain")


def tells_two_statuses(run: RunSeen) -> None:
    run.stored_task = {"status": "FAILED"}


def did_not_answer_the_next(run: RunSeen) -> None:
    run.rows[-1] = {**run.rows[-1], "status": "failed", "error": "stuck"}


def was_not_probed(run: RunSeen) -> None:
    run.replies[-1].is_probe = False


def made_it_up(run: RunSeen) -> None:
    parts = [{"type": "text", "text": "Hail fell"}]
    spoil_stored(run, 3, metadata={"parts": parts})


def shows_a_reply_twice(run: RunSeen) -> None:
    run.viewers[1].rows.insert(1, run.viewers[1].rows[1])


def shows_another_order(run: RunSeen) -> None:
    run.viewers[1].rows.reverse()


def still_shows_it_streaming(run: RunSeen) -> None:
    run.viewers[1].is_streaming = True


def is_still_away(run: RunSeen) -> None:
    run.viewers[1].connection = "reconnecting"


def shows_other_rows(run: RunSeen) -> None:
    del run.viewers[0].rows[0]


def was_watched_by_nobody(run: RunSeen) -> None:
    run.viewers.clear()


def showed_two_at_once(run: RunSeen) -> None:
    run.viewers[1].doubles.append("2 replies to 1 messages at 0.50 s")


WRONG: list[tuple[str, Callable[[RunSeen], None]]] = [
    ("nothing is left running", streams_on_convex),
    ("nothing is left running", streams_in_sql),
    ("nothing is left running", runs_on_convex),
    ("nothing is left running", runs_in_sql),
    ("nothing is left running", has_no_task_in_sql),
    ("each message has one reply", stored_a_message_twice),
    ("each message has one reply", began_a_message_twice),
    ("each message has one reply", did_not_answer),
    ("each message has one reply", has_messages_of_nobody),
    ("the fallback is for what was not begun", answered_twice),
    ("both stores agree", has_no_copy),
    ("both stores agree", has_half_a_copy),
    ("both stores have the same status", tells_two_statuses),
    ("the task is free", did_not_answer_the_next),
    ("the task is free", was_not_probed),
    ("a fallback is what was said", made_it_up),
    ("viewers show the conversation", shows_a_reply_twice),
    ("viewers show the conversation", shows_another_order),
    ("viewers show the conversation", still_shows_it_streaming),
    ("viewers show the conversation", is_still_away),
    ("viewers show the conversation", shows_other_rows),
    ("viewers show the conversation", was_watched_by_nobody),
    ("viewers show one reply at a time", showed_two_at_once),
]


@pytest.mark.parametrize(
    ("invariant", "spoil"), WRONG, ids=lambda case: getattr(case, "__name__", "")
)
def test_an_invariant_fails_for_a_run_that(
    invariant: str, spoil: Callable[[RunSeen], None]
) -> None:
    run = good_run()
    spoil(run)
    assert invariant in {found.invariant for found in check(run, KEY)}


def test_every_invariant_is_shown_to_fail() -> None:
    assert {name for name, _ in WRONG} | set(SHARED) == set(APPLICATION_INVARIANTS)


def test_option_2_stores_no_message_in_sql() -> None:
    run = good_run(2)
    run.stored += in_sql(0, "Rain fell", "m0")
    assert {found.invariant for found in check(run, KEY)} == {"both stores agree"}
    run = good_run(2)
    del run.rows[:2]
    run.stored += in_sql(0, "Rain fell", "sql-0")
    found = {one.invariant for one in check(run, KEY)}
    assert "the fallback is for what was not begun" in found


def test_a_reply_that_was_stopped_before_its_first_word_needs_no_copy() -> None:
    run = good_run()
    run.rows[1] = {**run.rows[1], "content": "", "parts": []}
    run.logs["s0"] = []
    for viewer in run.viewers:
        viewer.rows[1] = {**viewer.rows[1], "content": "", "parts": []}
    assert run.viewers[0].chunks is not None
    run.viewers[0].chunks["s0"] = []
    run.replies[0].spoken = ""
    del run.stored[1]
    assert check(run, KEY) == []


def test_what_a_killed_provider_forgot_is_not_held_against_a_fallback() -> None:
    run = good_run()
    run.replies[1].spoken, run.replies[1].spoken_whole = "Snow", False
    assert check(run, KEY) == []


def test_the_status_is_the_fallbacks_if_that_came_last() -> None:
    run = good_run()
    run.task = {"status": "FAILED"}
    assert [found.invariant for found in check(run, KEY)] == [
        "both stores have the same status"
    ]
    spoil_stored(run, -1, id="sql-2")
    del run.rows[-2:], run.logs["s2"], run.viewers[0].rows[-2:]
    assert run.viewers[0].chunks is not None
    del run.viewers[0].chunks["s2"]
    assert check(run, KEY) == []
