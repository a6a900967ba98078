"""`kit deploy`: what it says, what it runs, and what it makes of that.

Convex's CLI is a script here that writes down how it was called, but for one test, in
which the real one pushes to a backend that only takes pushes.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from convex_functions import Functions
from fake_convex_backend import CLOUD_KEY, NAME, FakeBackend
from node import install as install_packages
from node import require_node

import kit.deploy
from kit.cli import main
from kit.convex._log import DELETE_BATCH
from kit.convex._settings import Settings
from kit.deploy import project
from kit.deploy.target import VARIABLES
from kit.writer import APPENDS_PER_STEP, HEARTBEAT_INTERVAL, INTERVAL_STEP

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS_TS = (ROOT / "kit" / "convex" / "lib" / "settings.ts").read_text()

KEY = "SENTINEL-deploy-key"
URL = "https://happy-animal-123.convex.cloud"

# Stands in for node, npm and npx: notes arguments, folder and the variables that
# matter, and does what a test asks for in ACT.
PROGRAM = """#!{python}
import json, os, subprocess, sys
name = os.path.basename(sys.argv[0])
with open({calls!r}, "a") as calls:
    noted = {{n: v for n, v in os.environ.items() if n[:7] in ("CONVEX_", "OPENAI_")}}
    call = {{"args": [name, *sys.argv[1:]], "folder": os.getcwd(), "env": noted}}
    calls.write(json.dumps(call) + "\\n")
print(name, "says hello")
act = os.environ.get("ACT_" + name.upper())
if name == "npm" and not act:
    os.makedirs("node_modules", exist_ok=True)
