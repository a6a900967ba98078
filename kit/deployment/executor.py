"""The process that runs actions, beside the deployment.

`python -m kit.deployment.executor --functions DIR ...`: loads the functions, then runs
actions as the deployment asks for them on stdin, many at once in one event loop. What
an action loads, burns or crashes stays in here. It answers on what was its stdout
(`executor_protocol`); stdout itself becomes stderr, so that a `print` in a function
cannot break the conversation, and stdin becomes empty.

Paths and arguments have been checked by the deployment before, results are checked
there afterwards. It ends when stdin ends, which is also what happens when the
deployment is killed; actions then get `GRACE` to clean up. It ends, too, when an action
blocks its loop for `BLOCK_LIMIT`, and with it all others.

`KIT_WARM_UP` in the environment names modules, separated by commas, that it imports by
itself once it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import importlib
import io
import itertools
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, assert_never

from msgspec import Raw

from kit.deployment.action_context import ActionCtx
from kit.deployment.console import collect_log_lines
from kit.deployment.executor_protocol import (
    Answer,
    Call,
    Cancel,
    Done,
    FromExecutor,
    Ready,
    Run,
    Schedule,
    decode_to_executor,
    encode_line,
)
from kit.deployment.failures import FunctionFailure, exception_of, failure_of
from kit.deployment.functions import FunctionRegistry
from kit.errors import FunctionLoadError
from kit.serving import keep_loaded, log_to_stderr
from kit.values import InvalidValue, JsonValue, Value, decode, encode, from_json

__all__ = ["GRACE", "Executor", "main"]

# How long actions may take to clean up when the deployment has gone.
GRACE = 1.0  # s

log = logging.getLogger(__name__)

WARM_UP_VARIABLE = "KIT_WARM_UP"

ACTION_TIME_LIMIT = 600.0  # s, as for Convex's Node actions

BLOCK_LIMIT = 60.0  # s


class Executor:
    """Runs actions and carries what they ask. `output` is written in the loop only."""

    def __init__(
        self,
        registry: FunctionRegistry,
        output: asyncio.StreamWriter,
        *,
        time_limit: float = ACTION_TIME_LIMIT,
    ) -> None:
        self._registry = registry
        self._output = output
        self._time_limit = time_limit
        self._runs: set[asyncio.Task[None]] = set()
        self._calls: dict[int, asyncio.Future[Raw]] = {}
        self._call_ids = itertools.count()

    async def send(self, message: FromExecutor) -> None:
        """Write one line; waits while the deployment is behind with reading."""
        self._output.write(encode_line(message))
        await self._output.drain()

    def receive(self, line: bytes) -> None:
        """Take one line from the deployment."""
        message = decode_to_executor(line)
        match message:
            case Run():
                task = asyncio.get_running_loop().create_task(self._run(message))
                self._runs.add(task)
                task.add_done_callback(self._runs.discard)
            case Answer():
                self._answer(message)
            case _:
                assert_never(message)

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended."""
        for task in self._runs:
            task.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)

    async def ask(self, message: Call | Schedule | Cancel) -> Value:
        """Send a request and wait for the value of its answer.

        Raises ConvexError or UsageError when the answer is a failure.
        """
        answer = asyncio.get_running_loop().create_future()
        self._calls[message.call_id] = answer
        try:
            await self.send(message)
            return decode(bytes(await answer))
        finally:
            del self._calls[message.call_id]

    def next_call_id(self) -> int:
        return next(self._call_ids)

    def _answer(self, message: Answer) -> None:
        answer = self._calls.get(message.call_id)
        if answer is None or answer.done():
            return  # the action no longer waits for it
        if message.failure is None:
            answer.set_result(message.value)
        else:
            answer.set_exception(exception_of(message.failure))

    async def _run(self, message: Run) -> None:
        with collect_log_lines() as log_lines:
            outcome = await self._outcome(message)
        if isinstance(outcome, FunctionFailure):
            done = Done(message.run_id, log_lines, failure=outcome)
        else:
            done = Done(message.run_id, log_lines, outcome)
        with contextlib.suppress(ConnectionError):  # the deployment has gone
            await self.send(done)

    async def _outcome(self, message: Run) -> Raw | FunctionFailure:
        function = self._registry.get(message.path)
        args = from_json(message.args)
        if function is None or not isinstance(args, dict):
            # The deployment has the same folder; it was edited under our feet.
            return FunctionFailure(
                f"Could not find public function for '{message.path}'. "
                "Was the folder of functions changed under the deployment? Restart it."
            )
        context = ActionCtx(RunContext(self, message.run_id), message.identity)
        limit = asyncio.timeout(self._time_limit)
        try:
            async with limit:
                return _encoded(await function(context, args))
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the deployment has gone
            if limit.expired():
                return FunctionFailure(
                    "Function execution timed out "
                    f"(maximum duration: {self._time_limit:g}s)"
                )
            # Also SystemExit: an action that calls sys.exit() ends itself alone.
            return failure_of(error, *self._registry.folders)


