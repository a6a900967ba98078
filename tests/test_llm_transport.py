"""What leaves the machine: one key, few headers, no proxy to this machine."""

import logging

import httpx2
import pytest
from llm_helpers import (
    MODELS,
    SENTINEL_KEY,
    canned,
    collect,
    failure,
    make_wire,
    opened,
    response,
    route_to,
    scripted,
    talking,
)

from kit.llm.providers import ProviderName
from kit.llm.route import open_wire, route
from kit.llm.transport import NO_KEY, http_client, quiet_loggers
from kit.llm.wire import Turn

PROVIDERS: list[ProviderName] = ["openrouter", "anthropic", "openai"]

# What the SDKs read by themselves, and would send to any host.
FOREIGN = {
    "OPENAI_ORG_ID": "org-foreign",
    "OPENAI_PROJECT_ID": "proj-foreign",
    "OPENAI_CUSTOM_HEADERS": "X-Foreign: foreign\nAuthorization: Bearer foreign",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Foreign: foreign\nAuthorization: Bearer foreign",
    "ANTHROPIC_BASE_URL": "https://foreign.example",
    "OPENAI_BASE_URL": "https://foreign.example",
    "ANTHROPIC_API_KEY": "sk-foreign-000000",
    "ANTHROPIC_AUTH_TOKEN": "foreign-token-00000",
    "OPENAI_API_KEY": "sk-foreign-000000",
    "ANTHROPIC_LOG": "debug",
    "OPENAI_LOG": "debug",
}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_environment_of_the_sdks_reaches_nobody(
    provider: ProviderName, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    seen: list[httpx2.Request] = []
    async with talking(provider, response(), seen=seen) as conversation:
        await failure(conversation)
    [request] = seen
    assert str(request.url).startswith(route_to(provider).base_url)
    assert request.headers["authorization"] == f"Bearer {SENTINEL_KEY}"
    sent = str(dict(request.headers)).lower()
    assert "foreign" not in sent
    assert "openai-organization" not in sent


async def test_anthropics_version_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "anthropic-version: 2023-06-01")
    seen: list[httpx2.Request] = []
    async with talking("anthropic", response(), seen=seen) as conversation:
        await failure(conversation)
    assert seen[0].headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_sdk_itself_never_holds_the_key(provider: ProviderName) -> None:
    async with opened(make_wire(provider, canned())) as wire:
        client = wire._client  # type: ignore[attr-defined]
        assert client.api_key == NO_KEY
        assert SENTINEL_KEY not in repr(vars(client))


async def test_a_redirect_does_not_carry_the_key_away() -> None:
    seen: list[httpx2.Request] = []
    away = response(status=307, content_type="", location="https://foreign.example/")
    async with talking("openrouter", away, seen=seen) as conversation:
        error, _ = await failure(conversation)
    assert error.kind == "protocol"
    assert "redirect" in str(error)
    assert len(seen) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_proxy_is_not_asked_for_this_machines_servers(
    provider: ProviderName, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with scripted() as url:
        way = route(MODELS[provider], {}, {"KIT_SCRIPTED_URL": url})
        async with opened(open_wire(way)) as wire:
            turns = [Turn("user", "hi")]
            chunks = await collect(
                wire.conversation(model=way.model, system=None, turns=turns)
            )
    assert chunks[-1]["type"] == "finish-step"


async def test_a_proxy_is_used_for_other_hosts() -> None:
    client = http_client(route_to("openai"))
    assert client.trust_env
    await client.aclose()


def test_the_loggers_of_the_sdks_are_quiet() -> None:
    names = ("anthropic", "openai", "httpx2", "httpcore2")
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    quiet_loggers()
    for name in names:
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
