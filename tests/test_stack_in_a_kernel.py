"""A stack in a real kernel: nothing outlives it, errors are short."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel import Kernel, start_kernel

START = """
from kit import Stack
stack = await Stack.start()
import json
servers = [stack.app, stack.deployment, stack.provider]
print(json.dumps([server.pid for server in servers]))
"""


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with start_kernel() as kernel:
        yield kernel


def running(pids: list[int]) -> list[int]:
    """Those that still run; a zombie has ended."""
    found = []
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and ") Z " not in stat.read_text():
            found.append(pid)
    return found


def test_restarting_the_kernel_ends_its_processes(kernel: Kernel) -> None:
    pids = json.loads(kernel.run(START))
    assert running(pids) == pids
    kernel.restart()
    deadline = time.monotonic() + 20
    while running(pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_cell_leaves_nothing_of_its_own_running(kernel: Kernel) -> None:
    pids = json.loads(kernel.run(START))
    wait = (
        "import asyncio\n"
        "async with await Stack.start(app=False) as other:\n"
        "    mine = [other.deployment.pid, other.provider.pid]\n"
        "    print(mine, flush=True)\n"
        "    await asyncio.sleep(60)"
    )
    shown = kernel.run(wait, interrupt_at="]")
    assert shown.endswith("CancelledError")
    assert running(json.loads(kernel.run("print(mine)"))) == []
    # What other cells have started goes on.
    assert running(pids) == pids
    assert kernel.run("print(await stack.create_task('Still there') != '')") == "True"


def test_an_error_is_short_and_shows_ones_own_lines(kernel: Kernel) -> None:
    cell = "from kit import Stack\nawait Stack.start(provider='gpt')"
    assert kernel.run(cell) == "ConfigError"
    first, last = kernel.traceback
    assert "line 2" in first
    assert "await Stack.start(provider='gpt')" in first
    assert last.startswith("ConfigError: provider is 'gpt': use 'scripted'")


def test_other_errors_keep_their_traceback(kernel: Kernel) -> None:
    assert kernel.run("import json\njson.loads('{')") == "JSONDecodeError"
    assert "json/decoder.py" in "\n".join(kernel.traceback)
