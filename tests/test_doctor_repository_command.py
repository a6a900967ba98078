"""`kit doctor --repo`: what it prints, and its exit status."""

import asyncio
import json
import os
import sys
from pathlib import Path

from repositories import copy_monorepo, write

HOOK = "apps/frontend/hooks/socket/use-task-socket.ts"


async def doctor(*arguments: str | Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "kit.cli", "doctor", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "160"},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_findings_are_a_table_and_status_1(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path)
    status, out, err = await doctor("--repo", root)
    assert (status, err) == (1, "")
    assert "apps/server/src/agent/chat.ts:13" in out
    assert "Users see After a restart" in out
    assert "notebook 03_option_2_full_migration" in out
    assert "Could not tell: Flag and URL" in out
    assert out.rstrip().endswith(
        "2 warnings, 2 notes. The code is as before the migration."
    )


async def test_notes_alone_are_status_0(tmp_path: Path) -> None:
    write(tmp_path, {"a.ts": "export const a = 1;\n"})
    status, out, err = await doctor("--repo", tmp_path)
    assert (status, err) == (0, "")
    assert "Nothing found" in out


async def test_as_json_and_sarif_it_is_that_and_nothing_else(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path)
    status, out, _ = await doctor("--repo", root, "--format", "json")
    data = json.loads(out)
    assert (status, data["state"], data["well"]) == (1, "before", False)
    assert data["kit"]
    status, out, _ = await doctor("--repo", root, "--format", "sarif")
    assert status == 1
    sarif = json.loads(out)
    assert len(sarif["runs"][0]["results"]) == len(data["findings"])


async def test_where_it_differs_is_said_in_a_file(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path)
    text = (root / HOOK).read_text().replace("useTaskSocket", "useLiveTask")
    write(root, {HOOK: text})
    config = tmp_path / "kit.toml"
    config.write_text('[names]\nsocket_hook = "useLiveTask"\n')
    _, without, _ = await doctor("--repo", root)
    assert "No hook useTaskSocket was found" in without
    _, out, _ = await doctor("--repo", root, "--config", config)
    assert "No hook" not in out


async def test_what_cannot_be_run_is_status_2_and_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments in (
        ("--repo", tmp_path / "none"),
        ("--repo", empty),
        ("--repo", copy_monorepo(tmp_path), "--task", "x"),
        ("--repo", tmp_path / "monorepo", "--config", tmp_path / "none.toml"),
        ("--repo", tmp_path / "monorepo", "--server-file", "../x.ts"),
        ("--format", "sarif"),
        ("--hook-file", "x.ts"),
    ):
        status, out, err = await doctor(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("kit: ")
        assert err.count("\n") == 1
