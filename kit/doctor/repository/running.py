"""What the settings file says, and what the deployment and the application answer.

The probes of `kit doctor`, with their findings put at the line of the settings file
that leads there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from kit.doctor.application import ask_application, compare_settings
from kit.doctor.case import Case
from kit.doctor.findings import SUBJECTS, Finding, Subject
from kit.doctor.functions import look_at_functions
from kit.doctor.http import Http, NoAnswer
from kit.doctor.queries import Queries
from kit.doctor.reach import reach
from kit.doctor.repository.findings import Found
from kit.doctor.repository.reading import Reading
from kit.doctor.repository.rules import rule_of
from kit.doctor.settings import read_settings
from kit.repo import Repository
from kit.repo.frontend import FLAG, URL

__all__ = ["Running", "look_at_running"]

# Which setting each thing that is looked at comes from.
_SETTINGS: dict[Subject, str] = {
    "flag-file": FLAG,
    "application-settings": FLAG,
    "application": FLAG,
}
# The application is looked at for its settings alone; another's cannot be asked.
_ASKED: frozenset[Subject] = frozenset(
    {
        "flag-file",
        "deployment-url",
        "deployment",
        "sign-in",
        "functions",
        "contract",
        "application",
        "application-settings",
    }
)


@dataclass(frozen=True)
class Running:
    """What was found, and what could not be told."""

    findings: list[Found]
    unknown: list[str]


async def look_at_running(reading: Reading, case: Case) -> Running:
    """Read the settings file; ask the deployment and the application, if known.

    Sends queries and GETs only. Ends within a few times the case's time limit.
    """
    frontend = reading.layout.frontend
    if frontend is None:
        why = "The settings file: no frontend was found that reads one."
        return Running([], [why])
    env_file = reading.repository.root / frontend.env_file
    case = replace(case, env_file=env_file)
    if not env_file.exists():
        return await _without_file(reading, case, frontend.env_file)
    async with Http(case.timeout) as http:
        findings = await _examine(case, http)
    return _sorted_out(reading.repository, case, frontend.env_file, findings)


async def _without_file(reading: Reading, case: Case, file: str) -> Running:
    """In a checkout of CI the file is not there: it is not committed."""
    why = (
        f"Flag and URL: {file} is not here. If the frontend runs from this folder, "
        f"it needs the file, with {FLAG} and {URL}."
    )
    if case.deployment_url is None and case.app_url is None:
        return Running([], [why, _NOT_ASKED])
    async with Http(case.timeout) as http:
        findings = [f for f in await _examine(case, http) if f.subject != "flag-file"]
    rest = _sorted_out(reading.repository, case, file, findings)
    return Running(rest.findings, [why, *rest.unknown])


_NOT_ASKED = (
    "Whether the deployment has the functions: no URL is known. Give --deployment-url."
)


async def _examine(case: Case, http: Http) -> list[Finding]:
    settings = read_settings(case)
    findings = [*settings.findings]
    if settings.url is not None:
        seen, reached = await reach(case, http, settings.url)
        findings.append(seen)
        if reached is not None:
            queries = Queries(http, reached.url, case.credentials)
            try:
                async with asyncio.timeout(3 * case.timeout):
                    findings += await look_at_functions(queries, reached.url)
            except (NoAnswer, TimeoutError) as error:
                seen_ = f"{error or 'It took too long'}."
                findings.append(
                    Finding("functions", "problem", seen_, reached.url, "no-answer")
                )
    application, told = await ask_application(case, http)
    findings.append(application)
    if told is not None:
        findings.append(compare_settings(case, settings, told))
    return findings


def _sorted_out(
    repository: Repository, case: Case, file: str, findings: list[Finding]
) -> Running:
    """Problems as findings at their setting's line; the rest as what is not known."""
    problems = []
    unknown = []
    for finding in findings:
        if finding.subject not in _ASKED:
            continue
        seen = case.cleaned(finding.seen)
        if finding.state == "problem" and finding.fault is not None:
            name = _SETTINGS.get(finding.subject, URL)
            line = _line(repository, file, name)
            if finding.place and finding.subject != "flag-file":
                seen = f"{case.cleaned(finding.place)}: {seen}"
            level = rule_of(finding.fault).level
            problems.append(
                Found(finding.fault, level, file, line, seen, finding.subject)
            )
        elif finding.state == "skipped":
            unknown.append(f"{SUBJECTS[finding.subject]}: {seen}")
    if not any(f.subject == "application-settings" for f in findings):
        unknown.append(
            f"Whether what runs has what {Path(file).name} says now: nothing that runs "
            "could be asked. Next.js puts these settings into the page when it is "
            "built: build again and restart after each edit."
        )
    return Running(problems, unknown)


def _line(repository: Repository, file: str, name: str) -> int | None:
    """The last line that sets a setting, which is the one that counts."""
    source = repository.source(file)
    if source is None:
        return None
    lines = source.text.splitlines()
    found = [
        number
        for number, line in enumerate(lines, 1)
        if line.strip().removeprefix("export").strip().startswith(name)
    ]
    return found[-1] if found else 1
