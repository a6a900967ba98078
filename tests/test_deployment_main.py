"""The deployment's process: its command line, its ready line, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deployment_fixture import FUNCTIONS, deployment_process
from tokens import ISSUER, auth_config


def run(*options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A start that fails."""
    return subprocess.run(
        [sys.executable, "-m", "kit.deployment", *options],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=cwd,
    )


def refused(*options: str) -> str:
    """The one line on stderr with which a start is refused."""
    done = run(*options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_it_is_ready_soon(tmp_path: Path) -> None:
    started = time.monotonic()
    with deployment_process(data=tmp_path) as deployment:
        assert time.monotonic() - started < 5
        assert deployment.url.startswith("http://127.0.0.1:")
        assert deployment.pid > 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, signum: signal.Signals) -> None:
    with deployment_process(data=tmp_path) as deployment:
        deployment.value("action", "work:process")
        os.kill(deployment.pid, signum)
        assert deployment.wait() == 0
        assert deployment.log() == ""


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        text = refused(
            "--port", port, "--data", str(tmp_path), "--functions", str(FUNCTIONS)
        )
    assert f"Port {port} on 127.0.0.1 is already in use" in text
    assert "--port 0" in text


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_a_port_that_is_none_is_told(port: str) -> None:
    done = run("--port", port)
    assert done.returncode == 2
    assert "--port" in done.stderr


def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert str(file) in refused("--data", str(file), "--functions", str(FUNCTIONS))
    assert file.read_text() == "mine"


def test_a_corrupt_database_is_told_and_left_alone(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        deployment.value("mutation", "notes:add", {"channel": "a", "body": "x"})
    (database,) = tmp_path.glob("*.sqlite3")
    for file in tmp_path.iterdir():
        if file != database:
            file.unlink()
    garbage = b"garbage" * 1000
    database.write_bytes(garbage)
    text = refused("--data", str(tmp_path), "--functions", str(FUNCTIONS))
    assert str(database) in text
    assert database.read_bytes() == garbage


def test_a_data_folder_in_use_is_told(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        text = refused("--data", str(tmp_path), "--functions", str(FUNCTIONS))
        assert str(tmp_path) in text
        assert deployment.value("query", "notes:list", {"channel": "a"}) == []


def test_functions_that_cannot_be_loaded_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    text = refused("--data", str(data), "--functions", str(tmp_path / "nowhere"))
    assert "There is no folder of functions at" in text
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "notes.py").write_text("def broken(:\n")
    text = refused("--data", str(data), "--functions", str(broken))
    assert "notes.py, line 1" in text
    assert not data.exists()


def test_an_auth_configuration_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--data", str(data), "--functions", str(FUNCTIONS), "--auth")
    assert "cannot be read" in refused(*options, str(tmp_path / "auth.json"))
    file = auth_config(tmp_path)
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    assert f"The key set of {ISSUER} has no public key" in refused(*options, str(file))
    assert not data.exists()


def test_an_admin_key_that_cannot_serve_is_told_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--data", str(tmp_path / "data"), "--functions", str(FUNCTIONS))
    file = tmp_path / "key"
    file.write_text("s3cret")
    text = refused(*options, "--admin-key-file", str(file))
    assert "shorter than 16 characters" in text
    assert "s3cret" not in text
    monkeypatch.setenv("KIT_ADMIN_KEY", "s3cret")
    assert "shorter than 16 characters" in refused(*options)


def test_the_kits_own_functions_and_a_folder_here_are_the_default(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.deployment"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert set(json.loads(process.stdout.readline())) == {"url", "pid"}
        assert (tmp_path / ".kit" / "data").is_dir()
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        last = 0
        for round_number in range(3):
            for number in range(20):
                body = f"{round_number} {number}"
                args = {"channel": "a", "body": body}
                deployment.value("mutation", "notes:add", args)
            timestamp = deployment.timestamp()
            assert timestamp > last
            last = timestamp
            deployment.kill()
            deployment.start()
            assert deployment.timestamp() >= last
            notes = deployment.value("query", "notes:list", {"channel": "a"})
            assert len(notes) == 20 * (round_number + 1)
