from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import pytest

from kit.agent import Tool, ToolLimits, stream_reply
from kit.agent import tools as agent_tools
from kit.errors import LLMError
from kit.llm.secret import Secret
from kit.llm.wire import ToolResult, ToolSpec
from kit.parts import Chunk, FinishReason, FinishStep, PartsFold, Usage

pytestmark = pytest.mark.timeout(10)

Item = Chunk | LLMError | asyncio.Event


class Script:
    """A conversation that plays steps: chunks, errors to raise, events to await."""

    def __init__(self, *steps: Sequence[Item]) -> None:
        self.steps = list(steps)
        self.results: list[list[ToolResult]] = []
        self.closed = 0

    async def step(self) -> AsyncGenerator[Chunk, None]:
        try:
            for item in self.steps.pop(0):
                if isinstance(item, LLMError):
                    raise item
                if isinstance(item, asyncio.Event):
                    await item.wait()
                else:
                    yield item
        finally:
            self.closed += 1

    def add_tool_results(self, results: Sequence[ToolResult]) -> None:
        self.results.append(list(results))


def text(*deltas: str, block: str = "0") -> list[Item]:
    said: list[Item] = [
        {"type": "text-delta", "id": block, "delta": delta} for delta in deltas
    ]
    return [
        {"type": "text-start", "id": block},
        *said,
        {"type": "text-end", "id": block},
    ]


