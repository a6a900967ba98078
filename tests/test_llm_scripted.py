"""The scripted provider's server: strict, paced, and with a memory without keys."""

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import aiohttp
import pytest
from llm_helpers import (
    MODELS,
    SENTINEL_KEY,
    collect,
    journal,
    model_named,
    opened,
    scripted,
)

from kit.llm.providers import PROVIDERS, ProviderName
from kit.llm.route import open_wire, route
from kit.llm.scripted import main
from kit.llm.wire import Turn

NAMES: list[ProviderName] = list(PROVIDERS)
ENDPOINTS: dict[ProviderName, str] = {
    "anthropic": "/anthropic/v1/messages",
    "openai": "/openai/v1/responses",
    "openrouter": "/openrouter/api/v1/chat/completions",
}
AUTHORIZED = {"Authorization": f"Bearer {SENTINEL_KEY}"}


def minimal(provider: ProviderName, model: str = "", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model or MODELS[provider], "stream": True}
    if provider == "openai":
        return body | {"input": "hi"} | more
    if provider == "anthropic":
        body["max_tokens"] = 100
    return body | {"messages": [{"role": "user", "content": "hi"}]} | more


async def post(
    url: str,
    provider: ProviderName,
    body: Any,
    headers: dict[str, str] = AUTHORIZED,
) -> tuple[int, bytes, Any]:
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + ENDPOINTS[provider], data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


# --- determinism and pace ---------------------------------------------------------


async def test_the_pace_may_be_changed_and_nonsense_is_refused() -> None:
    async with scripted(pace=1) as url, aiohttp.ClientSession() as session:
        async with session.put(f"{url}/pace", data="0") as answer:
            assert await answer.json() == {"pace": 0}
        started = time.monotonic()
        await post(url, "anthropic", minimal("anthropic"))
        assert time.monotonic() - started < 10, "at one token per second: a minute"
        for nonsense in ("-1", "fast", "", "nan"):
            async with session.put(f"{url}/pace", data=nonsense) as answer:
                assert answer.status == 400
                assert "tokens per second" in await answer.text()


@pytest.mark.parametrize("provider", NAMES)
async def test_the_same_request_gets_the_same_bytes(provider: ProviderName) -> None:
    async with scripted() as url:
        first = await post(url, provider, minimal(provider))
        again = await post(url, provider, dict(reversed(minimal(provider).items())))
        other = await post(
            url, provider, minimal(provider, model_named(provider, "text"))
        )
    assert first[0] == 200
    assert first[1] == again[1] != other[1]


@pytest.mark.parametrize("provider", NAMES)
async def test_tokens_leave_on_a_schedule_that_does_not_drift(
    provider: ProviderName,
) -> None:
    model = model_named(provider, "text:tokens=60,pace=200")
    async with scripted(pace=1) as url:
        await post(url, provider, minimal(provider, model))
        [entry] = await journal(url)
    times = entry["tokenTimes"]
    assert len(times) == len(entry["tokens"]) == 60
    assert times == sorted(times)
    # Late tokens do not push back the ones after them; none comes early.
    assert all(t - times[0] >= i / 200 - 0.01 for i, t in enumerate(times))
    assert 59 / 200 - 0.01 <= times[-1] - times[0] < 59 / 200 + 1


async def test_no_pace_is_as_fast_as_possible() -> None:
    async with scripted(pace=0) as url:
        began = time.perf_counter()
        model = "gpt-scripted-text:tokens=2000"
        _, body, _ = await post(url, "openai", minimal("openai", model))
    assert body.count(b"response.output_text.delta") == 4000  # name and type
    assert time.perf_counter() - began < 5


async def test_two_replies_do_not_wait_for_each_other() -> None:
    async with scripted(pace=0) as url:
        slow = asyncio.create_task(
            post(url, "openai", minimal("openai", "gpt-scripted-stall"))
        )
        status, _, _ = await post(url, "anthropic", minimal("anthropic"))
        assert (status, slow.done()) == (200, False)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_a_late_first_token_is_announced_by_keep_alives() -> None:
    async with scripted() as url:
        model = "vendor/scripted-slow:delay=0.05,tokens=1"
        _, body, _ = await post(url, "openrouter", minimal("openrouter", model))
        [entry] = await journal(url)
    assert entry["tokenTimes"][0] - entry["receivedAt"] >= 0.05
    assert body.count(b": OPENROUTER PROCESSING") >= 2


