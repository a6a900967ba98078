"""When what is new leaves for the views: the pace, the numbers, the snapshots."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from kit.widget.outlet import SNAPSHOT_INTERVAL, Outlet, Timer


class Loop:
    """As much of an event loop as a timer needs, with a clock set by hand."""

    def __init__(self) -> None:
        self.now = 10.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, function: Callable[[], None], *, context: Any
    ) -> asyncio.TimerHandle:
        assert len(context) == 0
        call = (when, function)
        self.calls.append(call)
        loop = self

        class Handle:
            def cancel(self) -> None:
                if call in loop.calls:
                    loop.calls.remove(call)

        return cast(asyncio.TimerHandle, Handle())

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for call in [call for call in self.calls if call[0] <= self.now]:
            self.calls.remove(call)
            call[1]()


def make_timer(interval: float) -> tuple[Timer, Loop, list[float]]:
    loop, ran = Loop(), list[float]()
    event_loop = cast(asyncio.AbstractEventLoop, loop)
    return Timer(lambda: ran.append(loop.now), interval, event_loop), loop, ran


def test_a_timer_runs_at_once_and_then_at_its_pace() -> None:
    timer, loop, ran = make_timer(1 / 30)
    for _ in range(1000):  # for a second, a thousand times
        timer.soon()
        loop.advance(0.001)
    assert ran[0] == 10.001
    assert 25 <= len(ran) <= 31


def test_what_was_done_by_other_means_is_not_done_again() -> None:
    timer, loop, ran = make_timer(1.0)
    timer.soon()
    timer.ran()
    loop.advance(5.0)
    assert ran == []


def test_a_timer_without_a_loop_does_nothing() -> None:
    timer = Timer(lambda: None, 1.0, None)
    timer.soon()
    timer.ran()
    timer.cancel()


class Wire:
    def __init__(self) -> None:
        self.now = 0.0
        self.messages: list[dict[str, Any]] = []
        self.snapshots: list[int] = []
        self.shown = 0
        self.outlet = Outlet(self.messages.append, self.snapshot, lambda: self.now)

    def snapshot(self) -> None:
        self.snapshots.append(self.shown)
        self.outlet.took_snapshot(self.shown)

    def write(self, text: str) -> None:
        self.shown += len(text)
        self.outlet.send([["append", "m", "p", 0, 0, text]])


def test_messages_are_numbered_without_a_gap() -> None:
    wire = Wire()
    for text in "abc":
        wire.write(text)
        wire.outlet.send([])
    assert [message["seq"] for message in wire.messages] == [1, 2, 3]
    assert wire.outlet.seq == 3


def test_snapshots_come_at_most_once_a_second() -> None:
    wire = Wire()
    for _ in range(99):
        wire.now += SNAPSHOT_INTERVAL / 100
        wire.write("x" * 1000)
    assert wire.snapshots == []
    wire.now += SNAPSHOT_INTERVAL / 50
    wire.write("x")
    assert len(wire.snapshots) == 1


def test_all_snapshots_together_are_in_proportion_to_the_text() -> None:
    wire = Wire()
    for _ in range(5_000):
        wire.now += 2.0
        wire.write("x" * 100)
    assert sum(wire.snapshots) < 3 * wire.shown
    assert len(wire.snapshots) < 20


def test_a_snapshot_is_not_sent_twice() -> None:
    wire = Wire()
    wire.write("x")
    wire.outlet.send_snapshot()
    wire.outlet.send_snapshot()
    assert len(wire.snapshots) == 1
