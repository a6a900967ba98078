"""What the settings file says, and what answers where it leads."""

from pathlib import Path
from typing import Any

import pytest
from doctor_helpers import TIMEOUT, PlayedConvex, case, json_app, kit_functions, played
from repositories import copy_monorepo, write
from reviewed import reading_of
from serving_app import serving
from wrong_places import refusing

from kit import __version__
from kit.doctor.repository.running import Running, look_at_running

ENV = "apps/frontend/.env.local"


async def look(root: Path, **given: Any) -> Running:
    return await look_at_running(reading_of(root), case(**given))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_monorepo(tmp_path, committed=False)


def settings(root: Path, url: str, flag: str = "true") -> None:
    lines = ["# ours", f"NEXT_PUBLIC_USE_CONVEX_REALTIME={flag}"]
    write(root, {ENV: "\n".join([*lines, f"NEXT_PUBLIC_CONVEX_URL={url}", ""])})


async def test_all_well_is_no_finding(root: Path) -> None:
    async with played(PlayedConvex(kit_functions())) as url:
        settings(root, url)
        running = await look(root)
    assert running.findings == []
    (unknown,) = [text for text in running.unknown if "could be asked" in text]
    assert "build again and restart" in unknown


async def test_a_finding_is_at_the_line_of_its_setting(root: Path) -> None:
    settings(root, "https://your-deployment.convex.cloud", flag="TRUE")
    found = {each.code: each for each in (await look(root)).findings}
    assert set(found) == {"flag-value", "url-placeholder"}
    assert found["flag-value"].where == f"{ENV}:2"
    assert found["url-placeholder"].where == f"{ENV}:3"
    assert found["url-placeholder"].level == "error"


async def test_the_flag_off_is_a_note(root: Path) -> None:
    settings(root, "", flag="false")
    (finding,) = (await look(root)).findings
    assert (finding.code, finding.level) == ("flag-off", "note")


async def test_nobody_listens_there(root: Path) -> None:
    async with refusing() as url:
        settings(root, url)
        (finding,) = (await look(root)).findings
    assert (finding.code, finding.where) == ("deployment-refused", f"{ENV}:3")


async def test_functions_that_are_missing_or_older(root: Path) -> None:
    functions = kit_functions()
    functions.pop("streaming:send")
    functions["contract:version"] = 0.0
    async with played(PlayedConvex(functions)) as url:
        settings(root, url)
        found = {each.code: each for each in (await look(root)).findings}
    assert set(found) == {"functions-incomplete", "functions-older"}
    assert "streaming:send" in found["functions-incomplete"].seen
    assert found["functions-older"].level == "warning"


async def test_only_queries_are_sent(root: Path) -> None:
    convex = PlayedConvex(kit_functions())
    async with played(convex) as url:
        settings(root, url)
        await look(root)
    assert {kind for kind, *_ in convex.requests} == {"query"}


async def test_an_application_that_runs_with_older_settings(root: Path) -> None:
    about: dict[str, Any] = {
        "envFile": str(root / ENV),
        "mode": "before",
        "convexUrl": None,
        "apiKeys": [],
        "scriptedProvider": True,
        "pid": 1,
        "python": "python",
        "versions": {"convex-streaming-kit": __version__},
        "convexClient": {"file": "convex/__init__.py"},
    }
    async with (
        played(PlayedConvex(kit_functions())) as url,
        serving(json_app({"/about": about})) as app_url,
    ):
        settings(root, url)
        (finding,) = (await look(root, app_url=app_url)).findings
        assert (finding.code, finding.where) == ("restart-needed", f"{ENV}:2")
        about |= {"mode": "option-1", "convexUrl": url}
    async with serving(json_app({"/about": about})) as app_url:
        running = await look(root, app_url=app_url)
    assert "restart-needed" not in {each.code for each in running.findings}
    assert not any("could be asked" in text for text in running.unknown)


async def test_another_application_cannot_be_asked(root: Path) -> None:
    async with (
        played(PlayedConvex(kit_functions())) as url,
        serving(json_app({"/health": {"ok": True}})) as app_url,
    ):
        settings(root, url)
        running = await look(root, app_url=app_url)
    assert [each.code for each in running.findings] == ["application-foreign"]


async def test_a_checkout_without_the_file(root: Path) -> None:
    running = await look(root)
    assert running.findings == []
    assert any(ENV in text for text in running.unknown)
    assert any("--deployment-url" in text for text in running.unknown)
    async with refusing() as url:
        running = await look(root, deployment_url=url)
    (finding,) = running.findings
    assert (finding.code, finding.where) == ("deployment-refused", ENV)


async def test_no_key_that_stands_in_the_file_is_shown(root: Path) -> None:
    settings(root, "prod:happy-animal-123|0123456789abcdef")
    found = (await look(root)).findings
    assert "url-key" in {each.code for each in found}
    assert "0123456789" not in str(found)


async def test_it_ends_although_nobody_answers(root: Path) -> None:
    async with refusing() as url:
        running = await look(root, deployment_url=url, app_url=url, timeout=TIMEOUT)
    codes = {each.code for each in running.findings}
    assert codes == {"deployment-refused", "application-down"}
