"""Figures from runs."""

import pytest

from kit.bench.figures import figures_of
from kit.bench.load import Load, Run, Seen
from kit.bench.relay import Traffic
from kit.bench.seen import ProviderReply, ViewerLog
from kit.bench.usage import Usage

TOKENS = ["ab", "cd", "ef", "gh"]


def viewer(*delays: float, begins: float = 100.0) -> ViewerLog:
    log = ViewerLog()
    for number, (token, delay) in enumerate(zip(TOKENS, delays, strict=False)):
        log.grew(token, begins + number + delay)
    return log


def run(way: str, load: Load, *logs: ViewerLog, **more: object) -> Run:
    reply = ProviderReply(TOKENS, [100.0, 101.0, 102.0, 103.0])
    usage = {"server": Usage(0.004, 50.0, 800)}
    fields = {"usage": usage, "seconds": 4.0, **more}
    return Run(way, load, [Seen(99.5, reply, logs, True)], **fields)  # type: ignore[arg-type]


def test_one_for_each_load_and_way_in_the_order_of_the_runs() -> None:
    one, other = Load(), Load(streams=2)
    log = viewer(0.1, 0.1, 0.1, 0.1)
    runs = [run(way, load, log) for load in (one, other) for way in ("kit", "bare")]
    found = figures_of([*runs, run("kit", one, log)])
    assert [(f.way, f.load) for f in found] == [
        *(("kit", one), ("bare", one), ("kit", other), ("bare", other))
    ]
    assert found[0].latency is not None
    assert found[0].latency.count == 8  # of two runs


def test_latencies_of_all_viewers_and_of_first_tokens() -> None:
    logs = viewer(0.1, 0.2, 0.3, 0.4), viewer(0.3, 0.3, 0.3, 0.3)
    (found,) = figures_of([run("kit", Load(viewers=2), *logs)])
    assert found.latency is not None
    assert found.first is not None
    assert found.from_ask is not None
    assert found.latency.count == 8
    assert found.latency.max == pytest.approx(400)
    assert found.first.max == pytest.approx(300)
    assert found.from_ask.p50 == pytest.approx(600)
    assert found.drift == pytest.approx(2.5)  # 4 x and 1 x
    assert found.tokens_per_second == pytest.approx(4 / (103.4 - 99.5))
    assert found.lost == 0
    assert found.bytes_per_token == 2


def test_what_a_viewer_never_had_is_lost() -> None:
    (found,) = figures_of([run("bare", Load(), viewer(0.1, 0.1))])
    assert found.lost == 4
    stored = viewer(0.1, 0.1)
    stored.ended("abcdefgh", 105.0)
    (found,) = figures_of([run("sql", Load(), stored)])
    assert found.lost == 0


def test_a_viewer_that_saw_nothing_has_no_latency() -> None:
    (found,) = figures_of([run("bare", Load(), ViewerLog())])
    assert (found.latency, found.first, found.from_ask) == (None, None, None)
    assert found.lost == 8


def test_bytes_are_per_token_and_viewer() -> None:
    logs = [viewer(0.1, 0.1, 0.1, 0.1) for _ in range(2)]
    load = Load(viewers=2, count_bytes=True)
    counted = run("kit", load, *logs, traffic=Traffic(800, 100, 16, 160))
    (found,) = figures_of([counted])
    assert found.pushed_per_token == 100
    assert found.beyond_text == 98
    assert found.messages_per_token == 2
    assert found.deflated_per_token == 20
    (found,) = figures_of([run("kit", Load(), *logs)])
    assert (found.pushed_per_token, found.beyond_text) == (None, None)


def test_costs_are_per_token_of_all_runs() -> None:
    log = viewer(0.1, 0.1, 0.1, 0.1)
    second = run("kit", Load(), log, usage={"server": Usage(0.002, 70.0, None)})
    (found,) = figures_of([run("kit", Load(), log), second])
    cost = found.costs["server"]
    assert cost.cpu_ms_per_1000_tokens == pytest.approx(750)
    assert cost.peak_mb == 70
    assert cost.written_per_token == 100
