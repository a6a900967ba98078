"""Functions that look at who calls them."""

from typing import Any

from kit.deployment.functions import (
    action,
    internal_action,
    internal_query,
    mutation,
    query,
)
from kit.values import v

OPTIONAL_NAME = v.union(v.string(), v.null())


async def name_of(ctx: Any) -> str | None:
    identity = await ctx.auth.get_user_identity()
    return None if identity is None else identity["subject"]


@query(args={})
async def whoami(ctx: Any, args: Any) -> Any:
    return await ctx.auth.get_user_identity()


@query(args={"channel": v.string()})
async def greet(ctx: Any, args: Any) -> Any:
    """Who calls, and how many notes a channel has."""
    notes = await ctx.run_query("notes:list", args)
    return f"{await name_of(ctx)} sees {len(notes)}"


@query(args={"channel": v.string()})
async def secretive(ctx: Any, args: Any) -> Any:
    """Asks who calls only once there is something in the channel."""
    notes = await ctx.run_query("notes:list", args)
    return [await name_of(ctx), *notes] if notes else []


@query(args={})
async def membersOnly(ctx: Any, args: Any) -> Any:
    if await name_of(ctx) is None:
        raise Exception("Not authenticated")
    return "welcome"


@mutation(args={"channel": v.string()})
async def sign(ctx: Any, args: Any) -> Any:
    """Adds a note with the caller's name."""
    name = await name_of(ctx)
    await ctx.db.insert("notes", {"channel": args["channel"], "body": str(name)})
    return name


@mutation(args={"channel": v.string()})
async def signLater(ctx: Any, args: Any) -> Any:
    await ctx.scheduler.run_after(0, "users:sign", args)
    await ctx.scheduler.run_after(0, "users:signByAction", args)


@action(args={"channel": v.string()})
async def signByAction(ctx: Any, args: Any) -> Any:
    """Who the action, a query, a mutation and an action called by it are told of."""
    return [
        await name_of(ctx),
        await ctx.run_query("users:internalName"),
        await ctx.run_mutation("users:sign", args),
        await ctx.run_action("users:internalNameByAction"),
    ]


@internal_query(args={}, returns=OPTIONAL_NAME)
async def internalName(ctx: Any, args: Any) -> Any:
    return await name_of(ctx)


@internal_action(args={}, returns=OPTIONAL_NAME)
async def internalNameByAction(ctx: Any, args: Any) -> Any:
    return await name_of(ctx)
