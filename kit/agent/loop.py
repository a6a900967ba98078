"""The loop itself: model calls and tool runs, as one stream of chunks.

Mirrors the loop of the AI SDK's `streamText` with tools: tools of one step run
concurrently, their results go back in the order of the calls, arguments that are not
JSON and tools that do not exist are errors for the model to read, and tools are never
run when the model call did not end properly.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from kit.agent.steps import Ids, StepChunks
from kit.agent.tools import Tool, ToolLimits, run_calls
from kit.errors import LLMError
from kit.llm.wire import Conversation, ToolResult
from kit.parts import Chunk, FinishReason, Usage, add_usage

__all__ = ["MAX_STEPS", "stream_reply"]

MAX_STEPS = 8
"""Model calls in one reply, unless told otherwise."""


async def stream_reply(
    conversation: Conversation,
    tools: Mapping[str, Tool],
    *,
    max_steps: int = MAX_STEPS,
    tool_limits: ToolLimits = ToolLimits(),  # noqa: B008  frozen
) -> AsyncGenerator[Chunk, None]:
    """Stream one reply: chunks with final ids, ending in exactly one `finish`.

    Each model call is a `start-step`, its parts and a `finish-step`; results of its
    tool calls follow as they arrive. Every part that was opened is ended, and every
    tool call gets a result or an input error, before `finish`.

    A failing model call is an `error` chunk and `finish` with reason `error` (or
    `interrupted`, when the stream just ended): LLMError is never raised. So are
    `max_steps` model calls that all asked for tools: an error of kind `step-limit`.
    What a tool does wrong is no failure of the reply: the model reads it, and goes on.
    Arguments of a call that are longer than a result may be are an error, too.

    Closing the generator, or cancelling the task that iterates it, closes the
    provider's connection and cancels async tools; tools in threads are abandoned.
    """
    ids = Ids()
    total: Usage | None = None
    for _ in range(max_steps):
        yield {"type": "start-step"}
        step = StepChunks(ids, max_input=tool_limits.max_output)
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
        running = run_calls(step.calls, tools, tool_limits)
        async with aclosing(running) as outcomes:
            async for outcome in outcomes:
                results[outcome.call.id] = outcome.result
                if outcome.chunk is not None:
                    yield outcome.chunk
        conversation.add_tool_results([results[call.id] for call in step.calls])
    yield {
        "type": "error",
        "id": ids.number("error"),
        "errorText": f"The model still asked for tools in step {max_steps}, the last "
        "that it is given for one reply. Ask it to go on, or to answer with what it "
        "has.",
        "kind": "step-limit",
    }
    yield _finish("error", total)


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
