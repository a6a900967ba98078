"""What processes cost."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from kit.bench.usage import UsageMeter, children_of


async def test_work_and_memory_of_a_process_are_seen() -> None:
    async with UsageMeter({"this": os.getpid()}) as meter:
        held = bytearray(64 * 1024 * 1024)
        ends_at = time.process_time() + 0.3
        while time.process_time() < ends_at:
            held[0] ^= 1
        Path(os.devnull).write_bytes(bytes(100_000))
    usage = meter.usage["this"]
    assert usage.cpu_seconds >= 0.25
    assert usage.peak_mb > 60
    if usage.written_bytes is not None:
        assert usage.written_bytes >= 100_000


async def test_a_process_that_ends_keeps_what_was_seen_of_it() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    async with UsageMeter({"short": process.pid, "none": 2**22 + 1}) as meter:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
    assert meter.usage["short"].peak_mb > 0
    assert "none" not in meter.usage


def test_children_are_found_by_their_command() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "input()", "a-marked-child"], stdin=subprocess.PIPE
    )
    try:
        assert children_of(os.getpid(), "a-marked-child") == [child.pid]
        assert children_of(os.getpid(), "no such command") == []
        assert children_of(child.pid, "") == []
    finally:
        child.communicate()
    assert children_of(child.pid, "") == []
