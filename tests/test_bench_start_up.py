"""What the kit costs before anything is streamed."""

import pytest

from kit.bench.start_up import import_seconds, tour


def test_the_import_is_timed_in_a_fresh_interpreter() -> None:
    assert 0 < import_seconds(2) < 30


@pytest.mark.timeout(180)
async def test_a_tour_is_timed_with_all_its_processes() -> None:
    found = await tour("01")
    assert found.passed
    assert found.seconds > 1
    assert found.peak_mb > 100  # a kernel, a server, a provider, a deployment
