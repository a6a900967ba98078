"""Whether what was measured is where it must be."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from bench_samples import figures, results, written

from kit.bench.adapters import AdapterCost
from kit.bench.append_cost import AppendCost
from kit.bench.load import Load
from kit.bench.results import Results
from kit.bench.targets import NOT_MEASURED, Target, targets

PUSHED = "Bytes pushed per token and viewer, where appends are billed"


def by_name(found: Results) -> dict[str, Target]:
    rows = targets(found)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    return dict(zip(names, rows, strict=True))


def test_what_is_good_meets_all() -> None:
    assert {name for name, row in by_name(results()).items() if not row.met} == set()


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    rows = targets(Results())
    assert len(rows) >= 15
    assert {(row.met, row.measured, row.ratio) for row in rows} == {
        (None, NOT_MEASURED, None)
    }


def worse(change: Callable[[Results], None]) -> set[str]:
    """The targets that are missed after a change for the worse."""
    found = results()
    change(found)
    return {name for name, row in by_name(found).items() if row.met is False}


def set_streams(found: Results, index: int, **changes: float) -> None:
    figure = found.streams[index]
    found.streams[index] = figures(figure.way, figure.load, **changes)


KIT_ALONE, KIT_OF_50, BARE_OF_200, KIT_OF_200 = 3, 7, 8, 11


def test_each_latency_is_held_to_its_own_limit() -> None:
    half = "One reply at 50 tokens/s: half of the tokens seen"
    most = "One reply at 50 tokens/s: 99 % seen"
    assert worse(lambda r: set_streams(r, KIT_ALONE, milliseconds=5.0)) == {half}
    assert worse(lambda r: set_streams(r, KIT_ALONE, milliseconds=25.0)) == {half, most}
    name = "50 replies at 50 tokens/s: 99 % seen"
    assert worse(lambda r: set_streams(r, KIT_OF_50, milliseconds=51.0)) == {name}


def test_a_crowd_may_neither_lose_nor_fall_behind() -> None:
    name = "200 replies at 50 tokens/s"
    assert worse(lambda r: set_streams(r, KIT_OF_200, lost=1)) == {name}
    assert worse(lambda r: set_streams(r, KIT_OF_200, drift=2.5)) == {name}
    assert worse(lambda r: set_streams(r, KIT_OF_200, milliseconds=900.0)) == set()


def test_where_all_fall_behind_the_kit_does_so_more_slowly() -> None:
    def all_late(kit_drift: float) -> Callable[[Results], None]:
        def change(found: Results) -> None:
            set_streams(found, BARE_OF_200, drift=6.0)
            set_streams(found, KIT_OF_200, drift=kit_drift)

        return change

    assert worse(all_late(3.0)) == set()
    assert worse(all_late(3.1)) == {"200 replies at 50 tokens/s"}


def test_the_ratio_is_to_the_rival_of_the_same_load() -> None:
    row = by_name(results())["50 replies at 50 tokens/s: 99 % seen"]
    assert row.ratio == pytest.approx(3.0)
    assert "bare 1 ms" in row.measured


def test_pushed_bytes_are_few_flat_and_fewer_than_the_guides() -> None:
    what = PUSHED

    def push(per_token: float, length: int) -> Callable[[Results], None]:
        def change(found: Results) -> None:
            found.bytes = [
                figures("kit-billed", figure.load, pushed_per_token=per_token)
                if (figure.way, figure.load.tokens) == ("kit-billed", length)
                else figure
                for figure in found.bytes
            ]

        return change

    assert worse(push(53.0, 2_000)) == set()
    assert worse(push(70.0, 200)) == {what}
    assert worse(push(70.0, 2_000)) == {what, f"{what}, by length"}
    assert worse(push(300.0, 2_000)) == {
        *(what, f"{what}, by length", f"{what}, beside the guide's way")
    }


def test_compressed_bytes_have_a_row_of_their_own() -> None:
    name = "The same, compressed as for browsers"

    def change(found: Results) -> None:
        load = Load(9_000, 100.0, count_bytes=True)
        found.bytes.append(figures("kit-billed", load, deflated_per_token=51.0))

    assert worse(change) == {name}
    assert by_name(results())[name].measured == "9, the text included"


def test_a_short_reply_does_not_settle_what_is_asked_of_a_long_one() -> None:
    found = results()
    found.bytes = [figure for figure in found.bytes if figure.load.tokens == 200]
    row = by_name(found)[f"{PUSHED}, beside the guide's way"]
    assert row.met is None
    assert "at 200 tokens" in row.measured


def test_written_bytes_are_held_to_the_same() -> None:
    what = "Bytes of documents written per token, where appends are billed"

    def change(found: Results) -> None:
        found.written = [written("kit-billed", n, n / 10) for n in (400, 2_000)]
        found.written.append(written("guide", 2_000, 9_000))

    assert worse(change) == {
        *(what, f"{what}, by length", f"{what}, beside the guide's way")
    }


def test_the_append_with_the_most_of_a_thing_decides() -> None:
    def change(found: Results) -> None:
        found.append_costs += [
            AppendCost("messages in this task", 1_000, 400.0, 2.0),
            AppendCost("messages in this task", 100_000, 210.0, 1.05),
            AppendCost("subscriptions to other tasks", 100_000, 230.0, 1.15),
        ]

    name = "Time of one append, by subscriptions to other tasks"
    assert worse(change) == {name}


def test_each_of_the_rest_can_be_missed() -> None:
    def change(found: Results) -> None:
        assert found.deployment is not None
        found.fan_out = [replace(found.fan_out[0], executions=8_000)]
        found.deployment = replace(
            found.deployment, mutations_per_second=2999.0, ready_seconds=0.6, idle_mb=81
        )
        found.import_seconds = 0.4
        found.adapters = [AdapterCost("responses", 100.0, 121.0)]

    assert worse(change) == {
        "Many viewers of one reply",
        "Small durable mutations over 8 connections",
        "Deployment ready",
        "Deployment idle",
        "import kit",
        "Adapter, responses",
    }


def test_a_load_with_a_delay_does_not_stand_for_one_without() -> None:
    found = results()
    found.streams = [figures(way, Load(delay=0.1)) for way in ("bare", "kit")]
    assert by_name(found)["One reply at 50 tokens/s: 99 % seen"].met is None
