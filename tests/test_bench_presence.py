"""Viewers that come late or are away, where text is kept and where not."""

import asyncio
from pathlib import Path

import pytest

from kit.bench.lab import Lab
from kit.bench.load import Load
from kit.bench.presence import away, join_late

REPLY = Load(tokens=240, pace=60.0)


@pytest.mark.timeout(120)
async def test_who_joins_late_or_was_away_has_all_of_what_is_stored(
    tmp_path: Path,
) -> None:
    async with Lab(tmp_path, names=("bare", "sql", "kit")) as lab:
        late = await asyncio.gather(*(join_late(lab, w, REPLY) for w in lab.ways))
        gone = await asyncio.gather(*(away(lab, w, REPLY, 0.4) for w in lab.ways))
    for bare, sql, kit in (late, gone):
        assert bare.seconds_until_whole is None
        assert bare.lost == bare.lost_live > 0

        assert sql.seconds_until_whole is not None
        assert not sql.whole_while_streaming
        assert sql.lost_live > 0
        assert sql.lost == 0

        assert kit.seconds_until_whole is not None
        assert (kit.lost_live, kit.lost) == (0, 0)
        assert bare.characters == sql.characters == kit.characters > 0
