"""Replies in the guide's way: each token of the model is one mutation, awaited.

The model is asked as the kit does it, so that all ways have the same reply at the same
pace; how it is stored is in `messages`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import Any

from kit.agent import stream_reply
from kit.deployment.functions import action
from kit.llm.route import load_sdk, open_wire, route
from kit.llm.wire import Turn
from kit.serving import keep_loaded
from kit.values import v


@action(
    args={
        "taskId": v.id("tasks"),
        "prompt": v.string(),
        "model": v.string(),
        "partPerToken": v.boolean(),
    },
    returns=v.id("chatMessages"),
)
async def streamChat(ctx: Any, args: dict[str, Any]) -> Any:
    """Store the prompt and an empty reply, write it token by token, and end it."""
    chosen = route(args["model"], {}, os.environ)
    if await asyncio.to_thread(load_sdk, chosen.wire):
        keep_loaded()
    wire = open_wire(chosen)
    try:
        message_id = await ctx.run_mutation(
            "messages:begin", {"taskId": args["taskId"], "prompt": args["prompt"]}
        )
        turns = [Turn("user", args["prompt"])]
        conversation = wire.conversation(model=chosen.model, system=None, turns=turns)
        async with aclosing(stream_reply(conversation, {})) as chunks:
            async for chunk in chunks:
                if chunk["type"] == "text-delta":
                    await ctx.run_mutation(
                        "messages:appendStreamDelta",
                        {
                            "messageId": message_id,
                            "deltaText": chunk["delta"],
                            "partPerToken": args["partPerToken"],
                        },
                    )
        await ctx.run_mutation("messages:complete", {"messageId": message_id})
    finally:
        await wire.aclose()
    return message_id
