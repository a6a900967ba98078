"""What the README shows is run; what it names exists."""

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kit
from kit.client import Deployment
from kit.doctor.faults import FAULTS
from kit.stack import ServerProcess
from kit.tour import find_notebooks

README = (Path(__file__).parent.parent / "README.md").read_text()


def block(name: str) -> str:
    """The one fenced block between `<!-- name -->` and `<!-- /name -->`."""
    (found,) = re.findall(
        rf"<!-- {name} -->\n```\w+\n(.*?)```\n<!-- /{name} -->", README, re.DOTALL
    )
    return str(found)


async def test_the_script_streams_a_reply(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(block("run"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    lines = out.decode().splitlines()
    assert lines[0].startswith("streaming")
    assert lines[-1].startswith("complete")


async def test_two_chats_stand_side_by_side(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a cell: with `await` at its top, and what `kit` offers at hand."""
    names = {name: getattr(kit, name) for name in kit.__all__}
    code = compile(block("split"), "README", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)
    await running
    try:
        for side in ("before", "after"):
            await names[side].until(lambda chat: len(chat.messages) == 2, timeout=30)
        shown = names["split"].as_text()
        assert shown.count("user:\nHow does a reply reach you?") == 2
    finally:
        await names["before"].aclose()
        await names["after"].aclose()
        await names["deployment"].close()
        await names["stack"].aclose()
    assert capsys.readouterr().out  # outside a notebook it is shown as text


async def test_a_folder_of_own_functions_is_served(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    (functions / "notes.py").write_text(block("functions"))
    args = ["kit.deployment", "--data", str(tmp_path / "data")]
    server = ServerProcess(
        "deployment",
        [*args, "--functions", str(functions)],
        log=tmp_path / "log",
        env={},
    )
    url = await server.start()
    try:
        async with Deployment(url) as deployment:
            await deployment.mutation("notes:add", {"body": "first"})
            await deployment.mutation("notes:add", {"body": "second"})
            (newest,) = await deployment.query("notes:latest", {"count": 1})
            assert newest["body"] == "second"
    finally:
        await server.stop()


def test_the_commands_are_two_lines_that_exist() -> None:
    assert block("tour").strip().endswith(".venv/bin/kit tour")
    assert block("tests").strip().endswith(".venv/bin/python -m pytest")
    done = subprocess.run(
        [sys.executable, "-m", "kit.cli", "--help"], capture_output=True, text=True
    )
    for command in ("tour", "lab", "doctor", "deployment", "provider"):
        assert command in done.stdout


def test_the_faults_are_named_as_the_doctor_names_them() -> None:
    _, table = README.split("<!-- faults -->")
    _, _, *rows = table.split("<!-- /faults -->")[0].strip().splitlines()
    found = [row.strip("|").split("|")[1].strip() for row in rows]
    assert len(found) > 5
    assert set(found) <= {fault.title for fault in FAULTS.values()}


def test_every_notebook_and_every_public_name_is_mentioned() -> None:
    for path in find_notebooks():
        assert f"`{path.stem}`" in README
    for name in kit.__all__:
        assert f"`{name}" in README or f" {name}" in README, name


def test_every_package_has_its_row() -> None:
    (table,) = re.findall(
        r"<!-- packages -->\n(.*?)<!-- /packages -->", README, re.DOTALL
    )
    named = re.findall(r"`kit/(\w+(?:\.py)?)`", table)
    assert len(named) == len(set(named))
    folder = Path(kit.__file__).parent
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert packages <= set(named)
    assert all((folder / name).exists() for name in named)
