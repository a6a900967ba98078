"""Each invariant holds for a good run, and can fail."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kit.drill.checking import check
from kit.drill.history import (
    FaultSeen,
    Frame,
    ReplySeen,
    RunSeen,
    SendSeen,
    StopSeen,
    ViewerSeen,
)
from kit.drill.invariants import INVARIANTS, lost_characters
from kit.drill.schedule import Fault, plan

KEY = "sk-drill-"


def prompt(number: int) -> dict[str, Any]:
    return {
        "_id": f"p{number}",
        "role": "USER",
        "content": f"Message {number}",
        "status": "complete",
        "clientMessageId": f"c{number}",
    }


def reply(number: int, text: str) -> dict[str, Any]:
    part = {"id": "text-0", "type": "text", "text": text, "state": "done"}
    return {
        "_id": f"m{number}",
        "role": "ASSISTANT",
        "content": text,
        "parts": [part],
        "status": "complete",
        "promptMessageId": f"p{number}",
        "streamId": f"s{number}",
    }


def log(*texts: str) -> list[Any]:
    chunks: list[Any] = [[{"type": "text-start", "id": "text-0"}]]
    chunks += [[{"type": "text-delta", "id": "text-0", "delta": t}] for t in texts]
    chunks += [[{"type": "text-end", "id": "text-0"}]]
    return [{"seq": float(n), "chunks": chunk} for n, chunk in enumerate(chunks)]


def viewer(run: RunSeen) -> ViewerSeen:
    frames = [
        Frame(0.1, "m0", "streaming", "Rain ", ["text-0"]),
        Frame(0.2, "m0", "complete", "Rain fell", []),
        Frame(0.4, "m1", "complete", "Yes", []),
    ]
    chunks = {
        stream: [chunk for delta in deltas for chunk in delta["chunks"]]
        for stream, deltas in run.logs.items()
    }
    return ViewerSeen("log 0", "log", 0.0, frames, copy.deepcopy(run.rows), chunks)


def good_run() -> RunSeen:
    """One reply, and the one that shows that the task is free."""
    run = RunSeen(replace(plan(1), reach="stream"))
    run.rows = [prompt(0), reply(0, "Rain fell"), prompt(1), reply(1, "Yes")]
    run.logs = {"s0": log("Rain ", "fell"), "s1": log("Yes")}
    run.task = {"status": "COMPLETED"}
    for number, text in enumerate(("Rain fell", "Yes")):
        send = SendSeen(0.0, 0.1, f"m{number}", f"s{number}", False)
        seen = ReplySeen(f"c{number}", [send], 1, ["complete"], text)
        seen.is_probe = number == 1
        run.replies.append(seen)
    run.viewers = [viewer(run)]
    return run


def rows(run: RunSeen, number: int) -> list[Any]:
    """A message as the store has it, and as the viewer does."""
    return [run.rows[number], run.viewers[0].rows[number]]


# --- what is wrong ------------------------------------------------------------------


def has_a_problem(run: RunSeen) -> None:
    run.problems.append("reply 0 was streaming after 30 s")


def still_streams(run: RunSeen) -> None:
    for row in rows(run, 1):
        row["status"] = "stopping"


def has_a_running_task(run: RunSeen) -> None:
    run.task = {"status": "RUNNING"}


def refuses_the_next_message(run: RunSeen) -> None:
    run.replies[1].sends.insert(0, SendSeen(0.0, 0.1, refused="StreamActive"))


def was_not_probed(run: RunSeen) -> None:
    run.replies[1].is_probe = False


def was_stopped_by_nobody(run: RunSeen) -> None:
    for row in rows(run, 1):
        row["status"] = "stopped"


def failed_without_a_fault(run: RunSeen) -> None:
    for row in rows(run, 1):
        row |= {"status": "failed", "error": "It broke off."}


def failed_without_a_word(run: RunSeen) -> None:
    run.faults.append(FaultSeen(Fault("drop"), 0.1, True))
    for row in rows(run, 1):
        row["status"] = "failed"


def ignored_a_stop(run: RunSeen) -> None:
    run.stops.append(StopSeen(0.1, ["m0"]))


def has_two_prompts(run: RunSeen) -> None:
    run.rows.append({**prompt(0), "_id": "p9"})


def has_two_replies(run: RunSeen) -> None:
    run.rows.append({**reply(0, "Rain fell"), "_id": "m9"})


def told_two_tales(run: RunSeen) -> None:
    run.replies[0].sends.append(SendSeen(0.0, 0.1, "m9", "s9", True))


def began_twice(run: RunSeen) -> None:
    run.replies[0].sends.append(SendSeen(0.0, 0.1, "m0", "s0", False))


def asked_the_provider_twice(run: RunSeen) -> None:
    run.replies[0].generations.append("disconnected")


def has_a_gap(run: RunSeen) -> None:
    del run.logs["s0"][1]


def has_a_number_twice(run: RunSeen) -> None:
    run.logs["s0"][2]["seq"] = 1.0


def lost_a_chunk(run: RunSeen) -> None:
    for row in rows(run, 1):
        row["content"] = row["parts"][0]["text"] = "Rain "


def has_other_content(run: RunSeen) -> None:
    for row in rows(run, 1):
        row["content"] = "Rain"


def said_it_twice(run: RunSeen) -> None:
    for row in rows(run, 1):
        row["content"] = row["parts"][0]["text"] = "Rain Rain fell"


def said_it_in_another_order(run: RunSeen) -> None:
    for row in rows(run, 1):
        row["content"] = row["parts"][0]["text"] = "fellRain "


def ended_too_early(run: RunSeen) -> None:
    run.replies[0].spoken = "Rain fell on the harbour"


def shows_other_messages(run: RunSeen) -> None:
    del run.viewers[0].rows[-1]


def was_watched_by_nobody(run: RunSeen) -> None:
    run.viewers.clear()


def missed_a_chunk(run: RunSeen) -> None:
    assert run.viewers[0].chunks is not None
    del run.viewers[0].chunks["s0"][1]


def got_a_chunk_twice(run: RunSeen) -> None:
    assert run.viewers[0].chunks is not None
    run.viewers[0].chunks["s0"].insert(1, run.viewers[0].chunks["s0"][1])


def shrank(run: RunSeen) -> None:
    frame = Frame(0.15, "m0", "streaming", "Ra", ["text-0"])
    run.viewers[0].frames.insert(1, frame)


def showed_what_did_not_stay(run: RunSeen) -> None:
    run.viewers[0].frames[0].said = "Snow "


def showed_both(run: RunSeen) -> None:
    run.viewers[0].frames[1].live_ids.append("text-0")


def came_back_to_life(run: RunSeen) -> None:
    frame = Frame(0.3, "m0", "streaming", "Rain fell", ["text-0"])
    run.viewers[0].frames.insert(2, frame)


WRONG: list[tuple[str, Callable[[RunSeen], None]]] = [
    ("everything comes in time", has_a_problem),
    ("nothing is left streaming", still_streams),
    ("nothing is left streaming", has_a_running_task),
    ("the task is free", refuses_the_next_message),
    ("the task is free", was_not_probed),
    ("each end has its reason", was_stopped_by_nobody),
    ("each end has its reason", failed_without_a_fault),
    ("each end has its reason", failed_without_a_word),
    ("each end has its reason", ignored_a_stop),
    ("one reply per message", has_two_prompts),
    ("one reply per message", has_two_replies),
    ("one reply per message", told_two_tales),
    ("one reply per message", began_twice),
    ("one generation per message", asked_the_provider_twice),
    ("the log has no gaps", has_a_gap),
    ("the log has no gaps", has_a_number_twice),
    ("the message is its log", lost_a_chunk),
    ("the message is its log", has_other_content),
    ("the message is what was said", said_it_twice),
    ("the message is what was said", said_it_in_another_order),
    ("the message is what was said", ended_too_early),
    ("all viewers are equal", shows_other_messages),
    ("all viewers are equal", was_watched_by_nobody),
    ("viewers get each chunk once", missed_a_chunk),
    ("viewers get each chunk once", got_a_chunk_twice),
    ("what is shown only grows", shrank),
    ("what is shown only grows", showed_what_did_not_stay),
    ("the swap is atomic", showed_both),
    ("the swap is atomic", came_back_to_life),
]


def test_a_good_run_violates_nothing() -> None:
    assert check(good_run(), KEY) == []
    assert lost_characters(good_run()) == 0


@pytest.mark.parametrize(
    ("invariant", "spoil"), WRONG, ids=[spoil.__name__ for _, spoil in WRONG]
)
def test_an_invariant_fails_for_a_run_that(
    invariant: str, spoil: Callable[[RunSeen], None]
) -> None:
    run = good_run()
    spoil(run)
    assert list(INVARIANTS[invariant](run))
    assert invariant in {found.invariant for found in check(run, KEY)}


def test_every_invariant_was_seen_to_fail() -> None:
    assert {invariant for invariant, _ in WRONG} == set(INVARIANTS)


def test_a_key_that_comes_back_is_found() -> None:
    run = good_run()
    run.problems.append(f"the provider refused {KEY}sentinel-1")
    assert "no key leaves" in {found.invariant for found in check(run, KEY)}


def test_an_error_part_may_follow_what_the_log_has() -> None:
    run = good_run()
    run.faults.append(FaultSeen(Fault("kill-executor"), 0.1, True))
    error = {"id": "error-0", "type": "error", "errorText": "Dead.", "kind": "x"}
    for row in rows(run, 1):
        row |= {"status": "failed", "error": "Dead.", "parts": [*row["parts"], error]}
    run.viewers[0].frames[1].status = "failed"
    assert check(run, KEY) == []


def test_a_stop_whose_answer_was_lost_may_have_stopped_it() -> None:
    run = good_run()
    run.stops.append(StopSeen(0.1, answer_lost=True))
    was_stopped_by_nobody(run)
    assert check(run, KEY) == []


def test_what_a_killed_provider_forgot_is_not_held_against_the_reply() -> None:
    run = good_run()
    run.replies[0].spoken = "Rain"
    assert "the message is what was said" in {v.invariant for v in check(run, KEY)}
    run.replies[0].spoken_whole = False
    assert check(run, KEY) == []


def test_lost_characters_are_counted() -> None:
    run = good_run()
    lost_a_chunk(run)
    assert lost_characters(run) == len("fell")
