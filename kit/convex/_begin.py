"""Beginning a reply: its prompt, its message, its stream; once per message sent."""

from __future__ import annotations

from typing import Any

from kit.convex._endings import end_if_dead, stop_all
from kit.convex._errors import refusal
from kit.convex._messages import newest_message, reply_to
from kit.convex._owners import require_task
from kit.convex._streams import schedule_generation, streams_of
from kit.convex._sweeps import keep_sweeping
from kit.deployment.functions import UNSET

__all__ = ["begin", "find_by_client_id"]

MAX_PROMPT_BYTES = 512 * 1024
MAX_SYSTEM_PROMPT_BYTES = 512 * 1024
"""Of a queued message, whose system prompt is stored until its turn."""
MAX_QUEUED = 16
"""Messages that may be queued in a task: with their replies, fewer than a viewer lists
of it, so that it always sees the one that is being written."""


async def begin(
    ctx: Any, request: dict[str, Any], job: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Store the prompt and an empty reply, and open the stream of its deltas.

    The reply is `streaming`; or `queued`, if it has to wait and `whenActive` says so.
    Its producer is the caller, who keeps its lease from now on; or, with a `job`, a
    `streaming:generate` that is scheduled when it is the reply's turn.

    With a `clientMessageId` that was sent before, nothing is begun: what it began then
    is returned, `reused`. Raises NotFound, StreamActive, QueueFull,
    ClientMessageIdTaken, BadArguments, Unauthenticated.
    """
    task_id, prompt = request["taskId"], request["prompt"]
    task = await require_task(ctx, task_id)
    _check_request(request)
    client_id = request.get("clientMessageId")
    if client_id is not None:
        known = await find_by_client_id(ctx, task_id, client_id)
        if known is not None:
            return await _reuse(ctx, known, prompt)
    when_active = request.get("whenActive", "reject")
    state = "queued" if await _must_wait(ctx, task_id, when_active) else "streaming"

    sequence = await _next_sequence(ctx, task_id)
    message = {"taskId": task_id, "llmModel": request.get("llmModel", request["model"])}
    prompt_fields = {"role": "USER", "content": prompt, "status": "complete"}
    if client_id is not None:
        prompt_fields["clientMessageId"] = client_id
    prompt_id = await ctx.db.insert(
        "chatMessages", {**message, **prompt_fields, "sequence": sequence}
    )
    message_id = await ctx.db.insert(
        "chatMessages",
        {
            **message,
            "role": "ASSISTANT",
            "content": "",
            "sequence": sequence + 1,
            "status": state,
            "promptMessageId": prompt_id,
        },
    )
    stream: dict[str, Any] = {
        "taskId": task_id,
        "messageId": message_id,
        "epoch": 1,
        "state": state,
        "leaseMs": request["leaseMs"],
        "startedAt": ctx.now(),
    }
    if "ownerId" in task:
        stream["ownerId"] = task["ownerId"]
    stream_id = await _open_stream(ctx, stream, job)
    await ctx.db.patch(message_id, {"streamId": stream_id})
    if state == "streaming":
        await ctx.db.patch(task_id, {"status": "RUNNING", "errorMessage": UNSET})
    return {
        "promptMessageId": prompt_id,
        "messageId": message_id,
        "streamId": stream_id,
        "epoch": 1,
        "status": state,
        "reused": False,
    }


def _check_request(request: dict[str, Any]) -> None:
    if not request["prompt"].strip():
        raise refusal("BadArguments", "The prompt is blank: `prompt` needs some text.")
    size = len(request["prompt"].encode())
    if size > MAX_PROMPT_BYTES:
        raise refusal(
            "BadArguments",
            f"The prompt has {size:,} bytes; a message may have {MAX_PROMPT_BYTES:,}. "
            "Send it in parts.",
        )
    if not request.get("clientMessageId", "id"):
        raise refusal(
            "BadArguments",
            "`clientMessageId` is empty: give each message an id of its own, or none.",
        )


async def find_by_client_id(
    ctx: Any, task_id: str, client_id: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The prompt that was sent with this id, and the reply to it."""
    prompt = (
        await ctx.db.query("chatMessages")
        .with_index(
            "by_task_clientMessageId",
            lambda q: q.eq("taskId", task_id).eq("clientMessageId", client_id),
        )
        .first()
    )
    reply = None if prompt is None else await reply_to(ctx, prompt["_id"])
    return None if prompt is None or reply is None else (prompt, reply)


async def _reuse(
    ctx: Any, known: tuple[dict[str, Any], dict[str, Any]], prompt_text: str
) -> dict[str, Any]:
    prompt, reply = known
    if prompt["content"] != prompt_text:
        raise refusal(
            "ClientMessageIdTaken",
            "This clientMessageId was sent before with another prompt. Use a new id "
            "for each message.",
            messageId=reply["_id"],
        )
    stream = await ctx.db.get(reply["streamId"])
    return {
        "promptMessageId": prompt["_id"],
        "messageId": reply["_id"],
        "streamId": reply["streamId"],
        "epoch": stream["epoch"],
        "status": reply["status"],
        "reused": True,
    }


async def _must_wait(ctx: Any, task_id: str, when_active: str) -> bool:
    """Do what the caller wants with earlier replies; True if this one is to be queued.

    A dead producer's reply is no hindrance. One that is stopping is none either, unless
    something is queued: whoever queues waits for its end.
    """
    if when_active == "interrupt":
        await stop_all(ctx, task_id)
    else:
        for stream in await streams_of(ctx, task_id, "streaming"):
            await end_if_dead(ctx, stream)
    stopping = await streams_of(ctx, task_id, "stopping")
    queued = await streams_of(ctx, task_id, "queued")
    active = await streams_of(ctx, task_id, "streaming") + queued
    if when_active == "queue" and (active or stopping):
        _refuse_long_queue(task_id, queued)
        return True
    if active:
        raise refusal(
            "StreamActive",
            "The reply to an earlier message of this task is still being written. "
            "Stop it first (streaming:stopTask), or wait for its end.",
            taskId=task_id,
            messageId=active[0]["messageId"],
            streamId=active[0]["_id"],
        )
    for stream in stopping:
        await ctx.db.patch(stream["_id"], {"overtaken": True})
    return False


def _refuse_long_queue(task_id: str, queued: list[dict[str, Any]]) -> None:
    if len(queued) >= MAX_QUEUED:
        raise refusal(
            "QueueFull",
            f"{MAX_QUEUED} messages of this task are queued already. Wait until one "
            "has begun to be answered, or drop them (streaming:stopTask).",
            taskId=task_id,
        )


async def _next_sequence(ctx: Any, task_id: str) -> float:
    last = await newest_message(ctx, task_id)
    return 0.0 if last is None else float(last["sequence"] + 1.0)


async def _open_stream(
    ctx: Any, stream: dict[str, Any], job: dict[str, Any] | None
) -> str:
    waits = stream["state"] == "queued"
    if waits and job is not None:
        job_id = await ctx.db.insert("queuedJobs", _checked_job(job))
        stream = {**stream, "jobId": job_id}
    stream_id: str = await ctx.db.insert("streams", stream)
    head = {"streamId": stream_id, "epoch": 1, "nextSeq": 0, "bytes": 0}
    await ctx.db.insert("streamHeads", {**head, "beatAt": stream["startedAt"]})
    if not waits and job is not None:
        await schedule_generation(ctx, {**stream, "_id": stream_id}, job)
    if "jobId" not in stream:  # it has, or is about to have, a producer
        await ctx.scheduler.run_after(
            stream["leaseMs"], "streaming:watchdog", {"streamId": stream_id}
        )
    await keep_sweeping(ctx)
    return stream_id


def _checked_job(job: dict[str, Any]) -> dict[str, Any]:
    size = len(job.get("systemPrompt", "").encode())
    if size > MAX_SYSTEM_PROMPT_BYTES:
        raise refusal(
            "BadArguments",
            f"The system prompt has {size:,} bytes; that of a queued message may have "
            f"{MAX_SYSTEM_PROMPT_BYTES:,}.",
        )
    return job
