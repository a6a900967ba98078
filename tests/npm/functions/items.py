"""Items of lists, by rank: what clients page through."""

from typing import Any

from kit.deployment.functions import mutation, query
from kit.deployment.pagination import (
    pagination_opts_validator,
    pagination_result_validator,
)
from kit.values import v

PAGE = {"list": v.string(), "paginationOpts": pagination_opts_validator}


@query(args=PAGE, returns=pagination_result_validator(v.number()))
async def page(ctx: Any, args: Any) -> Any:
    """Ranks, one page of them, in the order that `reorder` has set."""
    items = ctx.db.query("items").with_index(
        "by_list_rank", lambda q: q.eq("list", args["list"])
    )
    order = await _order(ctx, args["list"])
    result = await items.order(order).paginate(args["paginationOpts"])
    return {**result, "page": [item["rank"] for item in result["page"]]}


@query(args=PAGE)
async def pageDocuments(ctx: Any, args: Any) -> Any:
    """The same with whole items, first rank first."""
    items = ctx.db.query("items").with_index(
        "by_list_rank", lambda q: q.eq("list", args["list"])
    )
    return await items.paginate(args["paginationOpts"])


@query(args={"list": v.string()}, returns=v.array(v.number()))
async def all(ctx: Any, args: Any) -> Any:
    """All ranks, first one first."""
    items = (
        await ctx.db.query("items")
        .with_index("by_list_rank", lambda q: q.eq("list", args["list"]))
        .collect()
    )
    return [item["rank"] for item in items]


@mutation(args={"list": v.string(), "ranks": v.array(v.number())})
async def add(ctx: Any, args: Any) -> Any:
    for rank in args["ranks"]:
        await ctx.db.insert("items", {"list": args["list"], "rank": rank})


@mutation(args={"list": v.string(), "ranks": v.array(v.number())})
async def remove(ctx: Any, args: Any) -> Any:
    for rank in args["ranks"]:
        item = (
            await ctx.db.query("items")
            .with_index(
                "by_list_rank",
                lambda q, r=rank: q.eq("list", args["list"]).eq("rank", r),
            )
            .unique()
        )
        await ctx.db.delete(item["_id"])


@mutation(args={"list": v.string(), "order": v.string()})
async def reorder(ctx: Any, args: Any) -> Any:
    """What makes the cursors of all pages invalid: it is another query now."""
    await ctx.db.insert("orders", args)


async def _order(ctx: Any, name: str) -> str:
    orders = (
        await ctx.db.query("orders")
        .with_index("by_list", lambda q: q.eq("list", name))
        .order("desc")
        .first()
    )
    return "asc" if orders is None else str(orders["order"])
