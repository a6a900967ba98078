"""Appends timed in stores that have grown."""

from kit.bench.append_cost import GROWTH, LONGEST_REPLY, append_costs


def test_each_respect_in_which_a_store_can_grow_is_timed() -> None:
    base, *grown = append_costs(count=60, appends=40)
    assert (base.what, base.count, base.ratio) == ("ten of everything", 10, 1.0)
    assert [cost.what for cost in grown] == list(GROWTH)
    assert {cost.count for cost in grown} == {60}
    for cost in grown:
        assert cost.microseconds > 0
        assert cost.ratio == cost.microseconds / base.microseconds


def test_a_reply_grows_no_longer_than_a_stream_may() -> None:
    assert LONGEST_REPLY < 8192
