"""Streaming a reply: ask for one, follow it, stop it; and what its producer calls.

For clients: `streamChatWithTools`, `send`, `read`, `catchUp`, `cancelStream`,
`stopTask`. All else is internal: only actions and the scheduler reach it.

One reply at a time is written in a task. What becomes of a message that is sent
meanwhile is for its sender to say, by `whenActive`:

| whenActive | the message | the reply being written | what was queued |
|---|---|---|---|
| `reject` (or none) | is refused: `StreamActive` | goes on | stays |
| `interrupt` | is answered now | is stopped, its text kept | is dropped: `stopped` |
| `queue` | is stored, `queued`; `QueueFull` beyond 16 | goes on | comes before it |

Queued messages are answered in the order in which they were accepted, each when all
earlier replies of the task have ended, in whatever way. `stopTask` stops the reply and
drops the queue; `cancelStream` ends just the one message.

A viewer lists `messages:byTask`. For a row that is `streaming`, it makes one `catchUp`
call from 0, then subscribes to the page of `read` that holds the next seq, moves on to
the next page when that one is full, and ignores what it has seen. When the row is
final, the row has the parts.
"""

from __future__ import annotations

from typing import Any

from kit.convex import _begin, _endings, _log
from kit.convex._errors import whole_number
from kit.convex._generate import Job, follow, produce, wait_for_turn
from kit.convex._messages import history_before, result_of
from kit.convex._owners import own_stream, require_message, require_task
from kit.convex._requests import checked_request
from kit.convex._settings import Settings
from kit.convex._sweeps import end_sweeping, is_current, keep_sweeping
from kit.convex.schema import (
    chunk,
    error_kind,
    finish_reason,
    message_status,
    outcome,
    usage,
    when_active,
)
from kit.deployment.functions import (
    action,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from kit.values import v

begun = v.object(
    {
        "promptMessageId": v.id("chatMessages"),
        "messageId": v.id("chatMessages"),
        "streamId": v.id("streams"),
        "epoch": v.number(),
        "status": message_status,
        "reused": v.boolean(),
    }
)
append_reply = v.object(
    {
        "status": v.union(
            v.literal("ok"),
            v.literal("queued"),
            v.literal("closed"),
            v.literal("fenced"),
            v.literal("gap"),
            v.literal("full"),
        ),
        "stop": v.boolean(),
        "nextSeq": v.number(),
    }
)
delta = v.object({"seq": v.number(), "chunks": v.array(chunk)})
result_fields = {
    "status": message_status,
    "text": v.string(),
    "toolCallIds": v.array(v.string()),
    "usage": v.union(usage, v.null()),
    "finishReason": v.union(finish_reason, v.null()),
    "error": v.union(v.string(), v.null()),
    "errorKind": v.union(error_kind, v.null()),
}


# --- asking for a reply -----------------------------------------------------------


@action(
    args=v.any(),  # checked by hand, so that no error shows a key
    returns=v.object(
        {
            "success": v.boolean(),
            "messageId": v.id("chatMessages"),
            "promptMessageId": v.id("chatMessages"),
            "streamId": v.id("streams"),
            "reused": v.boolean(),
            **result_fields,
        }
    ),
)
async def streamChatWithTools(ctx: Any, args: dict[str, Any]) -> Any:
    """Answer a prompt, and return when the reply has ended.

    Arguments: `taskId`, `prompt`, `model`, `systemPrompt?`, `llmModel?` (the name to
    show), `apiKeys?` (`openrouter`, `anthropic`, `openai`), `clientMessageId?`,
    `tools?` (names of built-in tools; none if absent), `whenActive?` (`reject`,
    `interrupt`, `queue`: see the module).

    Called again with the same `clientMessageId`, it starts nothing: it follows the
    first reply to its end and returns that, `reused`.

    `success` is false when the message has failed: `error` says why, as a key that the
    provider refuses, and `errorKind` says it for programs (`kit.errors.ErrorKind`);
    text that came before is kept. A reply that somebody stopped is a
    success with status `stopped`. Nothing was begun, and a ConvexError thrown, when the
    arguments cannot be used, the task does not exist, or an earlier reply has not ended
    and `whenActive` does not help (`StreamActive`, `QueueFull`).

    Queued, it waits for its turn, because its keys are nowhere else: that counts as
    time of the action, which is limited. Should it die, the message fails after its
    lease, and the next one's turn comes.
    """
    request, api_keys = checked_request(args, takes_keys=True)
    settings = Settings.read()
    started = await ctx.run_mutation("streaming:begin", _beginning(request, settings))
    message_id = started["messageId"]
    if not started["reused"]:
        job = Job(
            stream_id=started["streamId"],
            message_id=message_id,
            epoch=int(started["epoch"]),
            model=request["model"],
            settings=settings,
            system_prompt=request.get("systemPrompt"),
            tools=tuple(request.get("tools", ())),
            api_keys=api_keys,
        )
        if started["status"] == "queued":
            await wait_for_turn(ctx, job)
        await produce(ctx, job)
    result = await follow(ctx, message_id)
    return {
        "success": result["status"] != "failed",
        "messageId": message_id,
        "promptMessageId": started["promptMessageId"],
        "streamId": started["streamId"],
        "reused": started["reused"],
        **result,
    }


@mutation(args=v.any(), returns=begun)
async def send(ctx: Any, args: dict[str, Any]) -> Any:
    """Begin a reply and schedule its generation; returns at once.

    Takes what streamChatWithTools takes, without `apiKeys`: the keys are the
    deployment's own. The reply does not depend on the caller's staying connected, nor
    does its turn, when it is queued: it is scheduled as the last earlier reply ends.
    """
    request, _ = checked_request(args, takes_keys=False)
    job = {"model": request["model"], "tools": request.get("tools", [])}
    if "systemPrompt" in request:
        job["systemPrompt"] = request["systemPrompt"]
    return await _begin.begin(ctx, _beginning(request, Settings.read()), job)


def _beginning(request: dict[str, Any], settings: Settings) -> dict[str, Any]:
    names = ("taskId", "prompt", "model", "llmModel", "clientMessageId", "whenActive")
    fields = {name: request[name] for name in names if name in request}
    return fields | {"leaseMs": settings.lease_ms}


# --- following it -----------------------------------------------------------------


@query(
    args={"streamId": v.id("streams"), "page": v.number()},
    returns=v.object({"deltas": v.array(delta), "writtenAt": v.optional(v.number())}),
)
async def read(ctx: Any, args: dict[str, Any]) -> Any:
    """One page of a stream: four deltas, from seq 4 * page on, as far as they exist.

    `writtenAt`: when the newest of them was, in milliseconds of the epoch. Deltas
    are deleted an hour after the reply has ended.
    """
    page = whole_number(args["page"], "page", 0, _log.MAX_LOG_DELTAS)
    if await own_stream(ctx, args["streamId"]) is None:
        return {"deltas": []}
    return await _log.page(ctx, args["streamId"], page)


@query(
    args={"streamId": v.id("streams"), "from": v.number()},
    returns=v.object(
        {"deltas": v.array(delta), "nextSeq": v.number(), "more": v.boolean()}
    ),
)
async def catchUp(ctx: Any, args: dict[str, Any]) -> Any:
    """The deltas from seq `from` on, up to about a mebibyte.

    Call it again from `nextSeq` while `more`. Not to be subscribed to: it would send
    all again with each append.
    """
    first = whole_number(args["from"], "from", 0, _log.MAX_LOG_DELTAS)
    if await own_stream(ctx, args["streamId"]) is None:
        return {"deltas": [], "nextSeq": first, "more": False}
    deltas, more = await _log.catch_up(ctx, args["streamId"], first)
    next_seq = deltas[-1]["seq"] + 1 if deltas else first
    return {"deltas": deltas, "nextSeq": next_seq, "more": more}


# --- stopping it ------------------------------------------------------------------


@mutation(
    args={"messageId": v.id("chatMessages")},
    returns=v.object({"stopping": v.boolean(), "status": message_status}),
)
async def cancelStream(ctx: Any, args: dict[str, Any]) -> Any:
    """Stop the reply that is this message; `stopping` is false if it had ended.

    One that is queued is `stopped` at once; those behind it stay queued.
    """
    message = await require_message(ctx, args["messageId"])
    if "streamId" not in message:
        return {"stopping": False, "status": message["status"]}
    status = await _endings.request_stop(ctx, await ctx.db.get(message["streamId"]))
    return {"stopping": status is not None, "status": status or message["status"]}


@mutation(
    args={"taskId": v.id("tasks")},
    returns=v.object({"messageIds": v.array(v.id("chatMessages"))}),
)
async def stopTask(ctx: Any, args: dict[str, Any]) -> Any:
    """Stop what is being written in a task, and drop what is queued.

    The messages that are stopping now, and then those that were queued and are now
    `stopped`: their prompts stay.
    """
    await require_task(ctx, args["taskId"])
    return {"messageIds": await _endings.stop_all(ctx, args["taskId"])}


# --- what a producer calls --------------------------------------------------------


@internal_mutation(
    args={
        "taskId": v.id("tasks"),
        "prompt": v.string(),
        "model": v.string(),
        "llmModel": v.optional(v.string()),
        "clientMessageId": v.optional(v.string()),
        "whenActive": v.optional(when_active),
        "leaseMs": v.number(),
    },
    returns=begun,
)
async def begin(ctx: Any, args: dict[str, Any]) -> Any:
    """Store the prompt and an empty reply, and open its stream; or find them again.

    For whom the action that calls it was called, which is its producer. If the reply is
    `queued`, heartbeats keep its lease, and say `queued` until it is its turn.
    """
    return await _begin.begin(ctx, args)


@internal_mutation(
    args={
        "streamId": v.id("streams"),
        "epoch": v.number(),
        "seq": v.number(),
        "chunks": v.array(chunk),
    },
    returns=append_reply,
)
async def append(ctx: Any, args: dict[str, Any]) -> Any:
    """Add one delta, exactly once, in order. Every reply says if a stop is wanted."""
    return await _log.append(
        ctx, args["streamId"], args["epoch"], args["seq"], args["chunks"]
    )


@internal_mutation(
    args={"streamId": v.id("streams"), "epoch": v.number()}, returns=append_reply
)
async def heartbeat(ctx: Any, args: dict[str, Any]) -> Any:
    """Say that the producer lives, though it has nothing to append, or is queued."""
    return await _log.beat(ctx, args["streamId"], args["epoch"])


@internal_mutation(
    args={
        "streamId": v.id("streams"),
        "epoch": v.number(),
        "outcome": outcome,
        "finishReason": v.optional(finish_reason),
        "usage": v.optional(usage),
        "error": v.optional(v.string()),
        "errorKind": v.optional(error_kind),
    },
    returns=append_reply,
)
async def finalize(ctx: Any, args: dict[str, Any]) -> Any:
    """End the reply: parts, status, usage and the task's status in one transaction.

    Safe to repeat: the second time it is `closed`.
    """
    ending = _endings.Ending(
        args["outcome"],
        args.get("finishReason"),
        usage=args.get("usage"),
        error=args.get("error"),
        error_kind=args.get("errorKind", "internal"),
    )
    return await _endings.finalize(ctx, args["streamId"], args["epoch"], ending)


@internal_query(
    args={"messageId": v.id("chatMessages")},
    returns=v.object(
        {
            "system": v.string(),
            "turns": v.array(
                v.object(
                    {
                        "role": v.union(v.literal("user"), v.literal("assistant")),
                        "text": v.string(),
                    }
                )
            ),
        }
    ),
)
async def context(ctx: Any, args: dict[str, Any]) -> Any:
    """What the model is to know before it writes this message."""
    return await history_before(ctx, args["messageId"])


@internal_query(
    args={"messageId": v.id("chatMessages")}, returns=v.object(result_fields)
)
async def result(ctx: Any, args: dict[str, Any]) -> Any:
    """What the reply came to; only the status says something before its end."""
    return await result_of(ctx, args["messageId"])


@internal_action(
    args={
        "streamId": v.id("streams"),
        "messageId": v.id("chatMessages"),
        "epoch": v.number(),
        "model": v.string(),
        "systemPrompt": v.optional(v.string()),
        "tools": v.array(v.string()),
    },
    returns=v.null(),
)
async def generate(ctx: Any, args: dict[str, Any]) -> Any:
    """Produce a reply that `send` asked for, with the keys of the environment."""
    await produce(
        ctx,
        Job(
            stream_id=args["streamId"],
            message_id=args["messageId"],
            epoch=int(args["epoch"]),
            model=args["model"],
            settings=Settings.read(),
            system_prompt=args.get("systemPrompt"),
            tools=tuple(args["tools"]),
        ),
    )


# --- what the scheduler calls -----------------------------------------------------


@internal_mutation(args={"streamId": v.id("streams")}, returns=v.null())
async def watchdog(ctx: Any, args: dict[str, Any]) -> Any:
    """End a reply whose producer is silent for too long, or does not stop."""
    await _endings.watch(ctx, args["streamId"])


@internal_mutation(
    args={"dueAt": v.optional(v.number())},
    returns=v.object({"live": v.number(), "overdue": v.number()}),
)
async def sweep(ctx: Any, args: dict[str, Any]) -> Any:
    """Find streams that their watchdog has missed, and set another one on them.

    `dueAt` marks a run of the chain of sweeps: it schedules the next one.
    """
    due = args.get("dueAt")
    if due is not None and not await is_current(ctx, due):
        return {"live": 0, "overdue": 0}
    found = await _endings.sweep(ctx)
    if due is not None and found["live"]:
        await keep_sweeping(ctx, after=due)
    elif due is not None:
        await end_sweeping(ctx)
    return found


@internal_mutation(args={"streamId": v.id("streams")}, returns=v.null())
async def deleteDeltas(ctx: Any, args: dict[str, Any]) -> Any:
    """Delete the log of a reply that has ended; the message has its parts."""
    await _log.delete_deltas(ctx, args["streamId"])
