"""Follows one stream's log in Convex, each delta once and in order.

Holds the cursor into the log. Does not know what chunks mean, nor when the reply has
ended: the message's row says that, so whoever started a follower cancels it.

One `streaming:catchUp` brings a viewer that joins late up to date, then it subscribes
to pages of four deltas (`streaming:read`). All viewers of a stream share these pages,
and a page that is full never changes again, so what is sent to a viewer grows with
the reply and not with its square. The page after the present one is subscribed to as
soon as that has begun: over a network, every fifth delta would else wait for a round
trip.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from kit.client import Deployment
from kit.client.subscription import Subscription
from kit.errors import DeploymentUnreachable
from kit.parts import Chunk

__all__ = ["StreamFollower"]

logger = logging.getLogger("kit.app.hooks")

PAGE_SIZE = 4
RETRY_INTERVAL = 0.5


class StreamFollower:
    """`on_chunks` gets the chunks of new deltas, never the same delta twice.

    `written` says when the newest of them was, in seconds of the epoch by the
    deployment's clock; None after those that had to be caught up with.
    """

    def __init__(
        self,
        deployment: Deployment,
        stream_id: str,
        on_chunks: Callable[[list[Chunk]], None],
    ) -> None:
        self.written: float | None = None
        self._deployment = deployment
        self._stream_id = stream_id
        self._on_chunks = on_chunks
        self._cursor = 0  # the seq of the next delta

    async def run(self) -> None:
        """Follow until cancelled. What fails is logged and tried again."""
        while True:
            try:
                await self._catch_up()
                await self._follow_pages()
            except DeploymentUnreachable:
                await asyncio.sleep(RETRY_INTERVAL)
                await self._deployment.until_connected()
            except Exception as error:
                logger.warning("Following stream %s: %s", self._stream_id, error)
                await asyncio.sleep(RETRY_INTERVAL)

    async def _catch_up(self) -> None:
        more = True
        while more:
            answer = await self._deployment.query(
                "streaming:catchUp", {"streamId": self._stream_id, "from": self._cursor}
            )
            self._take(answer["deltas"])
            self._cursor = max(self._cursor, int(answer["nextSeq"]))
            more = answer["more"]

    async def _follow_pages(self) -> None:
        """Follow page after page, from that at the cursor.

        Returns once a page was full when first seen, that is, when this viewer lags
        behind and had better catch up in one call.
        """
        page = self._cursor // PAGE_SIZE
        pages = [self._subscribe(page)]  # and its successor, once this has begun
        try:
            while True:
                values = 0
                async for value in pages[0]:
                    values += 1
                    # Older functions do not tell it.
                    self._take(value["deltas"], written_at=value.get("writtenAt"))
                    is_full = self._cursor >= (page + 1) * PAGE_SIZE
                    if is_full and values == 1:
                        return
                    if self._cursor > page * PAGE_SIZE and len(pages) == 1:
                        pages.append(self._subscribe(page + 1))
                    if is_full:
                        break
                else:  # the deployment was closed
                    return
                await pages.pop(0).aclose()
                page += 1
        finally:
            for subscription in pages:
                await subscription.aclose()

    def _subscribe(self, page: int) -> Subscription:
        args = {"streamId": self._stream_id, "page": page}
        return self._deployment.subscribe("streaming:read", args)

    def _take(
        self, deltas: list[dict[str, Any]], *, written_at: float | None = None
    ) -> None:
        """Hand on what lies at or beyond the cursor; what lies below was seen."""
        chunks: list[Chunk] = []
        for delta in deltas:
            if delta["seq"] >= self._cursor:
                self._cursor = int(delta["seq"]) + 1
                chunks += delta["chunks"]
        if chunks:
            self.written = None if written_at is None else written_at / 1000
            self._on_chunks(chunks)
