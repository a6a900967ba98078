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
    ) -> Status:
        messages: list[dict[str, Any]] = [
            {"_id": str(number), "role": role, "status": status}
            for number, (role, status) in enumerate(rows)
        ]
        return self.turn.read(
            messages=messages,
            is_streaming=streaming,
            has_live_parts=parts,
            connection=connection,
        )


USER = ("USER", "complete")


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
    assert status.text() == "Done · 1.8 s · first part after 0.75 s"


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
