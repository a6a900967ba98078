"""Begin, append, follow, stop and end, on the real engine; see also
test_convex_generation for what happens between a model and a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError
from convex_functions import Failed, Functions

from kit.parts import Chunk, PartsFold

LEASE = 15_000.0


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path)
    yield functions
    functions.close()


@pytest.fixture
def task_id(functions: Functions) -> str:
    created: str = functions.call("tasks:create", title="t")
    return created


def begin(functions: Functions, task_id: str, prompt: str = "Hi", **more: Any) -> Any:
    fields = {"taskId": task_id, "prompt": prompt, "model": "m", "leaseMs": LEASE}
    return functions.call("streaming:begin", {**fields, **more})


def append(functions: Functions, stream: Any, seq: int, *chunks: Chunk) -> Any:
    return functions.call(
        "streaming:append",
        streamId=stream["streamId"],
        epoch=1,
        seq=seq,
        chunks=[dict(chunk) for chunk in chunks],
    )


def finalize(functions: Functions, stream: Any, **more: Any) -> Any:
    fields = {"streamId": stream["streamId"], "epoch": 1, "outcome": "complete"}
    return functions.call("streaming:finalize", {**fields, **more})


def heartbeat(functions: Functions, stream: Any, epoch: int = 1) -> Any:
    return functions.call(
        "streaming:heartbeat", streamId=stream["streamId"], epoch=epoch
    )


def text(delta: str, part_id: str = "text-0") -> Chunk:
    return {"type": "text-delta", "id": part_id, "delta": delta}


def message(functions: Functions, stream: Any) -> Any:
    tasks = functions.rows("tasks")
    rows = [
        row
        for task in tasks
        for row in functions.call("messages:byTask", taskId=task["_id"])
    ]
    return next(row for row in rows if row["_id"] == stream["messageId"])


def code_of(caught: pytest.ExceptionInfo[ConvexError]) -> str:
    data: dict[str, str] = caught.value.data
    assert data["message"]
    return data["code"]


# --- begin ------------------------------------------------------------------------


def test_begin_stores_the_prompt_and_an_empty_reply(
    functions: Functions, task_id: str
) -> None:
    begun = begin(functions, task_id, "Hello", clientMessageId="c1", llmModel="shown")
    assert begun["reused"] is False
    assert begun["status"] == "streaming"
    prompt, reply = functions.call("messages:byTask", taskId=task_id)
    assert (prompt["_id"], reply["_id"]) == (
        begun["promptMessageId"],
        begun["messageId"],
    )
    assert (prompt["role"], prompt["content"], prompt["status"]) == (
        "USER",
        "Hello",
        "complete",
    )
    assert (prompt["sequence"], reply["sequence"]) == (0.0, 1.0)
    assert prompt["clientMessageId"] == "c1"
    assert (reply["role"], reply["content"], reply["status"]) == (
        "ASSISTANT",
        "",
        "streaming",
    )
    assert reply["promptMessageId"] == prompt["_id"]
    assert reply["streamId"] == begun["streamId"]
    assert reply["llmModel"] == "shown"
    assert "parts" not in reply
    assert functions.call("tasks:get", taskId=task_id)["status"] == "RUNNING"


def test_begin_twice_with_one_client_id_begins_once(
    functions: Functions, task_id: str
) -> None:
    first = begin(functions, task_id, clientMessageId="c1")
    again = begin(functions, task_id, clientMessageId="c1")
    assert again == {**first, "reused": True}
    finalize(functions, first, outcome="failed", error="gone")
    afterwards = begin(functions, task_id, clientMessageId="c1")
    assert afterwards == {**first, "reused": True, "status": "failed"}
    assert len(functions.rows("streams")) == 1
    assert len(functions.rows("chatMessages")) == 2


def test_a_client_id_stands_for_one_prompt(functions: Functions, task_id: str) -> None:
    begin(functions, task_id, "one", clientMessageId="c1")
    with pytest.raises(ConvexError) as caught:
        begin(functions, task_id, "two", clientMessageId="c1")
    assert code_of(caught) == "ClientMessageIdTaken"


def test_a_client_id_belongs_to_its_task(functions: Functions, task_id: str) -> None:
    other = functions.call("tasks:create", title="other")
    begin(functions, task_id, clientMessageId="c1")
    assert begin(functions, other, clientMessageId="c1")["reused"] is False


def test_a_task_has_one_reply_at_a_time(functions: Functions, task_id: str) -> None:
    first = begin(functions, task_id)
    with pytest.raises(ConvexError, match="Stop it first") as caught:
        begin(functions, task_id, "more")
    assert code_of(caught) == "StreamActive"
    assert caught.value.data["messageId"] == first["messageId"]
    assert caught.value.data["streamId"] == first["streamId"]
    finalize(functions, first)
    assert begin(functions, task_id, "more")["reused"] is False


def test_a_stopping_reply_is_no_hindrance_and_leaves_the_task_running(
    functions: Functions, task_id: str
) -> None:
    first = begin(functions, task_id)
    append(functions, first, 0, text("half"))
    functions.call("streaming:stopTask", taskId=task_id)
    second = begin(functions, task_id, "more")
    assert finalize(functions, first)["status"] == "ok"
    assert functions.call("tasks:get", taskId=task_id)["status"] == "RUNNING"
    finalize(functions, second)
    assert functions.call("tasks:get", taskId=task_id)["status"] == "COMPLETED"


def test_a_dead_producer_is_no_hindrance_even_without_its_watchdog(
    functions: Functions, task_id: str
) -> None:
    first = begin(functions, task_id)
    append(functions, first, 0, text("half"))
    functions.turn(LEASE)
    begin(functions, task_id, "more")
    assert message(functions, first)["status"] == "failed"
    assert message(functions, first)["content"] == "half"
    assert functions.call("tasks:get", taskId=task_id)["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"prompt": " \n"}, "blank"),
        ({"prompt": "x" * 600_000}, "may have 524,288"),
        ({"clientMessageId": ""}, "empty"),
    ],
    ids=["blank", "long", "client-id"],
)
def test_what_cannot_be_asked_is_refused(
    functions: Functions, task_id: str, more: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConvexError, match=expected) as caught:
        begin(functions, task_id, **more)
    assert code_of(caught) == "BadArguments"
    assert functions.rows("chatMessages") == []


def test_a_task_must_exist(functions: Functions, task_id: str) -> None:
    functions.call("test:delete", id=task_id)
    with pytest.raises(ConvexError) as caught:
        begin(functions, task_id)
    assert code_of(caught) == "NotFound"


# --- append: the whole table ---------------------------------------------------------


def test_append_in_order(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    for seq in range(3):
        assert append(functions, stream, seq, text(str(seq))) == {
            "status": "ok",
            "stop": False,
            "nextSeq": seq + 1.0,
        }
    (head,) = functions.rows("streamHeads")
    assert head["nextSeq"] == 3.0
    assert [row["seq"] for row in functions.rows("streamDeltas")] == [0.0, 1.0, 2.0]


def test_an_append_that_came_before_is_acknowledged_and_not_stored_again(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("a"))
    append(functions, stream, 1, text("b"))
    again = append(functions, stream, 0, text("a"))
    assert again == {"status": "ok", "stop": False, "nextSeq": 2.0}
    assert len(functions.rows("streamDeltas")) == 2


def test_an_append_ahead_of_the_log_is_a_gap(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    assert append(functions, stream, 1, text("b")) == {
        "status": "gap",
        "stop": False,
        "nextSeq": 0.0,
    }
    assert functions.rows("streamDeltas") == []


def test_an_old_epoch_is_fenced(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    functions.call("test:patch", id=stream["streamId"], fields={"epoch": 2})
    assert append(functions, stream, 0, text("zombie"))["status"] == "fenced"
    assert heartbeat(functions, stream)["status"] == "fenced"
    assert finalize(functions, stream)["status"] == "fenced"
    assert heartbeat(functions, stream, epoch=2)["status"] == "ok"
    assert functions.rows("streamDeltas") == []
    assert message(functions, stream)["status"] == "streaming"


def test_an_epoch_that_was_never_given_is_refused(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    with pytest.raises(ConvexError) as caught:
        heartbeat(functions, stream, epoch=7)
    assert code_of(caught) == "BadArguments"


def test_a_done_stream_is_closed(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("a"))
    finalize(functions, stream)
    assert append(functions, stream, 1, text("late"))["status"] == "closed"
    assert append(functions, stream, 0, text("a"))["status"] == "closed"
    assert heartbeat(functions, stream)["status"] == "closed"
    assert message(functions, stream)["content"] == "a"


def test_a_stopping_stream_still_takes_what_was_on_its_way(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    functions.call("streaming:stopTask", taskId=task_id)
    assert append(functions, stream, 0, text("kept")) == {
        "status": "ok",
        "stop": True,
        "nextSeq": 1.0,
    }
    assert heartbeat(functions, stream)["stop"] is True
    finalize(functions, stream, outcome="stopped")
    assert message(functions, stream)["content"] == "kept"


def test_a_log_has_a_limit_so_that_it_can_be_folded(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    piece = "x" * 500_000
    for seq in range(8):
        assert append(functions, stream, seq, text(piece))["status"] == "ok"
    assert append(functions, stream, 8, text(piece))["status"] == "full"
    finalize(functions, stream)
    assert message(functions, stream)["content"] == piece * 8


def test_a_stream_that_does_not_exist_is_not_found(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    functions.call("test:delete", id=stream["streamId"])
    with pytest.raises(ConvexError) as caught:
        append(functions, stream, 0, text("a"))
    assert code_of(caught) == "NotFound"


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "text-delta", "id": "text-0"},
        {"type": "text-delta", "id": "text-0", "delta": 5},
        {"type": "text-delta", "id": "text-0", "delta": "x", "extra": 1},
        {"type": "nonsense"},
    ],
    ids=["field-missing", "wrong-type", "extra-field", "unknown-type"],
)
def test_what_is_no_chunk_is_refused(
    functions: Functions, task_id: str, chunk: Any
) -> None:
    stream = begin(functions, task_id)
    with pytest.raises(Failed, match="ArgumentValidationError"):
        append(functions, stream, 0, chunk)
    assert functions.rows("streamDeltas") == []


@pytest.mark.parametrize(
    "path",
    [
        "streaming:begin",
        "streaming:append",
        "streaming:heartbeat",
        "streaming:finalize",
        "streaming:watchdog",
        "streaming:sweep",
        "streaming:deleteDeltas",
        "streaming:generate",
        "streaming:context",
        "streaming:result",
    ],
)
def test_clients_cannot_reach_what_is_internal(functions: Functions, path: str) -> None:
    function = functions.registry.get(path)
    assert function is not None
    assert function.internal


def test_every_function_has_validators(functions: Functions) -> None:
    for path in functions.registry.functions:
        function = functions.registry.functions[path]
        if path.module != "test":
            assert function.args is not None, path
            assert function.returns is not None, path


# --- following --------------------------------------------------------------------


def test_pages_are_four_deltas_aligned(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    for seq in range(6):
        append(functions, stream, seq, text(str(seq)))

    def seqs(page: int) -> list[float]:
        read = functions.call("streaming:read", streamId=stream["streamId"], page=page)
        return [delta["seq"] for delta in read["deltas"]]

    assert [seqs(0), seqs(1), seqs(2)] == [[0, 1, 2, 3], [4, 5], []]


def test_an_append_touches_its_own_page_only(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    for seq in range(4):
        append(functions, stream, seq, text(str(seq)))
    pages = [
        functions.read_set("streaming:read", streamId=stream["streamId"], page=page)
        for page in range(3)
    ]
    functions.writes.clear()
    append(functions, stream, 4, text("4"))
    (written,) = functions.writes
    assert [page.overlaps(written) for page in pages] == [False, True, False]


def test_the_list_of_messages_is_not_touched_while_a_reply_is_written(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    listed = functions.read_set("messages:byTask", taskId=task_id)
    functions.writes.clear()
    append(functions, stream, 0, text("a"))
    heartbeat(functions, stream)
    functions.advance(1000)
    assert not any(listed.overlaps(written) for written in functions.writes)
    functions.call("streaming:stopTask", taskId=task_id)
    assert listed.overlaps(functions.writes[-1])


def catch_up(functions: Functions, stream: Any) -> tuple[list[Chunk], int]:
    """All chunks so far, and the next seq."""
    chunks: list[Chunk] = []
    seq, more = 0, True
    while more:
        caught = functions.call(
            "streaming:catchUp", {"streamId": stream["streamId"], "from": seq}
        )
        chunks += [chunk for delta in caught["deltas"] for chunk in delta["chunks"]]
        seq, more = int(caught["nextSeq"]), caught["more"]
    return chunks, seq


def read_on(functions: Functions, stream: Any, seq: int) -> list[Chunk]:
    """All chunks from `seq` on, page by page, as a viewer gets them."""
    chunks: list[Chunk] = []
    for page in range(seq // 4, 10_000):
        read = functions.call("streaming:read", streamId=stream["streamId"], page=page)
        for delta in read["deltas"]:
            if delta["seq"] >= seq:
                chunks += delta["chunks"]
        if len(read["deltas"]) < 4:
            break
    return chunks


REPLY: list[Chunk] = [
    {"type": "start-step"},
    {"type": "reasoning-start", "id": "reasoning-0"},
    {"type": "reasoning-delta", "id": "reasoning-0", "delta": "hm"},
    {"type": "reasoning-end", "id": "reasoning-0"},
    {"type": "text-start", "id": "text-0"},
    text("Let me "),
    text("see: "),
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
    text("two", "text-1"),
    {"type": "text-end", "id": "text-1"},
    {"type": "finish", "finishReason": "stop"},
]


@pytest.mark.parametrize("joined_at", range(len(REPLY) + 1))
def test_whoever_joins_late_sees_the_same_parts(
    functions: Functions, task_id: str, joined_at: int
) -> None:
    stream = begin(functions, task_id)
    for seq, chunk in enumerate(REPLY[:joined_at]):
        append(functions, stream, seq, chunk)
    caught, next_seq = catch_up(functions, stream)
    assert next_seq == joined_at
    for seq, chunk in enumerate(REPLY[joined_at:], start=joined_at):
        append(functions, stream, seq, chunk)
    early = PartsFold(REPLY)
    late = PartsFold(caught + read_on(functions, stream, joined_at))
    assert late.snapshot() == early.snapshot()
    assert late.order == early.order
    finalize(functions, stream, finishReason="stop")
    assert message(functions, stream)["parts"] == early.snapshot()


def test_catching_up_with_a_long_reply_takes_bounded_calls(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    for seq in range(150):
        append(functions, stream, seq, text("x" * 20_000))
    first = functions.call(
        "streaming:catchUp", {"streamId": stream["streamId"], "from": 0}
    )
    assert first["more"] is True
    assert len(first["deltas"]) == first["nextSeq"] == 64
    chunks, seq = catch_up(functions, stream)
    assert (len(chunks), seq) == (150, 150)


@pytest.mark.parametrize("page", [-1, 0.5, 10_000])
def test_a_page_that_cannot_be_is_refused(
    functions: Functions, task_id: str, page: float
) -> None:
    stream = begin(functions, task_id)
    with pytest.raises(ConvexError, match="whole number"):
        functions.call("streaming:read", streamId=stream["streamId"], page=page)


# --- finalize ---------------------------------------------------------------------


def test_finalize_writes_everything_at_once(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    for seq, chunk in enumerate(REPLY):
        append(functions, stream, seq, chunk)
    usage = {"promptTokens": 1.0, "completionTokens": 2.0, "totalTokens": 3.0}
    functions.writes.clear()
    finalize(functions, stream, finishReason="stop", usage=usage)
    assert len(functions.writes) == 1
    row = message(functions, stream)
    assert row["status"] == "complete"
    assert row["content"] == "Let me see: two"
    assert row["parts"] == PartsFold(REPLY).snapshot()
    assert (row["finishReason"], row["usage"]) == ("stop", usage)
    assert functions.call("tasks:get", taskId=task_id)["status"] == "COMPLETED"
    (stored,) = functions.rows("streams")
    assert (stored["state"], stored["outcome"]) == ("done", "complete")
    assert stored["endedAt"] == functions.now_ms


def test_no_transaction_shows_a_final_row_without_its_parts(
    functions: Functions, task_id: str
) -> None:
    """The swap: the row that says final is the row that has the parts."""
    stream = begin(functions, task_id)
    seen = []

    def look(*_: object) -> None:
        seen.append(message(functions, stream))

    functions.engine.on_commit = look
    for seq, chunk in enumerate(REPLY):
        append(functions, stream, seq, chunk)
    functions.call("streaming:stopTask", taskId=task_id)
    finalize(functions, stream, outcome="stopped", finishReason="aborted")
    assert [row["status"] for row in seen[-2:]] == ["stopping", "stopped"]
    assert all(
        ("parts" in row) == (row["status"] not in ("streaming", "stopping"))
        for row in seen
    )


def test_finalize_twice_is_finalize_once(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("a"))
    assert finalize(functions, stream)["status"] == "ok"
    before = message(functions, stream)
    again = finalize(functions, stream, outcome="failed", error="no")
    assert again["status"] == "closed"
    assert message(functions, stream) == before


def test_a_failure_keeps_the_text_and_adds_an_error_part(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("half"))
    finalize(
        functions,
        stream,
        outcome="failed",
        finishReason="error",
        error="the provider said no",
        errorKind="auth",
    )
    row = message(functions, stream)
    assert (row["status"], row["content"], row["error"]) == (
        "failed",
        "half",
        "the provider said no",
    )
    assert row["parts"] == [
        {"id": "text-0", "type": "text", "text": "half", "state": "done"},
        {
            "id": "error-0",
            "type": "error",
            "errorText": "the provider said no",
            "kind": "auth",
        },
    ]
    task = functions.call("tasks:get", taskId=task_id)
    assert (task["status"], task["errorMessage"]) == ("FAILED", "the provider said no")


def test_an_error_that_the_log_holds_is_not_shown_twice(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(
        functions,
        stream,
        0,
        {"type": "error", "id": "error-0", "errorText": "no", "kind": "auth"},
    )
    finalize(functions, stream, outcome="failed", error="no")
    assert [p["id"] for p in message(functions, stream)["parts"]] == ["error-0"]


def test_the_next_reply_clears_the_tasks_error(
    functions: Functions, task_id: str
) -> None:
    finalize(functions, begin(functions, task_id), outcome="failed", error="no")
    begin(functions, task_id, "again")
    assert "errorMessage" not in functions.call("tasks:get", taskId=task_id)


def test_what_is_open_at_the_end_is_closed(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    append(
        functions,
        stream,
        0,
        text("half"),
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "t"},
    )
    finalize(functions, stream, outcome="stopped")
    parts = message(functions, stream)["parts"]
    assert [(p["id"], p["state"]) for p in parts] == [
        ("text-0", "done"),
        ("c1", "input-error"),
    ]


def test_a_reply_without_a_word_is_final_with_no_parts(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    finalize(functions, stream)
    row = message(functions, stream)
    assert (row["status"], row["content"], row["parts"]) == ("complete", "", [])


def test_parts_that_overflow_a_document_are_spread_and_read_whole(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    letters = "aé😀"
    for seq in range(9):
        append(functions, stream, seq, text(letters[seq % 3] * 50_000))
    output = "y" * 90_000
    append(
        functions,
        stream,
        9,
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "t",
            "inputText": "{}",
        },
        {"type": "tool-output-available", "toolCallId": "c1", "outputText": output},
        text("end", "text-1"),
    )
    finalize(functions, stream)
    assert len(functions.rows("messageParts")) > 5
    stored = next(
        row
        for row in functions.rows("chatMessages")
        if row["_id"] == stream["messageId"]
    )
    assert "parts" not in stored
    row = message(functions, stream)
    whole = "".join(letters[seq % 3] * 50_000 for seq in range(9))
    assert row["content"] == whole + "end"
    assert [p["id"] for p in row["parts"]] == ["text-0", "c1", "c1-result", "text-1"]
    assert row["parts"][0]["text"] == whole
    assert row["parts"][2]["resultText"] == output
    assert functions.call("streaming:result", messageId=stream["messageId"])[
        "text"
    ].endswith("end")


def test_thousands_of_parts_do_not_keep_a_reply_from_ending(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    for seq in range(10):
        append(
            functions,
            stream,
            seq,
            *(text("x", f"text-{seq}-{n}") for n in range(1000)),
        )
    finalize(functions, stream, outcome="failed", error="too much")
    parts = message(functions, stream)["parts"]
    assert len(parts) == 4097
    assert parts[-1]["type"] == "error"


def test_deltas_are_deleted_an_hour_later(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    for seq in range(600):
        append(functions, stream, seq, text("x"))
    finalize(functions, stream)
    functions.advance(3_599_000)
    assert len(functions.rows("streamDeltas")) == 600
    functions.advance(2_000)
    assert functions.rows("streamDeltas") == []
    assert functions.jobs() == []
    assert message(functions, stream)["content"] == "x" * 600


# --- stop -------------------------------------------------------------------------


def test_a_stop_shows_at_once_and_keeps_the_text(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("half"))
    functions.writes.clear()
    stopped = functions.call("streaming:stopTask", taskId=task_id)
    assert stopped == {"messageIds": [stream["messageId"]]}
    assert len(functions.writes) == 1
    assert message(functions, stream)["status"] == "stopping"
    finalize(functions, stream, outcome="stopped", finishReason="aborted")
    row = message(functions, stream)
    assert (row["status"], row["content"]) == ("stopped", "half")
    assert functions.call("tasks:get", taskId=task_id)["status"] == "STOPPED"


def test_a_dead_producer_is_stopped_by_the_watchdog(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("half"))
    functions.call("streaming:cancelStream", messageId=stream["messageId"])
    functions.advance(1_900)
    assert message(functions, stream)["status"] == "stopping"
    functions.advance(200)
    row = message(functions, stream)
    assert (row["status"], row["content"]) == ("stopped", "half")
    assert row["finishReason"] == "aborted"
    assert append(functions, stream, 1, text("late"))["status"] == "closed"


def test_a_stop_before_the_first_token(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    functions.call("streaming:stopTask", taskId=task_id)
    functions.advance(2_000)
    row = message(functions, stream)
    assert (row["status"], row["parts"]) == ("stopped", [])


def test_a_stop_wins_over_an_end_at_the_same_moment(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("all"))
    functions.call("streaming:stopTask", taskId=task_id)
    finalize(functions, stream, outcome="complete", finishReason="stop")
    row = message(functions, stream)
    assert (row["status"], row["finishReason"]) == ("stopped", "aborted")


def test_a_stop_after_the_end_changes_nothing(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    finalize(functions, stream)
    before = message(functions, stream)
    cancelled = functions.call("streaming:cancelStream", messageId=stream["messageId"])
    assert cancelled == {"stopping": False, "status": "complete"}
    stopped = functions.call("streaming:stopTask", taskId=task_id)
    assert stopped == {"messageIds": []}
    assert message(functions, stream) == before


def test_a_stop_twice_is_a_stop_once(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    first = functions.call("streaming:cancelStream", messageId=stream["messageId"])
    jobs = len(functions.jobs())
    again = functions.call("streaming:cancelStream", messageId=stream["messageId"])
    assert first == again == {"stopping": True, "status": "stopping"}
    assert len(functions.jobs()) == jobs


def test_stopping_a_prompt_or_nothing(functions: Functions, task_id: str) -> None:
    stream = begin(functions, task_id)
    assert functions.call(
        "streaming:cancelStream", messageId=stream["promptMessageId"]
    ) == {"stopping": False, "status": "complete"}
    functions.call("test:delete", id=stream["promptMessageId"])
    with pytest.raises(ConvexError) as caught:
        functions.call("streaming:cancelStream", messageId=stream["promptMessageId"])
    assert code_of(caught) == "NotFound"
    functions.call("test:delete", id=task_id)
    with pytest.raises(ConvexError) as caught:
        functions.call("streaming:stopTask", taskId=task_id)
    assert code_of(caught) == "NotFound"


# --- watchdog and sweep -------------------------------------------------------------


def test_a_producer_that_died_fails_the_message_after_its_lease(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    functions.advance(10_000)
    append(functions, stream, 0, text("half"))
    functions.advance(LEASE - 100)
    assert message(functions, stream)["status"] == "streaming"
    functions.advance(200)
    row = message(functions, stream)
    assert (row["status"], row["content"]) == ("failed", "half")
    assert row["finishReason"] == "interrupted"
    assert "for 15 s" in row["error"]
    assert row["parts"][-1]["kind"] == "interrupted"
    assert functions.call("tasks:get", taskId=task_id)["status"] == "FAILED"
    assert begin(functions, task_id, "again")["reused"] is False


def test_heartbeats_keep_a_silent_producer_alive(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    for _ in range(60):
        functions.advance(1_000)
        heartbeat(functions, stream)
    assert message(functions, stream)["status"] == "streaming"


def test_one_watchdog_runs_per_lease_and_none_after_the_end(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    for _ in range(120):
        functions.advance(1_000)
        heartbeat(functions, stream)
        watchdogs = [j for j in functions.jobs() if "watchdog" in j["name"]]
        assert len(watchdogs) == 1
    finalize(functions, stream)
    functions.advance(2 * LEASE)
    assert not [j for j in functions.jobs() if "watchdog" in j["name"]]


def test_the_sweep_replaces_a_watchdog_that_was_lost(
    functions: Functions, task_id: str
) -> None:
    stream = begin(functions, task_id)
    append(functions, stream, 0, text("half"))
    healthy = begin(functions, functions.call("tasks:create", title="other"))
    functions.turn(30_000)  # no job has run: as if they had been lost
    heartbeat(functions, healthy)
    assert functions.call("streaming:sweep") == {"live": 2.0, "overdue": 1.0}
    functions.advance(1)
    assert message(functions, stream)["status"] == "failed"
    assert message(functions, healthy)["status"] == "streaming"


def test_a_sweep_is_due_while_and_only_while_something_is_written(
    functions: Functions, task_id: str
) -> None:
    def sweeps() -> int:
        return sum("sweep" in job["name"] for job in functions.jobs())

    assert sweeps() == 0
    stream = begin(functions, task_id)
    other = begin(functions, functions.call("tasks:create", title="other"))
    assert sweeps() == 1
    for _ in range(200):
        functions.advance(1_000)
        heartbeat(functions, stream)
        heartbeat(functions, other)
        assert sweeps() == 1
    finalize(functions, stream)
    finalize(functions, other)
    functions.advance(61_000)
    assert sweeps() == 0
    assert functions.rows("sweeps") == []
    begin(functions, task_id, "again")
    assert sweeps() == 1


def test_a_sweep_that_comes_late_does_not_start_a_second_chain(
    functions: Functions, task_id: str
) -> None:
    finalize(functions, begin(functions, task_id))
    functions.turn(300_000)  # the deployment was down when the sweep was due
    stream = begin(functions, task_id, "again")
    for _ in range(100):
        heartbeat(functions, stream)
        functions.advance(1_000)
    assert sum("sweep" in job["name"] for job in functions.jobs()) == 1
