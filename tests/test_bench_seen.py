"""Latencies from when tokens were sent and when a viewer had them."""

import pytest

from kit.bench.seen import Latency, ProviderReply, ViewerLog, latencies, percentile

REPLY = ProviderReply(["ab", "c", "def"], [10.0, 10.1, 10.2])


def test_a_reply_is_read_from_the_providers_log() -> None:
    entry = {"tokens": ["a", "b"], "tokenTimes": [1.0, 2.0], "prompt": "?"}
    assert ProviderReply.of(entry) == ProviderReply(["a", "b"], [1.0, 2.0])


def test_what_had_been_sent_by_a_time() -> None:
    assert REPLY.text == "abcdef"
    assert [REPLY.sent_by(at) for at in (9.9, 10.0, 10.15, 99.0)] == [0, 2, 3, 6]


def test_a_token_is_seen_when_all_of_it_is_there() -> None:
    log = ViewerLog()
    log.grew("a", 10.01)  # half of the first token
    log.grew("bc", 10.11)
    log.grew("", 10.12)  # says nothing
    log.grew("def", 10.25)
    assert log.text == "abcdef"
    assert latencies(REPLY, log) == pytest.approx([0.11, 0.01, 0.05])


def test_what_never_came_live_is_seen_with_the_stored_message() -> None:
    log = ViewerLog()
    log.grew("abc", 10.1)
    log.ended("abcdef", 11.0)
    assert latencies(REPLY, log) == pytest.approx([0.1, 0.0, 0.8])


def test_what_was_never_seen_has_no_latency() -> None:
    log = ViewerLog()
    log.grew("ab", 10.1)
    assert latencies(REPLY, log) == pytest.approx([0.1])


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(ordered, q) for q in (0, 25, 50, 51, 99, 100)] == [
        *(1.0, 1.0, 2.0, 3.0, 4.0, 4.0)
    ]


def test_a_distribution_is_in_milliseconds() -> None:
    found = Latency.of([0.003, 0.001, 0.002])
    assert found is not None
    assert (found.count, found.p50, found.max) == (3, 2.0, 3.0)
    assert found.percentiles[0] == 1.0
    assert found.percentiles[100] == 3.0
    assert Latency.of([]) is None
