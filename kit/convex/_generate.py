"""The producer: asks the model and writes its reply into a stream, to its end.

Runs in an action. Everything durable goes through `streaming:append`, `heartbeat` and
`finalize`; what this holds in memory is the part of a reply that is on its way. Keys
are in here and in the model layer only: texts that leave are cleared of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

from kit.agent import ToolLimits, stream_reply
from kit.convex._errors import refusal
from kit.convex._messages import UNFINISHED
from kit.convex._settings import Settings
from kit.convex._tools import tools_named
from kit.deployment.functions import console
from kit.errors import ConfigError, ErrorKind, LLMError
from kit.llm.route import keys_in, load_sdk, open_wire, route
from kit.llm.secret import Secret, redact
from kit.llm.wire import Turn
from kit.parts import Chunk, FinishReason, Usage, add_usage
from kit.serving import keep_loaded
from kit.writer import HEARTBEAT_INTERVAL, DeltaWriter, call_patiently

__all__ = ["Job", "follow", "produce", "wait_for_turn"]

CLOSE_WITHIN = 0.8
"""How long, in seconds, a stop waits for the provider's connection to close."""
MAX_ERROR_LENGTH = 500
FOLLOW_FOR = 570.0
"""How long, in seconds, a repeated call waits for the reply it follows."""


@dataclass(frozen=True)
class Job:
    """A reply to produce."""

    stream_id: str
    message_id: str
    epoch: int
    model: str
    settings: Settings
    system_prompt: str | None = None
    tools: tuple[str, ...] = ()
    api_keys: Mapping[str, Secret] = field(default_factory=dict)


@dataclass
class _Progress:
    """What the reader has seen so far, for the end of the reply."""

    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    error: str | None = None
    error_kind: ErrorKind = "internal"

    def note(self, chunk: Chunk) -> None:
        match chunk["type"]:
            case "finish-step":
                self.usage = add_usage(self.usage, chunk.get("usage"))
            case "error":
                self.error, self.error_kind = chunk["errorText"], chunk["kind"]
            case "finish":
                self.finish_reason = chunk["finishReason"]
            case _:
                pass

    def fail(self, error: str, kind: ErrorKind) -> None:
        self.error, self.error_kind = error, kind
        self.finish_reason = "error"


async def wait_for_turn(ctx: Any, job: Job) -> None:
    """Keep the lease of a reply that is queued, until it is its turn or has ended.

    Raises when the deployment cannot be reached any more.
    """
    lease = job.settings.lease_ms / 1000.0
    whose = {"streamId": job.stream_id, "epoch": job.epoch}
    while True:
        answer = await call_patiently(
            ctx.run_mutation, "streaming:heartbeat", whose, retry_for=lease * 2 / 3
        )
        if answer["status"] != "queued":
            return
        await asyncio.sleep(min(HEARTBEAT_INTERVAL, lease / 3))


async def produce(ctx: Any, job: Job) -> None:
    """Generate the reply, append it while it grows, finalize it.

    Returns when the stream is done, or is no longer ours. What goes wrong on the way to
    and at the model becomes the message's error and is not raised. Raises only when the
    deployment cannot be reached any more: its watchdog then ends the reply.

    Cancelled, as by the time limit of actions, it closes the provider's connection and
    finalizes the reply as interrupted.
    """
    lease = job.settings.lease_ms / 1000.0
    progress = _Progress()
    writer = DeltaWriter(
        ctx.run_mutation,
        job.stream_id,
        job.epoch,
        flush_interval=job.settings.flush_interval_ms / 1000.0,
        heartbeat_interval=min(HEARTBEAT_INTERVAL, lease / 3),
        retry_for=lease * 2 / 3,
    )
    try:
        async with writer:
            await writer.beat()  # it may have been stopped before it began
            if not (writer.stop_requested.is_set() or writer.lost.is_set()):
                await _read_until_stopped(ctx, job, writer, progress)
    except asyncio.CancelledError:
        text = "The reply broke off: its action was cancelled or took too long."
        progress.fail(text, "interrupted")
        progress.finish_reason = "interrupted"
        await _finalize(ctx, job, _ending(writer, progress), lease)
        raise
    if writer.state not in ("closed", "fenced"):
        await _finalize(ctx, job, _ending(writer, progress), lease)


