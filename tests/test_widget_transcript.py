"""What is shown of a chat: operations, snapshots, the swap at the end of a reply."""

from typing import Any

import pytest
from fake_chat import text_chunks, tool_chunks
from hypothesis import given, settings
from hypothesis import strategies as st
from screen import ChatScreen, compact

from kit.parts import Chunk, PartsFold
from kit.widget.transcript import Op, Transcript


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Writer:
    """Writes a reply into a transcript, and keeps a screen up to date."""

    def __init__(self, key: str = "m1") -> None:
        self.key = key
        self.clock = Clock()
        self.transcript = Transcript(self.clock)
        self.screen = ChatScreen()
        self.fold = PartsFold()

    def take(self, *chunks: Chunk) -> None:
        """Take in chunks as one batch."""
        changes = [change for chunk in chunks if (change := self.fold.apply(chunk))]
        self.transcript.grow_live(self.key, changes, self.parts())

    def feed(self, *chunks: Chunk) -> list[Op]:
        """Take in chunks as one batch; the operations that they lead to."""
        self.take(*chunks)
        return self.flush()

    def flush(self) -> list[Op]:
        ops = self.transcript.take_ops()
        self.screen.apply(ops)
        return ops

    def parts(self) -> dict[str, Any]:
        return {part["id"]: part for part in self.fold.snapshot()}

    def rows(self, *rows: dict[str, Any]) -> list[Op]:
        self.transcript.show_messages(rows)
        return self.flush()


def row(key: str = "m1", role: str = "ASSISTANT", **fields: Any) -> dict[str, Any]:
    return {"_id": key, "role": role, "content": "", "status": "streaming", **fields}


def names(ops: list[Op]) -> list[str]:
    return [op[0] for op in ops]


REPLY: list[Chunk] = [
    *text_chunks("Let me *think*", part_id="reasoning-0", kind="reasoning", size=5),
    *text_chunks("First,\n\n- a\n- b", size=4),
    *tool_chunks("call-1", "search", '{"q": "x"}', '{"hits": [1, 2]}'),
    *text_chunks("# Done\n\n```py\nx = 1\n```\n", part_id="text-1", size=3),
    {"type": "error", "id": "error-0", "errorText": "cut <off>", "kind": "interrupted"},
]


# --- live parts -------------------------------------------------------------------


def test_a_user_is_shown_as_written_and_a_model_as_markdown() -> None:
    writer = Writer()
    writer.rows(
        row("u", "USER", content="*a*<b>", status="complete"),
        row("a", content="*a*<b>", status="complete"),
    )
    assert writer.screen.html() == {
        "u": {"content": '<pre class="kit-plain">*a*&lt;b&gt;</pre>'},
        "a": {"content": "<p><em>a</em>&lt;b&gt;</p>"},
    }


def test_appended_text_leads_to_one_small_operation() -> None:
    writer = Writer()
    writer.rows(row())
    writer.feed({"type": "text-start", "id": "text-0"})
    writer.feed({"type": "text-delta", "id": "text-0", "delta": "one"})
    ops = writer.feed(
        {"type": "text-delta", "id": "text-0", "delta": " two"},
        {"type": "text-delta", "id": "text-0", "delta": " three"},
    )
    assert ops == [["append", "m1", "text-0", 0, 1, " two three"]]


def test_text_that_came_with_its_part_in_one_batch_is_shown_once() -> None:
    writer = Writer()
    writer.rows(row())
    writer.feed(*text_chunks("one two three", size=2))
    assert writer.screen.html() == {"m1": {"text-0": "<p>one two three</p>"}}


def test_parts_of_a_message_without_a_row_make_one() -> None:
    """Over Socket.IO the reply has no row while it is written."""
    writer = Writer("streaming")
    writer.rows(row("u", "USER", content="hi", status="complete"))
    writer.feed(*text_chunks("hello"))
    assert list(writer.screen.messages) == ["u", "streaming"]
    writer.rows(
        row("u", "USER", content="hi", status="complete"),
        row("v", "USER", content="again", status="complete"),
    )
    assert list(writer.screen.messages) == ["u", "v", "streaming"]
    writer.transcript.drop_live()
    writer.flush()
    assert list(writer.screen.messages) == ["u", "v"]