def call(call_id: str, name: str, args: str, *, streamed: bool = True) -> list[Item]:
    start: list[Item] = [
        {"type": "tool-input-start", "toolCallId": call_id, "toolName": name}
    ]
    deltas: list[Item] = [
        {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": letter}
        for letter in args
    ]
    end: list[Item] = [
        {
            "type": "tool-input-available",
            "toolCallId": call_id,
            "toolName": name,
            "inputText": args,
        }
    ]
    return start + deltas + end if streamed else end


def usage(prompt: float, completion: float) -> Usage:
    return {
        "promptTokens": prompt,
        "completionTokens": completion,
        "totalTokens": prompt + completion,
    }


def finish(reason: FinishReason = "stop", used: Usage | None = None) -> list[Item]:
    chunk: FinishStep = {"type": "finish-step", "finishReason": reason}
    if used is not None:
        chunk["usage"] = used
    return [chunk]


def tool(name: str, run: Any) -> Tool:
    return Tool(ToolSpec(name, f"the {name}", {"type": "object"}), run)


async def add(args: dict[str, Any]) -> Any:
    return args["a"] + args["b"]


async def collect(
    script: Script, *tools: Tool, **options: Any
) -> tuple[list[Chunk], PartsFold]:
    named = {tool.spec.name: tool for tool in tools}
    chunks = [chunk async for chunk in stream_reply(script, named, **options)]
    check_grammar(chunks)
    return chunks, PartsFold(chunks)


def check_grammar(chunks: Sequence[Chunk]) -> None:
    """Parts are opened once and ended, calls are answered, and `finish` comes last."""
    assert [c["type"] for c in chunks].count("finish") == 1
    assert chunks[-1]["type"] == "finish"
    opened: list[str] = []
    open_now: set[str] = set()
    unanswered: set[str] = set()
    for chunk in chunks:
        match chunk["type"]:
            case "text-start" | "reasoning-start":
                opened.append(chunk["id"])
                open_now.add(chunk["id"])
            case "text-delta" | "reasoning-delta":
                assert chunk["id"] in open_now
            case "text-end" | "reasoning-end":
                open_now.remove(chunk["id"])
            case "tool-input-start":
                opened.append(chunk["toolCallId"])
                unanswered.add(chunk["toolCallId"])
            case "tool-input-error" | "tool-output-available" | "tool-output-error":
                unanswered.remove(chunk["toolCallId"])
    assert not open_now
    assert not unanswered
    assert len(opened) == len(set(opened))


def types(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


# --- text and reasoning -----------------------------------------------------------


async def test_a_text_reply() -> None:
    chunks, parts = await collect(
        Script([*text("Hel", "lo"), *finish("stop", usage(3, 2))])
    )
    assert types(chunks) == [
        "start-step",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
    ]
    assert parts.content() == "Hello"
    assert chunks[-1] == {
        "type": "finish",
        "finishReason": "stop",
        "usage": usage(3, 2),
    }


async def test_usage_that_the_provider_did_not_send_stays_unknown() -> None:
    chunks, _ = await collect(Script([*text("x"), *finish()]))
    assert chunks[-1] == {"type": "finish", "finishReason": "stop"}


async def test_neighbouring_text_blocks_are_one_part() -> None:
    _, parts = await collect(
        Script([*text("a", block="0"), *text("b", block="1"), *finish()])
    )
    assert parts.order == ["text-0"]
    assert parts.content() == "ab"


async def test_text_after_something_else_is_a_part_of_its_own() -> None:
    _, parts = await collect(
        Script(
            [
                *text("a", block="0"),
                {"type": "reasoning-start", "id": "r"},
                {"type": "reasoning-delta", "id": "r", "delta": "hm"},
                {"type": "reasoning-end", "id": "r", "signature": "sig"},
                *text("b", block="1"),
                *finish(),
            ]
        )
    )
    assert parts.order == ["text-0", "reasoning-0", "text-1"]
    assert parts.part("reasoning-0").get("signature") == "sig"


async def test_empty_blocks_and_deltas_leave_no_part() -> None:
    chunks, parts = await collect(Script([*text(), *text(""), *finish()]))
    assert parts.order == []
    assert types(chunks) == ["start-step", "finish-step", "finish"]


async def test_interleaved_blocks_keep_their_own_text() -> None:
    _, parts = await collect(
        Script(
            [
                {"type": "text-start", "id": "a"},
                {"type": "text-delta", "id": "a", "delta": "1"},
                {"type": "text-start", "id": "b"},
                {"type": "text-delta", "id": "b", "delta": "x"},
                {"type": "text-end", "id": "a"},
                {"type": "text-delta", "id": "b", "delta": "y"},
                {"type": "text-end", "id": "b"},
                *finish(),
            ]
        )
    )
    assert [p.get("text") for p in parts.snapshot()] == ["1", "xy"]


async def test_reasoning_without_text_keeps_its_signature() -> None:
    _, parts = await collect(
        Script(
            [
                {"type": "reasoning-start", "id": "r"},
                {"type": "reasoning-end", "id": "r", "signature": "sig"},
                {"type": "reasoning-start", "id": "s", "redactedData": "gAAA"},
                {"type": "reasoning-end", "id": "s"},
                *finish(),
            ]
        )
    )
    assert parts.snapshot() == [
        {
            "id": "reasoning-0",
            "type": "reasoning",
            "text": "",
            "state": "done",
            "signature": "sig",
        },
        {"id": "redacted-reasoning-0", "type": "redacted-reasoning", "data": "gAAA"},
    ]


# --- tools ------------------------------------------------------------------------


async def test_a_tool_is_run_and_the_model_goes_on_with_its_result() -> None:
    script = Script(
        [*call("c1", "add", '{"a":1,"b":2}'), *finish("tool-calls", usage(5, 4))],
        [*text("three"), *finish("stop", usage(9, 1))],
    )
    chunks, parts = await collect(script, tool("add", add))
    assert script.results == [[ToolResult("c1", "3")]]
    assert parts.order == ["c1", "c1-result", "text-0"]
    assert parts.part("c1").get("argsText") == '{"a":1,"b":2}'
    assert parts.part("c1-result").get("resultText") == "3"
    assert types(chunks).count("start-step") == 2
    assert chunks[-1].get("usage") == usage(14, 5)


async def test_usage_fields_of_some_steps_only_are_summed_over_those() -> None:
    first: Usage = {**usage(1, 1), "cachedTokens": 7}
    second: Usage = {**usage(1, 1), "cost": 0.5}
    script = Script(
        [*call("c", "add", '{"a":1,"b":2}'), *finish("tool-calls", first)],
        finish("stop", second),
    )
    chunks, _ = await collect(script, tool("add", add))
    assert chunks[-1].get("usage") == {
        **usage(2, 2),
        "cachedTokens": 7,
        "cost": 0.5,
    }


async def test_results_show_as_they_come_and_are_answered_in_order() -> None:
    shown_fast = asyncio.Event()

    async def slow(_: dict[str, Any]) -> str:
        await shown_fast.wait()
        return "slow"

    async def fast(_: dict[str, Any]) -> str:
        return "fast"

    script = Script(
        [*call("c1", "slow", "{}"), *call("c2", "fast", "{}"), *finish("tool-calls")],
        finish(),
    )
    tools = {"slow": tool("slow", slow), "fast": tool("fast", fast)}
    shown = []
    async for chunk in stream_reply(script, tools):
        if chunk["type"] == "tool-output-available":
            shown.append(chunk["toolCallId"])
            shown_fast.set()
    assert shown == ["c2", "c1"]
    assert script.results == [[ToolResult("c1", "slow"), ToolResult("c2", "fast")]]


async def test_a_plain_function_runs_in_a_thread_and_does_not_block() -> None:
    go_on = threading.Event()
    loop = asyncio.get_running_loop()

    def blocking(_: dict[str, Any]) -> bool:
        loop.call_soon_threadsafe(go_on.set)
        return go_on.wait(5) and threading.current_thread() is not main

    main = threading.current_thread()
    script = Script([*call("c", "blocking", "{}"), *finish("tool-calls")], finish())
    await collect(script, tool("blocking", blocking))
    assert script.results == [[ToolResult("c", "true")]]


async def test_a_plain_function_may_return_an_awaitable() -> None:
    script = Script([*call("c", "t", '{"a":1,"b":1}'), *finish("tool-calls")], finish())
    await collect(script, tool("t", lambda args: add(args)))
    assert script.results == [[ToolResult("c", "2")]]


async def test_viewers_get_json_and_the_model_reads_a_string_as_it_is() -> None:
    async def quote(_: dict[str, Any]) -> str:
        return 'é "quoted"'

    script = Script([*call("c", "quote", ""), *finish("tool-calls")], finish())
    _, parts = await collect(script, tool("quote", quote))
    assert script.results == [[ToolResult("c", 'é "quoted"')]]
    assert parts.part("c-result").get("resultText") == '"é \\"quoted\\""'
    assert parts.part("c").get("argsText") == "{}"


async def leave(_: dict[str, Any]) -> None:
    sys.exit(1)


async def cancel_itself(_: dict[str, Any]) -> None:
    raise asyncio.CancelledError


async def time_out(_: dict[str, Any]) -> None:
    raise TimeoutError("of its own")


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda _: {1, 2}, "TypeError: the tool's result is not JSON"),
        (lambda _: float("nan"), "TypeError: the tool's result is not JSON"),
        (lambda args: args["missing"], "KeyError: 'missing'"),
        (lambda _: next(iter(())), "RuntimeError: the tool raised StopIteration"),
        (lambda _: sys.exit(1), "RuntimeError: the tool raised SystemExit"),
        (leave, "RuntimeError: the tool raised SystemExit"),
        (cancel_itself, "the tool was cancelled"),
        (time_out, "TimeoutError: of its own"),
    ],
    ids=[
        "raises",
        "set",
        "nan",
        "argument",
        "stop-iteration",
        "exit",
        "async exit",
        "cancelled",
        "timeout",
    ],
)
async def test_what_a_tool_does_wrong_is_an_error_for_the_model(
    run: Any, expected: str
) -> None:
    script = Script([*call("c", "t", "{}"), *finish("tool-calls")], finish())
    _, parts = await collect(script, tool("t", run))
    ((result,),) = script.results
    assert result.is_error
    assert result.text.startswith(expected)
    assert parts.part("c-result").get("isError") is True
    assert parts.part("c-result").get("errorKind") == "tool-failed"


