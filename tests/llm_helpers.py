"""What the tests of the model layer share: a provider in-process, canned streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
from serving_app import serving

from kit.errors import LLMError
from kit.llm.providers import PROVIDERS, ProviderName, Route
from kit.llm.route import open_wire, route
from kit.llm.scripted import create_app
from kit.llm.secret import Secret
from kit.llm.step import Retry
from kit.llm.wire import Conversation, ToolSpec, Turn, Wire
from kit.parts import Chunk, merge_chunks

__all__ = [
    "MODELS",
    "NO_RETRY",
    "SENTINEL_KEY",
    "WEATHER",
    "CannedStream",
    "asked",
    "canned",
    "collect",
    "failure",
    "journal",
    "make_wire",
    "model_named",
    "opened",
    "response",
    "route_to",
    "scripted",
    "sse",
    "talking",
    "text_in",
]

SENTINEL_KEY = "sk-sentinel-1f2e3d4c5b6a7980"
NO_RETRY = Retry(times=0)

# A model per wire, and how the scenarios of the scripted provider are named there.
MODELS: dict[ProviderName, str] = {
    "anthropic": "claude-opus-5-5",
    "openai": "gpt-6.2-sol",
    "openrouter": "google/gemini-3-pro",
}
_PREFIXES: dict[ProviderName, str] = {
    "anthropic": "claude-",
    "openai": "gpt-",
    "openrouter": "vendor/",
}

WEATHER = ToolSpec(
    "get_weather",
    "The weather in a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)


def model_named(provider: ProviderName, scenario: str) -> str:
    return f"{_PREFIXES[provider]}scripted-{scenario}"


# --- the scripted provider --------------------------------------------------------


@asynccontextmanager
async def scripted(
    *, pace: float = 0.0, handler_cancellation: bool = False
) -> AsyncIterator[str]:
    """The scripted provider in this process; its URL."""
    app = create_app(pace=pace)
    async with serving(app, handler_cancellation=handler_cancellation) as url:
        yield url


async def journal(url: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/log") as told:
        requests: list[dict[str, Any]] = (await told.json())["requests"]
        return requests


@asynccontextmanager
async def asked(
    url: str,
    model: str,
    prompt: str = "hi",
    *,
    tools: Sequence[ToolSpec] = (),
    read_timeout: float = 30.0,
) -> AsyncIterator[Conversation]:
    """A conversation with the scripted provider at `url`, routed as in real life."""
    settings = {"KIT_SCRIPTED_URL": url, "KIT_LLM_READ_TIMEOUT": str(read_timeout)}
    way = route(model, {}, settings)
    async with opened(open_wire(way)) as wire:
        yield wire.conversation(
            model=way.model,
            system="Be brief.",
            turns=[Turn("user", prompt)],
            tools=tools,
        )


@asynccontextmanager
async def opened(wire: Wire) -> AsyncIterator[Wire]:
    try:
        yield wire
    finally:
        await wire.aclose()


async def collect(conversation: Conversation) -> list[Chunk]:
    """The chunks of one step, neighbouring deltas merged."""
    return merge_chunks([chunk async for chunk in conversation.step()])


async def failure(conversation: Conversation) -> tuple[LLMError, list[Chunk]]:
    """How a step failed, and what came before."""
    chunks: list[Chunk] = []
    try:
        async for chunk in conversation.step():
            chunks.append(chunk)  # noqa: PERF401  what came before the failure counts
    except LLMError as error:
        return error, merge_chunks(chunks)
    raise AssertionError(f"no failure after {merge_chunks(chunks)}")


def text_in(chunks: Iterable[Chunk]) -> str:
    return "".join(c["delta"] for c in chunks if c["type"] == "text-delta")


# --- canned streams ---------------------------------------------------------------


class CannedStream(httpx2.AsyncByteStream):
    """A body in these pieces; an exception among them is raised in its place."""

    def __init__(self, pieces: Sequence[bytes | Exception]) -> None:
        self.pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


def response(
    *pieces: bytes | Exception,
    status: int = 200,
    content_type: str = "text/event-stream",
    **headers: str,
) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        names["content-type"] = content_type
    return httpx2.Response(status, headers=names, stream=CannedStream(pieces))


def sse(*events: Any, named: bool = False) -> bytes:
    """Events as a body; `named` puts the type of each on its `event:` line."""
    return b"".join(
        (b"event: " + event["type"].encode() + b"\n" if named else b"")
        + b"data: "
        + json.dumps(event).encode()
        + b"\n\n"
        for event in events
    )


def canned(
    *responses: httpx2.Response | Exception,
    seen: list[httpx2.Request] | None = None,
) -> httpx2.MockTransport:
    """A transport that gives these answers in turn. GETs (models) are 404."""
    waiting = list(responses)

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(404, json={"error": {"message": "no card"}})
        if seen is not None:
            seen.append(request)
        following = waiting.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    handler: Callable[[httpx2.Request], httpx2.Response] = answer
    return httpx2.MockTransport(handler)


def route_to(
    provider: ProviderName, model: str = "", *, key: str = SENTINEL_KEY
) -> Route:
    settings = PROVIDERS[provider]
    return Route(
        provider=provider,
        wire=settings.wire,
        model=model or MODELS[provider],
        api_key=Secret(key),
        base_url=settings.base_url,
        read_timeout=5.0,
    )


def make_wire(
    provider: ProviderName,
    transport: httpx2.AsyncBaseTransport,
    *,
    retry: Retry = NO_RETRY,
    way: Route | None = None,
) -> Wire:
    """An adapter over canned answers."""
    from kit.llm.anthropic import AnthropicWire
    from kit.llm.chat_completions import ChatCompletionsWire
    from kit.llm.responses import ResponsesWire

    way = way or route_to(provider)
    match provider:
        case "anthropic":
            return AnthropicWire(way, retry=retry, transport=transport)
        case "openai":
            return ResponsesWire(way, retry=retry, transport=transport)
        case "openrouter":
            return ChatCompletionsWire(way, retry=retry, transport=transport)


@asynccontextmanager
async def talking(
    provider: ProviderName,
    *responses: httpx2.Response | Exception,
    retry: Retry = NO_RETRY,
    seen: list[httpx2.Request] | None = None,
    tools: Sequence[ToolSpec] = (),
) -> AsyncIterator[Conversation]:
    """A conversation that gets these answers in turn."""
    transport = canned(*responses, seen=seen)
    async with opened(make_wire(provider, transport, retry=retry)) as wire:
        yield wire.conversation(
            model=MODELS[provider],
            system=None,
            turns=[Turn("user", "hi")],
            tools=tools,
        )
