"""Messages: what a viewer of a task lists, and who copies one reads.

A reply appears when it is asked for, changes when it was queued and begins, when
somebody stops it, and once more, with its parts, when it has ended: never while it is
being written. What it grows by is in `streaming:read`.
"""

from __future__ import annotations

import math
from typing import Any

from kit.convex import _begin
from kit.convex._errors import whole_number
from kit.convex._messages import newest, oldest
from kit.convex._owners import own_task
from kit.convex.schema import message_fields, message_status
from kit.deployment.functions import internal_query, query
from kit.values import Validator, v
from kit.values.validators import OptionalField

MAX_LISTED = 200

message = v.object(
    {"_id": v.id("chatMessages"), "_creationTime": v.number(), **message_fields}
)
page_args: dict[str, Validator | OptionalField] = {
    "taskId": v.id("tasks"),
    "after": v.optional(v.number()),
    "limit": v.optional(v.number()),
}
page_of_messages = v.object({"messages": v.array(message), "more": v.boolean()})


@query(
    args={"taskId": v.id("tasks"), "limit": v.optional(v.number())},
    returns=v.array(message),
)
async def byTask(ctx: Any, args: dict[str, Any]) -> Any:
    """The newest `limit` (50) messages of a task, in order.

    Fewer, if together they would be larger than 8 MiB. A row whose status is
    `streaming` or `stopping` has no parts yet: they are in the stream's deltas. A
    `queued` one becomes `streaming` when its turn comes.
    """
    limit = whole_number(args.get("limit", 50), "limit", 1, MAX_LISTED)
    if await own_task(ctx, args["taskId"]) is None:
        return []
    return await newest(ctx, args["taskId"], limit)


@query(args=page_args, returns=page_of_messages)
async def page(ctx: Any, args: dict[str, Any]) -> Any:
    """The first `limit` (50) messages of a task after the sequence `after`, in order.

    Fewer, if together they would be larger than 8 MiB. While `more`, call again with
    the last one's sequence: that reads a task of any length, oldest first.
    """
    limit = whole_number(args.get("limit", 50), "limit", 1, MAX_LISTED)
    if await own_task(ctx, args["taskId"]) is None:
        return {"messages": [], "more": False}
    after = args.get("after", -math.inf)
    return await oldest(ctx, args["taskId"], limit, above=after)


@internal_query(args=page_args, returns=page_of_messages)
async def pageOfAny(ctx: Any, args: dict[str, Any]) -> Any:
    """`page` of anybody's task, for an admin."""
    limit = whole_number(args.get("limit", 50), "limit", 1, MAX_LISTED)
    after = args.get("after", -math.inf)
    return await oldest(ctx, args["taskId"], limit, above=after)


@query(
    args={"taskId": v.id("tasks"), "clientMessageId": v.string()},
    returns=v.union(
        v.null(),
        v.object(
            {
                "promptMessageId": v.id("chatMessages"),
                "messageId": v.id("chatMessages"),
                "streamId": v.id("streams"),
                "status": message_status,
            }
        ),
    ),
)
async def byClientMessageId(ctx: Any, args: dict[str, Any]) -> Any:
    """What was begun for a message, by the id that its sender gave it; or null."""
    if await own_task(ctx, args["taskId"]) is None:
        return None
    known = await _begin.find_by_client_id(ctx, args["taskId"], args["clientMessageId"])
    if known is None:
        return None
    prompt, reply = known
    return {
        "promptMessageId": prompt["_id"],
        "messageId": reply["_id"],
        "streamId": reply["streamId"],
        "status": reply["status"],
    }
