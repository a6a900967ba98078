"""Tasks: one conversation each, with the status of its latest reply."""

from __future__ import annotations

from typing import Any

from kit.convex._errors import refusal, whole_number
from kit.convex._removal import refuse_while_streaming, remove_content
from kit.convex.schema import task_fields
from kit.deployment.functions import (
    internal_mutation,
    mutation,
    pagination_opts_validator,
    pagination_result_validator,
    query,
)
from kit.values import v

MAX_LISTED = 200

task = v.object({"_id": v.id("tasks"), "_creationTime": v.number(), **task_fields})


@mutation(args={"title": v.string()}, returns=v.id("tasks"))
async def create(ctx: Any, args: dict[str, Any]) -> Any:
    """A new task, INITIALIZING until its first reply begins."""
    title = args["title"].strip()
    if not title:
        raise refusal("BadArguments", "A task needs a title: `title` is blank.")
    return await ctx.db.insert("tasks", {"title": title, "status": "INITIALIZING"})


@query(args={"taskId": v.id("tasks")}, returns=v.union(task, v.null()))
async def get(ctx: Any, args: dict[str, Any]) -> Any:
    """The task, or null if it does not exist."""
    return await ctx.db.get(args["taskId"])


@query(args={"limit": v.optional(v.number())}, returns=v.array(task))
async def list(ctx: Any, args: dict[str, Any]) -> Any:
    """The newest `limit` (50) tasks, newest first."""
    limit = whole_number(args.get("limit", 50), "limit", 1, MAX_LISTED)
    return await ctx.db.query("tasks").order("desc").take(limit)


@query(
    args={"paginationOpts": pagination_opts_validator},
    returns=pagination_result_validator(task),
)
async def page(ctx: Any, args: dict[str, Any]) -> Any:
    """All tasks, oldest first, page by page: Convex's own pagination."""
    return await ctx.db.query("tasks").paginate(args["paginationOpts"])


@mutation(args={"taskId": v.id("tasks")}, returns=v.null())
async def remove(ctx: Any, args: dict[str, Any]) -> Any:
    """Delete a task and all that was said in it.

    The task is gone at once, and so is a short conversation; the rest of a long one
    follows within moments. Refused while a reply is being written (`StreamActive`).
    """
    task_id = args["taskId"]
    if await ctx.db.get(task_id) is None:
        raise refusal("NotFound", f"There is no task {task_id}.", taskId=task_id)
    await refuse_while_streaming(ctx, task_id)
    await ctx.db.delete(task_id)
    await remove_content(ctx, task_id)


@internal_mutation(args={"taskId": v.id("tasks")}, returns=v.null())
async def removeContent(ctx: Any, args: dict[str, Any]) -> Any:
    """Go on deleting what belonged to a task that is gone."""
    await remove_content(ctx, args["taskId"])
