"""`kit bench`, as it is run."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from kit.bench.plan import QUICK

COMMAND = (sys.executable, "-m", "kit.cli", "bench")


async def run(*options: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *options,
        env={**os.environ, "COLUMNS": "150"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed = (await process.communicate())[0].decode()
    return process.returncode, printed


@pytest.mark.timeout(600)
async def test_a_quick_run_measures_all_and_prints_the_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, printed = await run("--quick", "--out", str(tmp_path / "out"))
    with capfd.disabled():  # whoever runs the tests sees the figures
        sys.stdout.write(f"\n{printed}")
    assert status == 0
    assert "Where it must be" in printed
    assert "0 characters lost by the kit" in printed
    assert f"Results: {tmp_path / 'out'}" in printed

    found = json.loads((tmp_path / "out" / "results.json").read_text())
    measured = [(each["load"], each["way"]) for each in found["streams"]]
    # Of the kit none, see the status: a rival may, where much else is running.
    gave_up = [step for step, _ in found["failures"]]
    for load in QUICK.loads:
        for way in QUICK.ways:
            assert (asdict(load), way) in measured or f"{load}: {way}" in gave_up
    for name in ("bytes", "written", "late", "away", "histories", "intervals"):
        assert found[name], name
    for name in ("fan_out", "append_costs", "deployment", "echo", "adapters"):
        assert found[name], name
    page = (tmp_path / "out" / "bench.md").read_text()
    assert "### What the processes cost" in page
    for picture in (tmp_path / "out").glob("*.svg"):
        assert f"({picture.name})" in page
    assert {p.stem for p in (tmp_path / "out").glob("*.svg")} >= {
        *("latency", "concurrency", "bytes-pushed", "bytes-written")
    }


@pytest.mark.timeout(120)
async def test_an_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--quick", "--out", str(tmp_path)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    parent = psutil.Process(process.pid)
    children: list[psutil.Process] = []
    while len(children) < 4:  # the provider and three servers, at least
        await asyncio.sleep(0.05)
        children = parent.children(recursive=True)
        assert process.returncode is None
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert json.loads((tmp_path / "results.json").read_text())["machine"]


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    status, printed = await run("--quick", "--out", str(taken))
    assert status == 2
    assert "Choose another folder with --out" in printed
