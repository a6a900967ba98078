"""An embedded deployment in a process of its own, for tests.

```python
@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    with deployment_process(data=tmp_path_factory.mktemp("data")) as deployment:
        yield deployment
```
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from kit.protocol import decode_timestamp
from kit.serving import STOP_WITH_PARENT

FUNCTIONS = Path(__file__).parent / "functions"


class DeploymentProcess:
    """`python -m kit.deployment` on a free port; a restart takes the same port."""

    def __init__(
        self,
        *,
        data: Path,
        functions: Path | None = None,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """`functions` None serves the kit's own; `options` go on the command line."""
        self.data = data
        self.url = ""
        self.pid = 0
        self._functions = functions
        self._env = {**os.environ, STOP_WITH_PARENT: "1", **(env or {})}
        self._options = list(options)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process: subprocess.Popen[str] | None = None

    def start(self, *, timeout: float = 20.0) -> None:
        """Start it and wait for its ready line."""
        command = [sys.executable, "-m", "kit.deployment", "--data", str(self.data)]
        command += ["--port", self.url.rpartition(":")[2] or "0", *self._options]
        if self._functions is not None:
            command += ["--functions", str(self._functions)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._env,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.kill()
            raise AssertionError(f"The deployment did not start:\n{self.log()}")
        announcement = json.loads(line)
        self.url, self.pid = announcement["url"], announcement["pid"]

    def stop(self, *, timeout: float = 10.0) -> int:
        """End it as a user does (SIGTERM); the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 10.0) -> int:
        """Wait until it has ended by itself; the exit code."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """End it, and forget its log."""
        self.kill()
        self._log.close()

    def log(self) -> str:
        """What it has written to stderr so far, over all its starts."""
        self._log.seek(0)
        return self._log.read()

    def timestamp(self) -> int:
        """Its latest timestamp, ns since the epoch."""
        answer = requests.post(f"{self.url}/api/query_ts", timeout=30)
        return decode_timestamp(answer.json()["ts"])

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/api/sync"

    def call(self, kind: str, path: str, args: dict[str, Any] | None = None) -> Any:
        """POST /api/<kind>; the whole answer."""
        answer = requests.post(
            f"{self.url}/api/{kind}",
            json={"path": path, "args": args or {}, "format": "convex_encoded_json"},
            timeout=30,
        )
        return answer.json()

    def value(self, kind: str, path: str, args: dict[str, Any] | None = None) -> Any:
        """The value that a call returns, which must succeed."""
        answer = self.call(kind, path, args)
        assert answer.get("status") == "success", answer
        return answer["value"]


@contextmanager
def deployment_process(
    *,
    data: Path,
    functions: Path | None = FUNCTIONS,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[DeploymentProcess]:
    """A running deployment, of the functions in `tests/functions` unless told else."""
    deployment = DeploymentProcess(
        data=data, functions=functions, env=env, options=options
    )
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()
