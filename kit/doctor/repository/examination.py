"""`examine_repository`: all detectors over one repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kit.doctor.case import DEFAULT_TIMEOUT, make_case
from kit.doctor.repository.calls import function_calls
from kit.doctor.repository.controllers import abort_controllers
from kit.doctor.repository.events import socket_events
from kit.doctor.repository.fallback import fallbacks, sql_writes
from kit.doctor.repository.findings import Found, Review
from kit.doctor.repository.flag import flag_bypasses
from kit.doctor.repository.keys import keys
from kit.doctor.repository.reading import Reading
from kit.doctor.repository.rewrites import whole_rewrites
from kit.doctor.repository.running import look_at_running
from kit.doctor.repository.streaming_flag import (
    rows_left_streaming,
    states_left_streaming,
)
from kit.doctor.repository.unreadable import unreadable
from kit.repo import Settings, locate, open_repository

__all__ = ["DETECTORS", "examine_repository", "read_code"]

DETECTORS: tuple[Callable[[Reading], Iterator[Found]], ...] = (
    fallbacks,
    function_calls,
    flag_bypasses,
    socket_events,
    states_left_streaming,
    rows_left_streaming,
    whole_rewrites,
    abort_controllers,
    sql_writes,
    keys,
    unreadable,
)


async def examine_repository(
    path: Path | str,
    *,
    settings: Settings | None = None,
    deployment_url: str | None = None,
    app_url: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Review:
    """Look at a repository's code, at its settings, and at what runs with them.

    `settings` says where the repository differs from the guide's. The deployment is
    asked if its URL is given, in KIT_DEPLOYMENT_URL or in the settings file; so is the
    application, at `app_url` or KIT_APP_URL.

    Changes nothing and runs nothing of the repository's; sends queries and GETs, each
    for `timeout` seconds at most, and shows no key. Raises ConfigError for what is no
    repository of TypeScript, and for inputs that make no sense.
    """
    case = make_case(
        None,
        env_file=None,
        deployment_url=deployment_url,
        app_url=app_url,
        task=None,
        provider=None,
        env=env,
        timeout=timeout,
    )
    repository = open_repository(path, env=os.environ if env is None else env)
    reading = Reading(locate(repository, settings or Settings()))
    running = await look_at_running(reading, case)
    unknown = [str(missing) for missing in reading.layout.missing]
    findings = [*running.findings, *read_code(reading)]
    unknown += [f"What is in {each.file}: {each.why}." for each in repository.skipped]
    return Review(
        findings,
        root=str(repository.root),
        state=reading.state,
        unknown=[*unknown, *running.unknown],
    )


def read_code(reading: Reading) -> list[Found]:
    """What the detectors find. A file that does not parse has one finding: that."""
    findings = [finding for detect in DETECTORS for finding in detect(reading)]
    return [
        finding
        for finding in findings
        if finding.code == "unreadable" or _parses(reading, finding.file)
    ]


def _parses(reading: Reading, file: str) -> bool:
    source = reading.repository.source(file)
    return source is None or source.first_error is None