def test_a_tool_call_goes_through_its_states() -> None:
    writer = Writer()
    writer.rows(row())
    states = []
    for chunk in tool_chunks("c", "search", '{"q": 1}', "{}"):
        writer.feed(chunk)
        writer.clock.now += 0.5
        states.append(writer.screen.messages["m1"]["c"]["state"])
    assert list(dict.fromkeys(states)) == ["writing", "running", "done"]
    assert writer.screen.messages["m1"]["c"]["seconds"] == 0.5
    assert writer.screen.messages["m1"]["c-result"] == {
        "type": "tool-result",
        "call": "c",
        "tool": "search",
        "isError": False,
    }


def test_arguments_grow_as_text_and_are_formatted_when_complete() -> None:
    writer = Writer()
    writer.rows(row())
    chunks = tool_chunks("c", "search", '{"q":1}', "{}")
    writer.feed(*chunks[:4])
    assert writer.screen.html()["m1"]["c"] == '<pre class="kit-plain">{&quot;q</pre>'
    writer.feed(*chunks[4:])
    assert "kit-code" in writer.screen.html()["m1"]["c"]


def test_the_time_of_reasoning_is_taken_if_its_start_was_seen() -> None:
    writer = Writer()
    writer.rows(row())
    chunks = text_chunks("hm", part_id="reasoning-0", kind="reasoning")
    writer.feed(*chunks[:-1])
    writer.clock.now += 2.25
    writer.feed(chunks[-1])
    attributes = writer.screen.messages["m1"]["reasoning-0"]
    assert attributes == {"type": "reasoning", "state": "done", "seconds": 2.2}
    late = Writer()
    late.rows(row())
    late.feed(*chunks)
    assert "seconds" not in late.screen.messages["m1"]["reasoning-0"]


def test_a_late_viewer_is_shown_all_live_parts() -> None:
    writer = Writer()
    writer.fold = PartsFold(REPLY)
    writer.rows(row())
    writer.transcript.show_live("m1", writer.fold.snapshot())
    writer.flush()
    assert list(writer.screen.messages["m1"]) == writer.fold.order


def test_parts_of_another_message_replace_the_live_ones() -> None:
    writer = Writer("streaming")
    writer.feed(*text_chunks("one"))
    writer.key, writer.fold = "m2", PartsFold()
    writer.rows(row("m2"))
    writer.feed(*text_chunks("two"))
    assert writer.screen.html() == {"m2": {"text-0": "<p>two</p>"}}


def test_a_faulty_producer_that_writes_on_is_shown_what_it_wrote() -> None:
    writer = Writer()
    writer.rows(row())
    writer.feed(*tool_chunks("c", "search", "[1]", "{}"))
    writer.feed(
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": ", 2]"}
    )
    assert "[1], 2]" in writer.screen.html()["m1"]["c"]


# --- the end of a reply --------------------------------------------------------------


def test_when_the_row_turns_final_nothing_on_the_screen_changes() -> None:
    writer = Writer()
    writer.rows(row())
    for chunk in REPLY:
        writer.feed(chunk)
    before = writer.screen.html()
    ops = writer.rows(row(status="complete", parts=writer.fold.snapshot()))
    writer.transcript.drop_live()
    assert names(ops) == ["message"]
    assert writer.flush() == []
    assert writer.screen.html() == before


def test_a_final_row_that_says_something_else_wins() -> None:
    writer = Writer()
    writer.rows(row())
    writer.feed(*text_chunks("live"))
    parts = [{"id": "text-0", "type": "text", "text": "stored", "state": "done"}]
    writer.rows(row(status="complete", parts=parts))
    assert writer.screen.html() == {"m1": {"text-0": "<p>stored</p>"}}


def test_what_was_open_when_a_reply_was_stopped_is_ended() -> None:
    writer = Writer()
    writer.rows(row())
    writer.feed(*text_chunks("let me", kind="reasoning", part_id="reasoning-0")[:-1])
    writer.feed(*tool_chunks("c", "search", '{"q', "")[:-2])
    writer.rows(row(status="stopped", parts=writer.fold.snapshot()))
    assert writer.screen.messages["m1"]["reasoning-0"]["state"] == "done"
    assert writer.screen.messages["m1"]["c"]["state"] == "unanswered"


