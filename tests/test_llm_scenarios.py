"""Every scenario over every wire: the real SDKs against the scripted provider."""

import asyncio
import json
import logging
import pickle
import time
import traceback
from contextlib import aclosing

import pytest
from llm_helpers import (
    MODELS,
    SENTINEL_KEY,
    WEATHER,
    asked,
    collect,
    failure,
    journal,
    model_named,
    opened,
    scripted,
    text_in,
)

from kit.errors import LLMError, LLMErrorKind
from kit.llm.providers import PROVIDERS, ProviderName
from kit.llm.route import open_wire, route
from kit.llm.scripted import playback
from kit.llm.scripted.reply import split_tokens
from kit.llm.wire import Conversation, ToolResult, Turn
from kit.parts import Chunk, FinishReason, FinishStep, fold

NAMES: list[ProviderName] = list(PROVIDERS)
every_wire = pytest.mark.parametrize("provider", NAMES)


def last(chunks: list[Chunk]) -> FinishStep:
    assert [c["type"] for c in chunks].count("finish-step") == 1
    assert chunks[-1]["type"] == "finish-step"
    return chunks[-1]


def types(chunks: list[Chunk]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


TEXT = ["text-start", "text-delta", "text-end"]
THOUGHT = ["reasoning-start", "reasoning-delta", "reasoning-end"]
CALL = ["tool-input-start", "tool-input-delta", "tool-input-available"]


# --- replies ----------------------------------------------------------------------


@every_wire
async def test_a_plain_model_thinks_and_answers(provider: ProviderName) -> None:
    async with (
        scripted() as url,
        asked(url, MODELS[provider], "Why is the sky blue?") as conversation,
    ):
        chunks = await collect(conversation)
        [entry] = await journal(url)
    assert types(chunks) == [*THOUGHT, *TEXT, "finish-step"]
    assert "Why is the sky blue?" in text_in(chunks)
    assert "👩‍👩‍👧" in text_in(chunks)
    assert "".join(entry["tokens"]).endswith(text_in(chunks))
    finish = last(chunks)
    assert finish["finishReason"] == "stop"
    usage = finish["usage"]
    assert usage["completionTokens"] == len(entry["tokens"])
    assert usage["totalTokens"] == usage["promptTokens"] + usage["completionTokens"]
    assert usage["cachedTokens"] == 0
    assert 0 < usage["reasoningTokens"] < usage["completionTokens"]
    assert ("cost" in usage) == (provider == "openrouter")
    assert [part["type"] for part in fold(chunks)] == ["reasoning", "text"]


@every_wire
async def test_text_comes_token_by_token(provider: ProviderName) -> None:
    async with (
        scripted() as url,
        asked(url, model_named(provider, "text:tokens=25")) as conversation,
    ):
        chunks = [chunk async for chunk in conversation.step()]
    deltas = [c["delta"] for c in chunks if c["type"] == "text-delta"]
    assert len(deltas) == 25
    assert tuple(deltas) == split_tokens("".join(deltas))


@every_wire
async def test_redacted_reasoning_comes_where_the_wire_has_it(
    provider: ProviderName,
) -> None:
    async with (
        scripted() as url,
        asked(url, model_named(provider, "think")) as conversation,
    ):
        chunks = await collect(conversation)
    redacted = [c for c in chunks if "redactedData" in c]
    assert len(redacted) == (1 if provider == "anthropic" else 0)
    assert types(chunks)[:3] == THOUGHT
    signed = [c for c in chunks if c["type"] == "reasoning-end" and "signature" in c]
    # OpenAI's reasoning is encrypted as a whole item, which the history keeps.
    assert len(signed) == (0 if provider == "openai" else 1)


@every_wire
@pytest.mark.parametrize(("scenario", "count"), [("tool", 1), ("tools2", 2)])
async def test_tools_are_called_and_their_results_answered(
    provider: ProviderName, scenario: str, count: int
) -> None:
    # The provider refuses reasoning that comes back changed, or not at all.
    async with (
        scripted() as url,
        asked(
            url, model_named(provider, scenario), "Weather in “Oslo”?", tools=[WEATHER]
        ) as conversation,
    ):
        chunks = await collect(conversation)
        assert last(chunks)["finishReason"] == "tool-calls"
        assert types(chunks)[:6] == [*THOUGHT, *TEXT]
        calls = [c for c in chunks if c["type"] == "tool-input-available"]
        assert len({call["toolCallId"] for call in calls}) == len(calls) == count
        for call in calls:
            assert json.loads(call["inputText"]) == {"city": "Oslo"}
        conversation.add_tool_results(
            [ToolResult(call["toolCallId"], "rain 🌧") for call in calls]
        )
        answer = await collect(conversation)
    assert last(answer)["finishReason"] == "stop"
    assert text_in(answer).count("`get_weather` answered: rain 🌧") == count


@every_wire
async def test_several_rounds_of_tools_keep_the_history_whole(
    provider: ProviderName,
) -> None:
    model = model_named(provider, "tool:rounds=3")
    async with (
        scripted() as url,
        asked(url, model, tools=[WEATHER]) as conversation,
    ):
        for _ in range(3):
            chunks = await collect(conversation)
            [call] = [c for c in chunks if c["type"] == "tool-input-available"]
            result = ToolResult(call["toolCallId"], "it failed", is_error=True)
            conversation.add_tool_results([result])
        answer = await collect(conversation)
    assert "`get_weather` failed:" in text_in(answer)


@every_wire
async def test_arguments_that_are_not_json_are_handed_on_and_can_be_answered(
    provider: ProviderName,
) -> None:
    async with (
        scripted() as url,
        asked(url, model_named(provider, "broken-tool")) as conversation,
    ):
        chunks = await collect(conversation)
        [call] = [c for c in chunks if c["type"] == "tool-input-available"]
        with pytest.raises(ValueError, match="Unterminated"):
            json.loads(call["inputText"])
        conversation.add_tool_results(
            [ToolResult(call["toolCallId"], "not JSON", is_error=True)]
        )
        assert "failed" in text_in(await collect(conversation))


@every_wire
@pytest.mark.parametrize(
    ("scenario", "reason"), [("length", "length"), ("refusal", "content-filter")]
)
async def test_a_reply_that_ends_early_says_why(
    provider: ProviderName, scenario: str, reason: FinishReason
) -> None:
    async with (
        scripted() as url,
        asked(url, model_named(provider, scenario)) as conversation,
    ):
        chunks = await collect(conversation)
    assert types(chunks) == [*TEXT, "finish-step"]
    assert last(chunks)["finishReason"] == reason


async def test_a_model_without_reasoning_is_asked_all_the_same() -> None:
    async with scripted() as url, asked(url, "gpt-4o") as conversation:
        chunks = await collect(conversation)
        statuses = [entry["status"] for entry in await journal(url)]
    assert types(chunks) == [*TEXT, "finish-step"]
    assert statuses == [400, 200]


@every_wire
async def test_a_flaky_provider_is_tried_again(provider: ProviderName) -> None:
    async with (
        scripted() as url,
        asked(url, model_named(provider, "flaky:fails=2")) as conversation,
    ):
        assert last(await collect(conversation))["finishReason"] == "stop"
        statuses = [entry["status"] for entry in await journal(url)]
    busy = 529 if provider == "anthropic" else 429
    assert statuses == [busy, busy, 200]


@every_wire
async def test_keep_alives_are_no_chunks_and_no_stall(
    provider: ProviderName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "_KEEP_ALIVE_EVERY", 0.05)
    model = model_named(provider, "slow:delay=0.8,tokens=3")
    async with scripted() as url, asked(url, model, read_timeout=0.4) as conversation:
        assert types(await collect(conversation)) == [*TEXT, "finish-step"]


# --- failures -----------------------------------------------------------------------


@every_wire
@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        ("error-mid", {"overloaded", "server"}),
        ("drop", {"connection"}),
        ("eof", {"interrupted"}),
        ("stall", {"timeout"}),
    ],
)
async def test_a_reply_that_breaks_keeps_what_came_and_tells_why(
    provider: ProviderName, scenario: str, kinds: set[LLMErrorKind]
) -> None:
    model = model_named(provider, f"{scenario}:tokens=20,at=8")
    async with scripted() as url, asked(url, model, read_timeout=0.3) as conversation:
        error, chunks = await failure(conversation)
        entries = await journal(url)
    assert error.kind in kinds
    assert (error.midstream, error.retryable, error.status) == (True, True, None)
    assert text_in(chunks) == "".join(entries[0]["tokens"])
    assert len(entries) == 1


