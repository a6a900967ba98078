from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError
from convex_functions import Failed, Functions


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path)
    yield functions
    functions.close()


@pytest.fixture
def task_id(functions: Functions) -> str:
    created: str = functions.call("tasks:create", title="t")
    return created


def exchange(
    functions: Functions, task_id: str, prompt: str, reply: str, **more: Any
) -> Any:
    """One message and its finished reply."""
    begun = functions.call(
        "streaming:begin",
        {"taskId": task_id, "prompt": prompt, "model": "m", "leaseMs": 1000, **more},
    )
    stream = {"streamId": begun["streamId"], "epoch": 1}
    for seq in range(0, len(reply), 500_000):
        delta = {
            "type": "text-delta",
            "id": "text-0",
            "delta": reply[seq : seq + 500_000],
        }
        functions.call("streaming:append", stream, seq=seq // 500_000, chunks=[delta])
    functions.call("streaming:finalize", stream, outcome="complete")
    return begun


def listed(functions: Functions, task_id: str, **more: Any) -> list[str]:
    rows = functions.call("messages:byTask", taskId=task_id, **more)
    assert [row["sequence"] for row in rows] == sorted(r["sequence"] for r in rows)
    return [row["content"] for row in rows]


def test_a_task_without_messages_lists_none(functions: Functions, task_id: str) -> None:
    assert listed(functions, task_id) == []


def test_messages_are_listed_in_order(functions: Functions, task_id: str) -> None:
    exchange(functions, task_id, "one", "two")
    exchange(functions, task_id, "three", "four")
    assert listed(functions, task_id) == ["one", "two", "three", "four"]


def test_other_tasks_are_not_listed(functions: Functions, task_id: str) -> None:
    other = functions.call("tasks:create", title="other")
    exchange(functions, other, "one", "two")
    assert listed(functions, task_id) == []


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9, 20, 200])
def test_the_newest_are_listed(functions: Functions, task_id: str, limit: int) -> None:
    for number in range(10):
        exchange(functions, task_id, f"q{number}", f"a{number}")
    everything = [text for n in range(10) for text in (f"q{n}", f"a{n}")]
    assert listed(functions, task_id, limit=limit) == everything[-limit:]


def test_fifty_are_listed_unless_told(functions: Functions, task_id: str) -> None:
    for number in range(30):
        exchange(functions, task_id, f"q{number}", f"a{number}")
    assert len(listed(functions, task_id)) == 50


@pytest.mark.parametrize("limit", [0, 201, 0.5])
def test_a_limit_that_is_no_count_is_refused(
    functions: Functions, task_id: str, limit: float
) -> None:
    with pytest.raises(ConvexError, match="whole number from 1 to 200"):
        functions.call("messages:byTask", taskId=task_id, limit=limit)


def test_a_task_id_must_be_one(functions: Functions, task_id: str) -> None:
    begun = exchange(functions, task_id, "one", "two")
    with pytest.raises(Failed, match="does not match the table name"):
        functions.call("messages:byTask", taskId=begun["messageId"])


def test_very_large_histories_are_cut_at_their_older_end(
    functions: Functions, task_id: str
) -> None:
    for number in range(4):
        exchange(functions, task_id, f"q{number}", str(number) * 1_500_000)
    rows = listed(functions, task_id)
    assert rows[-1] == "3" * 1_500_000
    assert rows[-2] == "q3"
    assert 2 <= len(rows) < 8
    assert sum(map(len, rows)) < 8 * 1024 * 1024


def test_the_largest_reply_alone_is_listed_whole(
    functions: Functions, task_id: str
) -> None:
    exchange(functions, task_id, "q", "é" * 2_000_000)
    assert listed(functions, task_id)[-1] == "é" * 2_000_000


def paged(functions: Functions, task_id: str, limit: int = 50) -> list[list[str]]:
    """The contents of all pages, from the first to the last."""
    pages: list[list[str]] = []
    after: dict[str, float] = {}
    while True:
        args = {"taskId": task_id, "limit": limit, **after}
        page = functions.call("messages:page", args)
        pages.append([row["content"] for row in page["messages"]])
        if not page["more"]:
            return pages
        after = {"after": page["messages"][-1]["sequence"]}


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9, 15, 16, 17, 200])
def test_pages_of_any_length_hold_each_message_once_in_order(
    functions: Functions, task_id: str, limit: int
) -> None:
    for number in range(8):
        exchange(functions, task_id, f"q{number}", f"a{number}")
    everything = [text for n in range(8) for text in (f"q{n}", f"a{n}")]
    pages = paged(functions, task_id, limit)
    assert [text for page in pages for text in page] == everything
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]


def test_a_page_of_a_task_without_messages_is_empty(
    functions: Functions, task_id: str
) -> None:
    assert paged(functions, task_id) == [[]]


def test_pages_of_very_large_messages_are_bounded_and_whole(
    functions: Functions, task_id: str
) -> None:
    replies = [*(str(number) * 1_500_000 for number in range(4)), "é" * 2_000_000]
    for reply in replies:
        exchange(functions, task_id, "q", reply)
    pages = paged(functions, task_id)
    assert [text for page in pages for text in page if text != "q"] == replies
    assert len(pages) > 2
    assert all(sum(map(len, page)) < 8 * 1024 * 1024 for page in pages)


def test_a_new_message_is_found_by_who_lists(
    functions: Functions, task_id: str
) -> None:
    empty = functions.read_set("messages:byTask", taskId=task_id)
    exchange(functions, task_id, "one", "two")
    assert empty.overlaps(functions.writes[-1])


def test_a_message_of_another_task_does_not_disturb(
    functions: Functions, task_id: str
) -> None:
    exchange(functions, task_id, "one", "two")
    mine = functions.read_set("messages:byTask", taskId=task_id)
    other = functions.call("tasks:create", title="other")
    functions.writes.clear()
    exchange(functions, other, "one", "two")
    assert not any(mine.overlaps(written) for written in functions.writes)


def test_what_was_begun_is_found_by_the_senders_id(
    functions: Functions, task_id: str
) -> None:
    def look() -> Any:
        return functions.call(
            "messages:byClientMessageId", taskId=task_id, clientMessageId="c1"
        )

    assert look() is None
    begun = exchange(functions, task_id, "one", "two", clientMessageId="c1")
    assert look() == {
        "promptMessageId": begun["promptMessageId"],
        "messageId": begun["messageId"],
        "streamId": begun["streamId"],
        "status": "complete",
    }
    other = functions.call("tasks:create", title="other")
    assert (
        functions.call("messages:byClientMessageId", taskId=other, clientMessageId="c1")
        is None
    )