async def hang(_: dict[str, Any]) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What a plain function may wait for, until the test has ended."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("name", ["async", "stubborn", "plain"])
async def test_a_tool_that_does_not_answer_is_given_up(
    name: str, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_tools, "CANCEL_GRACE", 0.01)
    ended = asyncio.Event()

    async def stubborn(_: dict[str, Any]) -> None:
        """Heeds no cancelling, until the test has ended."""
        while not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()
        raise RuntimeError("too late to matter")

    runs = {"async": hang, "stubborn": stubborn, "plain": lambda _: stuck.wait()}
    script = Script([*call("c", "t", "{}"), *finish("tool-calls")], finish())
    limits = ToolLimits(timeout=0.01)
    _, parts = await collect(script, tool("t", runs[name]), tool_limits=limits)
    ((result,),) = script.results
    assert result == ToolResult("c", "the tool did not answer within 0.01 s", True)
    assert parts.part("c-result").get("errorKind") == "tool-timeout"
    ended.set()


@pytest.mark.parametrize("name", ["raises", "returns", "returns an object"])
async def test_a_key_in_what_a_tool_says_is_read_by_nobody(name: str) -> None:
    key = "plain-looking-key-0123"

    def raises(_: dict[str, Any]) -> str:
        raise ValueError(f"could not use {key}")

    runs = {
        "raises": raises,
        "returns": lambda _: f"used {key}",
        "returns an object": lambda _: {"used": key},
    }
    script = Script([*call("c", "t", "{}"), *finish("tool-calls")], finish())
    limits = ToolLimits(secrets=(Secret(key),))
    chunks, _ = await collect(script, tool("t", runs[name]), tool_limits=limits)
    ((result,),) = script.results
    assert "[redacted]" in result.text
    assert key not in f"{chunks} {result}"


