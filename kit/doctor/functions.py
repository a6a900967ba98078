"""The kit's functions on the deployment: all there, of the right kind and version.

Which functions the kit has is read from the kit itself. Each is asked for as a query,
with an argument that none of them takes; see `queries` for why that is harmless.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import kit.convex
from kit.convex.contract import VERSION
from kit.deployment.functions import FunctionRegistry
from kit.doctor.findings import Finding, ok, problem, skipped
from kit.doctor.queries import Outcome, Queries, Refused, client_version

__all__ = ["look_at_functions", "public_functions"]

AT_ONCE = 6
_NOBODY_TAKES = {"kitDoctor": True}
_VERSION = "contract:version"


def public_functions() -> dict[str, str]:
    """The kind of each function that clients may call, by its path; but for the one
    that tells the version, which a deployment may be too old to have."""
    registry = FunctionRegistry.load(Path(kit.convex.__file__).parent)
    return {
        str(path): function.kind
        for path, function in sorted(registry.functions.items(), key=str)
        if not function.internal and str(path) != _VERSION
    }


async def look_at_functions(queries: Queries, url: str) -> list[Finding]:
    """Are they there, for us, and which version are they? Raises NoAnswer."""
    expected = public_functions()
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(path: str) -> Outcome:
        async with limit:
            return await queries.run(path, _NOBODY_TAKES)

    try:
        version = await queries.run(_VERSION, {})
        outcomes = dict(
            zip(expected, await asyncio.gather(*map(ask, expected)), strict=True)
        )
        signed_in = await _sign_in(queries, url)
    except Refused as error:
        return [_refused(error, url)]
    if version.reason == "sign-in":
        return [signed_in]
    if queries.deprecation is not None:
        seen = f"python-{client_version()}: {queries.deprecation}"
        return [problem("functions", "client-unsupported", seen, url)]
    for outcome in (version, *outcomes.values()):
        if outcome.reason in ("stopped", "unsupported"):
            fault = {"stopped": "deployment-stopped"}.get(
                outcome.reason, "functions-unsupported"
            )
            return [problem("functions", fault, outcome.text, url)]
    if any(outcome.reason == "hidden" for outcome in outcomes.values()):
        return [signed_in, *await _hidden(queries, version, expected, url)]
    functions = _functions(expected, outcomes, url)
    if functions.fault == "functions-missing":
        return [functions]
    return [signed_in, functions, _contract(version)]


async def _sign_in(queries: Queries, url: str) -> Finding:
    """Whether the kit's own functions answer whoever we are."""
    listed = await queries.run("tasks:list", {"limit": 1})
    if listed.reason == "sign-in":
        return problem("sign-in", "sign-in-missing", listed.text, url)
    if not listed.succeeded:
        return skipped("sign-in", "The kit's functions cannot be asked.", url)
    return ok("sign-in", f"They answer {queries.caller}.", url)


def _refused(error: Refused, url: str) -> Finding:
    seen = f"POST /api/query: {error.status} {error.code}: {error}."
    if error.code in ("ClientVersionUnsupported", "InvalidClientVersion"):
        return problem("functions", "client-unsupported", seen, url)
    if error.status == 401 or error.code in ("InvalidAdminKey", "InvalidAuthHeader"):
        return problem("sign-in", "sign-in-refused", seen, url)
    if error.code == "UnexpectedAnswer":
        return problem("functions", "deployment-not-convex", seen, url)
    return problem("functions", "deployment-stopped", seen, url)


def _functions(
    expected: dict[str, str], outcomes: dict[str, Outcome], url: str
) -> Finding:
    missing = [path for path, found in outcomes.items() if found.reason == "missing"]
    # What ran, or checked its arguments, when it was called as a query is one.
    kinds = {
        path: found.kind or "query"
        for path, found in outcomes.items()
        if path not in missing
    }
    foreign = [
        f"{path} is defined as {kind}, not as {expected[path]}"
        for path, kind in kinds.items()
        if kind != expected[path]
    ]
    if len(missing) == len(expected):
        seen = f"None of {len(expected)} is there."
        return problem("functions", "functions-missing", seen, url)
    if foreign:
        seen = f"{'; '.join(foreign)}."
        return problem("functions", "functions-foreign", seen, url)
    if missing:
        seen = f"{len(missing)} of {len(expected)} are missing: {', '.join(missing)}."
        return problem("functions", "functions-incomplete", seen, url)
    return ok("functions", f"All {len(expected)} are there.", url)


def _contract(version: Outcome) -> Finding:
    place = _VERSION
    if version.reason == "missing":
        seen = f"The deployment has no such function; the kit's version is {VERSION}."
        return problem("contract", "functions-older", seen, place)
    if not version.succeeded or not isinstance(version.value, int | float):
        seen = f"It answers {version.text or version.value!r}."
        return problem("contract", "functions-foreign", seen, place)
    found = version.value
    seen = f"The deployment has {found:g}, the kit {VERSION}."
    if found < VERSION:
        return problem("contract", "functions-older", seen, place)
    if found > VERSION:
        return problem("contract", "functions-newer", seen, place)
    return ok("contract", f"Both have {VERSION}.", place)


async def _hidden(
    queries: Queries, version: Outcome, expected: dict[str, str], url: str
) -> list[Finding]:
    """What can be told of a deployment that does not say why something failed.

    The value of `contract:version` shows; and so does the data of an error that one of
    the kit's own queries throws.
    """
    why = "The deployment does not say why a call fails, as production does not"
    if version.succeeded:
        contract = _contract(version)
        seen = f"{why}, so that {len(expected)} functions could not be told one by one."
        if contract.fault == "functions-foreign":
            return [problem("functions", contract.fault, seen, url)]
        return [skipped("functions", seen, url), contract]
    refusal = await queries.run("tasks:list", {"limit": -1})
    if refusal.code == "BadArguments":
        seen = f"{why}. tasks:list is there, contract:version is not."
        return [problem("contract", "functions-older", seen, url)]
    seen = f"{why}. Neither contract:version nor tasks:list answers."
    return [problem("functions", "functions-missing", seen, url)]
