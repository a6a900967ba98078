"""Tasks: a title."""

from __future__ import annotations

from typing import Any

from kit.deployment.functions import mutation
from kit.values import v


@mutation(args={"title": v.string()}, returns=v.id("tasks"))
async def create(ctx: Any, args: dict[str, Any]) -> Any:
    return await ctx.db.insert("tasks", args)
