"""The live reply as a client of Socket.IO can know it."""

from typing import Any

from kit.app.hooks.socket_reply import SocketReply
from kit.app.hooks.source import PartsChanged, PartsReset, StateChanged
from kit.parts import PartChange

COMPLETE = {"type": "complete", "finishReason": "stop"}


def text(content: str) -> dict[str, Any]:
    return {"type": "content", "content": content}


def grown(kind: Any, added: str = "") -> PartsChanged:
    return PartsChanged("streaming", [PartChange("text-0", kind, added)])


def test_the_first_part_makes_it_stream() -> None:
    reply = SocketReply()
    assert reply.take({"type": "usage", "usage": {}}) == []
    assert not reply.is_shown
    assert reply.take(text("a")) == [StateChanged(), grown("added")]
    assert reply.take(text("b")) == [grown("appended", "b")]
    assert reply.is_streaming
    assert reply.live.text() == "ab"


def test_what_comes_after_a_gap_is_appended() -> None:
    reply = SocketReply()
    reply.take(text("one "))
    assert reply.pause() == [StateChanged()]
    assert reply.is_shown
    assert reply.take(text("three")) == [StateChanged(), grown("appended", "three")]
    assert reply.live.text() == "one three"


def test_its_last_chunk_leaves_its_parts() -> None:
    reply = SocketReply()
    reply.take(text("a"))
    assert reply.take(COMPLETE) == [grown("updated")]
    assert reply.end() == [StateChanged()]
    assert reply.live.text() == "a"
    assert reply.is_shown


def test_a_chunk_after_the_last_one_begins_another_reply() -> None:
    reply = SocketReply()
    reply.take(text("old"))
    reply.take(COMPLETE)
    reply.end()
    changes = reply.take(text("new"))
    assert changes == [PartsReset(), StateChanged(), grown("added")]
    assert reply.live.text() == "new"


def test_usage_after_the_last_chunk_begins_nothing() -> None:
    reply = SocketReply()
    reply.take(text("old"))
    reply.take({"type": "error", "error": "cut off", "finishReason": "error"})
    assert reply.take({"type": "usage", "usage": {}}) == []
    assert reply.take(COMPLETE) == []
    assert reply.live.order == ["text-0", "error-0"]


def test_a_stop_counts_for_one_reply() -> None:
    """Also when that reply came by another way, and nothing of it was seen here."""
    reply = SocketReply()
    reply.stop()
    reply.expect_another()
    reply.take({"type": "content", "content": "Hello"})
    assert reply.is_streaming


def test_a_stopped_reply_does_not_stream_again() -> None:
    reply = SocketReply()
    reply.take(text("a"))
    assert reply.stop() == [StateChanged()]
    assert reply.take(text("b")) == [grown("appended", "b")]
    assert not reply.is_streaming


def test_dropping_forgets_parts_and_counts() -> None:
    reply = SocketReply()
    assert reply.drop() == []
    reply.take(text("a"))
    assert reply.drop() == [PartsReset(), StateChanged()]
    assert not reply.is_shown
    reply.take(text("b"))
    assert reply.live.order == ["text-0"]


def test_the_server_may_give_all_chunks_so_far() -> None:
    reply = SocketReply()
    reply.take(text("lost"))
    assert reply.restore([text("a"), text("b")], True) == [PartsReset(), StateChanged()]
    assert reply.live.text() == "ab"
    assert reply.is_streaming
