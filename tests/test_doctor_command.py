"""`kit doctor`: what it prints, and its exit status."""

import asyncio
import json
import os
import sys
from pathlib import Path

from wrong_places import silent

from kit.doctor.faults import FAULTS
from kit.stack import Stack

SENTINEL = "sentinel-c0ffee-4711"


async def doctor(
    *arguments: str, env: dict[str, str] | None = None, folder: Path | None = None
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "kit.cli", "doctor", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        cwd=folder,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_all_well_is_status_0_and_a_fault_is_1() -> None:
    async with await Stack.start() as stack:
        stack.set_flags(realtime=True)
        await stack.app.restart()
        arguments = ["--env-file", str(stack.env_file), "--app-url", stack.app.url]
        env = {"KIT_SCRIPTED_URL": str(stack.scripted_url)}
        status, out, err = await doctor(*arguments, env=env)
        assert (status, err) == (0, ""), out
        assert "No problem" in out
        assert "✗" not in out

        stack.set_flags(realtime=False)
        status, out, _ = await doctor(*arguments, env=env)
        assert status == 1
        assert FAULTS["flag-off"].title in out
        assert FAULTS["flag-off"].remedy in out
        assert FAULTS["restart-needed"].effect in out
        assert "notebook 04_when_things_break" in out
        assert "2 problems" in out


async def test_as_json_it_is_json_and_nothing_else(tmp_path: Path) -> None:
    status, out, _ = await doctor(
        "--format", "json", env={"ANTHROPIC_API_KEY": ""}, folder=tmp_path
    )
    data = json.loads(out)
    assert status == 1
    assert data["well"] is False
    assert data["kit"]
    flag = data["findings"][0]
    assert (flag["subject"], flag["fault"]) == ("flag-file", "file-missing")


async def test_what_cannot_be_run_is_status_2_and_one_line() -> None:
    for arguments in (
        ("--app-url", "nonsense"),
        ("--timeout", "0"),
        ("--provider", "nobody"),
    ):
        status, out, err = await doctor(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("kit: ")
        assert err.count("\n") == 1
    for unusable in (["--nonsense"], ["--format", "xml"], ["--timeout", "x"]):
        status, _, err = await doctor(*unusable)
        assert status == 2
        assert "usage: kit" in err


async def test_it_ends_although_nobody_answers(tmp_path: Path) -> None:
    async with silent() as url:
        env = {
            "OPENAI_API_KEY": SENTINEL,
            "KIT_OPENAI_BASE_URL": url,
            "KIT_SCRIPTED_URL": "",
        }
        arguments = ["--deployment-url", url, "--app-url", url, "--timeout", "2"]
        status, out, err = await doctor(*arguments, env=env, folder=tmp_path)
    assert status == 1
    assert FAULTS["deployment-silent"].title in out
    assert SENTINEL not in out + err


async def test_an_interpreter_without_the_client_is_told_so(tmp_path: Path) -> None:
    """The kit itself needs it: even then there is no traceback."""
    package = tmp_path / "convex"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('no compiled half')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    status, out, err = await doctor(env={"PYTHONPATH": path})
    assert (status, out) == (2, "")
    assert "no compiled half" in err
    assert f"{sys.executable} lacks what the kit needs" in err
    assert err.count("\n") == 1