@every_wire
@pytest.mark.parametrize("scenario", ["eof", "drop"])
async def test_all_of_the_text_without_the_last_event_is_no_success(
    provider: ProviderName, scenario: str
) -> None:
    model = model_named(provider, f"{scenario}:tokens=5,at=5")
    async with scripted() as url, asked(url, model) as conversation:
        error, _ = await failure(conversation)
    assert error.midstream


@every_wire
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad-request"),
        (401, "auth"),
        (402, "billing"),
        (403, "forbidden"),
        (404, "not-found"),
        (413, "too-large"),
        (429, "rate-limit"),
        (500, "server"),
        (529, "overloaded"),
    ],
)
async def test_a_refusal_has_its_kind(
    provider: ProviderName, status: int, kind: LLMErrorKind
) -> None:
    model = model_named(provider, f"http-{status}:retry-after=21")
    async with scripted() as url, asked(url, model) as conversation:
        error, chunks = await failure(conversation)
        [entry] = await journal(url)
    assert (error.kind, error.status, error.midstream) == (kind, status, False)
    assert chunks == []
    if provider != "openrouter":
        assert error.request_id == f"req_{entry['number']}"


@every_wire
async def test_a_request_that_is_too_long_is_told_in_the_providers_words(
    provider: ProviderName,
) -> None:
    model = model_named(provider, "text:context=300")
    async with scripted() as url, asked(url, model, "word " * 1000) as conversation:
        error, chunks = await failure(conversation)
        [entry] = await journal(url)
    assert (error.kind, error.retryable, chunks) == ("too-large", False, [])
    # OpenAI says so in the stream.
    assert error.status == (None if provider == "openai" else 400)
    assert "the conversation is too long for the model" in str(error)
    assert entry["tokens"] == []


