"""Replies that Convex holds: found by whoever did not begin them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kit.app.convex_replies import ConvexReplies, ConvexReply
from kit.errors import DeploymentError, DeploymentUnreachable, FunctionError, KitError

GONE = DeploymentUnreachable("http://127.0.0.1:1", "refused")


class FakeConvex:
    """A task with these rows; each query takes the next of `failures` first."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.failures: list[Exception] = []

    async def query(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        if path == "messages:byTask":
            return self.rows
        for row in self.rows:
            if row.get("promptOf") == args["clientMessageId"]:
                return {"messageId": row["_id"], "status": row["status"]}
        return None

    async def mutation(self, path: str, args: Any, *, timeout: Any = None) -> Any:
        raise AssertionError("it only looks")

    action = mutation


def replies(convex: FakeConvex) -> ConvexReplies:
    return ConvexReplies(
        convex,
        reach_timeout=1.0,
        reply_timeout=1.0,
        lost_timeout=0.05,
        poll_interval=0.001,
    )


QUESTION = {"_id": "m0", "clientMessageId": "c1", "status": "complete"}
ANSWER = {"_id": "m1", "promptOf": "c1", "status": "complete", "content": "hi"}


async def test_a_reply_that_has_ended_is_found() -> None:
    found = await replies(FakeConvex(QUESTION, ANSWER)).find("t1", "c1")
    assert found == ConvexReply("m1", "complete", "hi", ANSWER)


async def test_one_that_was_stopped_or_failed_says_so() -> None:
    found = await replies(FakeConvex(ANSWER | {"status": "stopped"})).find("t1", "c1")
    assert found is not None
    assert (found.status, found.error) == ("stopped", None)
    failed = ANSWER | {"status": "failed", "error": "no credit"}
    found = await replies(FakeConvex(failed)).find("t1", "c1")
    assert found is not None
    assert (found.status, found.error) == ("failed", "no credit")


@pytest.mark.parametrize("failures", [[], [GONE, DeploymentError("late")]])
async def test_nothing_is_found_where_nothing_was_begun(
    failures: list[Exception],
) -> None:
    convex = FakeConvex(QUESTION)
    convex.failures = failures
    assert await replies(convex).find("t1", "c1") is None


async def test_a_task_that_convex_does_not_know_has_no_replies() -> None:
    convex = FakeConvex()
    convex.failures = [FunctionError("messages:byClientMessageId", "not an id")]
    assert await replies(convex).find("hex", "c1") is None
    convex.failures = [FunctionError("messages:byTask", "not an id")]
    assert await replies(convex).last_client_message_id("hex") is None


async def test_a_deployment_that_stays_away_is_no_sign_that_there_is_none() -> None:
    convex = FakeConvex(QUESTION, ANSWER)
    convex.failures = [GONE] * 1000
    with pytest.raises(KitError, match="went away") as caught:
        await replies(convex).find("t1", "c1")
    assert not isinstance(caught.value, DeploymentError)


async def test_the_last_message_is_told() -> None:
    convex = FakeConvex({"_id": "m", "clientMessageId": "c0"}, QUESTION, ANSWER)
    assert await replies(convex).last_client_message_id("t1") == "c1"
    assert await replies(FakeConvex()).last_client_message_id("t1") is None
