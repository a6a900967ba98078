"""Appends timed in stores that have grown."""

import pytest

from kit.bench import append_cost
from kit.bench.append_cost import GROWTH, append_costs
from kit.convex._log import MAX_LOG_DELTAS


def test_each_respect_in_which_a_store_can_grow_is_timed() -> None:
    base, *grown = append_costs(count=60, appends=40)
    assert (base.what, base.count, base.ratio) == ("ten of everything", 10, 1.0)
    assert [cost.what for cost in grown] == list(GROWTH)
    assert {cost.count for cost in grown} == {60}
    for cost in grown:
        assert cost.microseconds > 0
        assert cost.ratio == cost.microseconds / base.microseconds


def test_a_reply_grows_no_longer_than_a_stream_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert append_cost.LONGEST_REPLY < MAX_LOG_DELTAS
    monkeypatch.setattr(append_cost, "LONGEST_REPLY", 100)
    found = {cost.what: cost.count for cost in append_costs(count=500, appends=40)}
    assert found["appends to this reply"] == 60
    assert found["other tasks"] == 500
