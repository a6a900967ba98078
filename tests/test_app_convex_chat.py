"""Replies through Convex: nothing is generated twice, whatever the connection does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from kit.app.convex_chat import ConvexChat, own_api_keys
from kit.app.convex_replies import ConvexReply
from kit.app.runs import WhenActive
from kit.errors import (
    ConvexFunctionError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
    KitError,
    ReplyOutOfSight,
    RequestRejected,
)
from kit.llm.secret import Secret

URL = "http://127.0.0.1:1"
SENTINEL = "sk-ant-sentinel-9f8e7d6c5b"
GONE = DeploymentUnreachable(URL, "refused")


class FakeConvex:
    """A deployment with one message in it, which goes through `statuses`.

    `action` is what the action does after it has begun the reply; each query takes
    the next of `failures`, None for an answer.
    """

    def __init__(self) -> None:
        self.statuses = ["complete"]
        self.begun = False
        self.begins = True
        self.failures: list[Exception | None] = []
        self.action_does: Callable[[], Awaitable[Any]] = self._answer
        self.actions: list[Mapping[str, Any]] = []
        self.calls: list[str] = []
        self.fields: dict[str, Any] = {}
        self.behind = 0

    async def _answer(self) -> Any:
        return {"success": True, "messageId": "m1"}

    async def action(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        assert path == "streaming:streamChatWithTools"
        self.actions.append(args)
        self.begun = self.begun or self.begins
        return await self.action_does()

    async def query(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        self.calls.append(path)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        if not self.begun:
            return None
        if path == "messages:byClientMessageId":
            status = self.statuses[0]
            if len(self.statuses) > 1:
                self.statuses.pop(0)
            return {"messageId": "m1", "status": status}
        row = {"_id": "m1", "status": self.statuses[0], "content": "hi"}
        found = [{"_id": "m0"}, row | {"finishReason": "stop"} | self.fields]
        found += [{"_id": f"later {number}"} for number in range(self.behind)]
        return found[-args["limit"] :]

    async def mutation(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        self.calls.append(path)
        return "t9"


@pytest.fixture
def convex() -> FakeConvex:
    return FakeConvex()


def chat(convex: Any, **times: float) -> ConvexChat:
    quick = {"reach_timeout": 1.0, "lost_timeout": 0.5, "poll_interval": 0.005}
    return ConvexChat(convex, {"anthropic": Secret(SENTINEL)}, **(quick | times))


async def stream(
    convex: Any,
    *,
    sent_before: bool = False,
    when_active: WhenActive = "reject",
    **times: float,
) -> ConvexReply:
    return await chat(convex, **times).stream_chat_with_tools(
        task_id="t1",
        prompt="hello",
        model="m",
        system_prompt="s",
        client_message_id="c1",
        tools=["calculator"],
        sent_before=sent_before,
        when_active=when_active,
    )


def failing(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def fail() -> Any:
        raise error

    return fail


async def test_the_action_gets_the_guides_arguments(convex: FakeConvex) -> None:
    await stream(convex)
    assert convex.actions == [
        {
            "taskId": "t1",
            "prompt": "hello",
            "model": "m",
            "systemPrompt": "s",
            "llmModel": "m",
            "apiKeys": {"anthropic": Secret(SENTINEL)},
            "clientMessageId": "c1",
            "tools": ["calculator"],
        }
    ]


@pytest.mark.parametrize("when_active", ["queue", "interrupt"])
async def test_the_action_is_told_what_becomes_of_a_second_message(
    convex: FakeConvex, when_active: WhenActive
) -> None:
    convex.statuses = ["queued", "queued", "streaming", "complete"]
    reply = await stream(convex, when_active=when_active)
    assert reply.status == "complete"
    assert convex.actions[0]["whenActive"] == when_active


async def test_a_reply_is_found_though_others_are_queued_behind_it(
    convex: FakeConvex,
) -> None:
    convex.behind = 32
    assert (await stream(convex)).text == "hi"


async def test_whether_a_message_has_begun_can_be_asked(convex: FakeConvex) -> None:
    assert not await chat(convex).has_begun("t1", "c1")
    await stream(convex)
    assert await chat(convex).has_begun("t1", "c1")


async def test_an_ended_reply_comes_back_whole(convex: FakeConvex) -> None:
    convex.fields["usage"] = {
        "promptTokens": 1.0,
        "completionTokens": 2.0,
        "totalTokens": 3.0,
    }
    row = {"_id": "m1", "status": "complete", "content": "hi", "finishReason": "stop"}
    expected = ConvexReply("m1", "complete", "hi", row | convex.fields)
    assert await stream(convex) == expected


async def test_a_stopped_reply_says_so(convex: FakeConvex) -> None:
    convex.statuses = ["streaming", "stopping", "stopped"]
    convex.fields["finishReason"] = "aborted"
    reply = await stream(convex)
    assert (reply.status, reply.row["finishReason"]) == ("stopped", "aborted")


async def test_a_failed_reply_says_why_and_keeps_its_text(convex: FakeConvex) -> None:
    convex.statuses = ["failed"]
    convex.fields["error"] = "anthropic: the key was refused"
    reply = await stream(convex)
    assert (reply.status, reply.text) == ("failed", "hi")
    assert reply.error == "anthropic: the key was refused"


@pytest.mark.parametrize(
    "failure",
    [GONE, FunctionError("messages:byClientMessageId", "not an id of table tasks")],
)
async def test_nothing_is_asked_of_a_deployment_that_cannot_answer(
    convex: FakeConvex, failure: Exception
) -> None:
    convex.failures = [failure]
    with pytest.raises(DeploymentError):
        await stream(convex)
    assert convex.actions == []


@pytest.mark.timeout(10)
async def test_a_silent_deployment_is_given_up_soon() -> None:
    class Mute(FakeConvex):
        async def query(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(DeploymentError, match="did not answer"):
        await stream(Mute(), reach_timeout=0.05)


@pytest.mark.parametrize(
    "failure",
    [
        GONE,
        DeploymentError("no answer within 600 s"),
        FunctionError("streaming:streamChatWithTools", "Server Error"),
        RequestRejected(503, "Overloaded", "later"),
    ],
)
async def test_a_reply_that_was_begun_is_followed_and_not_begun_again(
    convex: FakeConvex, failure: Exception
) -> None:
    convex.action_does = failing(failure)
    convex.statuses = ["streaming", "streaming", "complete"]
    reply = await stream(convex)
    assert (reply.message_id, reply.status) == ("m1", "complete")
    assert len(convex.actions) == 1


@pytest.mark.parametrize(
    "failure",
    [
        FunctionError("streaming:streamChatWithTools", "Server Error"),
        RequestRejected(404, "NotFound", "no such function"),
    ],
)
async def test_only_if_nothing_was_begun_the_caller_may_answer_otherwise(
    convex: FakeConvex, failure: Exception
) -> None:
    convex.begins = False
    convex.action_does = failing(failure)
    with pytest.raises(DeploymentError):
        await stream(convex)
    assert len(convex.actions) == 1


LOST = [GONE, DeploymentError("no answer"), RequestRejected(502, "Bad", "gateway")]


@pytest.mark.parametrize("failure", LOST)
async def test_a_call_that_is_lost_is_made_again_and_not_made_up_for(
    convex: FakeConvex, failure: Exception
) -> None:
    """It may yet arrive: only Convex can then tell that it has answered already."""
    convex.begins = False

    async def lose_the_first() -> Any:
        convex.begins = True
        raise failure

    convex.action_does = lose_the_first
    assert (await stream(convex)).status == "complete"
    assert [args["clientMessageId"] for args in convex.actions] == ["c1", "c1"]


@pytest.mark.parametrize("failure", LOST)
async def test_calls_that_are_always_lost_are_no_case_for_a_fallback(
    convex: FakeConvex, failure: Exception
) -> None:
    convex.begins = False
    convex.action_does = failing(failure)
    with pytest.raises(KitError, match="lost the message 3 times") as caught:
        await stream(convex)
    assert not isinstance(caught.value, DeploymentError)
    assert len(convex.actions) == 3


class Silent(FakeConvex):
    """Its actions do what they do, and their answers never come."""

    async def action(self, *args: Any, **kwargs: Any) -> Any:
        await super().action(*args, **kwargs)
        await asyncio.Event().wait()


@pytest.mark.timeout(10)
async def test_an_end_whose_answer_is_lost_without_a_word_is_found() -> None:
    silent = Silent()
    silent.statuses = ["streaming", "streaming", "complete"]
    reply = await stream(silent, look_interval=0.01)
    assert (reply.message_id, reply.status) == ("m1", "complete")
    assert len(silent.actions) == 1


@pytest.mark.timeout(10)
async def test_a_call_that_is_lost_without_a_word_is_made_again() -> None:
    silent = Silent()
    silent.begins = False

    async def begin_the_second() -> Any:
        silent.begins = True

    silent.action_does = begin_the_second
    assert (await stream(silent, look_interval=0.01)).status == "complete"
    assert len(silent.actions) == 2


@pytest.mark.timeout(10)
async def test_a_deployment_that_falls_silent_is_given_up() -> None:
    silent = Silent()
    silent.statuses = ["streaming"]
    silent.failures = [None, None, *[GONE] * 1000]
    with pytest.raises(KitError, match="went away while it streamed"):
        await stream(silent, look_interval=0.01, lost_timeout=0.05)


async def test_a_reply_whose_begin_arrives_late_is_still_found() -> None:
    class Late(FakeConvex):
        async def query(self, *args: Any, **kwargs: Any) -> Any:
            self.begun = self.calls.count("messages:byClientMessageId") >= 3
            return await super().query(*args, **kwargs)

    late = Late()
    late.begins, late.action_does = False, failing(GONE)
    assert (await stream(late)).status == "complete"


async def test_a_deployment_that_restarts_meanwhile_is_waited_for(
    convex: FakeConvex,
) -> None:
    convex.action_does = failing(GONE)
    convex.failures = [None, GONE, GONE, None, GONE, None, GONE]
    assert (await stream(convex)).status == "complete"


@pytest.mark.parametrize(
    "failure",
    [
        RequestRejected(503, "Overloaded", "later"),
        FunctionError("messages:byClientMessageId", "Server Error"),
    ],
)
async def test_a_lookup_that_fails_does_not_mean_that_nothing_was_begun(
    convex: FakeConvex, failure: Exception
) -> None:
    convex.action_does = failing(GONE)
    convex.failures = [None, failure, failure]
    assert (await stream(convex)).status == "complete"


async def test_one_that_stays_away_is_no_case_for_a_fallback(
    convex: FakeConvex,
) -> None:
    """It may have begun the reply: answering otherwise could answer twice."""
    convex.action_does = failing(GONE)
    convex.failures = [None, *[GONE] * 1000]
    with pytest.raises(KitError, match="went away while it streamed") as caught:
        await stream(convex, lost_timeout=0.05)
    assert not isinstance(caught.value, DeploymentError)


async def test_one_that_is_away_may_have_begun_a_message_that_was_sent_before(
    convex: FakeConvex,
) -> None:
    convex.failures = [GONE] * 1000
    with pytest.raises(ReplyOutOfSight):
        await stream(convex, sent_before=True, lost_timeout=0.05)
    assert convex.actions == []


async def test_a_reply_that_never_ends_is_not_waited_for_for_ever(
    convex: FakeConvex,
) -> None:
    convex.statuses = ["streaming"]
    with pytest.raises(KitError, match="has not ended within"):
        await stream(convex, reply_timeout=0.02)


async def test_a_reply_that_is_gone_is_an_error(convex: FakeConvex) -> None:
    async def remove() -> Any:
        convex.begun = False

    convex.action_does = remove
    with pytest.raises(KitError, match="no longer has the reply"):
        await stream(convex)


@pytest.mark.parametrize("code", ["StreamActive", "QueueFull", "ClientMessageIdTaken"])
async def test_a_refusal_is_passed_on_and_no_case_for_a_fallback(
    convex: FakeConvex, code: str
) -> None:
    data = {"code": code, "message": "Stop it first."}
    error = ConvexFunctionError("streaming:streamChatWithTools", "Uncaught", data)
    convex.action_does = failing(error)
    with pytest.raises(KitError, match="Stop it first") as caught:
        await stream(convex)
    assert not isinstance(caught.value, DeploymentError)


async def test_an_error_that_quotes_the_call_shows_no_key(convex: FakeConvex) -> None:
    convex.begins = False
    quoting = FunctionError("streaming:streamChatWithTools", f"Object: {SENTINEL}")
    convex.action_does = failing(quoting)
    with pytest.raises(DeploymentError) as caught:
        await stream(convex)
    assert SENTINEL not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_tasks_are_created_found_and_stopped(convex: FakeConvex) -> None:
    assert await chat(convex).create_task("Title") == "t9"
    await chat(convex).stop_task("t9")
    assert convex.calls == ["tasks:create", "streaming:stopTask"]
    assert await chat(convex).task_title("t9") is None
    convex.failures = [FunctionError("tasks:get", "not an id")]
    assert await chat(convex).task_title("nonsense") is None
    convex.failures = [GONE]
    with pytest.raises(DeploymentUnreachable):
        await chat(convex).task_title("t9")


def test_own_keys_are_those_of_the_environment() -> None:
    env = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": " ", "OPENROUTER_API_KEY": "o"}
    assert own_api_keys(env) == {"openrouter": Secret("o"), "anthropic": Secret("a")}


def test_the_scripted_provider_is_sent_no_key_of_ours() -> None:
    env = {"ANTHROPIC_API_KEY": "a", "KIT_SCRIPTED_URL": "http://127.0.0.1:1"}
    assert own_api_keys(env) == {}
