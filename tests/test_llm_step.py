"""One model call: retried before the first chunk, never after; always cleaned up."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

import httpx2
import pytest
from llm_helpers import (
    CannedStream,
    canned,
    collect,
    failure,
    make_wire,
    opened,
    response,
    sse,
    talking,
    text_in,
)

from kit.llm import step as step_module
from kit.llm.failures import LONGEST_WAIT
from kit.llm.providers import ProviderName
from kit.llm.step import Retry
from kit.llm.wire import Turn
from kit.parts import Chunk

PROVIDERS: list[ProviderName] = ["openrouter", "anthropic", "openai"]

# Answers are made per test: a body can be read once.
Answer: TypeAlias = Callable[[], httpx2.Response | Exception]

HELLO: dict[ProviderName, bytes] = {
    "openrouter": sse({"choices": [{"delta": {"content": "Hello"}}]}),
    "anthropic": sse(
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hello"},
        },
        named=True,
    ),
    "openai": sse({"type": "response.output_text.delta", "delta": "Hello"}),
}
END: dict[ProviderName, bytes] = {
    "openrouter": sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
    "anthropic": sse(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        named=True,
    ),
    "openai": sse({"type": "response.completed", "response": {"status": "completed"}}),
}


def recording(waits: list[float]) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return sleep


def busy(status: int = 429, **headers: str) -> httpx2.Response:
    return response(
        b'{"error": {"message": "busy"}}',
        status=status,
        content_type="application/json",
        **headers,
    )


# --- before the first chunk -------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "first",
    [
        lambda: busy(429),
        lambda: busy(500),
        lambda: busy(529),
        lambda: httpx2.ConnectError("refused"),
        lambda: response(),
        lambda: response(httpx2.ReadError("cut")),
    ],
    ids=["429", "500", "529", "refused", "empty", "cut"],
)
async def test_a_failure_before_the_first_chunk_is_tried_again(
    provider: ProviderName, first: Answer
) -> None:
    waits: list[float] = []
    retry = Retry(sleep=recording(waits))
    good = response(HELLO[provider], END[provider])
    async with talking(provider, first(), good, retry=retry) as conversation:
        assert text_in(await collect(conversation)) == "Hello"
    assert len(waits) == 1


async def test_it_gives_up_after_two_more_tries_and_waits_longer_each_time() -> None:
    waits: list[float] = []
    seen: list[httpx2.Request] = []
    answers = [busy(), busy(), busy()]
    retry = Retry(sleep=recording(waits))
    async with talking("openai", *answers, retry=retry, seen=seen) as conversation:
        error, chunks = await failure(conversation)
    assert (error.kind, error.midstream, chunks) == ("rate-limit", False, [])
    assert len(seen) == 3
    assert 0.375 <= waits[0] <= 0.5 < 0.75 <= waits[1] <= 1.0


async def test_retry_after_is_obeyed_up_to_the_longest_wait() -> None:
    waits: list[float] = []
    answers = [busy(retry_after="7"), busy(retry_after="19.5"), busy()]
    retry = Retry(sleep=recording(waits))
    async with talking("anthropic", *answers, retry=retry) as conversation:
        await failure(conversation)
    assert waits == [7.0, 19.5]


async def test_a_longer_retry_after_fails_at_once_with_the_number() -> None:
    waits: list[float] = []
    answers = [busy(retry_after="3600")]
    retry = Retry(sleep=recording(waits))
    async with talking("anthropic", *answers, retry=retry) as conversation:
        error, _ = await failure(conversation)
    assert waits == []
    assert error.retry_after == 3600 > LONGEST_WAIT
    assert "3600 s" in str(error)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
async def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    seen: list[httpx2.Request] = []
    retry = Retry(sleep=recording([]))
    answers = [busy(status)]
    async with talking("openrouter", *answers, retry=retry, seen=seen) as conversation:
        await failure(conversation)
    assert len(seen) == 1


async def test_a_stall_is_not_tried_again() -> None:
    seen: list[httpx2.Request] = []
    retry = Retry(sleep=recording([]))
    stalled = response(httpx2.ReadTimeout("silence"))
    async with talking("anthropic", stalled, retry=retry, seen=seen) as conversation:
        error, _ = await failure(conversation)
    assert (error.kind, error.retryable, len(seen)) == ("timeout", True, 1)


# --- after it ---------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("breaks", "kind"),
    [
        (httpx2.RemoteProtocolError("cut"), "connection"),
        (httpx2.ReadError("cut"), "connection"),
        (httpx2.ReadTimeout("silence"), "timeout"),
        (b"", "interrupted"),
        (b'event: x\ndata: {"type": \n\n', "protocol"),
    ],
    ids=["protocol error", "read error", "silence", "clean end", "invalid JSON"],
)
async def test_a_failure_after_the_first_chunk_is_final(
    provider: ProviderName, breaks: bytes | Exception, kind: str
) -> None:
    seen: list[httpx2.Request] = []
    retry = Retry(sleep=recording([]))
    broken = response(HELLO[provider], breaks)
    async with talking(provider, broken, retry=retry, seen=seen) as conversation:
        error, chunks = await failure(conversation)
    assert (error.kind, error.midstream) == (kind, True)
    assert text_in(chunks) == "Hello"
    assert len(seen) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/html; charset=utf-8", "protocol"),
        ("application/json", "protocol"),
        ("text/event-stream", "interrupted"),
        ("", "interrupted"),
    ],
)
async def test_a_page_that_is_no_stream_is_no_success(
    provider: ProviderName, content_type: str, kind: str
) -> None:
    page = response(b"<html>Welcome!</html>\n\n", content_type=content_type)
    async with talking(provider, page) as conversation:
        error, _ = await failure(conversation)
    assert (error.kind, error.midstream) == (kind, False)
    if kind == "protocol":
        assert content_type.partition(";")[0] in str(error)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_breaks_after_the_end_harms_nothing(provider: ProviderName) -> None:
    broken = response(HELLO[provider], END[provider], httpx2.ReadError("late"))
    async with talking(provider, broken) as conversation:
        chunks = await collect(conversation)
    assert text_in(chunks) == "Hello"
    assert chunks[-1] == {"type": "finish-step", "finishReason": "stop"} | {
        "rawFinishReason": {
            "anthropic": "end_turn",
            "openai": "completed",
            "openrouter": "stop",
        }[provider]
    }


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_provider_that_never_hangs_up_does_not_hold_the_reply(
    provider: ProviderName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "_TRAILER_TIMEOUT", 0.05)
    endless = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        stream=Endless([HELLO[provider], END[provider]]),
    )
    async with talking(provider, endless) as conversation:
        chunks = await asyncio.wait_for(collect(conversation), 3)
    assert chunks[-1]["type"] == "finish-step"


class Endless(CannedStream):
    """A body that stays open after its last piece."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            yield piece
        await asyncio.Event().wait()


