"""Which provider, model spelling, key and URL a reply comes from."""

import pickle
import subprocess
import sys

import pytest

from kit.errors import ConfigError, LLMError
from kit.llm.providers import PROVIDERS, ProviderName
from kit.llm.route import Route, load_sdk, open_wire, route
from kit.llm.secret import Secret

ENV = {
    "OPENROUTER_API_KEY": "sk-or-env-00000000",
    "ANTHROPIC_API_KEY": "sk-ant-env-0000000",
    "OPENAI_API_KEY": "sk-openai-env-0000",
}
SCRIPTED = {"KIT_SCRIPTED_URL": "http://127.0.0.1:9000/"} | ENV


def env(*providers: str) -> dict[str, str]:
    return {name: ENV[name] for name in (f"{p.upper()}_API_KEY" for p in providers)}


# --- the order of keys ------------------------------------------------------------


def test_openrouter_goes_first_then_anthropic_then_openai() -> None:
    model = "claude-opus-5-5"
    assert route(model, {}, ENV).provider == "openrouter"
    assert route(model, {}, env("anthropic", "openai")).provider == "anthropic"
    assert route("gpt-6.2-sol", {}, env("anthropic", "openai")).provider == "openai"


def test_a_given_key_goes_before_the_environment() -> None:
    chosen = route("claude-opus-5-5", {"anthropic": "sk-ant-given-00"}, ENV)
    assert chosen.provider == "anthropic"
    assert chosen.api_key == Secret("sk-ant-given-00")


def test_blank_keys_count_as_absent() -> None:
    chosen = route("gpt-6.2-sol", {"openrouter": " ", "openai": None}, ENV)
    assert chosen.api_key == Secret(ENV["OPENROUTER_API_KEY"])


def test_a_provider_that_does_not_serve_the_model_is_passed_over() -> None:
    assert route("gpt-6.2-sol", {"anthropic": "sk-ant-x"}, ENV).provider == "openrouter"
    assert route("openai/gpt-6.2-sol", {}, env("anthropic", "openai")).provider == (
        "openai"
    )


@pytest.mark.parametrize(
    ("model", "has", "needs"),
    [
        ("claude-opus-5-5", "openai", "OPENROUTER_API_KEY or ANTHROPIC_API_KEY"),
        ("gpt-6.2-sol", "anthropic", "OPENROUTER_API_KEY or OPENAI_API_KEY"),
        ("google/gemini-3-pro", "openai", "Set OPENROUTER_API_KEY,"),
        ("mistral-large", "anthropic", "Set OPENROUTER_API_KEY,"),
        ("anthropic/claude-opus-5:free", "anthropic", "Set OPENROUTER_API_KEY,"),
        ("~anthropic/claude-opus-latest", "anthropic", "Set OPENROUTER_API_KEY,"),
    ],
)
def test_no_key_names_the_model_and_what_to_set(
    model: str, has: str, needs: str
) -> None:
    with pytest.raises(LLMError, match="no API key for model") as caught:
        route(model, {}, env(has))
    assert caught.value.kind == "auth"
    assert model in str(caught.value)
    assert needs in str(caught.value)


# --- spelling ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "spelled"),
    [
        ("claude-opus-5-5", "anthropic/claude-opus-5.5"),
        ("claude-opus-5", "anthropic/claude-opus-5"),
        ("claude-haiku-4-5-20251001", "anthropic/claude-haiku-4.5"),
        ("claude-3-5-sonnet-latest", "anthropic/claude-3.5-sonnet"),
        ("gpt-6.2-sol", "openai/gpt-6.2-sol"),
        ("o3-mini", "openai/o3-mini"),
        ("google/gemini-3-pro:free", "google/gemini-3-pro:free"),
        ("~openai/gpt-latest", "~openai/gpt-latest"),
        ("unheard-of", "unheard-of"),
    ],
)
def test_names_for_openrouter(model: str, spelled: str) -> None:
    assert route(model, {}, env("openrouter")).model == spelled