# --- what it refuses --------------------------------------------------------------


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer refused-123"}])
async def test_a_missing_or_refused_key_is_401(
    provider: ProviderName, headers: dict[str, str]
) -> None:
    async with scripted() as url:
        status, body, _ = await post(url, provider, minimal(provider), headers)
    assert status == 401
    assert b"API key" in body


async def test_the_old_header_of_anthropic_is_a_key_too() -> None:
    async with scripted() as url:
        headers = {"X-Api-Key": "some-key"}
        body = minimal("anthropic")
        assert (await post(url, "anthropic", body, headers))[0] == 200


@pytest.mark.parametrize("provider", NAMES)
async def test_an_unknown_model_is_404_in_the_providers_format(
    provider: ProviderName,
) -> None:
    async with scripted() as url:
        status, body, _ = await post(url, provider, minimal(provider, "nobody/nothing"))
    error = json.loads(body)["error"]
    assert status == 404
    assert "nobody/nothing does not exist" in error["message"]
    assert {"not_found_error", "model_not_found", 404} & {
        error.get("type"),
        error.get("code"),
    }


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[1]",
        b'{"a":' * 100_000,
        b'"text"',
        b"{}",
        {"model": 5},
        {"messages": None, "input": None},
        {"messages": "hi", "input": 5},
        {"messages": [5], "input": [5]},
        {"messages": [{"role": "alien"}], "input": [{"type": "alien"}]},
        {"tools": 5},
        {"tools": [5]},
        {"stream": False},
        {"stream": "yes"},
    ],
    ids=lambda body: str(body)[:20],
)
async def test_a_malformed_request_is_refused_and_the_server_stays_up(
    provider: ProviderName, body: Any
) -> None:
    if isinstance(body, dict):
        body = minimal(provider) | body
    async with scripted() as url:
        status, answer, _ = await post(url, provider, body)
        assert status in (400, 404)
        assert json.loads(answer)["error"]["message"]
        assert (await post(url, provider, minimal(provider)))[0] == 200


@pytest.mark.parametrize("provider", NAMES)
async def test_a_huge_request_is_refused(provider: ProviderName) -> None:
    async with scripted() as url:
        status, answer, _ = await post(url, provider, b" " * (9 * 1024 * 1024))
    assert status == 413
    assert json.loads(answer)["error"]


@pytest.mark.parametrize(
    "schema",
    [{"minimum": "low", "type": "number"}, {"enum": {"a": 1}}, {"enum": 5}],
    ids=str,
)
async def test_a_tool_with_a_malformed_schema_is_refused(schema: Any) -> None:
    tools = [{"name": "f", "parameters": {"properties": {"x": schema}}}]
    async with scripted() as url:
        body = minimal("openai", "gpt-scripted-tool", tools=tools)
        status, answer, _ = await post(url, "openai", body)
    assert (status, b"schema" in answer) == (400, True)


async def test_a_wrong_scenario_says_which_there_are() -> None:
    async with scripted() as url:
        body = minimal("openai", "gpt-scripted-dance")
        status, answer, _ = await post(url, "openai", body)
    assert status == 400
    assert b"There are: text, think" in answer


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


TOOL_USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
FUNCTION_CALL = {
    "type": "function_call",
    "call_id": "c1",
    "name": "f",
    "id": "fc",
    "arguments": "{}",
}
FUNCTION = {"name": "f", "arguments": "{}"}
CHAT_CALL = {"id": "c1", "type": "function", "function": FUNCTION}


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "assistant", "content": "x"}], "first message"),
        ([user("hi"), {"role": "assistant", "content": "x"}], "last one"),
        ([user("")], "non-empty"),
        ([user("hi"), {"role": "assistant", "content": [TOOL_USE]}], "tool_result"),
        (
            [
                user("hi"),
                {"role": "assistant", "content": [TOOL_USE]},
                user("and?"),
            ],
            "tool_result",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "x"}],
                }
            ],
            "without its `tool_use`",
        ),
        (
            [
                user("hi"),
                {"role": "assistant", "content": [TOOL_USE | {"input": "x"}]},
            ],
            "must be an object",
        ),
        (
            [
                user("hi"),
                {"role": "assistant", "content": [TOOL_USE | {"id": "t1_t"}]},
            ],
            "Expected `thinking`",
        ),
        (
            [
                user("hi"),
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "x", "signature": "forged"}
                    ],
                },
            ],
            "Invalid `signature`",
        ),
        (
            [
                user("hi"),
                {
                    "role": "assistant",
                    "content": [{"type": "redacted_thinking", "data": "forged"}],
                },
            ],
            "Invalid `data`",
        ),
    ],
)
async def test_messages_that_anthropic_would_refuse_are_refused(
    messages: list[Any], says: str
) -> None:
    async with scripted() as url:
        body = minimal("anthropic", messages=messages)
        status, answer, _ = await post(url, "anthropic", body)
    assert (status, says in answer.decode()) == (400, True), answer


