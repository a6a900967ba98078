"""What many viewers of one reply cost."""

from pathlib import Path

import pytest

from kit.bench.fan_out import fan_out


@pytest.mark.timeout(120)
async def test_more_viewers_do_not_run_more_queries(tmp_path: Path) -> None:
    few, many = await fan_out(tmp_path, [1, 12], tokens=60, pace=60.0)
    assert (few.viewers, many.viewers) == (1, 12)
    assert few.appends > 5
    # One for each append, one for each page of four that begins, some at the ends:
    # for one viewer as for twelve.
    for found in (few, many):
        assert 0.25 * found.appends < found.executions < 2 * found.appends
        assert found.figures.lost == 0
