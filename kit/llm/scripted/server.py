"""The scripted provider's server: HTTP around formats and playback.

Holds the routes and the checks that come before any format: key, model, body. How a
reply leaves is in `playback`, formats are in the modules named after them, what is
said is in `reply`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from kit.errors import KitError
from kit.llm.providers import PROVIDERS
from kit.llm.scripted.anthropic_messages import AnthropicMessages, model_card
from kit.llm.scripted.chat_completions import ChatCompletions
from kit.llm.scripted.formats import Format, Refused, said
from kit.llm.scripted.journal import Entry, Journal
from kit.llm.scripted.playback import Playback
from kit.llm.scripted.reply import Ask, Reply, compose
from kit.llm.scripted.responses import Responses
from kit.llm.scripted.scenario import BadModelName, Scenario, parse_model
from kit.serving import log_to_stderr, serve

__all__ = ["DEFAULT_PACE", "create_app", "main"]

log = logging.getLogger(__name__)

DEFAULT_PACE = 50.0  # tokens per second
_LARGEST_BODY = 8 * 1024 * 1024

_FORMATS: tuple[Format, ...] = (ChatCompletions(), AnthropicMessages(), Responses())


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. 0, or 2 if it could not start as asked."""
    parser = argparse.ArgumentParser(
        prog="python -m kit.llm.scripted",
        description="A model provider on this machine that needs no account.",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="0, the default, takes a free one"
    )
    parser.add_argument(
        "--pace",
        type=_pace,
        default=DEFAULT_PACE,
        help="tokens per second; 0 for as fast as possible (default: %(default)g)",
    )
    parser.add_argument(
        "--log-level", type=str.upper, default="INFO", choices=_LOG_LEVELS
    )
    options = parser.parse_args(argv)
    log_to_stderr(options.log_level)
    try:
        asyncio.run(serve(create_app(pace=options.pace), port=options.port))
    except KitError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _pace(text: str) -> float:
    pace = float(text)
    if not 0 <= pace <= 100_000:
        raise ValueError(text)
    return pace


def create_app(*, pace: float = DEFAULT_PACE) -> web.Application:
    """The server as an aiohttp application; `pace` in tokens per second."""
    provider = _Provider(pace)
    app = web.Application(client_max_size=_LARGEST_BODY)
    app.on_shutdown.append(provider.shut_down)
    app.router.add_get("/health", provider.health)
    app.router.add_get("/log", provider.log)
    app.router.add_put("/pace", provider.set_pace)
    for spoken in _FORMATS:
        path = PROVIDERS[spoken.provider].scripted_path
        app.router.add_post(path + spoken.endpoint, provider.handler(spoken))
        app.router.add_get(path + spoken.free_path, provider.free_handler(spoken))
    models = PROVIDERS["anthropic"].scripted_path + "/v1/models/{model}"
    app.router.add_get(models, provider.model)
    return app