async def test_what_anthropic_no_longer_accepts_is_refused() -> None:
    async with scripted() as url:
        body = minimal("anthropic")
        assert (await post(url, "anthropic", body | {"temperature": 1}))[0] == 400
        del body["max_tokens"]
        assert (await post(url, "anthropic", body))[0] == 400


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([user("hi"), FUNCTION_CALL], "No tool output found"),
        (
            [user("hi"), FUNCTION_CALL | {"arguments": '{"a": '}],
            "must be a valid JSON object",
        ),
        (
            [user("hi"), {"type": "function_call_output", "call_id": "x"}],
            "No tool call found",
        ),
        (
            [user("hi"), FUNCTION_CALL | {"call_id": "c1_t"}],
            "required 'reasoning' item",
        ),
        (
            [user("hi"), {"type": "reasoning", "encrypted_content": "forged"}],
            "could not be verified",
        ),
    ],
)
async def test_items_that_openai_would_refuse_are_refused(
    items: list[Any], says: str
) -> None:
    async with scripted() as url:
        status, answer, _ = await post(url, "openai", minimal("openai", input=items))
    assert (status, says in answer.decode()) == (400, True), answer


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([user("hi"), {"role": "assistant", "tool_calls": [CHAT_CALL]}], "followed by"),
        (
            [user("hi"), {"role": "assistant", "tool_calls": [CHAT_CALL]}, user("?")],
            "followed by",
        ),
        ([user("hi"), {"role": "tool", "tool_call_id": "x"}], "preceding tool call"),
        (
            [
                user("hi"),
                {
                    "role": "assistant",
                    "tool_calls": [
                        CHAT_CALL | {"function": FUNCTION | {"arguments": "[1]"}}
                    ],
                },
            ],
            "must be a valid JSON object",
        ),
        (
            [
                user("hi"),
                {"role": "assistant", "tool_calls": [CHAT_CALL | {"id": "c_t"}]},
            ],
            "missing beside the tool calls",
        ),
        (
            [
                user("hi"),
                {
                    "role": "assistant",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": "x", "signature": "forged"}
                    ],
                },
            ],
            "Invalid `signature`",
        ),
    ],
)
async def test_messages_that_openrouter_would_refuse_are_refused(
    messages: list[Any], says: str
) -> None:
    async with scripted() as url:
        body = minimal("openrouter", messages=messages)
        status, answer, _ = await post(url, "openrouter", body)
    assert (status, says in answer.decode()) == (400, True), answer


async def test_models_that_do_not_reason_say_so() -> None:
    async with scripted() as url:
        body = minimal("openai", "gpt-4o")
        assert (await post(url, "openai", body))[0] == 200
        for more in (
            {"reasoning": {"summary": "auto"}},
            {"include": ["reasoning.encrypted_content"]},
        ):
            status, answer, _ = await post(url, "openai", body | more)
            assert status == 400
            assert json.loads(answer)["error"]["param"] in (
                "reasoning.summary",
                "include",
            )


# --- models, health, journal ------------------------------------------------------


async def test_anthropics_models_can_be_looked_up() -> None:
    async with scripted() as url, aiohttp.ClientSession(headers=AUTHORIZED) as session:
        models = f"{url}/anthropic/v1/models"
        async with session.get(f"{models}/claude-opus-5-5") as answer:
            card = await answer.json()
        assert (card["id"], card["max_tokens"]) == ("claude-opus-5-5", 64_000)
        async with session.get(f"{models}/claude-nonsense") as answer:
            assert answer.status == 404
        async with session.get(
            f"{models}/claude-opus-5-5", headers={"Authorization": "Bearer refused"}
        ) as answer:
            assert answer.status == 401


async def test_health_answers() -> None:
    async with (
        scripted() as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/health") as answer,
    ):
        assert await answer.json() == {"ok": True}


