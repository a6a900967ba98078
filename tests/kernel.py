"""A real kernel in tests: cells run one after the other, may be interrupted.

```python
with start_kernel() as kernel:
    assert kernel.run("1 + 1; print(2)") == "2"
```
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

__all__ = ["Kernel", "start_kernel"]


class Kernel:
    """A kernel in which cells are run, one after the other."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client
        self.traceback: list[str] = []
        """What the last cell that failed showed."""

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
                    self.traceback = content["traceback"]
                    printed += content["ename"]
                case "status" if content["execution_state"] == "idle":
                    return printed.strip()

    def restart(self) -> None:
        """As the button does: the old process ends, a new one takes its place."""
        self._manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=30)


@contextmanager
def start_kernel() -> Iterator[Kernel]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
