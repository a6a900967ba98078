"""Small rows: what a deployment can store of them per second."""

from __future__ import annotations

from typing import Any

from kit.deployment.functions import mutation
from kit.values import v


@mutation(args={"body": v.string()}, returns=v.id("notes"))
async def add(ctx: Any, args: dict[str, Any]) -> Any:
    return await ctx.db.insert("notes", args)