@pytest.mark.parametrize(
    ("provider", "model", "spelled"),
    [
        ("anthropic", "anthropic/claude-opus-4.8", "claude-opus-4-8"),
        ("anthropic", "claude-opus-4.8", "claude-opus-4-8"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001"),
        ("openai", "openai/gpt-6.2-sol", "gpt-6.2-sol"),
        ("openai", "ft:gpt-5.4:acme::abc", "ft:gpt-5.4:acme::abc"),
    ],
)
def test_names_for_the_makers_themselves(
    provider: ProviderName, model: str, spelled: str
) -> None:
    chosen = route(model, {}, env(provider))
    assert (chosen.provider, chosen.model) == (provider, spelled)


def test_a_fine_tuned_model_is_not_asked_of_openrouter() -> None:
    assert route("ft:gpt-5.4:acme::abc", {}, ENV).provider == "openai"


@pytest.mark.parametrize("model", ["", "  ", "two words", "a\nb", "x" * 201])
def test_what_can_be_no_model_name_is_refused(model: str) -> None:
    with pytest.raises(LLMError, match="is not a model name") as caught:
        route(model, {}, ENV)
    assert caught.value.kind == "not-found"


@pytest.mark.parametrize("key", ["sk-with space-00", "sk-“quoted”", "sk-line\nbreak"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(LLMError) as caught:
        route("claude-opus-5-5", {"anthropic": key}, {})
    assert caught.value.kind == "auth"
    assert key not in str(caught.value)


# --- the scripted provider --------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "provider", "spelled"),
    [
        ("claude-opus-5-5", "anthropic", "claude-opus-5-5"),
        ("gpt-6.2-sol", "openai", "gpt-6.2-sol"),
        ("o3", "openai", "o3"),
        ("google/gemini-3-pro", "openrouter", "google/gemini-3-pro"),
        ("claude-scripted-text", "anthropic", "claude-scripted-text"),
        ("gpt-scripted-text:tokens=5", "openai", "gpt-scripted-text:tokens=5"),
        ("a/scripted-text:pace=0.5", "openrouter", "a/scripted-text:pace=0.5"),
        ("scripted-text", "openrouter", "scripted-text"),
    ],
)
def test_the_scripted_provider_takes_every_model_by_its_name(
    model: str, provider: ProviderName, spelled: str
) -> None:
    chosen = route(model, {}, SCRIPTED)
    assert (chosen.provider, chosen.model) == (provider, spelled)
    assert chosen.base_url == (
        "http://127.0.0.1:9000" + PROVIDERS[provider].scripted_path
    )


def test_keys_in_the_environment_never_reach_the_scripted_provider() -> None:
    assert route("claude-opus-5-5", {}, SCRIPTED).api_key == Secret("scripted")


def test_a_given_key_reaches_the_scripted_provider_and_selects_the_wire() -> None:
    keys = {"openai": "k-openai", "anthropic": "k-anthropic"}
    assert route("scripted-text", keys, SCRIPTED).provider == "anthropic"
    assert route("gpt-scripted-text", keys, SCRIPTED).provider == "openai"
    chosen = route("claude-opus-5-5", {"openrouter": "k-router"}, SCRIPTED)
    assert chosen.model == "anthropic/claude-opus-5.5"
    assert chosen.api_key == Secret("k-router")
    # A key that cannot serve the model is no reason to fail here.
    chosen = route("gpt-6.2-sol", {"anthropic": "k-anthropic"}, SCRIPTED)
    assert (chosen.provider, chosen.api_key) == ("openai", Secret("scripted"))


def test_scripted_models_need_the_scripted_provider() -> None:
    with pytest.raises(LLMError, match="Set KIT_SCRIPTED_URL") as caught:
        route("claude-scripted-text", {}, ENV)
    assert caught.value.kind == "not-found"


# --- settings ---------------------------------------------------------------------


def test_base_urls_can_be_set_and_the_sdks_own_variables_do_nothing() -> None:
    settings = env("anthropic") | {
        "KIT_ANTHROPIC_BASE_URL": "https://proxy.example/claude/",
        "ANTHROPIC_BASE_URL": "https://evil.example",
    }
    chosen = route("claude-opus-5-5", {}, settings)
    assert chosen.base_url == "https://proxy.example/claude"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://[::1",
        "https://user:sk-password-1234@host",
        "https://host/?key=sk-password-1234",
    ],
)
@pytest.mark.parametrize("variable", ["KIT_OPENAI_BASE_URL", "KIT_SCRIPTED_URL"])
def test_a_malformed_url_is_named_by_its_variable_and_not_shown(
    variable: str, url: str
) -> None:
    with pytest.raises(ConfigError, match=variable) as caught:
        route("gpt-6.2-sol", {}, env("openai") | {variable: url})
    assert "sk-password" not in str(caught.value)


def test_the_read_timeout_is_a_setting() -> None:
    assert route("o3", {}, ENV).read_timeout == 60.0
    assert route("o3", {}, ENV | {"KIT_LLM_READ_TIMEOUT": "2.5"}).read_timeout == 2.5


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_malformed_read_timeout_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KIT_LLM_READ_TIMEOUT"):
        route("o3", {}, ENV | {"KIT_LLM_READ_TIMEOUT": text})


# --- what a route is --------------------------------------------------------------


def test_a_route_shows_no_key_and_cannot_be_pickled() -> None:
    chosen = route("o3", {}, env("openai"))
    assert ENV["OPENAI_API_KEY"] not in repr(chosen)
    with pytest.raises(TypeError):
        pickle.dumps(chosen)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_route_opens_the_adapter_of_its_wire(provider: ProviderName) -> None:
    chosen = Route(
        provider, PROVIDERS[provider].wire, "m", Secret("k"), "http://127.0.0.1:1"
    )
    load_sdk(chosen.wire)
    wire = open_wire(chosen)
    assert wire.provider == provider
    await wire.aclose()


def test_nothing_is_imported_before_a_wire_is_opened() -> None:
    program = """
import sys
import kit.llm, kit.llm.route, kit.llm.wire, kit.llm.secret
heavy = {"anthropic", "openai", "httpx2", "pydantic", "aiohttp"} & set(sys.modules)
assert not heavy, heavy
from kit.llm.route import load_sdk
assert load_sdk("anthropic-messages")
assert not load_sdk("anthropic-messages"), "it was there"
assert "anthropic" in sys.modules and "openai" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
