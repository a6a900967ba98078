"""Producer runs: faults of the network strike, nothing is lost, a bad store is seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.drill import producer
from kit.drill.checking import check
from kit.drill.history import RunSeen
from kit.drill.producer import carry_out_producer
from kit.drill.schedule import Fault, FaultKind, Plan, ReplyPlan, ViewerPlan

pytestmark = pytest.mark.timeout(20)


def plan_of(*kinds: FaultKind) -> Plan:
    faults = [
        Fault(kind, at=0.1 + 0.1 * number, seconds=0.01)
        for number, kind in enumerate(kinds)
    ]
    viewers = (ViewerPlan("log", 0), ViewerPlan("log", 0))
    return Plan(5, "producer", (ReplyPlan("", 120),), viewers, tuple(faults))


def violations(run: RunSeen) -> list[str]:
    return [f"{found.invariant}: {found.what}" for found in check(run, "sk-")]


def status(run: RunSeen) -> str:
    return str(run.rows[1]["status"])


@pytest.mark.parametrize(
    "kind",
    [
        "lose-call",
        "lose-ack",
        "delay-ack",
        "repeat-call",
        "late-repeat",
        "early-append",
        "stale-producer",
    ],
)
async def test_a_fault_of_the_network_costs_nothing(
    tmp_path: Path, kind: FaultKind
) -> None:
    run = await carry_out_producer(plan_of(kind, kind, kind), tmp_path)
    assert violations(run) == []
    assert any(seen.struck for seen in run.faults)
    assert status(run) == "complete"


async def test_a_dead_producers_reply_keeps_its_text_and_fails(tmp_path: Path) -> None:
    plan = plan_of("lose-ack", "delay-ack", "repeat-call", "dead-producer")
    run = await carry_out_producer(plan, tmp_path)
    assert violations(run) == []
    assert status(run) == "failed"
    assert run.rows[1]["parts"][-1]["kind"] == "interrupted"


async def test_a_stop_amid_faults_keeps_what_was_accepted(tmp_path: Path) -> None:
    run = await carry_out_producer(plan_of("lose-ack", "late-join", "stop"), tmp_path)
    assert violations(run) == []
    assert status(run) == "stopped"
    assert len(run.viewers) == 3


async def test_a_store_that_takes_repeats_for_news_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(producer._Store):
        def call(self, path: str, args: Mapping[str, Any]) -> Any:
            if path == "streaming:append":
                known = {"streamId": args["streamId"], "epoch": args["epoch"]}
                answer = super().call("streaming:heartbeat", known)
                args = {**args, "seq": answer["nextSeq"]}
            return super().call(path, args)

    monkeypatch.setattr(producer, "_Store", Forgetful)
    run = await carry_out_producer(plan_of("repeat-call", "lose-ack"), tmp_path)
    assert any("what was said" in found for found in violations(run))


async def test_a_store_that_forgets_an_append_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(producer._Store):
        def call(self, path: str, args: Mapping[str, Any]) -> Any:
            if path == "streaming:append" and args["seq"] == 3:
                args = {**args, "chunks": []}
            return super().call(path, args)

    monkeypatch.setattr(producer, "_Store", Careless)
    run = await carry_out_producer(plan_of("delay-ack"), tmp_path)
    assert any("what was said" in found for found in violations(run))


async def test_the_same_plan_gives_the_same_reply(tmp_path: Path) -> None:
    plan = plan_of("lose-ack", "late-repeat")
    first = await carry_out_producer(plan, tmp_path / "first")
    second = await carry_out_producer(plan, tmp_path / "second")
    assert first.rows[1]["content"] == second.rows[1]["content"]
    assert first.replies[0].spoken == second.replies[0].spoken
