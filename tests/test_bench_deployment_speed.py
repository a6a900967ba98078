"""The deployment by itself."""

from pathlib import Path

from kit.bench.deployment_speed import deployment_speed


async def test_mutations_start_up_and_memory_of_a_deployment(tmp_path: Path) -> None:
    found = await deployment_speed(tmp_path, seconds=0.5, starts=2)
    assert found.mutations_per_second > 0
    assert found.deployment_cores > 0
    assert found.ready_seconds > 0
    assert found.idle_mb > 10
    assert found.idle_executor_mb > 10
