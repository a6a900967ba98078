"""What the machine allows."""

from pathlib import Path

from kit.bench.physical_limits import commits, echoes


async def test_the_machines_limits_are_times(tmp_path: Path) -> None:
    assert (await echoes(tmp_path, 50)).count == 50
    assert commits(50).count == 50