class _Provider:
    """What is kept between requests: the journal, and what `flaky` has refused."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._journal = Journal()
        self._closing = asyncio.Event()
        self._failures: dict[str, int] = {}  # per request, since it last succeeded

    async def shut_down(self, app: web.Application) -> None:
        """End the replies under way, so that nobody waits for their last token."""
        self._closing.set()

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def log(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            raise web.HTTPBadRequest(text="since is the number of a request\n")
        return web.json_response({"requests": self._journal.since(int(since))})

    async def set_pace(self, request: web.Request) -> web.Response:
        """Take another pace, for the replies that begin from now on."""
        try:
            self._pace = _pace((await request.read()).decode())
        except ValueError:
            raise web.HTTPBadRequest(
                text="The body is the pace: tokens per second from 0 to 100000\n"
            ) from None
        return web.json_response({"pace": self._pace})

    async def model(self, request: web.Request) -> web.Response:
        """What Anthropic tells about a model."""
        spoken = AnthropicMessages()
        model = request.match_info["model"]
        try:
            _check_key(_key(request))
            _scenario(spoken, model)
        except Refused as refused:
            return _refusal(spoken, refused, "req_model")
        return web.json_response(model_card(model))

    def free_handler(self, spoken: Format) -> Any:
        """What only the key is needed for. Not in the journal: no model is asked."""

        async def handle(request: web.Request) -> web.Response:
            try:
                _check_key(_key(request))
            except Refused as refused:
                return _refusal(spoken, refused, "req_key")
            return web.json_response(spoken.free_answer())

        return handle

    def handler(self, spoken: Format) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            agent, key = request.headers.get("User-Agent", ""), _key(request)
            entry = self._journal.open(spoken.provider, key, agent)
            request_id = f"req_{entry.number}"
            try:
                ask, scenario = await _read(request, spoken, entry)
                scenario, trouble = self._trouble(spoken, ask, scenario, key)
                reply = _composed(ask, scenario)
            except Refused as refused:
                entry.end("refused", refused.status)
                log.info("%s: %s, HTTP %d", entry.wire, entry.model, refused.status)
                return _refusal(spoken, refused, request_id)
            return await self._stream(
                request, spoken, ask, reply, scenario, trouble, entry
            )

        return handle

    def _trouble(
        self, spoken: Format, ask: Ask, scenario: Scenario, key: str
    ) -> tuple[Scenario, Refused]:
        """What to play, and what an error in its stream says.

        Raises Refused for what goes wrong before there is one.
        """
        echo = f" The key is {key}." if scenario.echo else ""
        if scenario.context is not None and ask.input_tokens > scenario.context:
            told = spoken.too_long(ask.input_tokens, scenario.context).adding(echo)
            if not spoken.too_long_in_stream:
                raise told
            return replace(scenario, fault="error-mid", at=0), told
        status = scenario.status
        if scenario.fault == "flaky":
            failed = self._failures.pop(ask.digest, 0)
            if failed < scenario.fails:
                self._failures[ask.digest] = failed + 1
                status = spoken.overloaded
        if status is not None:
            text = f"scripted to answer with HTTP {status}"
            retry_after = scenario.retry_after
            raise Refused(status, text, retry_after=retry_after).adding(echo)
        return scenario, spoken.failing.adding(echo)

    async def _stream(
        self,
        request: web.Request,
        spoken: Format,
        ask: Ask,
        reply: Reply,
        scenario: Scenario,
        trouble: Refused,
        entry: Entry,
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                **spoken.headers(f"req_{entry.number}"),
            }
        )
        await response.prepare(request)
        playback = Playback(
            request=request,
            response=response,
            spoken=spoken,
            ask=ask,
            reply=reply,
            scenario=scenario,
            trouble=trouble,
            pace=self._pace if scenario.pace is None else scenario.pace,
            entry=entry,
            closing=self._closing,
        )
        try:
            await playback.play()
        except ConnectionError:
            pass  # the caller is gone, or is told so by the end of the body
        finally:
            # Also if the handler was cancelled, as aiohttp can be told to do.
            if entry.outcome == "streaming":
                entry.end("disconnected")
            log.info("%s: %s, %s", entry.wire, entry.model, entry.outcome)
        return response


# --- before the first byte --------------------------------------------------------


def _key(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("X-Api-Key", "")


def _check_key(key: str) -> None:
    if not key or key.startswith("refused"):
        # With the key, as OpenAI does, though not all of it.
        text = f"Incorrect API key provided: {key}" if key else "no API key was sent"
        raise Refused(401, text)


def _scenario(spoken: Format, model: str) -> Scenario:
    try:
        scenario = parse_model(spoken.provider, model)
    except BadModelName as error:
        raise Refused(400, str(error), param="model") from None
    if scenario is None:
        raise Refused(404, f"the model {model} does not exist", param="model")
    return scenario


async def _read(
    request: web.Request, spoken: Format, entry: Entry
) -> tuple[Ask, Scenario]:
    """What is asked, and how to answer. Raises Refused."""
    _check_key(_key(request))
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, "the request is too large") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    entry.model = str(body.get("model", ""))
    scenario = _scenario(spoken, entry.model)
    try:
        ask = spoken.read(body)
    except (AttributeError, TypeError, KeyError):
        raise Refused(400, "the body has values of the wrong type") from None
    entry.prompt = ask.prompt
    entry.turns = said(body)
    if body.get("stream") is not True:
        raise Refused(
            400, "only streaming is scripted: send stream: true", param="stream"
        )
    return ask, scenario


def _composed(ask: Ask, scenario: Scenario) -> Reply:
    """The reply. Raises Refused for a tool whose schema is none."""
    try:
        return compose(ask, scenario)
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
        raise Refused(400, "tools: a schema cannot be understood") from None


def _refusal(spoken: Format, refused: Refused, request_id: str) -> web.Response:
    headers = spoken.headers(request_id)
    if refused.retry_after is not None:
        headers["Retry-After"] = f"{refused.retry_after:g}"
    body = spoken.error_body(refused, request_id)
    return web.json_response(body, status=refused.status, headers=headers)
