"""The application: runs or not, with which settings, and which client it imports."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import socketio
from aiohttp import web
from doctor_helpers import case, http, json_app
from serving_app import serving
from wrong_places import a_web_site, not_convex, not_http, refusing

from kit.doctor.application import Told, ask_application, look_at_client
from kit.doctor.application import compare_settings as compare
from kit.doctor.case import Case
from kit.doctor.findings import Finding
from kit.doctor.settings import read_settings
from kit.stack import Stack


async def ask(url: str | None, **given: Any) -> tuple[Finding, Told | None]:
    async with http() as requests:
        return await ask_application(case(app_url=url, **given), requests)


def settings(stack: Stack, told: Told | None, **given: Any) -> Finding:
    assert told is not None
    its: Case = case(**{"env_file": stack.env_file, **given})
    return compare(its, read_settings(its), told)


async def test_it_is_asked_which_settings_it_has(tmp_path: Path) -> None:
    async with await Stack.start() as stack:
        finding, told = await ask(stack.app.url)
        assert finding.state == "ok"
        assert f"process {stack.app.pid}" in finding.seen
        assert settings(stack, told).state == "ok"

        stack.set_flags(realtime=True, option=2)
        stale = settings(stack, told)
        assert stale.fault == "restart-needed"
        assert "runs with the flag off" in stale.seen
        assert f"option 2 and {stack.deployment_url}" in stale.seen
        await stack.app.restart()
        _, told = await ask(stack.app.url)
        assert settings(stack, told).state == "ok"

        stack.set_flags(realtime=True, option=2, url="http://127.0.0.1:1")
        assert settings(stack, told).fault == "restart-needed"

        other = tmp_path / ".env.local"
        other.write_text(stack.env_file.read_text())
        elsewhere = settings(stack, told, env_file=other)
        assert elsewhere.fault == "other-env-file"
        assert str(stack.env_file) in elsewhere.seen
        assert settings(stack, told, env_file=None).state == "skipped"
        stack.env_file.write_text("NEXT_PUBLIC_USE_CONVEX_REALTIME=maybe\n")
        assert settings(stack, told).state == "skipped"

        client = await look_at_client(case(), told)
        assert client.state == "ok"
        assert client.place == f"{sys.executable}, the application's"


async def test_without_a_url_it_is_not_looked_at() -> None:
    finding, told = await ask(None)
    assert (finding.state, told) == ("skipped", None)


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (refusing, "application-down"),
        (not_http, "application-down"),
        (not_convex, "application-foreign"),
        (a_web_site, "application-foreign"),
    ],
)
async def test_what_is_not_the_application(place: Any, fault: str) -> None:
    async with place() as url:
        finding, told = await ask(url, log=lambda: "its last words")
    assert (finding.fault, told) == (fault, None)
    assert ("its last words" in finding.seen) == (fault == "application-down")


async def test_another_socket_io_server_is_an_application() -> None:
    app = web.Application()
    socketio.AsyncServer(async_mode="aiohttp").attach(app)
    async with serving(app) as url:
        finding, told = await ask(url)
    assert (finding.state, told) == ("ok", None)
    assert "not the kit's application" in finding.seen


ABOUT: dict[str, Any] = {
    "envFile": "/x/.env.local",
    "mode": "before",
    "convexUrl": None,
    "apiKeys": [],
    "scriptedProvider": False,
    "pid": 1,
    "python": "/usr/bin/python3",
    "versions": {"convex-streaming-kit": "0.0.1"},
    "convexClient": {"file": None, "error": "ImportError: no compiled half"},
}


async def test_an_application_of_another_kit_and_with_a_broken_client() -> None:
    async with serving(json_app({"/about": ABOUT})) as url:
        finding, told = await ask(url)
    assert finding.fault == "application-other-kit"
    assert "0.0.1" in finding.seen
    client = await look_at_client(case(), told)
    assert client.fault == "client-import"
    assert "no compiled half" in client.seen
    assert "/usr/bin/python3" in client.place


@pytest.mark.parametrize(
    "answer", [{}, [], {**ABOUT, "mode": "x"}, {**ABOUT, "pid": ""}]
)
async def test_an_answer_of_another_shape_is_not_believed(answer: Any) -> None:
    async with serving(json_app({"/about": answer})) as url:
        finding, told = await ask(url)
    assert (finding.fault, told) == ("application-foreign", None)


async def test_without_an_application_this_interpreter_is_tried(
    tmp_path: Path,
) -> None:
    assert (await look_at_client(case(env=dict(os.environ)), None)).state == "ok"
    package = tmp_path / "convex"
    package.mkdir()
    (package / "__init__.py").write_text("")
    broken = case(env={**os.environ, "PYTHONPATH": str(tmp_path)})
    finding = await look_at_client(broken, None)
    assert finding.fault == "client-import"
    assert finding.place == sys.executable