# --- leaving ----------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_leaving_early_closes_the_stream_at_once(provider: ProviderName) -> None:
    body = Endless([HELLO[provider]])
    answer = httpx2.Response(
        200, headers={"content-type": "text/event-stream"}, stream=body
    )
    async with talking(provider, answer) as conversation:
        async with aclosing(conversation.step()) as chunks:
            await anext(chunks)
        assert body.closed


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_cancelling_the_consumer_closes_the_stream_at_once(
    provider: ProviderName,
) -> None:
    body = Endless([HELLO[provider]])
    answer = httpx2.Response(
        200, headers={"content-type": "text/event-stream"}, stream=body
    )
    got: asyncio.Queue[Chunk] = asyncio.Queue()

    async with talking(provider, answer) as conversation:

        async def consume() -> None:
            async with aclosing(conversation.step()) as chunks:
                async for chunk in chunks:
                    got.put_nowait(chunk)

        task = asyncio.create_task(consume())
        await got.get()
        cancelled_at = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert body.closed
        assert time.perf_counter() - cancelled_at < 0.5


async def test_cancelling_while_waiting_to_try_again_is_immediate() -> None:
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    retry = Retry(sleep=sleep)
    async with talking("openai", busy(), retry=retry) as conversation:
        task = asyncio.create_task(collect(conversation))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_failed_step_leaves_no_trace_in_the_history(
    provider: ProviderName,
) -> None:
    seen: list[httpx2.Request] = []
    broken = response(HELLO[provider], httpx2.ReadError("cut"))
    good = response(HELLO[provider], END[provider])
    async with talking(provider, broken, good, seen=seen) as conversation:
        await failure(conversation)
        assert text_in(await collect(conversation)) == "Hello"
    assert seen[0].content == seen[1].content


# --- what comes out ---------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "broken",
    [lambda: busy(401), lambda: httpx2.ReadError("x"), lambda: response()],
    ids=["401", "cut", "empty"],
)
async def test_no_exception_of_an_sdk_hangs_on_to_the_error(
    provider: ProviderName, broken: Answer
) -> None:
    async with talking(provider, broken()) as conversation:
        error, _ = await failure(conversation)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_empty_prompt_is_refused_without_a_request(
    provider: ProviderName,
) -> None:

    async with opened(make_wire(provider, canned())) as wire:
        conversation = wire.conversation(
            model="m", system="s", turns=[Turn("user", "  ")]
        )
        error, _ = await failure(conversation)
    assert error.kind == "bad-request"
    assert "there is no prompt" in str(error)