async def test_an_unknown_tool_is_an_error_that_names_the_known_ones() -> None:
    script = Script([*call("c", "rm", "{}"), *finish("tool-calls")], finish())
    _, parts = await collect(script, tool("add", add))
    ((result,),) = script.results
    assert result.is_error
    assert result.text == "there is no tool 'rm'; there are: add"
    assert parts.part("c-result").get("errorKind") == "tool-unknown"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ('{"a":', "the arguments are not JSON"),
        ("[1]", "the arguments are not a JSON object"),
        ("[" * 100_000, "the arguments are longer than"),
        ("[" * 90_000, "the arguments are not JSON"),
    ],
    ids=["cut", "list", "long", "deep"],
)
async def test_arguments_that_cannot_be_used_are_an_input_error(
    args: str, expected: str
) -> None:
    script = Script(
        [*call("c", "add", args, streamed=False), *finish("tool-calls")], finish()
    )
    _, parts = await collect(
        script, tool("add", add), tool_limits=ToolLimits(max_output=95_000)
    )
    ((result,),) = script.results
    assert result.is_error
    assert result.text.startswith(expected)
    assert parts.order == ["c"]
    assert parts.part("c").get("state") == "input-error"
    assert parts.part("c").get("errorKind") == "tool-input"


async def test_an_input_error_of_the_wire_goes_back_to_the_model() -> None:
    script = Script(
        [
            {
                "type": "tool-input-error",
                "toolCallId": "c",
                "toolName": "add",
                "inputText": "{",
                "errorText": "cut",
            },
            *finish("tool-calls"),
        ],
        finish(),
    )
    await collect(script, tool("add", add))
    assert script.results == [[ToolResult("c", "cut", True)]]


async def test_a_long_result_is_cut_and_still_json() -> None:
    async def long(_: dict[str, Any]) -> str:
        return "x" * 5000

    script = Script([*call("c", "long", "{}"), *finish("tool-calls")], finish())
    _, parts = await collect(
        script, tool("long", long), tool_limits=ToolLimits(max_output=1000)
    )
    shown = json.loads(str(parts.part("c-result").get("resultText")))
    assert shown == {"truncated": True, "characters": 5000, "text": "x" * 1000}


async def test_ids_that_a_provider_uses_again_are_made_unique() -> None:
    script = Script(
        [*call("call_0", "add", '{"a":1,"b":1}'), *finish("tool-calls")],
        [*call("call_0", "add", '{"a":2,"b":2}'), *finish("tool-calls")],
        [*call("text-0", "add", '{"a":3,"b":3}'), *text("x"), *finish("tool-calls")],
        finish(),
    )
    _, parts = await collect(script, tool("add", add))
    assert parts.order == [
        "call_0",
        "call_0-result",
        "call_0-2",
        "call_0-2-result",
        "text-0",
        "text-1",
        "text-0-result",
    ]
    assert script.results[1] == [ToolResult("call_0", "4")]


@pytest.mark.parametrize("reason", ["length", "content-filter", "other"])
async def test_tools_are_not_run_when_the_reply_was_cut(reason: FinishReason) -> None:
    ran: list[dict[str, Any]] = []
    script = Script([*call("c", "t", '{"a":1}'), *finish(reason)])
    chunks, parts = await collect(script, tool("t", ran.append))
    assert ran == []
    assert script.results == []
    assert parts.part("c-result").get("resultText") == (
        f"not run: the reply ended ({reason})"
    )
    assert chunks[-1] == {"type": "finish", "finishReason": reason}


