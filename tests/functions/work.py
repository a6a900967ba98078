"""Actions: what the executor's tests run, and how they misbehave."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from convex import ConvexError

from kit.deployment.functions import action, console, internal_action
from kit.values import v

NOTE = {"channel": v.string(), "body": v.string()}


@action(args={"seconds": v.number()}, returns=v.number())
async def wait(ctx: Any, args: Any) -> Any:
    await asyncio.sleep(args["seconds"])
    return args["seconds"]


@action(args=NOTE, returns=v.id("notes"))
async def addThroughMutation(ctx: Any, args: Any) -> Any:
    return await ctx.run_mutation("notes:addInternally", args)


@action(args={**NOTE, "gate": v.string()})
async def addWhenOpen(ctx: Any, args: Any) -> Any:
    """Adds the note once the file `gate` exists; `<gate>.started` says that it runs."""
    gate = Path(args.pop("gate"))
    Path(f"{gate}.started").touch()
    while not gate.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    return await ctx.run_mutation("notes:addInternally", args)


@action(args={"channel": v.string()})
async def readBack(ctx: Any, args: Any) -> Any:
    console.log("reading", args["channel"])
    return await ctx.run_query("notes:list", args)


@action(args={"value": v.any()})
async def nested(ctx: Any, args: Any) -> Any:
    return [await ctx.run_action("work:inner", args)]


@internal_action(args={"value": v.any()})
async def inner(ctx: Any, args: Any) -> Any:
    return args["value"]


@action(args={"path": v.string(), "args": v.any()})
async def callMutation(ctx: Any, args: Any) -> Any:
    return await ctx.run_mutation(args["path"], args["args"])


@action(args={"data": v.any()})
async def refuse(ctx: Any, args: Any) -> Any:
    raise ConvexError("refused", args["data"])


@action(args={"data": v.any()})
async def catchRefusal(ctx: Any, args: Any) -> Any:
    try:
        await ctx.run_mutation("notes:refuse", args)
    except ConvexError as error:
        return {"caught": error.data}


@action(args={}, returns=v.string())
async def wrongResult(ctx: Any, args: Any) -> Any:
    return 5.0


@action(args={})
async def noValue(ctx: Any, args: Any) -> Any:
    return object()


@action(args={})
async def printing(ctx: Any, args: Any) -> Any:
    """Does everything to stdio that would spoil pipes."""
    print('{"type":"Done","run_id":0}')  # noqa: T201
    sys.stdout.write("no line end")
    os.write(1, b"\nraw\n")
    return sys.stdin.read()


@action(args={})
async def die(ctx: Any, args: Any) -> Any:
    os._exit(3)


@action(args={})
async def leave(ctx: Any, args: Any) -> Any:
    sys.exit("enough")


@action(args={"seconds": v.number()})
async def block(ctx: Any, args: Any) -> Any:
    """Stops the executor's loop."""
    time.sleep(args["seconds"])  # noqa: ASYNC251


@action(args={})
async def process(ctx: Any, args: Any) -> Any:
    return float(os.getpid())


@action(args={"name": v.string()})
async def environment(ctx: Any, args: Any) -> Any:
    return os.environ.get(args["name"])


@action(args={**NOTE, "delay": v.number()})
async def addLater(ctx: Any, args: Any) -> Any:
    delay = args.pop("delay")
    return await ctx.scheduler.run_after(delay, "notes:addInternally", args)


@action(args={"call": v.string()})
async def misuse(ctx: Any, args: Any) -> Any:
    """Calls `ctx` with what it cannot take."""
    match args["call"]:
        case "path":
            await ctx.run_query(5)
        case "args":
            await ctx.run_query("notes:list", {"channel": object()})
        case "delay":
            await ctx.scheduler.run_after(-1, "notes:crash")
        case "time":
            await ctx.scheduler.run_at(float("nan"), "notes:crash")
        case "target":
            await ctx.scheduler.run_after(0, "notes:nothing")
        case "job":
            await ctx.scheduler.cancel(None)
