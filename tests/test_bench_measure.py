"""A plan carried out, and broken off."""

import asyncio
from pathlib import Path

import psutil
import pytest

from kit.bench.load import Load
from kit.bench.measure import Measurement
from kit.bench.plan import Plan
from kit.bench.tables import tables
from kit.bench.ways.socket_io import BareSocket
from kit.errors import StackError

SMALL = Plan(
    loads=[Load(20, 100.0), Load(20, 0.0, streams=2)],
    rounds=2,
    ways=("bare", "guide", "kit"),
    longest_guide=25,
    byte_lengths=(20, 30),
    absence=Load(200, 60.0),
    absence_seconds=0.2,
    histories=(4,),
    intervals_ms=(50.0,),
)


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.timeout(180)
async def test_all_of_a_plan_is_measured_the_ways_in_turn(tmp_path: Path) -> None:
    before = processes()
    begun: list[str] = []
    measurement = Measurement(SMALL, tmp_path)
    found = await measurement.run(begun.append)
    assert processes() == before

    assert begun[1:] == [step.title for step in measurement.steps]
    assert begun[1:7] == [
        f"20 tokens, 100/s: {way}" for _ in range(2) for way in SMALL.ways
    ]
    assert [title for title, _ in found.steps] == begun[1:]
    assert [(f.way, f.load.streams) for f in found.streams] == [
        (way, streams) for streams in (1, 2) for way in SMALL.ways
    ]
    assert all(f.lost == 0 for f in found.streams)
    kit = found.streams[2]
    assert kit.latency is not None
    assert kit.latency.count == 2 * 20

    # A reply that is too long for the guide's way is left out of it, and of no other.
    assert [(f.load.tokens, f.way) for f in found.bytes] == [
        *((20, "bare"), (20, "guide"), (20, "kit")),
        *((20, "guide-text"), (20, "kit-billed")),
        *((30, "bare"), (30, "kit"), (30, "kit-billed")),
    ]
    assert [(w.tokens, w.way) for w in found.written] == [
        *((20, "guide"), (20, "kit"), (20, "guide-text"), (20, "kit-billed")),
        *((30, "kit"), (30, "kit-billed")),
    ]
    appends = {written.way: written.appends for written in found.written}
    assert appends["kit-billed"] < appends["kit"]
    assert [(p.way, p.lost > 0) for p in found.late] == [
        *(("bare", True), ("guide", False), ("kit", False))
    ]
    assert [p.way for p in found.away] == list(SMALL.ways)
    assert [f.way for f in found.histories] == ["guide", "kit"]
    (interval,) = found.intervals
    assert 0 < interval.appends_per_token < 1
    assert len(tables(found)) >= 7


@pytest.mark.timeout(120)
async def test_a_plan_that_is_broken_off_leaves_nothing_running(tmp_path: Path) -> None:
    before = processes()
    plan = Plan(loads=[Load(tokens=100_000)], rounds=1, ways=("bare", "kit"))
    streaming = asyncio.Event()

    def on_step(title: str) -> None:
        if title.endswith(": bare"):
            streaming.set()

    running = asyncio.create_task(Measurement(plan, tmp_path).run(on_step))
    await streaming.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert processes() == before


def test_what_a_plan_leaves_out_is_no_step(tmp_path: Path) -> None:
    assert Measurement(Plan(loads=[], rounds=1), tmp_path).steps == []


@pytest.mark.timeout(120)
async def test_a_way_that_gives_up_is_told_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(loads=[Load(10, 0.0)], rounds=1, ways=("bare", "kit"))
    measurement = Measurement(plan, tmp_path)

    async def give_up(*_: object) -> None:
        raise StackError("too much")

    def on_step(title: str) -> None:
        if title.endswith(": bare"):
            monkeypatch.setattr(BareSocket, "ask", give_up)

    found = await measurement.run(on_step)
    assert found.failures == [("10 tokens, as fast as possible: bare", "too much")]
    assert [figure.way for figure in found.streams] == ["kit"]
    assert tables(found)[1].title == "What could not be measured"
