"""Functions on a database in this process, with what they write counted."""

import pytest

from kit.bench.store import KIT, open_store, said_before
from kit.bench.ways.convex import FUNCTIONS
from kit.errors import FunctionError


def test_documents_and_their_bytes_are_counted() -> None:
    with open_store(FUNCTIONS) as store:
        task = store.create_task()
        before = store.counts
        for body in ("", "é" * 50):
            store.call("notes:add", {"body": body})
        counts = store.counts.since(before)
        assert (counts.documents_written, counts.documents_read) == (2, 0)
        once = (counts.bytes_written - 100) / 2
        store.call("notes:add", {"body": ""})
        again = store.counts.since(before)
        assert again.bytes_written - counts.bytes_written == pytest.approx(once, abs=2)

        store.call("messages:begin", {"taskId": task, "prompt": "p"})
        before = store.counts
        store.engine.run_query("messages:byTask", {"taskId": task})
        counts = store.counts.since(before)
        assert (counts.documents_written, counts.documents_read) == (0, 2)
        assert counts.bytes_read > 300


def test_a_reply_is_written_with_the_kits_functions() -> None:
    with open_store(KIT) as store:
        stream = store.begin(store.create_task())
        chunk = {"type": "text-start", "id": "text-0"}
        store.append(stream, 0, [chunk])
        store.append(stream, 0, [chunk])  # a duplicate is fine
        with pytest.raises(FunctionError, match="gap"):
            store.append(stream, 5, [chunk])
        store.finalize(stream)
        with pytest.raises(FunctionError, match="closed"):
            store.append(stream, 1, [chunk])


def test_many_documents_are_stored_past_the_functions() -> None:
    with open_store(FUNCTIONS) as store:
        ids = store.insert("notes", [{"body": str(n)} for n in range(5_000)])
        assert len(set(ids)) == 5_000
        assert store.counts.documents_written == 5_000


def test_a_call_that_fails_says_how() -> None:
    with open_store(FUNCTIONS) as store, pytest.raises(FunctionError, match="body"):
        store.call("notes:add", {})


def test_what_was_said_before_takes_turns() -> None:
    said = list(said_before(4))
    assert [role for role, _ in said] == ["user", "assistant", "user", "assistant"]
    assert len({text for _, text in said}) == 4
