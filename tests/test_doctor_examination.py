"""The whole diagnosis, on real processes: what it finds, and what it leaves alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from deployment_fixture import deployment_process
from doctor_helpers import PlayedConvex, env_file, kit_functions, played
from serving_app import serving
from wrong_places import refusing, silent

from kit import diagnose
from kit.app.flags import CONVEX_URL, edit_env
from kit.doctor import examination
from kit.doctor.findings import SUBJECTS
from kit.errors import ConfigError, StackError
from kit.stack import Stack

pytestmark = pytest.mark.timeout(120)

SENTINEL = "sk-sentinel-9a8b7c6d5e"


def files(folder: Path) -> dict[Path, bytes]:
    """All that a stack keeps, but logs and SQLite's shared memory."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".log", ".db-shm", ".sqlite3-shm")
    }


async def test_a_stack_that_works_is_well_and_left_as_it_is(tmp_path: Path) -> None:
    async with await Stack.start(folder=tmp_path) as stack:
        stack.set_flags(realtime=True)
        await stack.app.restart()
        task_id = await stack.create_task("Well")
        before = files(tmp_path)
        diagnosis = await diagnose(stack, task=task_id)
        assert diagnosis.well, str(diagnosis)
        assert {finding.subject for finding in diagnosis} == set(SUBJECTS)
        skipped = [f.subject for f in diagnosis if f.state == "skipped"]
        assert skipped == ["newest-reply"], "there is none yet"
        assert files(tmp_path) == before
        assert await stack.provider_log() == [], "nothing was generated"


async def test_each_fault_of_the_guides_list_is_found_and_goes_when_mended(
    tmp_path: Path,
) -> None:
    """As in the notebook, on one stack, one after the other."""

    async def faults(**given: Any) -> list[str]:
        return (await diagnose(stack, **given)).faults

    async with await Stack.start(pace=0) as stack:
        assert await faults() == ["flag-off"]
        old_task = await stack.create_task("From before")
        stack.set_flags(realtime=True)
        assert await faults() == ["restart-needed"]
        await stack.app.restart()
        assert await faults() == []
        assert await faults(task=old_task) == ["task-only-in-sql"]
        assert await faults(task="nonsense") == ["task-unknown"]

        url = stack.deployment_url
        assert stack.deployment is not None
        await stack.deployment.kill()
        assert await faults() == ["deployment-refused"]
        await stack.deployment.start()
        edit_env(stack.env_file, {CONVEX_URL: str(stack.scripted_url)})
        assert await faults() == ["deployment-not-convex", "restart-needed"]
        edit_env(stack.env_file, {CONVEX_URL: "https://your-deployment.convex.cloud"})
        assert await faults() == ["url-placeholder"]
        with pytest.raises(StackError, match="still the guide's example"):
            await stack.app.restart()
        down = await diagnose(stack)
        assert down.faults == ["url-placeholder", "application-down"]
        assert "still the guide's example" in down.of("application")[0].seen
        edit_env(stack.env_file, {CONVEX_URL: url})
        await stack.app.start()
        assert await faults() == []

        shadow = tmp_path / "convex"
        shadow.mkdir()
        (shadow / "__init__.py").write_text("")
        stack.app.env["PYTHONPATH"] = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
        with pytest.raises(StackError, match="cannot import name"):
            await stack.app.restart()
        assert await faults() == ["application-down", "client-import"]
        del stack.app.env["PYTHONPATH"]
        if "PYTHONPATH" in os.environ:
            stack.app.env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        await stack.app.start()
        assert await faults() == []


async def test_without_a_stack_file_and_environment_say_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with deployment_process(data=tmp_path / "data", functions=None) as deployment:
        env_file(
            tmp_path,
            "NEXT_PUBLIC_USE_CONVEX_REALTIME=true",
            f"{CONVEX_URL}={deployment.url}",
        )
        diagnosis = await diagnose(env={})
        assert diagnosis.well, str(diagnosis)
        assert diagnosis.of("deployment")[0].place == deployment.url
        assert diagnosis.of("application")[0].state == "skipped"
        other = await diagnose(env={"KIT_DEPLOYMENT_URL": "http://127.0.0.1:1"})
        assert "url-differs" in other.faults
        assert "deployment-refused" in other.faults


async def test_a_production_deployment_is_well_as_far_as_can_be_told(
    tmp_path: Path,
) -> None:
    async with played(PlayedConvex(kit_functions(), hides=True)) as url:
        diagnosis = await diagnose(deployment_url=url, env={}, timeout=4)
    assert diagnosis.faults == ["subscription"], "which is not played"
    assert diagnosis.of("functions")[0].state == "skipped"
    assert diagnosis.of("contract")[0].state == "ok"


async def test_it_ends_whatever_does_not_answer(tmp_path: Path) -> None:
    async with silent() as url:
        file = env_file(
            tmp_path, "NEXT_PUBLIC_USE_CONVEX_REALTIME=true", f"{CONVEX_URL}={url}"
        )
        env = {**os.environ, "OPENAI_API_KEY": SENTINEL, "KIT_OPENAI_BASE_URL": url}
        env.pop("KIT_SCRIPTED_URL", None)
        diagnosis = await diagnose(
            env_file=file, app_url=url, task="t", env=env, provider="openai", timeout=2
        )
    assert set(diagnosis.faults) >= {
        "deployment-silent",
        "application-down",
        "provider-away",
    }
    assert SENTINEL not in str(diagnosis)


async def test_a_deployment_that_answers_and_then_hangs() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def tell(_: web.Request) -> web.Response:
        return web.Response(text="1.0")

    app = web.Application()
    app.router.add_get("/version", tell)
    app.router.add_post("/api/query", hang)
    async with serving(app) as url:
        diagnosis = await diagnose(deployment_url=url, env={}, timeout=1)
    assert diagnosis.of("functions")[0].fault == "no-answer"
    assert diagnosis.of("subscription")[0].fault == "subscription"


async def test_a_probe_that_fails_does_not_take_the_others_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_down() -> None:
        raise RuntimeError(f"not foreseen: {SENTINEL}")

    monkeypatch.setattr(examination, "look_at_packages", break_down)
    async with refusing() as url:
        diagnosis = await diagnose(
            deployment_url=url, env={"SOME_KEY": SENTINEL}, timeout=10
        )
    packages = diagnosis.of("packages")[0]
    assert packages.fault == "probe-failed"
    assert packages.seen == "RuntimeError: not foreseen: [redacted]"
    assert "deployment-refused" in diagnosis.faults


async def test_inputs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError):
        await diagnose(timeout=0)


async def test_cancelling_leaves_nothing_behind() -> None:
    async with silent() as url:
        examining = asyncio.create_task(
            diagnose(deployment_url=url, app_url=url, env=dict(os.environ))
        )
        await asyncio.sleep(0)
        examining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await examining
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


async def test_keys_are_shown_nowhere(tmp_path: Path) -> None:
    """Refused by a provider that answers with the key in its text."""

    async def refuse(request: web.Request) -> web.Response:
        said = f"bad key {request.headers['Authorization']}"
        body = {"error": {"message": said, "type": "authentication_error"}}
        return web.json_response(body, status=401)

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    async with serving(app) as url:
        env = {"ANTHROPIC_API_KEY": SENTINEL, "KIT_ANTHROPIC_BASE_URL": url}
        diagnosis = await diagnose(deployment_url=url, env=env)
    assert "key-refused" in diagnosis.faults
    shown = [str(diagnosis), repr(diagnosis), diagnosis._repr_mimebundle_()]
    assert SENTINEL not in str([*shown, diagnosis.as_data(), list(diagnosis)])
