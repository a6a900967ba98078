"""Tasks: one conversation each, with the status of its latest reply.

Whoever created a task while signed in has it for themselves (`_owners`).
"""

from __future__ import annotations

from typing import Any

from kit.convex._errors import refusal, whole_number
from kit.convex._owners import caller, own_task, require_task
from kit.convex._removal import refuse_while_streaming, remove_content
from kit.convex.schema import task_fields
from kit.deployment.functions import (
    UNSET,
    internal_mutation,
    internal_query,
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
    task = {"title": title, "status": "INITIALIZING"}
    owner = await caller(ctx)
    if owner is not None:
        task["ownerId"] = owner
    return await ctx.db.insert("tasks", task)


@query(args={"taskId": v.id("tasks")}, returns=v.union(task, v.null()))
async def get(ctx: Any, args: dict[str, Any]) -> Any:
    """The task, or null if it does not exist."""
    return await own_task(ctx, args["taskId"])


@query(args={"limit": v.optional(v.number())}, returns=v.array(task))
async def list(ctx: Any, args: dict[str, Any]) -> Any:
    """The newest `limit` (50) tasks of the caller, newest first."""
    limit = whole_number(args.get("limit", 50), "limit", 1, MAX_LISTED)
    owner = await caller(ctx)
    return await _tasks_of(ctx, owner).order("desc").take(limit)


@query(
    args={"paginationOpts": pagination_opts_validator},
    returns=pagination_result_validator(task),
)
async def page(ctx: Any, args: dict[str, Any]) -> Any:
    """All tasks of the caller, oldest first, page by page: Convex's own pagination."""
    owner = await caller(ctx)
    return await _tasks_of(ctx, owner).paginate(args["paginationOpts"])


@internal_query(
    args={"paginationOpts": pagination_opts_validator},
    returns=pagination_result_validator(task),
)
async def pageOfAll(ctx: Any, args: dict[str, Any]) -> Any:
    """`page` of the tasks of everybody, for an admin."""
    return await ctx.db.query("tasks").paginate(args["paginationOpts"])


@mutation(args={"taskId": v.id("tasks")}, returns=v.null())
async def remove(ctx: Any, args: dict[str, Any]) -> Any:
    """Delete a task and all that was said in it.

    The task is gone at once, and so is a short conversation; the rest of a long one
    follows within moments. Refused while a reply is being written or queued
    (`StreamActive`).
    """
    task_id = args["taskId"]
    await require_task(ctx, task_id)
    await refuse_while_streaming(ctx, task_id)
    await ctx.db.delete(task_id)
    await remove_content(ctx, task_id)


@internal_mutation(args={"taskId": v.id("tasks")}, returns=v.null())
async def removeContent(ctx: Any, args: dict[str, Any]) -> Any:
    """Go on deleting what belonged to a task that is gone."""
    await remove_content(ctx, args["taskId"])


def _tasks_of(ctx: Any, owner: str | None) -> Any:
    """The tasks of a caller; those of nobody for who is not signed in."""
    return ctx.db.query("tasks").with_index(
        "by_ownerId", lambda q: q.eq("ownerId", UNSET if owner is None else owner)
    )
