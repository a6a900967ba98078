"""The status line: the state in one word, and the times of a turn."""

from typing import Any

import pytest

from kit.widget.status import Status, Turn


class Watch:
    """A turn, a clock that is set by hand, and what the source says by default."""

    def __init__(self) -> None:
        self.now = 50.0
        self.turn = Turn(lambda: self.now)

    def read(
        self,
        *rows: tuple[str, str],
        streaming: bool = False,
        parts: bool = False,
        connection: str = "connected",
        written: int = 0,
        usage: dict[str, float] | None = None,
    ) -> Status:
        messages: list[dict[str, Any]] = [
            {"_id": str(number), "role": role, "status": status}
            for number, (role, status) in enumerate(rows)
        ]
        if usage is not None:
            messages[-1]["usage"] = usage
        return self.turn.read(
            messages=messages,
            is_streaming=streaming,
            has_live_parts=parts,
            connection=connection,
            written=written,
        )


USER = ("USER", "complete")
ANSWER = ("ASSISTANT", "complete")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("complete", "done"),
        ("stopped", "stopped"),
        ("failed", "failed"),
        ("stopping", "stopping"),
        ("streaming", "stopped"),  # stored so, but nobody writes it
        ("something new", "done"),
    ],
)
def test_the_last_message_tells_the_state(status: str, state: str) -> None:
    assert Watch().read(USER, ("ASSISTANT", status)).state == state


def test_without_messages_it_is_ready() -> None:
    status = Watch().read()
    assert (status.state, status.label, status.text()) == ("idle", "Ready", "Ready")


@pytest.mark.parametrize(
    ("connection", "state", "label"),
    [
        ("connecting", "connecting", "Connecting…"),
        ("reconnecting", "reconnecting", "Reconnecting…"),
        ("disconnected", "reconnecting", "Disconnected"),
        ("closed", "streaming", "Streaming"),
    ],
)
def test_a_lost_connection_is_shown_first(
    connection: str, state: str, label: str
) -> None:
    watch = Watch()
    status = watch.read(USER, streaming=True, connection=connection)
    assert (status.state, status.label) == (state, label)
    assert status.active
    assert status.can_stop


def test_a_turn_has_its_times() -> None:
    watch = Watch()
    watch.read()
    watch.read(USER)  # asked now
    watch.now += 0.5
    status = watch.read(USER, streaming=True)
    assert (status.first, status.elapsed) == (None, 0.5)
    watch.now += 0.25
    watch.read(USER, streaming=True, parts=True)
    watch.now += 1.0
    status = watch.read(USER, ("ASSISTANT", "complete"))
    watch.now += 9.0
    status = watch.read(USER, ("ASSISTANT", "complete"))
    assert (status.first, status.elapsed) == (0.75, 1.75)
    assert status.text() == "Done · 1.8 s · first part 0.75 s"


def test_the_next_turn_begins_at_nought() -> None:
    watch = Watch()
    for _ in range(2):
        watch.read(USER, streaming=True)
        watch.now += 2.0
        status = watch.read(USER, ("ASSISTANT", "complete"))
        watch.now += 3.0
    assert status.elapsed == 2.0


def test_a_turn_that_began_before_anybody_looked_has_no_times() -> None:
    watch = Watch()
    watch.read(USER, ("ASSISTANT", "streaming"), streaming=True, parts=True)
    watch.now += 1.0
    status = watch.read(USER, ("ASSISTANT", "complete"))
    assert (status.first, status.elapsed) == (None, None)


def test_a_question_from_before_has_no_time() -> None:
    watch = Watch()
    watch.read(USER)
    watch.now += 3600.0
    assert watch.read(USER).label == "Ready"
    assert watch.read(USER, streaming=True).elapsed == 0.0


def test_a_question_that_was_just_sent_is_said_to_be() -> None:
    watch = Watch()
    watch.read()
    assert watch.read(USER).label == "Sent"


def test_the_times_count_from_sending_where_that_is_known() -> None:
    watch = Watch()
    watch.read()
    watch.turn.sending()
    assert watch.read().label == "Sending…"
    watch.now += 0.5
    assert watch.read(USER).label == "Sent"
    watch.now += 0.25
    watch.read(USER, streaming=True)
    status = watch.read(USER, streaming=True, parts=True)
    assert (status.first, status.sent_here) == (0.75, True)
    assert "From sending the message in this view" in status.figures()[0].tip


