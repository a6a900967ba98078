"""Plans: the same for a seed everywhere, and all faults occur."""

import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest

from kit.drill.schedule import FAULTS, MAX_LOST, Network, Reach, plan
from kit.llm.providers import ProviderName
from kit.llm.scripted.scenario import parse_model

PLANS = [plan(seed) for seed in range(400)]


def test_a_seed_gives_the_same_plan_in_every_process() -> None:
    script = "from kit.drill.schedule import plan; print([plan(n) for n in range(30)])"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == repr(PLANS[:30])


def test_other_seeds_give_other_plans() -> None:
    assert len({repr(one.faults) for one in PLANS}) > 350


def test_every_fault_and_every_reach_occurs() -> None:
    kinds = Counter(fault.kind for one in PLANS for fault in one.faults)
    assert set(kinds) == set(FAULTS)
    assert {one.reach for one in PLANS} == set(get_args(Reach))
    networks = {f.network for one in PLANS for f in one.faults if f.kind == "half-open"}
    assert networks == set(get_args(Network))
    options = {one.option for one in PLANS if one.reach == "application"}
    assert options == {1, 2}


def test_processes_are_killed_where_nobody_else_uses_them() -> None:
    for one in PLANS:
        killed = {f.kind for f in one.faults if f.kind.startswith("kill-")}
        assert bool(killed) <= (one.reach in ("process", "application"))
        assert bool(killed) >= (one.reach == "process")


def test_faults_strike_replies_and_clients_that_exist() -> None:
    for one in PLANS:
        assert all(0 <= fault.reply < len(one.replies) for fault in one.faults)
        assert all(0.0 <= fault.at <= 1.0 for fault in one.faults)
        assert {viewer.client for viewer in one.viewers} <= {0, 1}
        assert one.viewers[0].kind == "log"


def test_no_more_calls_are_lost_than_a_lease_outlives() -> None:
    for one in PLANS:
        lost = sum(fault.kind.startswith("lose-") for fault in one.faults)
        assert lost <= MAX_LOST


@pytest.mark.parametrize("prefix", ["claude-", "gpt-", "openai/"])
def test_the_provider_knows_the_models(prefix: str) -> None:
    models = {
        reply.model
        for one in PLANS
        for reply in one.replies
        if reply.model.startswith(prefix)
    }
    assert models
    for model in models:
        assert parse_model("openrouter" if "/" in model else _home(prefix), model)


def _home(prefix: str) -> ProviderName:
    return "anthropic" if prefix == "claude-" else "openai"
