"""The provider's key: there, accepted, and shown to nobody else."""

from typing import Any

import pytest
from doctor_helpers import TIMEOUT, case
from llm_helpers import scripted
from wrong_places import a_web_site, refusing, silent, unresolvable

from kit.doctor import provider
from kit.doctor.application import Import, Told
from kit.doctor.findings import Finding
from kit.doctor.provider import look_at_provider
from kit.doctor.reach import EMBEDDED, Reached
from kit.errors import LLMError, LLMErrorKind
from kit.llm.providers import PROVIDERS, ProviderName

SENTINEL = "sentinel-2b7d91"
NAMES: list[ProviderName] = list(PROVIDERS)
CONVEX = Reached("https://a.convex.cloud", "1", "a")
EMBEDDED_ONE = Reached("http://127.0.0.1:1", "1", EMBEDDED)


def told(*api_keys: str, scripted_provider: bool = False) -> Told:
    return Told(
        env_file="",
        mode="option-1",
        convex_url=None,
        api_keys=list(api_keys),
        scripted_provider=scripted_provider,
        pid=1,
        python="",
        versions={},
        convex_client=Import(),
    )


async def look(
    env: dict[str, str],
    application: Told | None = None,
    reached: Reached | None = None,
    *,
    is_on: bool = True,
    **given: Any,
) -> list[Finding]:
    examined = case(env=env, **given)
    findings = await look_at_provider(examined, application, reached, is_on=is_on)
    assert SENTINEL not in repr(findings)
    return findings


def pointed_at(url: str, *names: ProviderName, key: str = SENTINEL) -> dict[str, str]:
    """An environment with a key for these providers, all of them at `url`."""
    env = {}
    for name in names:
        settings = PROVIDERS[name]
        env[settings.key_variable] = key
        env[settings.base_url_variable] = url + settings.scripted_path
    return env


@pytest.mark.parametrize("name", NAMES)
async def test_a_key_is_accepted_or_refused(name: ProviderName) -> None:
    async with scripted() as url:
        (good,) = await look(pointed_at(url, name))
        (bad,) = await look(pointed_at(url, name, key=f"refused-{SENTINEL}"))
    assert (good.state, good.place) == ("ok", PROVIDERS[name].key_variable)
    assert bad.fault == "key-refused"
    assert PROVIDERS[name].key_variable in bad.seen


async def test_each_key_is_tried_unless_one_is_named() -> None:
    async with scripted() as url:
        env = pointed_at(url, *NAMES)
        env["OPENAI_API_KEY"] = "refused"
        every = await look(env)
        (one,) = await look(env, provider="openai")
    assert [finding.fault for finding in every] == [None, None, "key-refused"]
    assert one.fault == "key-refused"


async def test_the_scripted_provider_is_asked_without_any_key() -> None:
    async with scripted() as url:
        env = {"KIT_SCRIPTED_URL": url, "ANTHROPIC_API_KEY": f"refused-{SENTINEL}"}
        (finding,) = await look({"KIT_SCRIPTED_URL": url})
        assert finding.state == "ok"
        assert url in finding.place
        for name in NAMES:
            (named,) = await look({"KIT_SCRIPTED_URL": url}, provider=name)
            assert named.state == "ok"
            assert PROVIDERS[name].scripted_path in named.place
        # As with replies: a real key is never sent there.
        (kept,) = await look(env)
        assert kept.state == "ok"


@pytest.mark.parametrize(
    "place", [refusing, unresolvable, a_web_site], ids=lambda place: place.__name__
)
async def test_a_provider_that_cannot_be_asked(place: Any) -> None:
    async with place() as url:
        (finding,) = await look(pointed_at(url, "anthropic"))
        (scripted_one,) = await look({"KIT_SCRIPTED_URL": url})
    assert finding.fault == "provider-away"
    assert scripted_one.fault == "provider-away"


async def test_a_silent_provider_is_given_up() -> None:
    async with silent() as url:
        (finding,) = await look(pointed_at(url, "openai"), timeout=3)
    assert finding.fault == "provider-away"
    assert "within 3 s" in finding.seen


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("billing", "key-empty"),
        ("forbidden", "skipped"),
        ("rate-limit", "ok"),
        ("overloaded", "provider-away"),
    ],
)
async def test_other_refusals(
    kind: LLMErrorKind, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> None:
        raise LLMError(kind, "no", provider="openai")

    monkeypatch.setattr(provider, "_check", refuse)
    (finding,) = await look({"OPENAI_API_KEY": SENTINEL})
    assert (finding.fault or finding.state) == outcome


async def test_what_cannot_be_a_key_or_a_url_is_not_sent() -> None:
    (key,) = await look({"OPENAI_API_KEY": f"{SENTINEL} with spaces"})
    assert key.fault == "key-unusable"
    bad = {"OPENAI_API_KEY": SENTINEL, "KIT_OPENAI_BASE_URL": "nonsense"}
    (url,) = await look(bad)
    assert url.fault == "provider-away"


# --- no key here ------------------------------------------------------------------


async def test_no_key_at_all_is_a_problem_where_nobody_else_can_have_one() -> None:
    for application, reached, is_on in (
        (None, None, True),
        (told(), None, True),
        (told(), CONVEX, False),
    ):
        (finding,) = await look({}, application, reached, is_on=is_on)
        assert finding.fault == "key-missing"
        assert "ANTHROPIC_API_KEY" in finding.seen
    (named,) = await look({"OPENAI_API_KEY": " "}, provider="openai")
    assert (named.fault, named.seen) == ("key-missing", "Looked for OPENAI_API_KEY.")


async def test_a_deployments_own_environment_cannot_be_read() -> None:
    (cloud,) = await look({}, None, CONVEX)
    assert cloud.state == "skipped"
    assert "npx convex env list" in cloud.seen
    (embedded,) = await look({}, None, EMBEDDED_ONE)
    assert embedded.state == "skipped"
    assert "npx" not in embedded.seen


async def test_that_of_a_stack_is_known() -> None:
    own = {"KIT_SCRIPTED_URL": "http://127.0.0.1:1"}
    (scripted_one,) = await look({}, told(), EMBEDDED_ONE, deployment_env=own)
    assert scripted_one.state == "ok"
    (nothing,) = await look({}, told(), EMBEDDED_ONE, deployment_env={})
    assert nothing.fault == "key-missing"


async def test_what_the_application_has_is_told_apart_from_what_is_here() -> None:
    for application in (told("OPENAI_API_KEY"), told(scripted_provider=True)):
        (theirs,) = await look({}, application)
        assert theirs.state == "skipped"
    async with scripted() as url:
        env = pointed_at(url, "anthropic")
        good, without = await look(env, told(), timeout=TIMEOUT)
        assert good.state == "ok"
        assert without.fault == "application-without-key"
        for application in (told("ANTHROPIC_API_KEY"), told(scripted_provider=True)):
            (only,) = await look(env, application)
            assert only.state == "ok"
