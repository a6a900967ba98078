"""The client in a real kernel: Interrupt gets through, plain cells can call."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment_fixture import DeploymentProcess, deployment_process
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel


class Kernel:
    """A kernel in which cells are run, one after the other."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def run(self, cell: str, *, interrupt_at: str | None = None) -> str:
        """Run a cell; what it printed, and the name of its error if it failed.

        `interrupt_at`: interrupt it once it has printed this.
        """
        request = self._client.execute(cell)
        printed = ""
        while True:
            message: dict[str, Any] = self._client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream" if content["name"] == "stdout":
                    printed += content["text"]
                    if interrupt_at is not None and interrupt_at in printed:
                        interrupt_at = None
                        self._manager.interrupt_kernel()
                case "error":
                    printed += content["ename"]
                case "status" if content["execution_state"] == "idle":
                    return printed.strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path / "data") as server:
        yield server


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


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
