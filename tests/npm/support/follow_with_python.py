"""Follows a task's next reply with the Python hook, for comparison.

`python follow_with_python.py URL TASK_ID` prints a line once it follows, and another
at the end of the reply: the ids of the live parts as they grew, and the parts as they
were last.
"""

import asyncio
import json
import sys
from typing import Any

from kit.app.hooks import use_message_streaming
from kit.client import Deployment


async def main(url: str, task_id: str) -> None:
    orders: list[list[str]] = []
    parts: list[Any] = []
    async with (
        Deployment(url) as deployment,
        await use_message_streaming(task_id, deployment=deployment) as hook,
    ):

        def look(_: object) -> None:
            order = hook.streaming_parts_order
            if order:
                parts[:] = [dict(hook.streaming_parts_map[name]) for name in order]
                if not orders or orders[-1] != order:
                    orders.append(order)

        known = len(hook.messages)
        hook.observe(look)
        tell({"following": known})
        await hook.until(lambda hook: len(hook.messages) > known or hook.is_live)
        await hook.until(lambda hook: not hook.is_live)
    tell({"orders": orders, "parts": parts})


def tell(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


asyncio.run(main(*sys.argv[1:]))