async def test_the_journal_remembers_requests_and_no_key() -> None:
    async with scripted() as url:
        began = time.time()
        await post(url, "anthropic", minimal("anthropic"))
        await post(url, "openai", minimal("openai", "gpt-scripted-http-402"))
        await post(url, "openrouter", b"{")
        entries = await journal(url)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/log?since=2") as answer,
        ):
            assert [e["number"] for e in (await answer.json())["requests"]] == [3]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/log?since=x") as answer,
        ):
            assert answer.status == 400
    first, second, third = entries
    assert (first["number"], first["wire"], first["model"], first["prompt"]) == (
        1,
        "anthropic",
        "claude-opus-5-5",
        "hi",
    )
    assert (first["status"], first["outcome"]) == (200, "complete")
    assert began <= first["receivedAt"] <= first["tokenTimes"][0] <= first["endedAt"]
    assert "hi" in "".join(first["tokens"])
    assert (second["status"], second["outcome"]) == (402, "refused")
    assert (third["status"], third["model"]) == (400, "")
    assert first["keyHash"] == second["keyHash"] != ""
    assert SENTINEL_KEY not in json.dumps(entries)


@pytest.mark.parametrize("provider", NAMES)
async def test_the_log_tells_who_said_what_in_a_request(provider: ProviderName) -> None:
    said = [
        Turn("user", "first"),
        Turn("assistant", "é" * 300),
        Turn("user", "last"),
    ]
    async with scripted() as url:
        way = route(MODELS[provider], {}, {"KIT_SCRIPTED_URL": url})
        async with opened(open_wire(way)) as wire:
            talk = wire.conversation(model=way.model, system="Be brief.", turns=said)
            await collect(talk)
        await post(url, provider, minimal(provider))
        first, second = await journal(url)
    assert first["turns"] == [
        {"role": "user", "text": "first"},
        {"role": "assistant", "text": "é" * 200},
        {"role": "user", "text": "last"},
    ]
    assert second["turns"] == [{"role": "user", "text": "hi"}]


async def ended(url: str) -> dict[str, Any]:
    """The first request, once it is over."""
    while True:
        [entry, *_] = await journal(url)
        if entry["outcome"] != "streaming":
            return entry


@pytest.mark.timeout(10)
@pytest.mark.parametrize("scenario", ["stall", "text:pace=0.1", "slow:delay=60"])
@pytest.mark.parametrize("cancels", [False, True], ids=["notices", "is cancelled"])
async def test_a_caller_that_goes_away_is_noticed_at_once(
    scenario: str, cancels: bool
) -> None:
    async with scripted(pace=0, handler_cancellation=cancels) as url:
        body = minimal("openai", f"gpt-scripted-{scenario}")
        async with aiohttp.ClientSession(headers=AUTHORIZED) as session:
            answer = await session.post(url + ENDPOINTS["openai"], json=body)
            await answer.content.readany()
            left_at = time.time()
            answer.close()
        entry = await ended(url)
    assert entry["outcome"] == "disconnected"
    assert entry["endedAt"] - left_at < 1


async def test_a_flaky_provider_fails_first_and_then_answers_again_and_again() -> None:
    async with scripted() as url:
        body = minimal("openrouter", "vendor/scripted-flaky:fails=2,tokens=1")
        answers = [await post(url, "openrouter", body) for _ in range(6)]
    assert [status for status, _, _ in answers] == [429, 429, 200, 429, 429, 200]
    assert answers[0][2]["Retry-After"] == "0.05"


# --- the process ------------------------------------------------------------------


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kit.llm.scripted", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_announces_itself_and_ends_when_told(
    signum: signal.Signals,
) -> None:
    with start("--port", "0", "--pace", "0") as process:
        assert process.stdout is not None
        ready = json.loads(await asyncio.to_thread(process.stdout.readline))
        assert ready["pid"] == process.pid
        body = minimal("anthropic")
        assert (await post(ready["url"], "anthropic", body))[0] == 200
        # Also while a reply is under way.
        async with aiohttp.ClientSession(headers=AUTHORIZED) as session:
            stalled = minimal("openai", "gpt-scripted-stall")
            path = ready["url"] + ENDPOINTS["openai"]
            async with session.post(path, json=stalled) as answer:
                await answer.content.readany()
                told_at = time.perf_counter()
                process.send_signal(signum)
                assert await asyncio.to_thread(process.wait, 10) == 0
                assert time.perf_counter() - told_at < 2
        assert process.stderr is not None
        lines = process.stderr.read().splitlines()
        assert [line.partition("server: ")[2] for line in lines] == [
            "anthropic: claude-opus-5-5, complete",
            "openai: gpt-scripted-stall, disconnected",
        ]


def test_a_port_in_use_is_an_error_with_advice() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with start("--port", port) as process:
            stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 2
    assert (stdout, "already in use" in stderr, "Traceback" in stderr) == (
        "",
        True,
        False,
    )


@pytest.mark.parametrize(
    "options", [["--pace", "-1"], ["--pace", "fast"], ["--port", "x"]]
)
def test_wrong_options_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
