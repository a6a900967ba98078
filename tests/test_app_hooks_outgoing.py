"""Ids of messages on their way: what may have arrived keeps its own."""

from __future__ import annotations

from kit.app.hooks.outgoing import MessageIds, SentMessages


def test_a_message_of_which_nobody_knows_keeps_its_id() -> None:
    ids = MessageIds()
    first = ids.id_for("Hi", None)
    assert ids.id_for("Hi", None) == first
    assert ids.id_for("Bye", None) != first
    assert ids.id_for("Hi", None) != first, "only the last one is remembered"


def test_after_it_has_arrived_the_same_text_is_another_message() -> None:
    ids = MessageIds()
    first = ids.id_for("Hi", None)
    ids.arrived(first)
    second = ids.id_for("Hi", None)
    assert second != first
    ids.arrived("another")
    assert ids.id_for("Hi", None) == second
    ids.seen([{"_id": "m0"}, {"_id": "m1", "clientMessageId": second}])
    assert ids.id_for("Hi", None) != second


def test_an_id_that_is_given_is_used() -> None:
    ids = MessageIds()
    assert ids.id_for("Hi", "mine") == "mine"
    assert ids.id_for("Hi", None) == "mine"


def test_what_is_sent_shows_after_the_messages_until_it_is_seen() -> None:
    sent = SentMessages("t1")
    first = sent.begin("Hi", None, [{"sequence": 4.0}])
    (row,) = sent.rows
    assert (row["content"], row["role"], row["sequence"]) == ("Hi", "USER", 5.0)
    assert (row["_id"], row["taskId"], row["status"]) == (first, "t1", "complete")
    sent.arrived(first)
    second = sent.begin("And?", None, [row])
    assert [row["sequence"] for row in sent.rows] == [5.0, 6.0]
    sent.seen([{"clientMessageId": first}, {"_id": "m1"}])
    assert [row["_id"] for row in sent.rows] == [second]


def test_what_is_sent_again_shows_once() -> None:
    sent = SentMessages("t1")
    first = sent.begin("Hi", None, [])
    assert sent.begin("Hi", None, sent.rows) == first
    assert len(sent.rows) == 1
    sent.fail(first)
    assert sent.rows == []
    assert sent.begin("Hi", None, []) == first


def test_what_shows_already_is_not_shown_twice() -> None:
    sent = SentMessages("t1")
    row = {"_id": "m1", "clientMessageId": "c1", "sequence": 1.0}
    assert sent.begin("Hi", "c1", [row]) == "c1"
    assert sent.rows == []


def test_what_the_server_had_is_doubtful_when_the_connection_is_lost() -> None:
    sent = SentMessages("t1")
    first = sent.begin("Hi", None, [])
    sent.arrived(first)
    assert sent.doubtful == []
    sent.lose_connection()
    second = sent.begin("And?", None, [])
    (row,) = sent.doubtful
    assert row["_id"] == first
    sent.give_up(row)
    assert [row["_id"] for row in sent.rows] == [second]
    assert sent.begin("Hi", None, []) == first
    assert sent.doubtful == [], "it is on its way over another connection"
