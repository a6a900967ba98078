"""Messages as the guide's application keeps them on Convex.

A message is one document: `content`, and `metadataJson` with its parts as JSON text, a
text part for every token. `appendStreamDelta` reads the document, adds a part, and
writes all of it again; `byTask` gives all messages of a task, so that each token sends
the whole of them to every viewer.

Mirrors `appendStreamDelta` and `byTask` of the application that the guide was written
for. `partPerToken` is false for a kinder reading of it, in which the message holds its
text and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

from kit.deployment.functions import internal_mutation, query
from kit.values import v


@query(args={"taskId": v.id("tasks")}, returns=v.array(v.any()))
async def byTask(ctx: Any, args: dict[str, Any]) -> Any:
    return (
        await ctx.db.query("chatMessages")
        .with_index("by_task_sequence", lambda q: q.eq("taskId", args["taskId"]))
        .collect()
    )


@internal_mutation(
    args={"taskId": v.id("tasks"), "prompt": v.string()},
    returns=v.id("chatMessages"),
)
async def begin(ctx: Any, args: dict[str, Any]) -> Any:
    """Store the prompt and an empty reply; the reply's id."""
    last = (
        await ctx.db.query("chatMessages")
        .with_index("by_task_sequence", lambda q: q.eq("taskId", args["taskId"]))
        .order("desc")
        .first()
    )
    message = {
        "taskId": args["taskId"],
        "metadataJson": json.dumps({"parts": []}),
        "sequence": 0.0 if last is None else last["sequence"] + 1.0,
    }
    prompt = {"role": "USER", "content": args["prompt"], "status": "complete"}
    await ctx.db.insert("chatMessages", {**message, **prompt})
    message["sequence"] += 1.0
    reply = {"role": "ASSISTANT", "content": "", "status": "streaming"}
    return await ctx.db.insert("chatMessages", {**message, **reply})


@internal_mutation(
    args={
        "messageId": v.id("chatMessages"),
        "deltaText": v.string(),
        "partPerToken": v.boolean(),
    },
    returns=v.null(),
)
async def appendStreamDelta(ctx: Any, args: dict[str, Any]) -> Any:
    message = await ctx.db.get(args["messageId"])
    delta = args["deltaText"]
    fields = {"content": message["content"] + delta}
    if args["partPerToken"]:
        metadata = json.loads(message["metadataJson"])
        metadata["parts"].append({"type": "text", "text": delta})
        fields["metadataJson"] = json.dumps(metadata, ensure_ascii=False)
    await ctx.db.patch(message["_id"], fields)


@internal_mutation(args={"messageId": v.id("chatMessages")}, returns=v.null())
async def complete(ctx: Any, args: dict[str, Any]) -> Any:
    await ctx.db.patch(args["messageId"], {"status": "complete"})
