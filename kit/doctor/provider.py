"""The model provider: is there a key, and is it accepted?

Keys are taken from the environment of the case and shown to nobody but the provider
that they are for, in a call that costs nothing (`kit.llm.keys`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from kit.doctor.application import Told
from kit.doctor.case import Case
from kit.doctor.findings import Finding, ok, problem, skipped
from kit.doctor.http import resolve
from kit.doctor.reach import Reached
from kit.errors import ConfigError, LLMError
from kit.llm.providers import PROVIDERS, ProviderName
from kit.llm.route import Route, load_sdk, open_wire, route

__all__ = ["look_at_provider"]

# A model that each provider serves by itself. It is only named, never asked.
_MODELS: Mapping[ProviderName, str] = {
    "openrouter": "openrouter/auto",
    "anthropic": "claude-opus-5-5",
    "openai": "gpt-6.2-sol",
}
_FAULTS = {
    "auth": "key-refused",
    "billing": "key-empty",
    "connection": "provider-away",
    "timeout": "provider-away",
    "server": "provider-away",
    "overloaded": "provider-away",
    "protocol": "provider-away",
    "not-found": "provider-away",
}


async def look_at_provider(
    case: Case, told: Told | None, reached: Reached | None, *, is_on: bool
) -> list[Finding]:
    """One finding for each key, or one that says why there is none."""
    if case.env.get("KIT_SCRIPTED_URL", "").strip():
        return [await _try(case, case.provider or "anthropic")]
    names = [case.provider] if case.provider else list(PROVIDERS)
    with_key = [name for name in names if _key(case.env, name)]
    findings = list(await asyncio.gather(*(_try(case, name) for name in with_key)))
    if not with_key:
        return [_no_key(case, names, told, reached, is_on=is_on)]
    if told is not None and not told.scripted_provider and not told.api_keys:
        seen = f"It was started without; here there is {_variables(with_key)}."
        place = case.app_url or ""
        fault = "application-without-key"
        findings.append(problem("provider-key", fault, seen, place))
    return findings


def _key(env: Mapping[str, str], name: ProviderName) -> str:
    return env.get(PROVIDERS[name].key_variable, "").strip()


def _variables(names: list[ProviderName]) -> str:
    return ", ".join(PROVIDERS[name].key_variable for name in names)


async def _try(case: Case, name: ProviderName) -> Finding:
    """Route to the provider as a reply would be, and ask it about the key."""
    scripted = bool(case.env.get("KIT_SCRIPTED_URL", "").strip())
    # Given, so that no other key comes first. The scripted one is never sent any.
    given: dict[str, str | None] = {}
    if not scripted:
        given[name] = _key(case.env, name)
    place = PROVIDERS[name].key_variable
    try:
        way = route(_MODELS[name], given, case.env)
    except LLMError as error:
        return problem("provider-key", "key-unusable", str(error), place)
    except ConfigError as error:
        return problem("provider-key", "provider-away", str(error), place)
    if scripted:
        place = f"{way.base_url}, scripted"
    try:
        async with asyncio.timeout(case.timeout):
            await _check(way)
    except TimeoutError:
        seen = f"No answer from {way.base_url} within {case.timeout:g} s."
        return problem("provider-key", "provider-away", seen, place)
    except OSError:
        seen = f"The host name of {way.base_url} does not resolve."
        return problem("provider-key", "provider-away", seen, place)
    except LLMError as error:
        return _refusal(error, place)
    return ok("provider-key", f"{way.base_url} accepts it.", place)


async def _check(way: Route) -> None:
    """Raises LLMError, or OSError for a host that has no address."""
    parts = urlsplit(way.base_url)
    await resolve(parts.hostname or "", parts.port or 443)
    await asyncio.to_thread(load_sdk, way.wire)
    wire = open_wire(way)
    try:
        await wire.check_key()
    finally:
        await wire.aclose()


def _refusal(error: LLMError, place: str) -> Finding:
    if error.kind == "rate-limit":
        why = f"It is limited at present, which says that the key is known. {error}"
        return ok("provider-key", why, place)
    if error.kind in _FAULTS:
        fault = _FAULTS[error.kind]
        return problem("provider-key", fault, str(error), place)
    # A restricted key may be good for replies, and not for this question.
    why = f"The provider knows the key, and does not let it ask for this. {error}"
    return skipped("provider-key", why, place)


def _no_key(
    case: Case,
    names: list[ProviderName],
    told: Told | None,
    reached: Reached | None,
    *,
    is_on: bool,
) -> Finding:
    looked = _variables(names)
    if told is not None and (told.api_keys or told.scripted_provider):
        theirs = ", ".join(told.api_keys) or "the scripted provider"
        why = (
            f"The application has {theirs}, this environment has no {looked}: run this "
            "in the application's environment to try it."
        )
        return skipped("provider-key", why)
    own = case.deployment_env
    if is_on and own is not None and own.get("KIT_SCRIPTED_URL", "").strip():
        why = "The embedded deployment uses the scripted provider."
        return ok("provider-key", why)
    if is_on and reached is not None and own is None:
        why = (
            f"There is no {looked} here. The deployment may have one in its own "
            "environment, which cannot be read from outside"
        )
        where = (
            "." if reached.is_embedded else " (npx convex env list shows the names)."
        )
        return skipped("provider-key", why + where)
    seen = f"Looked for {looked}."
    return problem("provider-key", "key-missing", seen)
