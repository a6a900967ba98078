"""Who calls: what functions are told of a client with a token."""

from typing import Any

from kit.deployment.functions import (
    action,
    internal_query,
    mutation,
    query,
)


@query(args={})
async def whoami(ctx: Any, args: Any) -> Any:
    user = await ctx.auth.get_user_identity()
    return user and user["subject"]


@query(args={})
async def identity(ctx: Any, args: Any) -> Any:
    return await ctx.auth.get_user_identity()


@query(args={})
async def public(ctx: Any, args: Any) -> Any:
    return "for everybody"


@mutation(args={})
async def whoamiByMutation(ctx: Any, args: Any) -> Any:
    return await ctx.run_query("users:whoami", {})


@action(args={})
async def whoamiByAction(ctx: Any, args: Any) -> Any:
    return await ctx.run_mutation("users:whoamiByMutation", {})


@internal_query(args={})
async def secret(ctx: Any, args: Any) -> Any:
    return await ctx.auth.get_user_identity() or "nobody"
