"""Whole replies: the actions, the real SDKs, the scripted provider, the real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from convex import ConvexError
from convex_functions import ActionCtx, Failed, Functions
from serving_app import serving

from kit.deployment.console import collect_log_lines
from kit.llm.scripted import create_app

pytestmark = pytest.mark.timeout(30)

SENTINEL = "sk-sentinel-4f3e2d1c0b9a8877"
KEYS = ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")


@dataclass
class Stage:
    """The functions, a task, and the provider's address."""

    functions: Functions
    task_id: str
    provider: str

    async def ask(
        self, prompt: str = "Hi", model: str = "vendor/x", **more: Any
    ) -> Any:
        fields = {"taskId": self.task_id, "prompt": prompt, "model": model}
        return await self.functions.action(
            "streaming:streamChatWithTools", **fields | more
        )

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.functions.call(
            "messages:byTask", taskId=self.task_id
        )
        return found

    def reply(self) -> dict[str, Any]:
        return self.messages()[-1]

    def status(self) -> str:
        status: str = self.functions.call("tasks:get", taskId=self.task_id)["status"]
        return status

    async def requests(self) -> list[dict[str, Any]]:
        """What the provider was asked."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.provider}/log") as response,
        ):
            found: list[dict[str, Any]] = (await response.json())["requests"]
            return found

    async def ended_requests(self) -> list[dict[str, Any]]:
        """All of them, once the provider has seen their ends."""
        while True:
            requests = await self.requests()
            if all(request["outcome"] != "streaming" for request in requests):
                return requests

    async def ended_request(self) -> dict[str, Any]:
        """The only one, likewise."""
        (request,) = await self.ended_requests()
        return request

    async def until_text(self, length: int) -> None:
        await self.functions.until(lambda: len(self.text_so_far()) >= length)

    def text_so_far(self) -> str:
        return "".join(
            chunk.get("delta", "")
            for row in self.functions.rows("streamDeltas")
            for chunk in row["chunks"]
            if chunk["type"] == "text-delta"
        )


@pytest.fixture
async def provider() -> AsyncIterator[str]:
    async with serving(create_app(pace=0.0)) as url:
        yield url


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path, ticking=True)
    yield functions
    functions.close()


@pytest.fixture
def stage(
    functions: Functions, provider: str, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    for variable in KEYS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KIT_SCRIPTED_URL", provider)
    task_id = functions.call("tasks:create", title="t")
    return Stage(functions, task_id, provider)


# --- a reply ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "gpt-6.2-sol", "google/gemini-3-pro"]
)
async def test_a_reply_over_each_wire(stage: Stage, model: str) -> None:
    result = await stage.ask("Good morning", model, clientMessageId="c1")
    assert result["success"] is True
    assert result["reused"] is False
    assert result["status"] == "complete"
    assert result["finishReason"] == "stop"
    assert result["error"] is None
    assert "Good morning" in result["text"]
    assert result["usage"]["totalTokens"] > 0
    row = stage.reply()
    assert row["_id"] == result["messageId"]
    assert row["content"] == result["text"]
    assert row["llmModel"] == model
    assert [part["type"] for part in row["parts"]][-1] == "text"
    assert all(part.get("state", "done") == "done" for part in row["parts"])
    assert stage.status() == "COMPLETED"


async def test_the_reply_grows_while_it_is_written(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask(model="vendor/scripted-text:tokens=40,pace=100")
    )
    await stage.until_text(10)
    assert stage.reply()["status"] == "streaming"
    assert stage.status() == "RUNNING"
    so_far = stage.text_so_far()
    result = await asking
    assert result["text"].startswith(so_far)
    assert len(result["text"]) > len(so_far)
    seqs = [row["seq"] for row in stage.functions.rows("streamDeltas")]
    assert seqs == [float(n) for n in range(len(seqs))]
    assert len(seqs) > 3


async def test_a_tool_is_called_and_its_result_used(stage: Stage) -> None:
    result = await stage.ask(
        "calculator, please: 2 + 3 * 4", "claude-opus-5-5", tools=["calculator"]
    )
    assert result["success"] is True
    row = stage.reply()
    (call,) = [part for part in row["parts"] if part["type"] == "tool-call"]
    (output,) = [part for part in row["parts"] if part["type"] == "tool-result"]
    assert result["toolCallIds"] == [call["toolCallId"]]
    assert output["id"] == f"{call['id']}-result"
    assert output["resultText"] == '{"expression": "2 + 3 * 4", "value": 14}'
    assert "answered" in result["text"]
    assert len(await stage.requests()) == 2


async def test_tools_are_offered_only_when_named(stage: Stage) -> None:
    result = await stage.ask("use the calculator tool: 1 + 1", "claude-opus-5-5")
    assert result["toolCallIds"] == []


async def test_the_model_is_told_what_was_said_before(stage: Stage) -> None:
    first = await stage.ask("one", "claude-opus-5-5")
    second = await stage.ask("two", "claude-opus-5-5")
    told = stage.functions.call("streaming:context", messageId=second["messageId"])
    assert told["turns"] == [
        {"role": "user", "text": "one"},
        {"role": "assistant", "text": first["text"]},
        {"role": "user", "text": "two"},
    ]


async def test_an_unanswered_prompt_and_the_next_are_one_turn(stage: Stage) -> None:
    failed = await stage.ask("one", "vendor/scripted-http-403")
    assert failed["success"] is False
    second = await stage.ask("two", "claude-opus-5-5")
    stage.functions.call(
        "test:insert",
        table="chatMessages",
        document={
            "taskId": stage.task_id,
            "role": "SYSTEM",
            "content": "Be kind.",
            "sequence": -1,
            "status": "complete",
        },
    )
    told = stage.functions.call("streaming:context", messageId=second["messageId"])
    assert told == {
        "system": "Be kind.",
        "turns": [{"role": "user", "text": "one\n\ntwo"}],
    }


async def test_a_reply_that_is_still_stopping_counts_with_its_text(
    stage: Stage,
) -> None:
    begin = {"taskId": stage.task_id, "model": "m", "leaseMs": 15_000}
    first = stage.functions.call("streaming:begin", begin, prompt="one")
    stage.functions.call(
        "streaming:append",
        streamId=first["streamId"],
        epoch=1,
        seq=0,
        chunks=[{"type": "text-delta", "id": "text-0", "delta": "half"}],
    )
    stage.functions.call("streaming:stopTask", taskId=stage.task_id)
    second = stage.functions.call("streaming:begin", begin, prompt="two")
    told = stage.functions.call("streaming:context", messageId=second["messageId"])
    assert [turn["text"] for turn in told["turns"]] == ["one", "half", "two"]


# --- what goes wrong ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "kind", "keeps_text"),
    [
        ("error-mid", None, True),
        ("drop", None, True),
        ("eof", "interrupted", True),
        ("http-400", "bad-request", False),
        ("http-401", "auth", False),
        ("http-402", "billing", False),
        ("http-404", "not-found", False),
    ],
)
async def test_a_failing_call_fails_the_message_and_keeps_its_text(
    stage: Stage, scenario: str, kind: str | None, keeps_text: bool
) -> None:
    result = await stage.ask(model=f"claude-scripted-{scenario}")
    assert result["success"] is False
    assert result["status"] == "failed"
    assert result["finishReason"] in ("error", "interrupted")
    assert result["error"]
    assert bool(result["text"]) == keeps_text
    row = stage.reply()
    assert (row["status"], row["error"]) == ("failed", result["error"])
    last = row["parts"][-1]
    assert (last["type"], last["errorText"]) == ("error", result["error"])
    assert kind is None or last["kind"] == kind
    assert [part["type"] for part in row["parts"]].count("error") == 1
    assert stage.status() == "FAILED"


async def test_a_provider_that_falls_silent_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_LLM_READ_TIMEOUT", "0.2")
    result = await stage.ask(model="claude-scripted-stall:tokens=20")
    assert (result["status"], bool(result["text"])) == ("failed", True)


async def test_after_a_failure_the_next_message_is_answered(stage: Stage) -> None:
    await stage.ask(model="claude-scripted-http-401")
    result = await stage.ask("again", "claude-opus-5-5")
    assert result["success"] is True
    assert stage.status() == "COMPLETED"


async def test_without_a_key_the_message_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIT_SCRIPTED_URL")
    result = await stage.ask(model="claude-opus-5-5")
    assert result["success"] is False
    assert "no API key for model 'claude-opus-5-5'" in result["error"]
    assert stage.reply()["parts"][-1]["kind"] == "auth"


async def test_a_setting_of_the_model_layer_that_is_wrong_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_SCRIPTED_URL", "nonsense")
    result = await stage.ask(model="claude-opus-5-5")
    assert "KIT_SCRIPTED_URL" in result["error"]


@pytest.mark.parametrize("variable", ["KIT_LEASE_MS", "KIT_FLUSH_INTERVAL_MS"])
@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e9"])
async def test_a_setting_that_cannot_be_used_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConvexError, match=variable) as caught:
        await stage.ask(model="claude-opus-5-5")
    assert caught.value.data["code"] == "BadSetting"
    assert stage.messages() == []


async def test_an_unknown_tool_is_refused_before_anything_begins(stage: Stage) -> None:
    with pytest.raises(ConvexError, match="no tool 'rm'") as caught:
        await stage.ask(tools=["calculator", "rm"])
    assert caught.value.data["code"] == "UnknownTool"
    assert "calculator, search_guide, wait_seconds" in caught.value.data["message"]
    assert stage.messages() == []


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": 5},
        {"model": None},
        {"surprise": 1},
        {"tools": "calculator"},
        {"apiKeys": {"anthropic": SENTINEL, "nvidia": SENTINEL}},
        {"apiKeys": {"anthropic": {"key": SENTINEL}}},
        {"apiKeys": {SENTINEL: "anthropic"}},
        {"apiKeys": SENTINEL},
        {"apiKey": SENTINEL},
        {"apikeys": {"anthropic": SENTINEL}},
        {"model": {"anthropic": SENTINEL}},
    ],
)
async def test_wrong_arguments_are_named_without_showing_a_key(
    stage: Stage, more: dict[str, Any]
) -> None:
    with pytest.raises(ConvexError) as caught:
        await stage.ask(**{"apiKeys": {"anthropic": SENTINEL}, **more})
    assert caught.value.data["code"] == "BadArguments"
    assert SENTINEL not in f"{caught.value!r} {caught.value.data}"
    assert stage.messages() == []


# --- keys -------------------------------------------------------------------------


async def test_a_key_is_used_and_kept_nowhere(stage: Stage, tmp_path: Path) -> None:
    with collect_log_lines() as lines:
        results = [
            await stage.ask(
                f"prompt {n}", model, apiKeys={"anthropic": f"{prefix}{SENTINEL}"}
            )
            for n, (model, prefix) in enumerate(
                [
                    ("claude-opus-5-5", ""),
                    ("claude-opus-5-5", "refused-"),
                    ("claude-scripted-error-mid", ""),
                    ("claude-scripted-http-500", ""),
                ]
            )
        ]
    assert [r["success"] for r in results] == [True, False, False, False]
    refused = stage.messages()[3]
    assert refused["parts"][-1]["kind"] == "auth"
    requests = await stage.requests()
    assert len({request["keyHash"] for request in requests}) == 2
    assert SENTINEL not in f"{results} {lines} {stage.functions.calls}"
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"prompt 0" in stored
    assert SENTINEL.encode() not in stored


async def test_a_key_in_an_error_text_is_taken_out(stage: Stage) -> None:
    class Leaky(ActionCtx):
        async def run_query(self, path: str, args: dict[str, Any]) -> Any:
            if path == "streaming:context":
                raise RuntimeError(f"could not use {SENTINEL}")
            return await super().run_query(path, args)

    function = stage.functions.registry.get("streaming:streamChatWithTools")
    assert function is not None
    args = {
        "taskId": stage.task_id,
        "prompt": "Hi",
        "model": "claude-opus-5-5",
        "apiKeys": {"anthropic": SENTINEL},
    }
    with collect_log_lines() as lines:
        result = await function(Leaky(stage.functions), args)
    assert result["error"] == (
        "The reply could not be produced: RuntimeError: could not use [redacted]"
    )
    assert SENTINEL not in f"{lines} {stage.messages()}"


# --- once -------------------------------------------------------------------------


async def test_a_repeated_call_follows_the_first_and_generates_nothing(
    stage: Stage,
) -> None:
    model = "claude-scripted-text:tokens=40,pace=200"
    first = asyncio.create_task(stage.ask(model=model, clientMessageId="c1"))
    await stage.until_text(5)
    again = asyncio.create_task(stage.ask(model=model, clientMessageId="c1"))
    one, two = await asyncio.gather(first, again)
    assert two == {**one, "reused": True}
    later = await stage.ask(model=model, clientMessageId="c1")
    assert later == two
    assert len(await stage.requests()) == 1
    assert len(stage.messages()) == 2


async def test_a_repeated_call_gets_the_failure_of_the_first(stage: Stage) -> None:
    model = "claude-scripted-http-402"
    first = await stage.ask(model=model, clientMessageId="c1")
    again = await stage.ask(model=model, clientMessageId="c1")
    assert again == {**first, "reused": True}
    assert again["success"] is False


async def test_a_second_message_meanwhile_is_refused(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask(model="claude-scripted-text:tokens=40,pace=200")
    )
    await stage.until_text(5)
    with pytest.raises(ConvexError) as caught:
        await stage.ask("more")
    assert caught.value.data["code"] == "StreamActive"
    assert (await asking)["success"] is True


# --- two messages at once ---------------------------------------------------------


LONG = "claude-scripted-text:tokens=5000,pace=100"
SHORT = "claude-scripted-text:tokens=30,pace=100"
LATER = "claude-opus-5-5"


async def test_a_queued_message_is_answered_when_the_one_before_it_has_ended(
    stage: Stage, tmp_path: Path
) -> None:
    first = asyncio.create_task(stage.ask("one", SHORT))
    await stage.until_text(5)
    second = asyncio.create_task(
        stage.ask("two", LATER, whenActive="queue", apiKeys={"anthropic": SENTINEL})
    )
    await stage.functions.until(lambda: len(stage.messages()) == 4)
    assert [row["status"] for row in stage.messages()[1::2]] == ["streaming", "queued"]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SENTINEL.encode() not in stored
    one, two = await asyncio.gather(first, second)
    assert (one["status"], two["status"]) == ("complete", "complete")
    assert "two" in two["text"]
    told = stage.functions.call("streaming:context", messageId=two["messageId"])
    assert [turn["text"] for turn in told["turns"]] == ["one", one["text"], "two"]
    asked = await stage.requests()
    assert asked[0]["endedAt"] <= asked[1]["receivedAt"]
    assert stage.status() == "COMPLETED"


async def test_a_queued_message_of_send_is_generated_at_its_turn(stage: Stage) -> None:
    first = asyncio.create_task(stage.ask("one", SHORT))
    await stage.until_text(5)
    message = {"taskId": stage.task_id, "prompt": "two", "model": LATER}
    stage.functions.call("streaming:send", message, whenActive="queue")
    assert [j for j in stage.functions.jobs() if "generate" in j["name"]] == []
    await first
    assert stage.reply()["status"] == "streaming"
    await stage.functions.action("streaming:generate", **job_of(stage))
    assert stage.reply()["status"] == "complete"
    assert "two" in stage.reply()["content"]


async def test_an_interrupting_message_ends_the_provider_call_of_the_one_before(
    stage: Stage,
) -> None:
    first = asyncio.create_task(stage.ask("one", LONG))
    await stage.until_text(5)
    two = await stage.ask("two", LATER, whenActive="interrupt")
    one = await first
    assert (one["status"], two["status"]) == ("stopped", "complete")
    told = stage.functions.call("streaming:context", messageId=two["messageId"])
    assert [turn["text"] for turn in told["turns"]] == ["one", one["text"], "two"]
    assert stage.status() == "COMPLETED"
    outcomes = {r["prompt"]: r["outcome"] for r in await stage.ended_requests()}
    assert outcomes == {"one": "disconnected", "two": "complete"}


async def test_a_queued_message_that_is_cancelled_asks_no_model(stage: Stage) -> None:
    first = asyncio.create_task(stage.ask("one", LONG))
    await stage.until_text(5)
    second = asyncio.create_task(stage.ask("two", whenActive="queue"))
    await stage.functions.until(lambda: len(stage.messages()) == 4)
    stage.functions.call("streaming:cancelStream", messageId=stage.reply()["_id"])
    two = await second
    assert (two["success"], two["status"], two["text"]) == (True, "stopped", "")
    stage.functions.call("streaming:stopTask", taskId=stage.task_id)
    assert (await first)["status"] == "stopped"
    assert [request["prompt"] for request in await stage.requests()] == ["one"]


async def test_a_repeated_call_follows_a_queued_message(stage: Stage) -> None:
    first = asyncio.create_task(stage.ask("one", SHORT))
    await stage.until_text(5)
    more = {"whenActive": "queue", "clientMessageId": "c2"}
    second = asyncio.create_task(stage.ask("two", LATER, **more))
    await stage.functions.until(lambda: len(stage.messages()) == 4)
    again = await stage.ask("two", LATER, **more)
    await first
    assert again == {**await second, "reused": True}
    assert again["status"] == "complete"
    assert [request["prompt"] for request in await stage.requests()] == ["one", "two"]


async def test_an_action_that_dies_while_it_waits_does_not_hold_up_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asyncio.create_task(stage.ask("one", LONG))
    await stage.until_text(5)
    monkeypatch.setenv("KIT_LEASE_MS", "300")
    second = asyncio.create_task(stage.ask("two", LATER, whenActive="queue"))
    await stage.functions.until(lambda: len(stage.messages()) == 4)
    monkeypatch.delenv("KIT_LEASE_MS")
    third = asyncio.create_task(stage.ask("three", LATER, whenActive="queue"))
    await stage.functions.until(lambda: len(stage.messages()) == 6)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    stage.functions.advance(300)
    dead = stage.messages()[3]
    assert (dead["status"], dead["finishReason"]) == ("failed", "interrupted")
    assert "was not begun" in dead["error"]
    stage.functions.call("streaming:cancelStream", messageId=stage.messages()[1]["_id"])
    assert (await first)["status"] == "stopped"
    assert (await third)["status"] == "complete"


# --- stop -------------------------------------------------------------------------


async def test_a_stop_ends_the_provider_call_and_keeps_the_text(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask(model="claude-scripted-text:tokens=2000,pace=100")
    )
    await stage.until_text(20)
    stopped_at = time.time()
    stage.functions.call("streaming:stopTask", taskId=stage.task_id)
    assert stage.reply()["status"] == "stopping"
    result = await asking
    assert (result["success"], result["status"]) == (True, "stopped")
    assert result["finishReason"] == "aborted"
    assert len(result["text"]) >= 20
    assert result["text"] == stage.text_so_far()
    assert stage.status() == "STOPPED"
    request = await stage.ended_request()
    assert request["outcome"] == "disconnected"
    assert request["endedAt"] - stopped_at < 1.0


async def test_a_stop_while_the_model_is_silent(stage: Stage) -> None:
    asking = asyncio.create_task(stage.ask(model="claude-scripted-slow:delay=20"))
    await stage.functions.until(lambda: bool(stage.messages()))
    stage.functions.call("streaming:cancelStream", messageId=stage.reply()["_id"])
    began = time.monotonic()
    result = await asking
    assert time.monotonic() - began < 2.5
    assert (result["status"], result["text"]) == ("stopped", "")


async def test_a_stop_while_a_tool_runs(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask("wait_seconds 20", "claude-opus-5-5", tools=["wait_seconds"])
    )
    await stage.functions.until(
        lambda: any(
            chunk["type"] == "finish-step"
            for row in stage.functions.rows("streamDeltas")
            for chunk in row["chunks"]
        )
    )
    began = time.monotonic()
    stage.functions.call("streaming:stopTask", taskId=stage.task_id)
    result = await asking
    assert time.monotonic() - began < 2.5
    assert result["status"] == "stopped"
    assert result["usage"]["totalTokens"] > 0
    parts = {part["type"]: part for part in stage.reply()["parts"]}
    assert parts["tool-call"]["state"] == "input-available"
    assert parts["tool-result"]["resultText"] == "stopped"
    assert parts["tool-result"]["isError"] is True


# --- send -------------------------------------------------------------------------


def job_of(stage: Stage) -> dict[str, Any]:
    (job,) = [j for j in stage.functions.jobs() if "generate" in j["name"]]
    args: dict[str, Any] = job["args"][0]
    return args


async def test_send_begins_and_schedules_the_generation(stage: Stage) -> None:
    request = {
        "taskId": stage.task_id,
        "prompt": "Good morning",
        "model": "claude-opus-5-5",
        "systemPrompt": "Be brief.",
        "clientMessageId": "c1",
        "tools": ["calculator"],
    }
    begun = stage.functions.call("streaming:send", request)
    assert stage.reply()["status"] == "streaming"
    assert await stage.functions.action("streaming:generate", **job_of(stage)) is None
    row = stage.reply()
    assert (row["_id"], row["status"]) == (begun["messageId"], "complete")
    assert "Good morning" in row["content"]
    again = stage.functions.call("streaming:send", request)
    assert again == {**begun, "reused": True, "status": "complete"}
    assert len(stage.functions.rows("streams")) == 1


async def test_send_takes_no_keys(stage: Stage) -> None:
    with pytest.raises(ConvexError, match="takes no `apiKeys`") as caught:
        stage.functions.call(
            "streaming:send",
            taskId=stage.task_id,
            prompt="Hi",
            model="m",
            apiKeys={"anthropic": SENTINEL},
        )
    assert SENTINEL not in f"{caught.value!r}"


async def test_a_task_id_of_another_table_is_refused(stage: Stage) -> None:
    result = await stage.ask(model="claude-opus-5-5")
    with pytest.raises(Failed, match="ArgumentValidationError"):
        stage.functions.call(
            "streaming:begin",
            taskId=result["messageId"],
            prompt="Hi",
            model="m",
            leaseMs=1000,
        )


async def test_what_was_stopped_before_it_began_asks_no_model(stage: Stage) -> None:
    stage.functions.call(
        "streaming:send", taskId=stage.task_id, prompt="Hi", model="claude-opus-5-5"
    )
    stage.functions.call("streaming:stopTask", taskId=stage.task_id)
    await stage.functions.action("streaming:generate", **job_of(stage))
    assert stage.reply()["status"] == "stopped"
    assert await stage.requests() == []


async def test_a_generation_that_comes_after_the_end_does_nothing(
    stage: Stage,
) -> None:
    begun = stage.functions.call(
        "streaming:send", taskId=stage.task_id, prompt="Hi", model="claude-opus-5-5"
    )
    job = job_of(stage)
    stage.functions.call(
        "streaming:finalize",
        streamId=begun["streamId"],
        epoch=1,
        outcome="failed",
        error="gone",
    )
    await stage.functions.action("streaming:generate", **job)
    assert stage.reply()["error"] == "gone"
    assert await stage.requests() == []


# --- when the deployment or the action fails ------------------------------------------


async def test_a_watchdog_that_ends_the_stream_ends_the_producer(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask(model="claude-scripted-text:tokens=2000,pace=100")
    )
    await stage.until_text(5)
    (stream,) = stage.functions.rows("streams")
    stage.functions.call(
        "streaming:finalize",
        streamId=stream["_id"],
        epoch=1,
        outcome="failed",
        error="taken for dead",
    )
    result = await asking
    assert (result["status"], result["error"]) == ("failed", "taken for dead")
    assert (await stage.ended_request())["outcome"] == "disconnected"


async def test_a_reply_that_grows_too_long_is_kept_up_to_there(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask(model="claude-scripted-text:tokens=2000,pace=200")
    )
    await stage.until_text(5)
    (head,) = stage.functions.rows("streamHeads")
    stage.functions.call(
        "test:patch", id=head["_id"], fields={"bytes": 4 * 1024 * 1024}
    )
    result = await asking
    assert result["status"] == "failed"
    assert "longer than a message may be" in result["error"]
    assert result["text"] == stage.text_so_far()


class Unreachable(ActionCtx):
    """A deployment that goes away once a few appends were made."""

    appends = 0

    async def run_mutation(self, path: str, args: dict[str, Any]) -> Any:
        self.appends += path == "streaming:append"
        if self.appends > 2:
            raise ConnectionResetError("gone")
        return await super().run_mutation(path, args)


async def test_without_its_deployment_the_action_gives_up_and_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_LEASE_MS", "300")
    function = stage.functions.registry.get("streaming:streamChatWithTools")
    assert function is not None
    args = {
        "taskId": stage.task_id,
        "prompt": "Hi",
        "model": "claude-scripted-text:tokens=2000,pace=100",
    }
    with pytest.raises(ConnectionResetError):
        await function(Unreachable(stage.functions), args)
    assert stage.reply()["status"] == "streaming"
    stage.functions.advance(1_000)
    row = stage.reply()
    assert (row["status"], row["finishReason"]) == ("failed", "interrupted")
    assert row["content"] == stage.text_so_far() != ""


async def test_a_cancelled_action_finalizes_what_it_has(stage: Stage) -> None:
    asking = asyncio.create_task(
        stage.ask(model="claude-scripted-text:tokens=2000,pace=100")
    )
    await stage.until_text(5)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    row = stage.reply()
    assert (row["status"], row["finishReason"]) == ("failed", "interrupted")
    assert row["content"]
    assert "took too long" in row["error"]
    request = await stage.ended_request()
    assert request["outcome"] == "disconnected"
