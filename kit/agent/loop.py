"""The loop itself: model calls and tool runs, as one stream of chunks.

Mirrors the loop of the AI SDK's `streamText` with tools: tools of one step run
concurrently, their results go back in the order of the calls, arguments that are not
JSON and tools that do not exist are errors for the model to read, and tools are never
run when the model call did not end properly.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from kit.agent.steps import Call, Ids, StepChunks
from kit.errors import LLMError
from kit.llm.wire import Conversation, ToolResult, ToolSpec
from kit.parts import Chunk, FinishReason, Usage, add_usage

__all__ = ["Tool", "stream_reply"]

# How long an async tool may take to clean up when it is cancelled.
CANCEL_GRACE = 0.5


@dataclass(frozen=True)
class Tool:
    """A tool: what the model is told, and what is run.

    `run` gets the arguments, a dict as the model wrote it (nothing checks it against
    the schema), and returns anything that JSON can hold, or raises: the model reads
    the error. A plain function runs in a thread of its own.
    """

    spec: ToolSpec
    run: Callable[[dict[str, Any]], Awaitable[Any] | Any]


async def stream_reply(
    conversation: Conversation,
    tools: Mapping[str, Tool],
    *,
    max_steps: int = 8,
    tool_timeout: float = 60.0,
    max_output: int = 100_000,
) -> AsyncGenerator[Chunk, None]:
    """Stream one reply: chunks with final ids, ending in exactly one `finish`.

    Each model call is a `start-step`, its parts and a `finish-step`; results of its
    tool calls follow as they arrive. Every part that was opened is ended, and every
    tool call gets a result or an input error, before `finish`.

    A failing model call is an `error` chunk and `finish` with reason `error` (or
    `interrupted`, when the stream just ended): LLMError is never raised. After
    `max_steps` model calls that all asked for tools, an error chunk of kind
    `step-limit` says so. `tool_timeout` is in seconds; a tool result or the arguments
    of a call longer than `max_output` characters are cut.

    Closing the generator, or cancelling the task that iterates it, closes the
    provider's connection and cancels async tools; tools in threads are abandoned.
    """
    ids = Ids()
    total: Usage | None = None
    for _ in range(max_steps):
        yield {"type": "start-step"}
        step = StepChunks(ids, max_input=max_output)
        try:
            async with aclosing(conversation.step()) as chunks:
                async for chunk in chunks:
                    for out in step.take(chunk):
                        yield out
            if step.finish is None:
                raise LLMError(
                    "interrupted",
                    "the stream ended without its last event",
                    provider="model",
                )
        except LLMError as error:
            for out in step.abandon("the model call failed"):
                yield out
            yield _error(ids, error)
            yield _finish(
                "interrupted" if error.kind == "interrupted" else "error", total
            )
            return
        total = add_usage(total, step.finish.get("usage"))
        reason = step.finish["finishReason"]
        if not step.calls or reason not in ("tool-calls", "stop"):
            # Arguments of a reply that was cut off or refused are not to be trusted.
            for out in step.abandon(f"not run: the reply ended ({reason})"):
                yield out
            yield _finish(reason, total)
            return
        results: dict[str, ToolResult] = {}
        running = _run_calls(step.calls, tools, tool_timeout, max_output)
        async with aclosing(running) as outcomes:
            async for outcome in outcomes:
                results[outcome.call.id] = outcome.result
                if outcome.chunk is not None:
                    yield outcome.chunk
        conversation.add_tool_results([results[call.id] for call in step.calls])
    yield {
        "type": "error",
        "id": ids.number("error"),
        "errorText": f"Stopped after {max_steps} model calls: "
        "the model still asked for tools.",
        "kind": "step-limit",
    }
    yield _finish("tool-calls", total)


def _error(ids: Ids, error: LLMError) -> Chunk:
    return {
        "type": "error",
        "id": ids.number("error"),
        "errorText": str(error),
        "kind": error.kind,
        "retryable": error.retryable,
    }


def _finish(reason: FinishReason, usage: Usage | None) -> Chunk:
    if usage is None:
        return {"type": "finish", "finishReason": reason}
    return {"type": "finish", "finishReason": reason, "usage": usage}


# --- tools ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcome:
    call: Call
    result: ToolResult  # what the model reads
    chunk: Chunk | None  # what a viewer sees; None if the call itself shows the error


_Outcomes: TypeAlias = AsyncGenerator[_Outcome, None]


async def _run_calls(
    calls: Sequence[Call], tools: Mapping[str, Tool], timeout: float, max_output: int
) -> _Outcomes:
    """Run all calls at once; outcomes as they come."""
    pending = {
        asyncio.create_task(
            _outcome(call, tools, timeout, max_output), name=f"tool {call.name}"
        )
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
            await asyncio.wait(pending, timeout=CANCEL_GRACE)


async def _outcome(
    call: Call, tools: Mapping[str, Tool], timeout: float, max_output: int
) -> _Outcome:
    if call.error is not None:
        return _Outcome(call, ToolResult(call.local_id, call.error, True), None)
    tool = tools.get(call.name)
    if tool is None:
        names = ", ".join(sorted(tools)) or "none"
        return _failed(call, f"there is no tool {call.name!r}; there are: {names}")
    try:
        async with asyncio.timeout(timeout):
            value = await _run(tool, call.args)
        shown, read = _texts(value, max_output)
    except TimeoutError as error:
        reason = str(error) or f"the tool did not answer within {timeout:g} s"
        return _failed(call, reason[:max_output])
    except Exception as error:
        return _failed(call, f"{type(error).__name__}: {error}"[:max_output])
    return _Outcome(
        call,
        ToolResult(call.local_id, read),
        {"type": "tool-output-available", "toolCallId": call.id, "outputText": shown},
    )


def _failed(call: Call, text: str) -> _Outcome:
    return _Outcome(
        call,
        ToolResult(call.local_id, text, True),
        {"type": "tool-output-error", "toolCallId": call.id, "errorText": text},
    )


def _texts(value: Any, max_output: int) -> tuple[str, str]:
    """A tool's result as JSON text for viewers, and as text for the model."""
    try:
        shown = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the tool's result is not JSON: {error}") from None
    if len(shown) > max_output:
        text = value if isinstance(value, str) else shown
        cut = {"truncated": True, "characters": len(text), "text": text[:max_output]}
        shown = json.dumps(cut, ensure_ascii=False)
        return shown, shown
    return shown, value if isinstance(value, str) else shown


async def _run(tool: Tool, args: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(tool.run):
        return await tool.run(args)
    value = await _in_thread(tool.run, args)
    return await value if inspect.isawaitable(value) else value


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
