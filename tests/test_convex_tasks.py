from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from convex import ConvexError
from convex_functions import Failed, Functions


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path)
    yield functions
    functions.close()


def test_a_new_task_is_initializing(functions: Functions) -> None:
    task_id = functions.call("tasks:create", title="  Rehearse ")
    task = functions.call("tasks:get", taskId=task_id)
    assert (task["_id"], task["title"], task["status"]) == (
        task_id,
        "Rehearse",
        "INITIALIZING",
    )


def test_a_blank_title_is_refused(functions: Functions) -> None:
    with pytest.raises(ConvexError) as caught:
        functions.call("tasks:create", title=" \n")
    assert caught.value.data["code"] == "BadArguments"


def test_a_task_that_does_not_exist_is_null(functions: Functions) -> None:
    task_id = functions.call("tasks:create", title="a")
    functions.call("test:delete", id=task_id)
    assert functions.call("tasks:get", taskId=task_id) is None


def test_what_is_no_task_id_is_refused(functions: Functions) -> None:
    with pytest.raises(Failed, match="ArgumentValidationError"):
        functions.call("tasks:get", taskId="task-1")


def test_tasks_are_listed_newest_first_and_bounded(functions: Functions) -> None:
    for title in "abc":
        functions.call("tasks:create", title=title)
    assert [t["title"] for t in functions.call("tasks:list")] == ["c", "b", "a"]
    assert [t["title"] for t in functions.call("tasks:list", limit=2)] == ["c", "b"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, 201, float("inf"), float("nan")])
def test_a_limit_that_is_no_count_is_refused(
    functions: Functions, limit: float
) -> None:
    with pytest.raises(ConvexError, match="whole number from 1 to 200"):
        functions.call("tasks:list", limit=limit)


def test_wrong_types_are_refused_before_anything_runs(functions: Functions) -> None:
    with pytest.raises(Failed, match="missing the required field `title`"):
        functions.call("tasks:create")
    with pytest.raises(Failed, match="ArgumentValidationError"):
        functions.call("tasks:create", title=5)
    assert functions.rows("tasks") == []


def test_a_long_conversation_is_removed_in_transactions_of_bounded_size(
    functions: Functions,
) -> None:
    task_id = functions.call("tasks:create", title="long")
    for _ in range(3):
        begun = functions.call(
            "streaming:begin", taskId=task_id, prompt="Hi", model="m", leaseMs=15_000
        )
        stream = {"streamId": begun["streamId"], "epoch": 1}
        chunk = {"type": "text-delta", "id": "text-0", "delta": "a" * 200_000}
        for seq in range(20):
            functions.call("streaming:append", **stream, seq=seq, chunks=[chunk])
        functions.call("streaming:finalize", **stream, outcome="complete")
    functions.writes.clear()
    functions.call("tasks:remove", taskId=task_id)
    assert functions.call("tasks:get", taskId=task_id) is None
    functions.advance(0)
    # Deltas of 4 MB, then as much in parts, three times over: 4 MiB at a time.
    assert len(functions.writes) >= 6
    for table in ("chatMessages", "messageParts", "streams", "streamDeltas"):
        assert functions.rows(table) == []


def test_removal_leaves_no_viewer_behind(functions: Functions) -> None:
    task_id = functions.call("tasks:create", title="short")
    begun = functions.call(
        "streaming:begin", taskId=task_id, prompt="Hi", model="m", leaseMs=15_000
    )
    functions.call(
        "streaming:finalize", streamId=begun["streamId"], epoch=1, outcome="complete"
    )
    viewed = functions.read_set("messages:byTask", taskId=task_id)
    functions.writes.clear()
    functions.call("tasks:remove", taskId=task_id)
    (written,) = functions.writes
    assert viewed.overlaps(written)
    assert functions.call("messages:byTask", taskId=task_id) == []