def test_live_parts_that_come_after_the_end_are_not_shown() -> None:
    writer = Writer()
    writer.rows(row(status="complete", content="final"))
    assert writer.feed(*text_chunks("late")) == []
    assert writer.feed(*text_chunks("later", part_id="text-1")) == []


def test_an_error_of_a_row_without_an_error_part_is_shown() -> None:
    writer = Writer()
    writer.rows(row(status="failed", content="so far", error="provider: gone"))
    assert list(writer.screen.messages["m1"]) == ["content", "message-error"]
    assert "provider: gone" in writer.screen.html()["m1"]["message-error"]


# --- messages ------------------------------------------------------------------------


def test_messages_that_are_the_same_cost_nothing() -> None:
    writer = Writer()
    rows = [row(str(n), status="complete", content="x") for n in range(5)]
    writer.rows(*rows)
    assert writer.rows(*[dict(each) for each in rows]) == []
    assert names(writer.rows(*rows, row("new"))) == ["message"]


def test_messages_go_and_change_places() -> None:
    writer = Writer()
    a, b, c = (row(name, status="complete", content=name) for name in "abc")
    writer.rows(a, b, c)
    writer.rows(c, a)
    assert list(writer.screen.messages) == ["c", "a"]
    writer.rows(b, c, a)
    assert list(writer.screen.messages) == ["b", "c", "a"]
    assert list(writer.transcript.messages) == ["b", "c", "a"]


def test_attributes_of_a_message_are_told() -> None:
    writer = Writer()
    writer.rows(
        row(status="complete", llmModel="claude", usage={"completionTokens": 12.0})
    )
    assert writer.screen.attributes["m1"] == {
        "role": "assistant",
        "status": "complete",
        "model": "claude",
        "tokens": 12,
    }
    writer.rows(row(role="USER", status="complete", llmModel="claude"))
    assert writer.screen.attributes["m1"] == {"role": "user", "status": "complete"}


def test_the_source_of_a_message_is_its_markdown() -> None:
    writer = Writer()
    writer.rows(row())
    for chunk in REPLY:
        writer.feed(chunk)
    source = writer.transcript.messages["m1"].source()
    assert source == "First,\n\n- a\n- b\n\n# Done\n\n```py\nx = 1\n```\n\ncut <off>"


# --- whatever happens ----------------------------------------------------------------

EVENTS = st.sampled_from(
    ["feed", "feed", "feed", "flush", "end", "drop", "late", "rows"]
)


@given(st.lists(EVENTS, max_size=40), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_the_screen_shows_what_the_snapshot_says(events: list[str], batch: int) -> None:
    writer = Writer()
    reply = list(REPLY)
    user = row("u", "USER", content="hi", status="complete")
    rows = [user, row()]
    writer.transcript.show_messages(rows)
    for event in events:
        match event:
            case "feed":
                writer.take(*reply[:batch])
                reply = reply[batch:]
            case "flush":
                writer.flush()
            case "end":
                final = row(status="complete", parts=writer.fold.snapshot())
                rows = [user, final]
                writer.transcript.show_messages(rows)
            case "drop":
                writer.transcript.drop_live()
            case "late":
                writer.transcript.show_live("m1", writer.fold.snapshot())
            case _:
                writer.transcript.show_messages([*rows, row("x", status="failed")])
                writer.transcript.show_messages(rows)
    writer.flush()
    snapshot = {
        message["key"]: {
            part["key"]: compact("".join(part["blocks"])) for part in message["parts"]
        }
        for message in writer.transcript.snapshot()
    }
    assert snapshot == writer.screen.html()
    assert list(snapshot) == list(writer.screen.messages)


@pytest.mark.parametrize("length", [1_000, 50_000])
def test_a_flush_costs_the_same_however_long_the_reply_is(length: int) -> None:
    writer = Writer()
    writer.rows(row())
    writer.feed(*text_chunks("word " * (length // 5), size=500)[:-1])
    ops = writer.feed({"type": "text-delta", "id": "text-0", "delta": "more"})
    assert sum(len(str(op)) for op in ops) < 3_000
