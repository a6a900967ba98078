"""The flag and the URL, as `.env.local` has them. Reads a file, asks nobody."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from kit.app.flags import (
    CONVEX_URL,
    MIGRATION_OPTION,
    USE_CONVEX_REALTIME,
    Mode,
    read_env,
)
from kit.client.calls import is_key, origin, shown_url
from kit.doctor.case import ENV_FILES, Case
from kit.doctor.findings import Finding, ok, problem, skipped
from kit.errors import ConfigError

__all__ = ["Settings", "read_settings", "url_fault"]

PLACEHOLDER_HOST = "your-deployment.convex.cloud"

_MEANT: dict[Mode, str] = {
    "before": "Off",
    "option-1": "On, option 1: Convex first, Socket.IO as the fallback",
    "option-2": "On, option 2: Convex only",
}


@dataclass(frozen=True)
class Settings:
    """What the file asks for, and the findings about it.

    `mode` and `url` are None where there is none that could be used. `url` is the one
    to examine; the file's own is `written`, if it can be one.
    """

    findings: list[Finding]
    mode: Mode | None = None
    url: str | None = None
    written: str | None = None


def read_settings(case: Case) -> Settings:
    """Look at the file; then at the URL in it, or at the one that was given."""
    path = case.env_file
    env: dict[str, str] = {}
    try:
        if path is not None and path.exists():
            env = read_env(path)
            flag, mode = _flag(path, env)
        else:
            flag, mode = _no_file(case), None
    except ConfigError as error:
        place = "" if path is None else str(path)
        flag = problem("flag-file", "file-unreadable", str(error), place)
        mode = None
    url, found = _url(case, env, is_on=mode in ("option-1", "option-2"))
    written = env.get(CONVEX_URL, "")
    usable = written and url_fault(written) is None
    return Settings([flag, found], mode, url, origin(written) if usable else None)


def _no_file(case: Case) -> Finding:
    if case.env_file is not None:
        return problem("flag-file", "file-missing", "", str(case.env_file))
    looked = " and ".join(str(path) for path in ENV_FILES)
    seen = f"Looked for {looked} in {Path.cwd()}."
    if case.deployment_url is not None:
        return skipped("flag-file", f"{seen} Name another with --env-file.")
    return problem("flag-file", "file-missing", seen)


def _flag(path: Path, env: dict[str, str]) -> tuple[Finding, Mode | None]:
    """What the two flags say, and the mode that they ask for."""
    place = str(path)
    flag, option = env.get(USE_CONVEX_REALTIME, ""), env.get(MIGRATION_OPTION, "")
    for name, value, allowed in (
        (USE_CONVEX_REALTIME, flag, ("", "true", "false")),
        (MIGRATION_OPTION, option, ("", "1", "2")),
    ):
        if value not in allowed:
            seen = f"{name} is {value[:40]!r}."
            return problem("flag-file", "flag-value", seen, place), None
    if flag == "true":
        mode: Mode = "option-2" if option == "2" else "option-1"
        return ok("flag-file", f"{_MEANT[mode]}.", place), mode
    if USE_CONVEX_REALTIME not in env:
        if alike := _alike(USE_CONVEX_REALTIME, env):
            seen = f"It has {alike}, and no {USE_CONVEX_REALTIME}."
            misspelt = problem("flag-file", "flag-misspelt", seen, place)
            return misspelt, "before"
        seen = f"It has no {USE_CONVEX_REALTIME}."
    else:
        seen = f"{USE_CONVEX_REALTIME}={flag or '(empty)'}."
    return problem("flag-file", "flag-off", seen, place), "before"


def _alike(name: str, env: dict[str, str]) -> str | None:
    """A setting in the file that may be meant for `name`."""
    known = {USE_CONVEX_REALTIME, CONVEX_URL, MIGRATION_OPTION}
    others = {other.upper(): other for other in env if other not in known}
    stem = name.removeprefix("NEXT_PUBLIC_")
    close = [other for other in others if stem in other]
    close += difflib.get_close_matches(name, others, n=1, cutoff=0.75)
    return others[close[0]] if close else None


# --- the URL ----------------------------------------------------------------------


def _url(case: Case, env: dict[str, str], *, is_on: bool) -> tuple[str | None, Finding]:
    """The URL to examine, None if there is none, and what is to be said of it."""
    written = env.get(CONVEX_URL) or None
    given = case.deployment_url
    text = given or written
    if text is None:
        return None, _no_url(env, is_on=is_on)
    place = "given" if given else CONVEX_URL
    if fault := url_fault(text):
        return None, problem("deployment-url", fault, shown_url(text), place)
    url = origin(text)
    if given and written and _differs(url, written):
        seen = f"Asked about {url}; {CONVEX_URL} is {shown_url(written)}."
        return url, problem("deployment-url", "url-differs", seen)
    return url, ok("deployment-url", url, place)


def _no_url(env: dict[str, str], *, is_on: bool) -> Finding:
    alike = _alike(CONVEX_URL, env)
    seen = f"There is no {CONVEX_URL}" + (f", but {alike}." if alike else ".")
    if is_on:
        return problem("deployment-url", "url-missing", seen)
    return skipped("deployment-url", f"{seen} Give one to look there.")


def url_fault(text: str) -> str | None:
    """The code of what is wrong with a URL by itself; None if it can be one."""
    text = text.strip()
    if is_key(text):
        return "url-key"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return "url-malformed"
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        return "url-malformed"
    if host == PLACEHOLDER_HOST:
        return "url-placeholder"
    if host == "dashboard.convex.dev":
        return "url-dashboard"
    if host.endswith(".convex.site"):
        return "url-site"
    try:
        origin(text)
    except ConfigError:
        return "url-path"
    if parts.scheme == "http" and host.endswith(".convex.cloud"):
        return "url-not-https"
    return None


def _differs(url: str, written: str) -> bool:
    try:
        return origin(written) != url
    except ConfigError:
        return True
