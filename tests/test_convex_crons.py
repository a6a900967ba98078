"""What runs by the clock: as in `crons.ts`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from convex_functions import Functions


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path)
    yield functions
    functions.close()


def test_the_sweep_runs_every_hour(functions: Functions) -> None:
    jobs = functions.registry.crons
    assert list(jobs) == ["look for replies whose producer died"]
    (job,) = jobs.values()
    assert (str(job.path), job.args) == ("streaming:sweep", {})
    assert job.schedule == {"type": "interval", "seconds": 3600.0}


def test_the_sweep_begins_no_chain_of_sweeps(functions: Functions) -> None:
    (due,) = functions.engine.due_jobs(functions.now_ms)
    functions.advance(0)
    assert functions.jobs() == []
    assert functions.rows("sweeps") == []
    assert functions.engine.next_due_ms() == due.scheduled_time + 3_600_000