async def test_a_call_whose_arguments_never_ended_keeps_what_came() -> None:
    script = Script([*call("c", "t", '{"a":1}')[:-2], *finish("length")])
    _, parts = await collect(script)
    assert parts.part("c").get("state") == "input-error"
    assert parts.part("c").get("argsText") == '{"a":1'


async def test_a_model_that_always_wants_tools_is_stopped() -> None:
    steps = [
        [*call("c", "add", '{"a":1,"b":1}'), *finish("tool-calls")] for _ in range(3)
    ]
    chunks, parts = await collect(Script(*steps), tool("add", add), max_steps=3)
    assert chunks[-1] == {"type": "finish", "finishReason": "error"}
    assert parts.part("error-0").get("kind") == "step-limit"
    assert "step 3, the last" in str(parts.part("error-0").get("errorText"))


# --- failures and the end -----------------------------------------------------------


def failure(kind: Any = "overloaded") -> LLMError:
    return LLMError(kind, "too busy", provider="anthropic", retryable=True)


async def test_a_failing_call_keeps_the_text_and_adds_an_error() -> None:
    script = Script([*text("half")[:-1], failure()])
    chunks, parts = await collect(script)
    assert parts.content() == "half"
    assert parts.part("text-0").get("state") == "done"
    assert chunks[-2] == {
        "type": "error",
        "id": "error-0",
        "errorText": "anthropic: too busy",
        "kind": "overloaded",
        "retryable": True,
    }
    assert chunks[-1] == {"type": "finish", "finishReason": "error"}


async def test_a_failure_in_the_midst_of_arguments_closes_the_call() -> None:
    script = Script([*call("c", "t", '{"a":1}')[:4], failure()])
    _, parts = await collect(script)
    assert parts.part("c").get("errorText") == "the model call failed"
    assert parts.part("c").get("errorKind") == "tool-not-run"


async def test_usage_of_the_steps_before_a_failure_is_kept() -> None:
    script = Script(
        [*call("c", "add", '{"a":1,"b":1}'), *finish("tool-calls", usage(1, 2))],
        [failure()],
    )
    chunks, _ = await collect(script, tool("add", add))
    assert chunks[-1].get("usage") == usage(1, 2)


@pytest.mark.parametrize("items", [[], [failure("interrupted")]])
async def test_a_stream_that_just_ends_was_interrupted(items: list[Item]) -> None:
    chunks, parts = await collect(Script([*text("half")[:-1], *items]))
    assert parts.content() == "half"
    assert parts.part("error-0").get("kind") == "interrupted"
    assert chunks[-1] == {"type": "finish", "finishReason": "interrupted"}


async def test_closing_the_generator_closes_the_provider() -> None:
    never = asyncio.Event()
    script = Script([*text("a"), never])
    async with aclosing(stream_reply(script, {})) as chunks:
        async for chunk in chunks:
            if chunk["type"] == "text-delta":
                break
    assert script.closed == 1


async def test_cancelling_while_the_model_is_silent_closes_the_provider() -> None:
    silent = asyncio.Event()
    script = Script([*text("a"), silent])
    seen = asyncio.Event()

    async def read() -> None:
        async for chunk in stream_reply(script, {}):
            if chunk["type"] == "text-delta":
                seen.set()

    reading = asyncio.create_task(read())
    await seen.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert script.closed == 1


async def test_cancelling_while_tools_run_cancels_them(
    stuck: threading.Event,
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def waiting(_: dict[str, Any]) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    script = Script(
        [*call("c1", "hang", "{}"), *call("c2", "stuck", "{}"), *finish("tool-calls")]
    )

    async def read() -> None:
        named = {
            "hang": tool("hang", waiting),
            "stuck": tool("stuck", lambda _: stuck.wait(30)),
        }
        async for _ in stream_reply(script, named):
            pass

    reading = asyncio.create_task(read())
    await started.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert cancelled.is_set()


async def test_a_step_that_yields_what_is_not_its_own_is_a_bug() -> None:
    script = Script([{"type": "finish", "finishReason": "stop"}])
    with pytest.raises(TypeError, match="cannot yield 'finish'"):
        await collect(script)
