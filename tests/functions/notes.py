"""Notes in channels: what the deployment's tests subscribe to and change."""

from typing import Any

from convex import ConvexError, ConvexInt64

from kit.deployment.functions import (
    action,
    console,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from kit.deployment.pagination import pagination_opts_validator
from kit.values import v

BY_CHANNEL = {"channel": v.string()}


@query(args=BY_CHANNEL, returns=v.array(v.string()))
async def list(ctx: Any, args: Any) -> Any:
    """The bodies in one channel: reads that channel's range of the index only."""
    notes = (
        await ctx.db.query("notes")
        .with_index("by_channel", lambda q: q.eq("channel", args["channel"]))
        .collect()
    )
    return [note["body"] for note in notes]


@query(args={**BY_CHANNEL, "paginationOpts": pagination_opts_validator})
async def page(ctx: Any, args: Any) -> Any:
    """The bodies of one page."""
    notes = ctx.db.query("notes").with_index(
        "by_channel", lambda q: q.eq("channel", args["channel"])
    )
    found = await notes.paginate(args["paginationOpts"])
    return [note["body"] for note in found["page"]]


@query(args=BY_CHANNEL, returns=v.number())
async def count(ctx: Any, args: Any) -> Any:
    return float(len(await ctx.run_query("notes:list", args)))


@mutation(args={"channel": v.string(), "body": v.string()}, returns=v.id("notes"))
async def add(ctx: Any, args: Any) -> Any:
    return await ctx.db.insert("notes", args)


@mutation(args={"id": v.id("notes")}, returns=v.null())
async def remove(ctx: Any, args: Any) -> Any:
    await ctx.db.delete(args["id"])


@internal_mutation(args={"channel": v.string(), "body": v.string()})
async def addInternally(ctx: Any, args: Any) -> Any:
    return await ctx.db.insert("notes", args)


@internal_query(args={})
async def secret(ctx: Any, args: Any) -> Any:
    return "secret"


@mutation(args={"name": v.string()}, returns=v.number())
async def increment(ctx: Any, args: Any) -> Any:
    """Not idempotent: running it twice shows."""
    counter = (
        await ctx.db.query("counters")
        .with_index("by_name", lambda q: q.eq("name", args["name"]))
        .unique()
    )
    if counter is None:
        await ctx.db.insert("counters", {"name": args["name"], "value": 1.0})
        return 1.0
    await ctx.db.patch(counter["_id"], {"value": counter["value"] + 1.0})
    return counter["value"] + 1.0


@query(args={"value": v.any()}, returns=v.any())
async def echo(ctx: Any, args: Any) -> Any:
    return args["value"]


@query(args={})
async def every_kind(ctx: Any, args: Any) -> Any:
    """One value of each kind that Convex has."""
    return {
        "null": None,
        "boolean": True,
        "float": 5.0,
        "nan": float("nan"),
        "infinity": float("inf"),
        "int64": ConvexInt64(7),
        "string": "π",
        "bytes": b"ab",
        "array": [1.0, [2.0]],
    }


@query(args={"channel": v.string()})
async def failing(ctx: Any, args: Any) -> Any:
    """Fails while the channel is empty."""
    console.log("looking at", args["channel"])
    notes = await ctx.run_query("notes:list", args)
    if not notes:
        raise RuntimeError("the channel is empty")
    return notes


@mutation(args={"data": v.any()})
async def refuse(ctx: Any, args: Any) -> Any:
    """Writes, then raises a ConvexError: nothing is written."""
    await ctx.db.insert("notes", {"channel": "refused", "body": "x"})
    console.warn("refusing")
    raise ConvexError("refused", args["data"])


@mutation(args={})
async def crash(ctx: Any, args: Any) -> Any:
    raise RuntimeError("boom")


@query(args={"size": v.number()})
async def large(ctx: Any, args: Any) -> Any:
    """A string of `size` characters."""
    return "x" * int(args["size"])


@mutation(args={"channel": v.string(), "body": v.string(), "delay": v.number()})
async def addLater(ctx: Any, args: Any) -> Any:
    delay = args.pop("delay")
    return await ctx.scheduler.run_after(delay, "notes:addInternally", args)


@mutation(args={"channel": v.string(), "body": v.string(), "delay": v.number()})
async def addLaterByAction(ctx: Any, args: Any) -> Any:
    delay = args.pop("delay")
    return await ctx.scheduler.run_after(delay, "work:addThroughMutation", args)


@query(args={"id": v.string()})
async def job(ctx: Any, args: Any) -> Any:
    """The state of a scheduled function."""
    found = await ctx.db.system.get(args["id"])
    return found and found["state"]


@mutation(args={"id": v.string()})
async def cancelJob(ctx: Any, args: Any) -> Any:
    await ctx.scheduler.cancel(args["id"])


@action(args={"value": v.any()}, returns=v.any())
async def echoByAction(ctx: Any, args: Any) -> Any:
    return args["value"]


@mutation(args={"id": v.id("notes"), "body": v.string()})
async def replace(ctx: Any, args: Any) -> Any:
    await ctx.db.patch(args["id"], {"body": args["body"]})


@query(args={"channel": v.string()})
async def large_of(ctx: Any, args: Any) -> Any:
    """4 MB, and how many notes the channel has."""
    notes = await ctx.run_query("notes:list", args)
    return {"count": float(len(notes)), "text": "x" * 4_000_000}


@query(args={})
async def forever(ctx: Any, args: Any) -> Any:
    while True:
        pass