async def _read_until_stopped(
    ctx: Any, job: Job, writer: DeltaWriter, progress: _Progress
) -> None:
    """Read the model's reply until it ends, is stopped, or the stream is lost."""
    reader = asyncio.create_task(_read(ctx, job, writer, progress), name="reader")
    signals = [
        asyncio.create_task(writer.stop_requested.wait()),
        asyncio.create_task(writer.lost.wait()),
    ]
    try:
        await asyncio.wait([reader, *signals], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reader, *signals):
            task.cancel()
        await asyncio.wait([reader, *signals], timeout=CLOSE_WITHIN)
    if writer.stop_requested.is_set():
        await writer.write({"type": "abort", "reason": "stopped"})


async def _read(ctx: Any, job: Job, writer: DeltaWriter, progress: _Progress) -> None:
    """Pull the reply's chunks into the writer. Raises nothing but CancelledError."""
    secrets = (*job.api_keys.values(), *keys_in(os.environ).values())
    try:
        chosen = route(job.model, job.api_keys, os.environ)
        history = await ctx.run_query(
            "streaming:context", {"messageId": job.message_id}
        )
        # In a thread: an SDK takes up to a second to import, and heartbeats go on.
        if await asyncio.to_thread(load_sdk, chosen.wire):
            keep_loaded()
        wire = open_wire(chosen)
        try:
            tools = tools_named(job.tools)
            conversation = wire.conversation(
                model=chosen.model,
                system=_system(job.system_prompt, history["system"]),
                turns=[Turn(turn["role"], turn["text"]) for turn in history["turns"]],
                tools=[tool.spec for tool in tools.values()],
            )
            reply = stream_reply(
                conversation,
                tools,
                max_steps=job.settings.max_steps,
                tool_limits=ToolLimits(
                    timeout=job.settings.tool_timeout_ms / 1000.0, secrets=secrets
                ),
            )
            async with aclosing(reply) as chunks:
                async for chunk in chunks:
                    progress.note(chunk)
                    if not await writer.write(chunk):
                        return
        finally:
            await wire.aclose()
    except LLMError as error:
        progress.fail(redact(str(error), *secrets), error.kind)
    except ConfigError as error:
        progress.fail(redact(str(error), *secrets), "config")
    except Exception as error:
        text = f"The reply could not be produced: {type(error).__name__}: {error}"
        text = redact(text, *secrets)
        console.error(text)
        progress.fail(text, "internal")


def _system(given: str | None, stored: str) -> str | None:
    return "\n\n".join(filter(None, (given, stored))) or None


def _ending(writer: DeltaWriter, progress: _Progress) -> dict[str, Any]:
    """The arguments of `streaming:finalize`, but for whose stream it is."""
    ending: dict[str, Any] = {}
    if progress.usage is not None:
        ending["usage"] = progress.usage
    if writer.state == "full":
        text = "The reply is longer than a message may be. Ask for less at once."
        progress.fail(text, "reply-too-long")
    elif writer.state == "failed":
        text = f"The reply could not be saved: {writer.error}"
        progress.fail(text[:MAX_ERROR_LENGTH], "internal")
    elif writer.stop_requested.is_set():
        return ending | {"outcome": "stopped", "finishReason": "aborted"}
    reason = progress.finish_reason or "other"
    if reason not in ("error", "interrupted"):
        return ending | {"outcome": "complete", "finishReason": reason}
    return ending | {
        "outcome": "failed",
        "finishReason": reason,
        "error": progress.error or "The model call failed.",
        "errorKind": progress.error_kind,
    }


async def _finalize(
    ctx: Any, job: Job, ending: dict[str, Any], retry_for: float
) -> None:
    args = {"streamId": job.stream_id, "epoch": job.epoch, **ending}
    await call_patiently(
        ctx.run_mutation, "streaming:finalize", args, retry_for=retry_for
    )


async def follow(ctx: Any, message_id: str) -> dict[str, Any]:
    """Wait for the end of a reply, whoever writes it; what it came to.

    Raises StillStreaming after `FOLLOW_FOR` seconds.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + FOLLOW_FOR
    delay = 0.05
    while True:
        result = await ctx.run_query("streaming:result", {"messageId": message_id})
        if result["status"] not in UNFINISHED:
            return cast(dict[str, Any], result)
        if loop.time() > give_up_at:
            raise refusal(
                "StillStreaming",
                f"The reply is still being written after {FOLLOW_FOR:g} s. "
                "Follow it with messages:byTask.",
                messageId=message_id,
            )
        await asyncio.sleep(delay)
        delay = min(2 * delay, 0.5)
