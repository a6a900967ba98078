"""Whose a task is, and who calls: what every public function asks before it answers.

A task belongs to whoever created it while signed in: its `ownerId` is the
`tokenIdentifier` of their identity. What was made by somebody who was not signed in has
no owner, and is for those who are not. Messages belong to their task; a stream has a
copy of the owner, since viewers read it at every append.

What is somebody else's is answered as if it did not exist: nobody learns that it does.
Internal functions do not ask, for the scheduler runs them for nobody; but `begin` does,
which an action calls for its own caller.
"""

from __future__ import annotations

from typing import Any

from kit.convex._errors import refusal
from kit.convex._settings import auth_is_required

__all__ = ["caller", "own_stream", "own_task", "require_message", "require_task"]

Row = dict[str, Any]

SIGN_IN = (
    "You are not signed in, and this deployment answers users only "
    "(KIT_REQUIRE_AUTH). Give the client a token of one of its auth providers."
)


async def caller(ctx: Any) -> str | None:
    """Who calls; None for who is not signed in. Raises Unauthenticated if they must."""
    identity = await ctx.auth.get_user_identity()
    if identity is None and auth_is_required():
        raise refusal("Unauthenticated", SIGN_IN)
    return None if identity is None else str(identity["tokenIdentifier"])


async def own_task(ctx: Any, task_id: str) -> Row | None:
    """The caller's task; None if there is none, or it is another's."""
    owner = await caller(ctx)
    return _if_owned(await ctx.db.get(task_id), owner)


async def require_task(ctx: Any, task_id: str) -> Row:
    """The caller's task. Raises NotFound."""
    task = await own_task(ctx, task_id)
    if task is None:
        raise refusal("NotFound", f"There is no task {task_id}.", taskId=task_id)
    return task


async def require_message(ctx: Any, message_id: str) -> Row:
    """A message of a task of the caller's. Raises NotFound."""
    owner = await caller(ctx)
    message: Row | None = await ctx.db.get(message_id)
    task = None if message is None else await ctx.db.get(message["taskId"])
    if message is None or _if_owned(task, owner) is None:
        raise refusal("NotFound", f"There is no message {message_id}.")
    return message


async def own_stream(ctx: Any, stream_id: str) -> Row | None:
    """The stream of a reply to the caller; None if there is none."""
    owner = await caller(ctx)
    return _if_owned(await ctx.db.get(stream_id), owner)


def _if_owned(row: Row | None, owner: str | None) -> Row | None:
    return row if row is not None and row.get("ownerId") == owner else None
