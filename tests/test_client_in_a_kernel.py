"""The client in a real kernel: Interrupt gets through, plain cells can call."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment_fixture import DeploymentProcess, deployment_process
from kernel import Kernel, start_kernel


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path / "data") as server:
        yield server


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with start_kernel() as kernel:
        yield kernel


def test_a_quiet_subscription_can_be_interrupted_and_goes_on(
    server: DeploymentProcess, kernel: Kernel
) -> None:
    kernel.run(
        "from kit.client import Deployment\n"
        f"deployment = Deployment({server.url!r})\n"
        "notes = deployment.subscribe('notes:list', {'channel': 'a'})"
    )
    watch = "async for value in notes: print('got', value, flush=True)"
    started = time.monotonic()
    assert kernel.run(watch, interrupt_at="got").endswith("CancelledError")
    assert time.monotonic() - started < 5
    add = "await deployment.mutation('notes:add', {'channel': 'a', 'body': 'x'})"
    assert kernel.run(f"{add}\nprint(await anext(notes))") == "['x']"
    assert kernel.run("await deployment.close()") == ""


def test_a_plain_cell_calls_without_await(
    server: DeploymentProcess, kernel: Kernel
) -> None:
    cell = (
        "from kit.client import BlockingDeployment\n"
        f"deployment = BlockingDeployment({server.url!r}, timeout=5)\n"
        "notes = deployment.subscribe('notes:list', {'channel': 'a'}, timeout=5)\n"
        "print(next(notes))\n"
        "deployment.mutation('notes:add', {'channel': 'a', 'body': 'x'})\n"
        "print(next(notes))\n"
        "deployment.close()"
    )
    assert kernel.run(cell).split("\n") == ["[]", "['x']"]
