"""Beginning a reply: its prompt, its message, its stream; once per message sent."""

from __future__ import annotations

from typing import Any

from kit.convex._endings import end_if_dead
from kit.convex._errors import refusal
from kit.convex._messages import newest_message, reply_to
from kit.convex._owners import require_task
from kit.convex._streams import streams_of
from kit.convex._sweeps import keep_sweeping
from kit.deployment.functions import UNSET

__all__ = ["begin", "find_by_client_id"]

MAX_PROMPT_BYTES = 512 * 1024


async def begin(ctx: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Store the prompt and an empty reply, and open the stream of its deltas.

    With a `clientMessageId` that was sent before, nothing is begun: what it began then
    is returned, `reused`. Raises NotFound, StreamActive, ClientMessageIdTaken,
    BadArguments, Unauthenticated.
    """
    task_id, prompt = request["taskId"], request["prompt"]
    task = await require_task(ctx, task_id)
    _check_request(request)
    client_id = request.get("clientMessageId")
    if client_id is not None:
        known = await find_by_client_id(ctx, task_id, client_id)
        if known is not None:
            return await _reuse(ctx, known, prompt)
    await _refuse_second_stream(ctx, task_id)

    now = ctx.now()
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
            "status": "streaming",
            "promptMessageId": prompt_id,
        },
    )
    stream_id = await _open_stream(ctx, task, message_id, request["leaseMs"], now)
    await ctx.db.patch(message_id, {"streamId": stream_id})
    await ctx.db.patch(task_id, {"status": "RUNNING", "errorMessage": UNSET})
    return {
        "promptMessageId": prompt_id,
        "messageId": message_id,
        "streamId": stream_id,
        "epoch": 1,
        "status": "streaming",
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


async def _refuse_second_stream(ctx: Any, task_id: str) -> None:
    """One reply at a time; a stopping one and a dead producer's do not count."""
    for stream in await streams_of(ctx, task_id, "streaming"):
        if await end_if_dead(ctx, stream):
            continue
        raise refusal(
            "StreamActive",
            "The reply to an earlier message of this task is still being written. "
            "Stop it first (streaming:stopTask), or wait for its end.",
            taskId=task_id,
            messageId=stream["messageId"],
            streamId=stream["_id"],
        )


async def _next_sequence(ctx: Any, task_id: str) -> float:
    last = await newest_message(ctx, task_id)
    return 0.0 if last is None else float(last["sequence"] + 1.0)


async def _open_stream(
    ctx: Any, task: dict[str, Any], message_id: str, lease_ms: float, now: float
) -> str:
    stream = {
        "taskId": task["_id"],
        "messageId": message_id,
        "epoch": 1,
        "state": "streaming",
        "leaseMs": lease_ms,
        "startedAt": now,
    }
    if "ownerId" in task:
        stream["ownerId"] = task["ownerId"]
    stream_id: str = await ctx.db.insert("streams", stream)
    head = {"streamId": stream_id, "epoch": 1, "nextSeq": 0, "bytes": 0, "beatAt": now}
    await ctx.db.insert("streamHeads", head)
    await ctx.scheduler.run_after(
        lease_ms, "streaming:watchdog", {"streamId": stream_id}
    )
    await keep_sweeping(ctx)
    return stream_id
