"""One executor process, as the deployment holds it: started, spoken to, ended.

Holds its pipes and its last words. When there is to be another is decided in
`actions`, what is said in `executor_protocol`, what happens in it in `executor`.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence

from kit.deployment.executor_protocol import (
    FromExecutor,
    ToExecutor,
    decode_from_executor,
    encode_line,
)

__all__ = ["ExecutorProcess"]

# One line holds a whole value, at most 16 MiB by Convex's measure.
MAX_LINE = 256 * 1024 * 1024
STOP_TIMEOUT = 2.0  # s
LAST_WORDS = 4000  # characters
LAST_LINES = 15


class ExecutorProcess:
    """A running executor. What its functions print goes to this process's stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Use `start`."""
        self._process = process
        self._said = ""
        self._relay = asyncio.create_task(self._relay_stderr())

    @classmethod
    async def start(cls, command: Sequence[str]) -> ExecutorProcess:
        """Start it; it is not ready yet. Raises OSError."""
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_LINE,
                # Ctrl-C in a terminal is for the deployment, which then ends this.
                start_new_session=True,
            )
        )

    def send(self, message: ToExecutor) -> None:
        """Queue one message; nothing happens when it has ended.

        It always reads, even while an action blocks its loop, so nothing piles up here.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(encode_line(message))

    def close_input(self) -> None:
        """Ask it to end."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def messages(self) -> AsyncIterator[FromExecutor]:
        """What it says, until it falls silent.

        Raises msgspec.MsgspecError, or ValueError for a line beyond all limits, when it
        says what it should not.
        """
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            yield decode_from_executor(line)

    async def stop(self) -> None:
        """End it: the end of its stdin asks it to, SIGKILL follows after 2 s."""
        if self._process.returncode is None:
            self.close_input()
            try:
                async with asyncio.timeout(STOP_TIMEOUT):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        # Not waited for long: a process that it started may hold its stderr open.
        await asyncio.wait({self._relay}, timeout=0.2)
        self._relay.cancel()

    @property
    def ending(self) -> str:
        """How it ended, and its last words on stderr."""
        said = "\n".join(self._said.strip().splitlines()[-LAST_LINES:])
        return f"{self._how_it_ended()}\n{said or 'It said nothing on stderr.'}"

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    async def _relay_stderr(self) -> None:
        assert self._process.stderr is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await self._process.stderr.read(65536):
            text = decoder.decode(data)
            self._said = (self._said + text)[-LAST_WORDS:]
            sys.stderr.write(text)
            sys.stderr.flush()
