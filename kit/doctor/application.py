"""The application: does it run, with which settings, and can it import the client?

Asks `GET /about` (`kit.app.about`). Another application is recognised by its Socket.IO
handshake; what it is set to cannot be asked then.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from kit import __version__
from kit.app.about import ClientImport, import_client
from kit.app.flags import Mode
from kit.doctor.case import Case
from kit.doctor.findings import Finding, Subject, ok, problem, skipped
from kit.doctor.http import Http, NoAnswer
from kit.doctor.settings import Settings

__all__ = ["Import", "Told", "ask_application", "compare_settings", "look_at_client"]

_HANDSHAKE = "/socket.io/?EIO=4&transport=polling"


class Import(msgspec.Struct, frozen=True):
    """What came of importing the client: see `kit.app.about.ClientImport`."""

    file: str | None = None
    error: str | None = None


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """What a running application tells of itself, as far as it is looked at here."""

    env_file: str
    mode: Mode
    convex_url: str | None
    api_keys: list[str]
    scripted_provider: bool
    pid: int
    python: str
    versions: dict[str, str | None]
    convex_client: Import


async def ask_application(case: Case, http: Http) -> tuple[Finding, Told | None]:
    """Whether it runs, and what it tells of itself; None if it tells nothing."""
    url = case.app_url
    if url is None:
        why = "Give its URL with --app-url, or in KIT_APP_URL."
        return skipped("application", why), None
    try:
        answer = await http.get(f"{url}/about")
    except NoAnswer as error:
        log = case.log().strip()
        seen = f"{str(error).capitalize()}." + (
            f" Its log ends with: {log}" * bool(log)
        )
        return problem("application", "application-down", seen, url), None
    try:
        told = msgspec.convert(answer.json(), type=Told)
    except msgspec.ValidationError:
        return await _another(http, url), None
    return _version(told, url), told


async def _another(http: Http, url: str) -> Finding:
    """For an application that does not tell what the kit's does."""
    try:
        answer = await http.get(url + _HANDSHAKE)
    except NoAnswer as error:
        seen = f"{str(error).capitalize()}."
        return problem("application", "application-down", seen, url)
    if answer.status == 200 and answer.text.startswith('0{"sid"'):
        seen = (
            "A Socket.IO server answers. It is not the kit's application, or an older "
            "one: its settings are not known."
        )
        return ok("application", seen, url)
    seen = f"Neither the kit's application nor a Socket.IO server: {answer.status}."
    return problem("application", "application-foreign", seen, url)


def _version(told: Told, url: str) -> Finding:
    theirs = told.versions.get("convex-streaming-kit")
    seen = f"Running, process {told.pid}, kit {theirs}."
    if theirs != __version__:
        seen += f" This is kit {__version__}."
        return problem("application", "application-other-kit", seen, url)
    return ok("application", seen, url)


def compare_settings(case: Case, settings: Settings, told: Told) -> Finding:
    """Whether the running process has what the file says now."""
    subject: Subject = "application-settings"
    if case.env_file is None:
        why = f"It read {told.env_file}. Name that file with --env-file to compare."
        return skipped(subject, why)
    if Path(told.env_file).resolve() != case.env_file.resolve():
        seen = f"It read {told.env_file}."
        place = str(case.env_file)
        return problem(subject, "other-env-file", seen, place)
    running = _described(told.mode, told.convex_url)
    url = None if settings.mode == "before" else settings.written
    if settings.mode is None or (settings.mode != "before" and url is None):
        why = f"It runs with {running}; what the file says now cannot be used."
        return skipped(subject, why)
    if (told.mode, told.convex_url) != (settings.mode, url):
        seen = (
            f"It runs with {running}; the file says {_described(settings.mode, url)}."
        )
        return problem(subject, "restart-needed", seen)
    return ok(subject, f"It runs with {running}, as the file says.")


def _described(mode: Mode, url: str | None) -> str:
    match mode:
        case "before":
            return "the flag off"
        case "option-1":
            return f"option 1 and {url}"
        case "option-2":
            return f"option 2 and {url}"


async def look_at_client(case: Case, told: Told | None) -> Finding:
    """Whether the interpreter of the application can import the client, now.

    Of an application that runs elsewhere or not at all, this interpreter is tried, in
    the environment that it would get.
    """
    if told is not None:
        place = f"{told.python}, the application's"
        given = told.convex_client
        imported = ClientImport(given.file, given.error)
    else:
        place = sys.executable
        imported = await import_client(case.env, timeout=case.timeout)
    if imported.error is None:
        return ok("convex-client", f"It comes from {imported.file}.", place)
    seen = f"{imported.error}."
    return problem("convex-client", "client-import", seen, place)