def test_a_reply_may_be_there_together_with_its_question() -> None:
    """As on Convex, where one mutation writes both."""
    watch = Watch()
    watch.read(USER, ANSWER)
    watch.turn.sending()
    status = watch.read(USER, ANSWER)
    assert (status.label, status.figures()) == ("Sending…", [])
    watch.now += 0.5
    status = watch.read(USER, ("ASSISTANT", "streaming"), streaming=True)
    assert (status.elapsed, status.sent_here) == (0.5, True)
    watch.read(USER, ANSWER)
    status = watch.read(USER, ("ASSISTANT", "streaming"), streaming=True)
    assert (status.elapsed, status.sent_here) == (0.0, False)


def test_what_could_not_be_sent_is_no_start() -> None:
    watch = Watch()
    watch.read()
    watch.turn.sending()
    watch.turn.not_sent()
    watch.now += 5.0
    assert watch.read().label == "Ready"
    status = watch.read(USER, streaming=True)
    assert (status.elapsed, status.sent_here) == (0.0, False)


def test_a_reply_that_goes_on_keeps_its_times() -> None:
    watch = Watch()
    watch.read()
    watch.read(USER)
    watch.now += 1.0
    watch.read(USER, streaming=True, parts=True, written=40)
    watch.now += 1.0
    watch.read(USER, parts=True, written=40)  # the connection is lost
    watch.now += 1.0
    status = watch.read(USER, streaming=True, parts=True, written=80)
    assert (status.first, status.elapsed, status.tokens) == (1.0, 3.0, 20)
    assert status.rate == 10.0


def test_tokens_are_estimated_until_the_provider_has_counted_them() -> None:
    watch = Watch()
    watch.read()
    watch.read(USER, streaming=True)
    assert watch.read(USER, streaming=True, parts=True).tokens is None
    watch.now += 2.0
    status = watch.read(USER, streaming=True, parts=True, written=400)
    assert (status.tokens, status.tokens_counted, status.rate) == (100, False, 50.0)
    assert "≈ 100 tokens" in status.text()
    watch.now += 2.0
    status = watch.read(USER, ANSWER, usage={"completionTokens": 120.0})
    assert (status.tokens, status.tokens_counted, status.rate) == (120, True, 30.0)
    watch.now += 60.0
    status = watch.read(USER, ANSWER, usage={"completionTokens": 120.0})
    assert status.rate == 30.0


def test_what_was_never_counted_stays_an_estimate() -> None:
    watch = Watch()
    watch.read(USER, streaming=True)
    watch.read(USER, streaming=True, parts=True, written=40)
    status = watch.read(USER, ("ASSISTANT", "stopped"))
    assert (status.tokens, status.tokens_counted) == (10, False)
    assert status.rate is None  # over no time at all


def test_of_a_reply_that_was_not_seen_from_its_start_there_is_no_rate() -> None:
    watch = Watch()
    watch.read(
        USER, ("ASSISTANT", "streaming"), streaming=True, parts=True, written=4000
    )
    watch.now += 1.0
    status = watch.read(
        USER, ("ASSISTANT", "streaming"), streaming=True, parts=True, written=4400
    )
    assert (status.tokens, status.rate) == (1100, None)


def test_a_finished_conversation_has_no_figures() -> None:
    status = Watch().read(USER, ANSWER, usage={"completionTokens": 5.0})
    assert (status.text(), status.figures()) == ("Done", [])


def test_a_message_that_waits_is_said_to_wait() -> None:
    status = Watch().read(USER, ("ASSISTANT", "queued"))
    assert (status.state, status.label, status.active) == ("queued", "Waiting", False)
    assert Watch().read(("USER", "queued")).state == "queued"


def test_live_parts_that_are_not_stored_yet_are_done() -> None:
    assert Watch().read(USER, parts=True).state == "done"


def test_after_the_stop_button_it_is_stopping_until_the_end() -> None:
    watch = Watch()
    watch.read(USER, streaming=True)
    watch.turn.stop_asked = True
    status = watch.read(USER, streaming=True)
    assert (status.state, status.can_stop) == ("stopping", False)
    assert watch.read(USER, ("ASSISTANT", "stopped")).state == "stopped"
    assert watch.read(USER, streaming=True).state == "streaming"
