"""What a bench measures."""

import pytest

from kit.bench.load import Load
from kit.bench.plan import FULL, QUICK, Plan, loads


def test_loads_are_all_combinations() -> None:
    found = loads(paces=[20, 0], concurrent=[1, 10], lengths=[100], viewers=[2])
    assert found == [
        Load(100, pace, streams, 2) for streams in (1, 10) for pace in (20, 0)
    ]


@pytest.mark.parametrize("plan", [QUICK, FULL], ids=["quick", "full"])
def test_the_first_load_is_the_one_that_most_targets_rest_on(plan: Plan) -> None:
    first = plan.loads[0]
    assert (first.pace, first.streams, first.viewers, first.delay) == (50.0, 1, 1, 0.0)
    assert plan.rounds > 1
    assert len(set(plan.loads)) == len(plan.loads)


def test_a_full_run_has_every_pace_length_and_crowd() -> None:
    assert {load.pace for load in FULL.loads} == {0.0, 20.0, 50.0, 100.0}
    assert {load.tokens for load in FULL.loads} == {200, 2_000, 20_000}
    assert {load.streams for load in FULL.loads} == {1, 10, 50, 200}
    assert {load.viewers for load in FULL.loads} == {1, 10, 100}
    assert set(FULL.byte_lengths) == {200, 2_000, 20_000}
    assert set(FULL.histories) == {10, 10_000}
    assert max(FULL.append_counts) == 100_000