def _encoded(value: Value) -> Raw | FunctionFailure:
    try:
        return Raw(encode(value))
    except InvalidValue as problem:
        return FunctionFailure(f"Uncaught Error: The action's return value: {problem}")


class RunContext:
    """What one action asks of the deployment."""

    def __init__(self, executor: Executor, run_id: int) -> None:
        self._executor = executor
        self._run_id = run_id

    async def call(
        self, kind: Literal["query", "mutation", "action"], path: str, args: JsonValue
    ) -> Value:
        call_id = self._executor.next_call_id()
        return await self._executor.ask(Call(call_id, self._run_id, kind, path, args))

    async def schedule(self, path: str, args: JsonValue, due_ms: float) -> str:
        call_id = self._executor.next_call_id()
        job_id = await self._executor.ask(
            Schedule(call_id, self._run_id, path, args, due_ms)
        )
        return str(job_id)

    async def cancel(self, job_id: str) -> None:
        call_id = self._executor.next_call_id()
        await self._executor.ask(Cancel(call_id, self._run_id, job_id))


async def run_until_end(
    registry: FunctionRegistry,
    source: int,
    sink: BinaryIO,
    time_limit: float,
    block_limit: float,
) -> None:
    """Run actions until the file descriptor `source` ends, or SIGTERM.

    An action that blocks the loop for `block_limit` seconds, and with it all others,
    ends the process, with a traceback on stderr that says where.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, sink
    )
    output = asyncio.StreamWriter(transport, protocol, None, loop)
    executor = Executor(registry, output, time_limit=time_limit)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    os.set_blocking(source, False)
    lines = _Lines()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(source, 1 << 20)
            for line in lines.feed(data):
                loop.call_soon(executor.receive, line)
            if not data:
                loop.remove_reader(source)
                ended.set()

    loop.add_reader(source, read)
    threading.Thread(
        target=_exit_after_end, args=(source,), name="stdin", daemon=True
    ).start()
    watching = asyncio.create_task(_end_if_blocked(block_limit))
    await executor.send(Ready())
    keep_loaded()
    if names := os.environ.get(WARM_UP_VARIABLE):
        threading.Thread(target=_warm_up, args=(names,), daemon=True).start()
    await ended.wait()
    watching.cancel()
    faulthandler.cancel_dump_traceback_later()
    await executor.aclose()


def _warm_up(names: str) -> None:
    """Import modules that actions import late, before somebody waits for them."""
    for name in names.split(","):
        try:
            importlib.import_module(name)
        except Exception as error:  # the action that needs it will say the same
            log.warning("%s: cannot import %r: %s", WARM_UP_VARIABLE, name, error)
    keep_loaded()


async def _end_if_blocked(limit: float) -> None:
    """Put off, as long as this loop turns, what ends the process when it does not.

    That needs neither this loop nor the interpreter.
    """
    while True:
        faulthandler.dump_traceback_later(limit, exit=True)
        await asyncio.sleep(limit / 10)


def _exit_after_end(source: int) -> None:
    """In a thread: an action that blocks the loop cannot hide the end of stdin.

    Reads nothing: that is up to the loop, which would have to wait for this thread.
    """
    end = select.poll()
    end.register(source, 0)  # of all events, only that the other end is closed
    end.poll()
    time.sleep(GRACE)
    os._exit(0)


class _Lines:
    """Lines out of data that is read piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes."""
        first, *others = data.split(b"\n")
        self._pieces.append(first)
        for start in others:
            yield b"".join(self._pieces)
            self._pieces = [start]


def _take_over_stdio() -> tuple[int, BinaryIO]:
    """The pipes to the deployment, out of reach for the functions' own stdio."""
    source = os.dup(0)
    sink = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return source, sink


def main(argv: Sequence[str] | None = None) -> int:
    """Run the executor; the exit code, 2 when the functions do not load."""
    parser = argparse.ArgumentParser(prog="python -m kit.deployment.executor")
    parser.add_argument("--functions", type=Path, action="append", required=True)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--time-limit", type=float, default=ACTION_TIME_LIMIT)
    parser.add_argument("--block-limit", type=float, default=BLOCK_LIMIT)
    options = parser.parse_args(argv)
    source, sink = _take_over_stdio()
    log_to_stderr(options.log_level)
    try:
        registry = FunctionRegistry.load(*options.functions)
    except FunctionLoadError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    limits = options.time_limit, options.block_limit
    asyncio.run(run_until_end(registry, source, sink, *limits))
    return 0


if __name__ == "__main__":
    sys.exit(main())
