"""The executor's process by itself: its conversation, and how it ends."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment_fixture import FUNCTIONS, deployment_process


class Process:
    def __init__(self, functions: Path = FUNCTIONS, **env: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "kit.deployment.executor"),
                *("--functions", str(functions)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
        )

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def run(self, run_id: int, path: str, args: dict[str, Any]) -> None:
        self.send({"type": "Run", "run_id": run_id, "path": path, "args": args})

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 10)
        assert ready
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def executor() -> Iterator[Process]:
    process = Process()
    assert process.receive() == {"type": "Ready"}
    yield process
    process.close()


def test_an_action_runs(executor: Process) -> None:
    executor.run(7, "work:inner", {"value": 5})
    assert executor.receive() == {
        "type": "Done",
        "run_id": 7,
        "log_lines": [],
        "value": 5.0,
        "failure": None,
    }


def test_an_action_asks_and_is_answered(executor: Process) -> None:
    executor.run(1, "work:readBack", {"channel": "a"})
    call = executor.receive()
    assert call == {
        "type": "Call",
        "call_id": call["call_id"],
        "run_id": 1,
        "kind": "query",
        "path": "notes:list",
        "args": {"channel": "a"},
    }
    executor.send({"type": "Answer", "call_id": call["call_id"], "value": ["x"]})
    assert executor.receive()["value"] == ["x"]


def test_an_answer_that_nobody_waits_for_is_ignored(executor: Process) -> None:
    executor.send({"type": "Answer", "call_id": 99, "value": 1.0})
    executor.run(1, "work:inner", {"value": 5})
    assert executor.receive()["value"] == 5.0


def test_an_action_that_has_left_the_folder_is_told(executor: Process) -> None:
    executor.run(1, "work:gone", {})
    assert (
        "Was the folder of functions changed"
        in executor.receive()["failure"]["message"]
    )


def test_it_ends_with_its_stdin(executor: Process) -> None:
    executor.run(1, "work:wait", {"seconds": 60})
    assert executor.process.stdin is not None
    executor.process.stdin.close()
    assert executor.process.wait(5) == 0


def test_it_ends_with_its_stdin_even_if_an_action_blocks_it(
    executor: Process,
) -> None:
    executor.run(1, "work:block", {"seconds": 60})
    assert executor.process.stdin is not None
    executor.process.stdin.close()
    assert executor.process.wait(5) == 0


def test_it_ends_cleanly_when_told_to(executor: Process) -> None:
    executor.process.send_signal(signal.SIGTERM)
    assert executor.process.wait(5) == 0


def test_functions_that_do_not_load_are_one_line(tmp_path: Path) -> None:
    process = Process(tmp_path / "nowhere")
    _, text = process.process.communicate(timeout=10)
    assert process.process.returncode == 2
    assert text.decode().startswith("There is no folder of functions at")
    assert text.count(b"\n") == 1


def test_it_does_not_outlive_a_killed_deployment(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        pid = int(deployment.value("action", "work:process"))
        os.kill(pid, 0)
        deployment.kill()
        deadline = time.monotonic() + 10
        while _is_running(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _is_running(pid: int) -> bool:
    """Whether there is such a process that is no zombie (nobody may reap orphans)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_modules_are_imported_while_nobody_waits(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    (functions / "late.py").write_text(
        "import asyncio, gc, sys\n"
        "from kit.deployment.functions import action\n"
        "@action()\n"
        "async def passed_over(ctx, args):\n"
        "    return gc.get_freeze_count() > 10_000\n"
        "@action()\n"
        "async def until_loaded(ctx, args):\n"
        "    while 'tomllib' not in sys.modules:\n"
        "        await asyncio.sleep(0.01)\n"
        "    return 'loaded'\n"
    )
    process = Process(functions, KIT_WARM_UP="no.such_module,tomllib")
    try:
        assert process.receive() == {"type": "Ready"}
        process.run(1, "late:until_loaded", {})
        assert process.receive()["value"] == "loaded"
        process.run(2, "late:passed_over", {})
        assert process.receive()["value"] is True
    finally:
        process.process.kill()
        _, stderr = process.process.communicate()
    assert b"cannot import 'no.such_module'" in stderr
