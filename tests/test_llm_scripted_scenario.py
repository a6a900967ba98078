"""Which names the scripted provider answers to, and what they ask it to play."""

import pytest

from kit.llm.providers import ProviderName
from kit.llm.scripted.scenario import BadModelName, Scenario, parse_model


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-5-5"),
        ("anthropic", "claude-sonnet-5"),
        ("anthropic", "claude-haiku-4-5-20251001"),
        ("anthropic", "claude-mythos-preview"),
        ("anthropic", "claude-3-5-sonnet-latest"),
        ("openai", "gpt-6.2-sol"),
        ("openai", "gpt-4o"),
        ("openai", "o3"),
        ("openrouter", "anthropic/claude-opus-4.8"),
        ("openrouter", "openai/gpt-6.2-sol"),
        ("openrouter", "google/gemini-3-pro:free"),
        ("openrouter", "~anthropic/claude-opus-latest"),
        ("openrouter", "deepseek/deepseek-v4"),
    ],
)
def test_well_known_models_answer(provider: ProviderName, model: str) -> None:
    assert parse_model(provider, model) == Scenario()


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-nonsense"),
        ("anthropic", "gpt-6.2-sol"),
        ("anthropic", "anthropic/claude-opus-5-5"),
        ("openai", "gpt-nonsense"),
        ("openai", "claude-opus-5-5"),
        ("openrouter", "claude-opus-5-5"),
        ("openrouter", "nobody/model"),
        ("openrouter", "/model"),
        ("openrouter", ""),
    ],
)
def test_other_models_do_not_exist(provider: ProviderName, model: str) -> None:
    assert parse_model(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "scripted-text"),
        ("anthropic", "claude-scripted-text"),
        ("openai", "gpt-scripted-text"),
        ("openrouter", "scripted-text"),
        ("openrouter", "vendor/scripted-text"),
        ("openrouter", "anthropic/claude-scripted-text"),
    ],
)
def test_a_scenario_may_follow_a_prefix(provider: ProviderName, model: str) -> None:
    assert parse_model(provider, model) == Scenario(shape="text")


def test_options_follow_a_colon() -> None:
    model = "scripted-flaky:tokens=5,pace=0.5,retry-after=3,fails=2,"
    assert parse_model("openai", model) == Scenario(
        shape="text", fault="flaky", tokens=5, pace=0.5, retry_after=3, fails=2
    )
    assert parse_model("anthropic", "claude-scripted-text:context=9,echo=1") == (
        Scenario(shape="text", context=9, echo=1)
    )


def test_any_error_status_can_be_scripted() -> None:
    assert parse_model("openai", "scripted-http-418") == Scenario(
        shape="text", fault="http", status=418
    )


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("scripted-dance", "There are: text, think, tool"),
        ("scripted-plain", "no scenario 'plain'"),
        ("scripted-http-200", "no scenario"),
        ("scripted-http", "no scenario"),
        ("scripted-text:speed=5", "There are: tokens, pace, at"),
        ("scripted-text:tokens", "a whole number from 1"),
        ("scripted-text:tokens=1.5", "a whole number"),
        ("scripted-text:tokens=0", "from 1 to"),
        ("scripted-text:pace=nan", "a number from 0"),
        ("scripted-text:pace=-1", "a number from 0"),
    ],
)
def test_a_wrong_scenario_or_option_says_what_there_is(model: str, says: str) -> None:
    with pytest.raises(BadModelName) as caught:
        parse_model("openrouter", model)
    assert says in str(caught.value)
