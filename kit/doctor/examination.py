"""`diagnose`: looks at everything that can be at fault, side by side, in seconds.

Holds the order: what others rest on comes first, the rest together. Each probe has a
time limit; what fails in one does not keep the others from being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kit.doctor.application import (
    Told,
    ask_application,
    compare_settings,
    look_at_client,
)
from kit.doctor.case import DEFAULT_TIMEOUT, Case, make_case
from kit.doctor.findings import Diagnosis, Finding, Subject, problem, skipped
from kit.doctor.functions import look_at_functions
from kit.doctor.http import Http, NoAnswer
from kit.doctor.packages import look_at_packages
from kit.doctor.provider import look_at_provider
from kit.doctor.queries import Queries
from kit.doctor.reach import Reached, reach
from kit.doctor.settings import Settings, read_settings
from kit.doctor.subscription import look_at_subscription
from kit.doctor.task import look_at_task
from kit.stack import Stack

__all__ = ["diagnose"]

Extra = TypeVar("Extra")


async def diagnose(
    stack: Stack | None = None,
    *,
    env_file: Path | str | None = None,
    deployment_url: str | None = None,
    app_url: str | None = None,
    task: str | None = None,
    provider: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Diagnosis:
    """Look at everything that can keep replies from streaming through Convex.

    ```python
    await diagnose(stack, task=task_id)     # the processes of a notebook
    await diagnose(env_file="apps/frontend/.env.local", app_url="http://127.0.0.1:4000")
    ```

    Left out, inputs come from `stack`, else from the environment: `.env.local` (here or
    in apps/frontend), KIT_DEPLOYMENT_URL, KIT_APP_URL. `provider` looks at that
    provider's key only. `env` is the environment in which replies are generated. The
    URL that is examined is `deployment_url`, else the one in the file.

    Changes nothing: it sends queries and GETs, generates nothing, and costs nothing.
    Shows no key. Ends within a few times `timeout` seconds, whatever does not answer.
    A fault is in the result; raises ConfigError for inputs that make no sense.
    """
    case = make_case(
        stack,
        env_file=env_file,
        deployment_url=deployment_url,
        app_url=app_url,
        task=task,
        provider=provider,
        env=env,
        timeout=timeout,
    )
    async with Http(case.timeout) as http:
        findings = await _examine(case, http)
    return Diagnosis([_cleaned(case, finding) for finding in findings])


def _cleaned(case: Case, finding: Finding) -> Finding:
    return replace(
        finding,
        seen=case.cleaned(finding.seen),
        place=case.cleaned(finding.place),
        advice=case.cleaned(finding.advice),
    )


async def _examine(case: Case, http: Http) -> list[Finding]:
    settings = read_settings(case)
    (found, reached), (application, told) = await asyncio.gather(
        _reach(case, http, settings), _ask(case, http)
    )
    is_on = settings.mode != "before" if told is None else told.mode != "before"
    queries = None if reached is None else Queries(http, reached.url, case.credentials)
    rest: list[tuple[Subject, Awaitable[list[Finding]]]] = [
        ("functions", _functions(queries, reached)),
        ("subscription", _subscription(case, reached)),
        ("convex-client", _one(look_at_client(case, told))),
        ("packages", _one(asyncio.to_thread(look_at_packages))),
        ("provider-key", look_at_provider(case, told, reached, is_on=is_on)),
        ("task", look_at_task(case, http, queries, told, settings.mode)),
    ]
    findings = [*settings.findings, found, application]
    findings.append(_application_settings(case, settings, told))
    for more in await asyncio.gather(*(_guarded(case, *probe) for probe in rest)):
        findings += more
    return findings


async def _guarded(
    case: Case, subject: Subject, probe: Awaitable[list[Finding]]
) -> list[Finding]:
    """What a probe finds; or that it took too long, or met what nobody foresaw."""
    # Some probes make several calls, each with the time limit of one.
    limit = 3 * case.timeout
    try:
        async with asyncio.timeout(limit):
            return await probe
    except TimeoutError:
        seen = f"It did not end within {limit:g} s."
        return [problem(subject, "no-answer", seen)]
    except NoAnswer as error:
        return [problem(subject, "no-answer", f"{error}.")]
    except Exception as error:  # one probe less is better than no diagnosis
        seen = f"{type(error).__name__}: {error}"
        return [problem(subject, "probe-failed", seen)]


async def _one(probe: Awaitable[Finding]) -> list[Finding]:
    return [await probe]


async def _reach(
    case: Case, http: Http, settings: Settings
) -> tuple[Finding, Reached | None]:
    if settings.url is None:
        why = "There is no URL to ask at."
        return skipped("deployment", why), None
    return await reach(case, http, settings.url)


async def _ask(case: Case, http: Http) -> tuple[Finding, Told | None]:
    return await ask_application(case, http)


async def _functions(queries: Queries | None, reached: Reached | None) -> list[Finding]:
    if queries is None or reached is None:
        why = "There is no deployment to ask."
        return [skipped("functions", why)]
    return await look_at_functions(queries, reached.url)


async def _subscription(case: Case, reached: Reached | None) -> list[Finding]:
    if reached is None:
        why = "There is no deployment to subscribe at."
        return [skipped("subscription", why)]
    return [await look_at_subscription(reached.url, case.timeout, case.env)]


def _application_settings(case: Case, settings: Settings, told: Told | None) -> Finding:
    if told is None:
        why = "No application told any."
        return skipped("application-settings", why)
    return compare_settings(case, settings, told)
