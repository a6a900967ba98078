"""Whether a key is accepted, asked for free."""

from typing import Any

import httpx2
import pytest
from llm_helpers import (
    SENTINEL_KEY,
    journal,
    make_wire,
    opened,
    route_to,
    scripted,
)

from kit.errors import LLMError, LLMErrorKind
from kit.llm.keys import FREE_PATHS
from kit.llm.providers import PROVIDERS, ProviderName
from kit.llm.route import open_wire, route

NAMES: list[ProviderName] = list(PROVIDERS)
MODELS = {"anthropic": "claude-opus-5-5", "openai": "gpt-6.2-sol", "openrouter": "x/y"}

JSON = {"content-type": "application/json"}


async def check(provider: ProviderName, answer: httpx2.Response | Exception) -> str:
    """Check against this one answer: what was asked. Raises LLMError."""
    asked: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with opened(make_wire(provider, httpx2.MockTransport(handle))) as wire:
        await wire.check_key()
    (request,) = asked
    assert request.method == "GET"
    assert request.headers["authorization"] == f"Bearer {SENTINEL_KEY}"
    return str(request.url)


async def failure(
    provider: ProviderName, answer: httpx2.Response | Exception
) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await check(provider, answer)
    assert SENTINEL_KEY not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


@pytest.mark.parametrize("provider", NAMES)
async def test_what_is_asked_is_free_and_needs_the_key(provider: ProviderName) -> None:
    asked = await check(provider, httpx2.Response(200, json={"data": []}))
    assert asked == route_to(provider).base_url + FREE_PATHS[provider]


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "auth"), (403, "forbidden"), (404, "not-found"), (500, "server")],
)
async def test_a_refusal_has_its_kind(
    provider: ProviderName, status: int, kind: LLMErrorKind
) -> None:
    body = {"error": {"message": f"no, {SENTINEL_KEY}", "type": "x"}}
    assert (await failure(provider, httpx2.Response(status, json=body))).kind == kind


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx2.ConnectError("refused"), "connection"),
        (httpx2.ReadTimeout("silence"), "timeout"),
        (httpx2.Response(200, text="<html>"), "protocol"),
        (httpx2.Response(200, json=["data"]), "protocol"),
        (httpx2.Response(200, json={}), "protocol"),
        (httpx2.Response(200, text="{", headers=JSON), "protocol"),
        (httpx2.Response(302, headers={"location": "http://elsewhere"}), "protocol"),
    ],
    ids=str,
)
async def test_what_is_no_provider_is_not_taken_for_one(
    provider: ProviderName, answer: Any, kind: LLMErrorKind
) -> None:
    assert (await failure(provider, answer)).kind == kind


@pytest.mark.parametrize(("left", "good"), [(None, True), (0.5, True), (0, False)])
async def test_openrouter_tells_what_is_left_to_spend(
    left: float | None, good: bool
) -> None:
    answer = httpx2.Response(200, json={"data": {"limit_remaining": left}})
    if good:
        await check("openrouter", answer)
    else:
        assert (await failure("openrouter", answer)).kind == "billing"


@pytest.mark.parametrize("provider", NAMES)
async def test_the_scripted_provider_knows_good_keys_and_refused_ones(
    provider: ProviderName,
) -> None:
    async with scripted() as url:
        env = {"KIT_SCRIPTED_URL": url}
        for key in ("good", "refused-key"):
            chosen = route(MODELS[provider], {provider: key}, env)
            async with opened(open_wire(chosen)) as wire:
                if key == "good":
                    await wire.check_key()
                    continue
                with pytest.raises(LLMError) as caught:
                    await wire.check_key()
                assert (caught.value.kind, caught.value.status) == ("auth", 401)
        assert await journal(url) == [], "no model was asked"