sys.exit(subprocess.call(act, shell=True) if act else 0)
"""


@dataclass
class Programs:
    """The programs that stand in for Node's, and the smoke tests asked for."""

    calls_file: Path
    checked: list[tuple[str, str]]

    @property
    def calls(self) -> list[dict[str, Any]]:
        if not self.calls_file.exists():
            return []
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]

    def commands(self) -> list[str]:
        return [shlex.join(call["args"]) for call in self.calls]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    for name in ("node", "npm", "npx"):
        program = folder / name
        program.write_text(PROGRAM.format(python=sys.executable, calls=str(calls)))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    found = Programs(calls, [])

    def check(url: str, *, model: str, folder: Path | None = None) -> int:
        found.checked.append((url, model))
        return 0

    monkeypatch.setattr(kit.deploy, "check", check)
    return found


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A person at a terminal who types this."""
    terminal = io.StringIO(text)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)


def test_a_deploy_key_is_deployed_with_and_never_shown(
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = f"prod:{NAME}|{KEY}"
    monkeypatch.setenv("CONVEX_DEPLOY_KEY", key)
    monkeypatch.setenv("CONVEX_DEPLOYMENT", "dev:other-animal-456")
    monkeypatch.setenv("OPENAI_API_KEY", "SENTINEL-model-key")
    monkeypatch.setenv("ACT_NPX", f"echo {URL} > deployment-url")
    assert main(["deploy", "--model", "gpt-6-luna"]) == 0

    installed, deployed = programs.calls
    folder = str(tmp_path / ".kit" / "convex")
    assert installed["args"] == list(project.INSTALL)
    assert deployed["args"][:3] == ["npx", "convex", "deploy"]
    assert {installed["folder"], deployed["folder"]} == {folder}
    assert deployed["env"]["CONVEX_DEPLOY_KEY"] == key
    # Empty, so that no .env.local can fill it in.
    assert deployed["env"]["CONVEX_DEPLOYMENT"] == ""
    assert "OPENAI_API_KEY" not in deployed["env"]
    assert programs.checked == [(URL, "gpt-6-luna")]

    out, err = capfd.readouterr()
    assert "SENTINEL" not in out + err
    said, _, _ = out.partition("npm says hello")
    for text in ("prod:happy-animal-123", "tasks:create", ".kit/convex", "npm ci"):
        assert text in said
    assert "npx convex deploy" in said


def test_a_dev_deployment_is_pushed_to_once(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEX_DEPLOYMENT", "dev:happy-animal-123")
    monkeypatch.setenv("ACT_NPX", f"echo CONVEX_URL={URL} > .env.local")
    assert main(["deploy"]) == 0
    assert programs.commands()[-1] == "npx convex dev --once"
    assert programs.checked == [(URL, kit.deploy.MODEL)]


def test_packages_are_installed_once(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEX_SELF_HOSTED_URL", "http://127.0.0.1:3210")
    monkeypatch.setenv("CONVEX_SELF_HOSTED_ADMIN_KEY", KEY)
    folder = str(tmp_path / "mine")
    assert main(["deploy", "--folder", folder]) == 0
    assert main(["deploy", "--folder", folder]) == 0
    npm = shlex.join(project.INSTALL)
    assert programs.commands() == [npm, "npx convex deploy", "npx convex deploy"]
    assert {call["folder"] for call in programs.calls} == {folder}


def test_a_url_of_an_earlier_deployment_is_not_taken_for_this_one(
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONVEX_DEPLOY_KEY", f"prod:{NAME}|{KEY}")
    project.lay_out(tmp_path / ".kit" / "convex")
    (tmp_path / ".kit" / "convex" / "deployment-url").write_text(URL)
    assert main(["deploy"]) == 2
    assert "did not tell its URL" in capsys.readouterr().err
    assert programs.checked == []


def test_a_cli_that_fails_is_the_end_of_it(
    programs: Programs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONVEX_DEPLOYMENT", "dev:happy-animal-123")
    monkeypatch.setenv("ACT_NPX", "exit 3")
    assert main(["deploy"]) == 1
    assert "ended with status 3" in capsys.readouterr().out
    assert programs.checked == []


def test_a_failed_smoke_test_is_a_failure(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEX_SELF_HOSTED_URL", "http://127.0.0.1:3210")
    monkeypatch.setenv("CONVEX_SELF_HOSTED_ADMIN_KEY", KEY)
    monkeypatch.setattr(kit.deploy, "check", lambda url, **_: 1)
    assert main(["deploy"]) == 1


@pytest.mark.parametrize(
    ("typed", "options", "deployed"),
    [
        ("y\n", [], True),
        ("Yes\n", [], True),
        ("\n", [], False),
        ("n\n", [], False),
        ("", [], False),  # the end of input
        ("", ["--yes"], True),
        ("", ["-y"], True),
    ],
)
def test_a_person_at_a_terminal_is_asked(
    programs: Programs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    options: list[str],
    deployed: bool,
) -> None:
    monkeypatch.setenv("CONVEX_DEPLOYMENT", "dev:happy-animal-123")
    monkeypatch.setenv("ACT_NPX", f"echo CONVEX_URL={URL} > .env.local")
    answer(monkeypatch, typed)
    assert main(["deploy", *options]) == (0 if deployed else 1)
    assert bool(programs.calls) == deployed
    out = capsys.readouterr().out
    assert ("Nothing was deployed." in out) != deployed
    assert ("[y/N]" in out) != bool(options)


def test_an_environment_without_a_deployment_is_no_reason_to_start_anything(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy"]) == 2
    assert "the environment names none" in capsys.readouterr().err
    assert programs.calls == []


def test_a_machine_without_node(
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONVEX_DEPLOYMENT", "dev:happy-animal-123")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["deploy"]) == 2
    err = capsys.readouterr().err
    assert "node, npm, npx not found" in err
    assert "kit deploy --check URL" in err
    assert not (tmp_path / ".kit").exists()


def appends(interval: float, seconds: float) -> int:
    """How many appends a writer makes of text that never pauses."""
    now, count = 0.0, 0
    while now < seconds:
        count += 1
        now += interval + INTERVAL_STEP * (count // APPENDS_PER_STEP)
    return count


def test_the_readme_counts_as_the_writer_does() -> None:
    _, table, _ = re.split(r"<!-- /?costs -->", README)
    rows = re.findall(r"^\| (\d+)\D.*?\| ([\d. |]+) \|$", table, re.MULTILINE)
    assert len(rows) == len(table.strip().splitlines()) - 2
    for milliseconds, numbers in rows:
        interval = int(milliseconds) / 1000
        per_second, documents, in_30_s = (float(n) for n in numbers.split("|"))
        assert per_second == round(1 / interval, 1)
        assert documents == round(2 / interval, 1)
        assert in_30_s == appends(interval, 30)
    settings = Settings.read({})
    embedded = settings.flush_interval_ms
    assert f"| {embedded:g}, the default of the embedded deployment" in README
    (on_convex,) = re.findall(r'"KIT_FLUSH_INTERVAL_MS", (\d+),', SETTINGS_TS)
    assert f"| {on_convex}, the default on Convex" in README
    assert f"Per {settings.lease_ms / 1000:g} s of it a watchdog" in README
    assert f"a heartbeat every {HEARTBEAT_INTERVAL:g} s" in README
    step = f"{INTERVAL_STEP * 1000:g} ms longer after {APPENDS_PER_STEP} appends"
    assert step in README
    assert f"one mutation per {DELETE_BATCH} deltas" in README


def test_an_append_writes_two_documents(tmp_path: Path) -> None:
    functions = Functions(tmp_path)
    try:
        task_id = functions.call("tasks:create", title="t")
        begun = functions.call(
            "streaming:begin", taskId=task_id, prompt="?", model="m", leaseMs=15_000
        )
        before = {
            table: functions.rows(table) for table in functions.registry.schema.tables
        }
        chunks = [{"type": "text-start", "id": "text-0"}]
        stream_id = begun["streamId"]
        functions.call(
            "streaming:append", streamId=stream_id, epoch=1, seq=0, chunks=chunks
        )
        changed = [
            row
            for table, rows in before.items()
            for row in functions.rows(table)
            if row not in rows
        ]
        assert len(changed) == 2
    finally:
        functions.close()


def test_the_readme_shows_options_that_exist() -> None:
    shown = set(re.findall(r"kit deploy (--[\w-]+)", README)) | {"--yes", "--model"}
    done = subprocess.run(
        [sys.executable, "-m", "kit.cli", "deploy", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--check" in shown
    for option in shown | {"--folder"}:
        assert option in done.stdout


@pytest.fixture
def node_project(tmp_path: Path) -> Path:
    """A project for the real CLI, its packages installed."""
    require_node()
    install_packages(project.SOURCE)
    folder = tmp_path / "project"
    project.lay_out(folder)
    (folder / "node_modules").symlink_to(project.SOURCE / "node_modules")
    # As an earlier deployment by name leaves it; not to be mixed with another's key.
    (folder / ".env.local").write_text("CONVEX_DEPLOYMENT=dev:other-animal-456\n")
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        (
            {
                "CONVEX_SELF_HOSTED_URL": "BACKEND",
                "CONVEX_SELF_HOSTED_ADMIN_KEY": f"convex-self-hosted|{KEY}",
            },
            f"convex-self-hosted|{KEY}",
            "Deployed Convex functions to BACKEND",
        ),
        (
            {"CONVEX_DEPLOY_KEY": f"prod:{NAME}|{KEY}"},
            f"prod:{NAME}|{KEY}",
            "Deployed Convex functions to BACKEND",
        ),
        (
            {
                "CONVEX_DEPLOYMENT": f"dev:{NAME}",
                "CONVEX_OVERRIDE_ACCESS_TOKEN": KEY,  # as after `npx convex login`
            },
            CLOUD_KEY,
            "Convex functions ready!",
        ),
    ],
    ids=["self-hosted", "deploy key", "dev deployment"],
)
async def test_convexs_own_cli_pushes_the_functions(
    node_project: Path, tmp_path: Path, given: dict[str, str], key: str, said: str
) -> None:
    with FakeBackend.running() as backend:
        kept = {name: os.environ[name] for name in os.environ.keys() - {*VARIABLES}}
        environment = {
            **kept,
            **{name: v.replace("BACKEND", backend.url) for name, v in given.items()},
            "CONVEX_PROVISION_HOST": backend.url,  # Convex's cloud, to the CLI
            "HOME": str(tmp_path),
            "PYTHONUNBUFFERED": "1",
        }
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "kit.cli", "deploy", "--folder", str(node_project)],
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode()
    assert "npm ci" not in printed
    assert said.replace("BACKEND", backend.url) in printed
    assert backend.push["adminKey"] == key
    assert KEY not in printed
    definition = backend.push["appDefinition"]
    pushed = {module["path"] for module in definition["changedModules"]}
    own = {path for path in pushed if not path.startswith(("_deps/", "lib/"))}
    modules = ("contract", "crons", "messages", "streaming", "tasks")
    assert own == {f"{module}.js" for module in modules}
    assert definition["schema"]["path"] == "schema.js"
    # It knows the URL now. That backend runs no functions: the smoke test ends there.
    assert f"0 of 5 steps held on {backend.url}" in printed
    assert process.returncode == 1