@every_wire
async def test_one_that_is_not_too_long_is_answered(provider: ProviderName) -> None:
    model = model_named(provider, "text:context=300,tokens=2")
    async with scripted() as url, asked(url, model, "word") as conversation:
        assert last(await collect(conversation))["finishReason"] == "stop"


@every_wire
async def test_a_model_that_does_not_exist_is_named(provider: ProviderName) -> None:
    model = {
        "anthropic": "claude-nonsense",
        "openai": "gpt-nonsense",
        "openrouter": "nobody/nonsense",
    }[provider]
    async with scripted() as url, asked(url, model) as conversation:
        error, _ = await failure(conversation)
    assert error.kind == "not-found"
    for word in (provider, model, "choose another model"):
        assert word in str(error)


@every_wire
async def test_nobody_at_the_url_is_told_with_the_url(provider: ProviderName) -> None:
    async with scripted() as url:
        pass
    settings = {"KIT_SCRIPTED_URL": url}
    way = route(MODELS[provider], {}, settings)
    async with opened(open_wire(way)) as wire:
        turns = [Turn("user", "hi")]
        talk = wire.conversation(model=way.model, system=None, turns=turns)
        error, _ = await failure(talk)
    assert error.kind == "connection"
    assert url in str(error)


# --- leaving --------------------------------------------------------------------------


async def first_delta(conversation: Conversation, seen: asyncio.Event) -> None:
    async with aclosing(conversation.step()) as chunks:
        async for chunk in chunks:
            if chunk["type"] == "text-delta":
                seen.set()


@every_wire
@pytest.mark.timeout(20)
async def test_a_cancelled_reply_is_hung_up_on_at_once(provider: ProviderName) -> None:
    model = model_named(provider, "text:pace=20,tokens=1000")
    async with scripted() as url, asked(url, model) as conversation:
        seen = asyncio.Event()
        task = asyncio.create_task(first_delta(conversation, seen))
        await seen.wait()
        cancelled_at = time.time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while (entry := (await journal(url))[0])["outcome"] == "streaming":
            pass
    assert entry["outcome"] == "disconnected"
    assert entry["endedAt"] - cancelled_at < 1


@every_wire
@pytest.mark.timeout(20)
async def test_an_iterator_that_is_closed_hangs_up_at_once(
    provider: ProviderName,
) -> None:
    model = model_named(provider, "stall:at=1")
    async with scripted() as url, asked(url, model) as conversation:
        chunks = conversation.step()
        while (await anext(chunks))["type"] != "text-delta":
            pass
        closed_at = time.time()
        await chunks.aclose()
        while (entry := (await journal(url))[0])["outcome"] == "streaming":
            pass
    assert entry["endedAt"] - closed_at < 1


# --- keys -----------------------------------------------------------------------------


@every_wire
@pytest.mark.parametrize(
    "scenario",
    [
        "text:tokens=4",
        "tool",
        "error-mid",
        "drop",
        "eof",
        "stall",
        "flaky",
        "http-401",
        "http-402",
        "http-403",
        "http-404",
        "http-429:retry-after=21",
        "http-500:retry-after=21",
        "http-529:retry-after=21",
        "http-403:echo=1",
        "error-mid:echo=1",
        "text:context=1,echo=1",
        "dance",
    ],
)
async def test_the_key_shows_nowhere(
    provider: ProviderName, scenario: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("kit", "anthropic", "openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    shown: list[str] = []
    async with scripted() as url:
        settings = {"KIT_SCRIPTED_URL": url, "KIT_LLM_READ_TIMEOUT": "0.2"}
        model = model_named(provider, scenario)
        way = route(model, {provider: SENTINEL_KEY}, settings)
        assert way.provider == provider
        async with opened(open_wire(way)) as wire:
            turns = [Turn("user", "a secret prompt")]
            talk = wire.conversation(model=way.model, system=None, turns=turns)
            try:
                shown.append(repr([chunk async for chunk in talk.step()]))
            except LLMError as error:
                with_locals = traceback.TracebackException.from_exception(
                    error, capture_locals=True
                )
                again = pickle.loads(pickle.dumps(error))
                assert (str(again), vars(again)) == (str(error), vars(error))
                shown += [
                    str(error),
                    repr(error),
                    repr(vars(error)),
                    repr(pickle.dumps(error)),
                    "".join(with_locals.format()),
                ]
            shown += [repr(wire), repr(talk), repr(way)]
        entries = await journal(url)
        shown.append(json.dumps(entries))
    assert all(entry["keyHash"] for entry in entries)
    shown += [record.getMessage() for record in caplog.records]
    assert not [text for text in shown if SENTINEL_KEY in text]
    assert not [
        record for record in caplog.records if "a secret prompt" in record.getMessage()
    ]
