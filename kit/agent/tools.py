"""Tools, and one run of those that a model has called.

Whatever a tool does (raise, hang, leave, return what is no JSON), its call has an
outcome within the time limit: a result, or an error in words with a kind, which the
model reads and viewers see.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kit.agent.steps import Call
from kit.errors import ToolErrorKind
from kit.llm.secret import Secret, redact, without_keys
from kit.llm.wire import ToolResult, ToolSpec
from kit.parts import Chunk

__all__ = ["TOOL_TIMEOUT", "Outcome", "Tool", "ToolLimits", "run_calls"]

TOOL_TIMEOUT = 60.0
"""How long, in seconds, a tool may take, unless told otherwise."""
CANCEL_GRACE = 0.5
"""How long, in seconds, an async tool may take to clean up when it is cancelled."""


@dataclass(frozen=True)
class Tool:
    """A tool: what the model is told, and what is run.

    `run` gets the arguments, a dict as the model wrote it (nothing checks it against
    the schema), and returns anything that JSON can hold, or raises: the model reads
    the error. A plain function runs in a thread of its own, and is abandoned there
    when its time is up. An async one runs in the event loop, so it must not block.
    """

    spec: ToolSpec
    run: Callable[[dict[str, Any]], Awaitable[Any] | Any]


@dataclass(frozen=True)
class ToolLimits:
    """`timeout` is in seconds; texts longer than `max_output` characters are cut.

    `secrets` are taken out of what a tool says before anybody reads it, the model
    included: an error may quote a key, and the model the error.
    """

    timeout: float = TOOL_TIMEOUT
    max_output: int = 100_000
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one call."""

    call: Call
    result: ToolResult  # what the model reads
    chunk: Chunk | None  # what a viewer sees; None if the call itself shows the error


class _Failed(Exception):
    """Why a call has no result, in words for the model."""

    def __init__(self, kind: ToolErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind: ToolErrorKind = kind


async def run_calls(
    calls: Sequence[Call], tools: Mapping[str, Tool], limits: ToolLimits
) -> AsyncGenerator[Outcome, None]:
    """Run all calls at once; outcomes as they come.

    Closing it cancels async tools and waits up to `CANCEL_GRACE` for them; tools in
    threads are abandoned.
    """
    pending = {
        asyncio.create_task(_outcome(call, tools, limits), name=f"call {call.name}")
        for call in calls
    }
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                yield task.result()
    finally:
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)


async def _outcome(
    call: Call, tools: Mapping[str, Tool], limits: ToolLimits
) -> Outcome:
    if call.error is not None:
        return Outcome(call, ToolResult(call.local_id, call.error, True), None)
    try:
        value = await _value(call, tools, limits)
        shown, read = _texts(value, limits)
    except _Failed as failed:
        text = redact(str(failed), *limits.secrets)[: limits.max_output]
        return Outcome(
            call,
            ToolResult(call.local_id, text, True),
            {
                "type": "tool-output-error",
                "toolCallId": call.id,
                "errorText": text,
                "errorKind": failed.kind,
            },
        )
    return Outcome(
        call,
        ToolResult(call.local_id, read),
        {"type": "tool-output-available", "toolCallId": call.id, "outputText": shown},
    )


async def _value(call: Call, tools: Mapping[str, Tool], limits: ToolLimits) -> Any:
    """What the tool returns. Raises _Failed."""
    tool = tools.get(call.name)
    if tool is None:
        names = ", ".join(sorted(tools)) or "none"
        reason = f"there is no tool {call.name!r}; there are: {names}"
        raise _Failed("tool-unknown", reason)
    running = asyncio.create_task(_run(tool, call.args), name=f"tool {call.name}")
    try:
        # Not `asyncio.timeout`: that one waits for a tool that heeds no cancelling.
        await asyncio.wait({running}, timeout=limits.timeout)
        if not running.done():
            seconds = f"{limits.timeout:g} s"
            raise _Failed("tool-timeout", f"the tool did not answer within {seconds}")
    finally:
        await _end(running)
    if running.cancelled():
        raise _Failed("tool-failed", "the tool was cancelled")
    error = running.exception()
    if error is not None:
        raise _Failed("tool-failed", f"{type(error).__name__}: {error}")
    return running.result()


async def _end(running: asyncio.Task[Any]) -> None:
    """Cancel a tool that has not ended, and abandon it if that does not help."""
    if running.done():
        return
    running.cancel()
    await asyncio.wait({running}, timeout=CANCEL_GRACE)
    # What it still raises has been seen, also after this.
    running.add_done_callback(lambda task: task.cancelled() or task.exception())


def _texts(value: Any, limits: ToolLimits) -> tuple[str, str]:
    """A tool's result as JSON text for viewers, and as text for the model."""
    try:
        shown = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        reason = f"TypeError: the tool's result is not JSON: {error}"
        raise _Failed("tool-failed", reason) from None
    shown = without_keys(shown, *limits.secrets)
    read = without_keys(value, *limits.secrets) if isinstance(value, str) else shown
    if len(shown) <= limits.max_output:
        return shown, read
    cut = {
        "truncated": True,
        "characters": len(read),
        "text": read[: limits.max_output],
    }
    shown = json.dumps(cut, ensure_ascii=False)
    return shown, shown


async def _run(tool: Tool, args: dict[str, Any]) -> Any:
    try:
        if inspect.iscoroutinefunction(tool.run):
            return await tool.run(args)
        value = await _in_thread(tool.run, args)
        return await value if inspect.isawaitable(value) else value
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:  # sys.exit() would end the whole process
        raise RuntimeError(f"the tool raised {type(error).__name__}") from None


async def _in_thread(run: Callable[[dict[str, Any]], Any], args: dict[str, Any]) -> Any:
    """Run a plain function in a daemon thread.

    Not in the loop's default executor: that one waits for all its threads when the
    loop ends, and a tool that was abandoned may never end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # a future cannot hold one
            future.set_exception(RuntimeError("the tool raised StopIteration"))
        else:
            future.set_exception(error)

    def work() -> None:
        value, failure = None, None
        try:
            value = run(args)
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=work, daemon=True, name="tool").start()
    return await future
