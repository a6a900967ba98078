"""Live parts: at most one change per part and batch, and never its text twice."""

from kit.app.hooks.live_parts import LiveParts
from kit.parts import Chunk, PartChange

START: Chunk = {"type": "text-start", "id": "text-0"}
END: Chunk = {"type": "text-end", "id": "text-0"}


def delta(text: str) -> Chunk:
    return {"type": "text-delta", "id": "text-0", "delta": text}


def test_a_part_that_appears_with_text_is_only_to_be_read() -> None:
    live = LiveParts("m1")
    assert live.apply([START, delta("Hel"), delta("lo")]) == [
        PartChange("text-0", "added")
    ]
    assert live.parts["text-0"] == {
        "id": "text-0",
        "type": "text",
        "text": "Hello",
        "state": "streaming",
    }


def test_deltas_of_one_batch_are_one_change() -> None:
    live = LiveParts()
    live.apply([START])
    changes = live.apply([delta("a"), delta("b")])
    assert changes == [PartChange("text-0", "appended", "ab")]


def test_a_part_that_grows_and_ends_is_to_be_read_anew() -> None:
    live = LiveParts()
    live.apply([START])
    assert live.apply([delta("a"), END]) == [PartChange("text-0", "updated")]


def test_a_delta_without_a_start_adds_the_part() -> None:
    live = LiveParts()
    assert live.apply([delta("late")]) == [PartChange("text-0", "added")]
    assert live.text() == "late"


def test_changes_come_in_the_order_of_their_parts() -> None:
    live = LiveParts()
    other: Chunk = {"type": "reasoning-delta", "id": "reasoning-0", "delta": "hm"}
    changes = live.apply([other, START, delta("x"), {"type": "start-step"}])
    assert [change.part_id for change in changes] == ["reasoning-0", "text-0"]
    assert live.order == list(live.parts) == ["reasoning-0", "text-0"]
    assert len(live.parts) == 2
    assert "text-1" not in live.parts


def test_the_mapping_follows_the_parts() -> None:
    live = LiveParts()
    parts = live.parts
    live.apply([START, delta("now")])
    assert repr(parts) == repr({"text-0": parts["text-0"]})
