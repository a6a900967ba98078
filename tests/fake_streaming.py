"""The kit's streaming queries on a fake deployment, written to by the test.

One task with messages, and the log of its newest reply, deltas of one chunk each.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fake_convex import FakeConvex, Raise, fake_convex

TASK = "task-1"
PAGE = 4


class FakeStreaming:
    def __init__(self, convex: FakeConvex) -> None:
        self.convex = convex
        self.rows: list[dict[str, Any]] = []
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.failure: Raise | None = None
        self.tells_times = True
        """Whether a page has its time, which older functions do not give."""
        self.written_at = 0.0
        self.calls: list[tuple[str, Any]] = []
        convex.queries["messages:byTask"] = self._by_task
        convex.queries["streaming:read"] = self._read
        convex.handlers["streaming:catchUp"] = self._catch_up
        convex.handlers["streaming:stopTask"] = self._note("streaming:stopTask")
        convex.handlers["streaming:send"] = self._note("streaming:send")

    @property
    def url(self) -> str:
        return self.convex.url

    @property
    def pages(self) -> list[float]:
        """The pages that are subscribed to."""
        return [
            args["page"]
            for session in self.convex.sessions
            for path, args in session.queries.values()
            if path.startswith("streaming")
        ]

    def called(self, path: str) -> list[Any]:
        """The args of the calls of `path` so far."""
        return [
            request["args"]
            for request in self.convex.requests
            if request["path"] == path
        ]

    async def begin(
        self, prompt: str = "Hi", status: str = "streaming", **fields: Any
    ) -> str:
        """A prompt and an empty reply; the reply's stream id."""
        number = len(self.rows)
        stream_id = f"stream-{number}"
        self.logs[stream_id] = []
        self.add_row(role="USER", content=prompt, status="complete", **fields)
        self.add_row(
            role="ASSISTANT",
            content="",
            status=status,
            streamId=stream_id,
            promptMessageId=self.rows[-1]["_id"],
        )
        await self.convex.publish("messages:byTask")
        return stream_id

    def add_row(self, **fields: Any) -> None:
        number = len(self.rows)
        row = {
            "_id": f"convex-{number}",
            "_creationTime": 1_767_225_600_000.0 + 1000 * number,
            "taskId": TASK,
            "sequence": float(number),
        }
        self.rows.append(row | fields)

    async def say(self, *texts: str, publish: bool = True) -> None:
        """Append one delta per text to the newest reply's log."""
        log = self.logs[self.rows[-1]["streamId"]]
        for text in texts:
            chunk = {"type": "text-delta", "id": "text-0", "delta": text}
            log.append({"seq": float(len(log)), "chunks": [chunk]})
            self.written_at = time.time() * 1000
            if publish:
                await self.convex.publish("streaming:read")

    async def set_status(self, status: str, content: str = "") -> None:
        """Change the newest reply's row; a final one has its content."""
        self.rows[-1] = {**self.rows[-1], "status": status, "content": content}
        await self.convex.publish("messages:byTask")

    def _by_task(self, args: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return self.rows if args["taskId"] == TASK else []

    def _read(self, args: Any) -> Any:
        first = int(args["page"]) * PAGE
        deltas = self.logs[args["streamId"]][first : first + PAGE]
        if self.tells_times and deltas:
            return {"deltas": deltas, "writtenAt": self.written_at}
        return {"deltas": deltas}

    async def _catch_up(self, args: Any) -> Any:
        first = int(args["from"])
        deltas = self.logs[args["streamId"]][first : first + 10]
        end = float(first + len(deltas))
        more = end < len(self.logs[args["streamId"]])
        return {"deltas": deltas, "nextSeq": end, "more": more}

    def _note(self, path: str) -> Callable[[Any], Awaitable[Any]]:
        async def handle(args: Any) -> None:
            self.calls.append((path, args))

        return handle


@asynccontextmanager
async def fake_streaming() -> AsyncIterator[FakeStreaming]:
    async with fake_convex() as convex:
        yield FakeStreaming(convex)
