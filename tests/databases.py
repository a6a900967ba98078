"""The SQL history on a SQLite file and on a real PostgreSQL.

Import `postgres_url`, `url` and `history`: a test that takes `url` or `history` runs
on both.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kit.app.history import History

__all__ = ["PASSWORD", "free_port", "history", "postgres_url", "url"]

PASSWORD = "pw-sentinel-7"


def _find_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root; None when we are somebody else already."""
    if os.geteuid() != 0:
        return None
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of our own on a free port, gone with the module's tests."""
    binaries = _find_binaries()
    if binaries is None:
        reason = "no PostgreSQL binaries: apt-get install postgresql"
        if os.environ.get("KIT_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    user = _unprivileged_user()
    # Not in tmp_path: pytest's folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="kit-postgres-"))
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    if user:
        shutil.chown(folder, user)
        shutil.chown(password_file, user)
    data = folder / "data"
    try:
        subprocess.run(
            [
                *(binaries / "initdb", "--pgdata", data, "--username", "kit"),
                *("--auth", "scram-sha-256", "--pwfile", password_file),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            user=user,
            check=True,
            capture_output=True,
            cwd=folder,
        )
        port = free_port()
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", data, "-h", "127.0.0.1"),
                *("-p", str(port), "-k", "", "-c", "fsync=off"),
            ],
            user=user,
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stderr is not None
            seen = []
            for line in server.stderr:
                seen.append(line)
                if "ready to accept connections" in line:
                    break
            else:
                pytest.fail("PostgreSQL did not start:\n" + "".join(seen))
            yield f"postgresql+psycopg://kit:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.communicate()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("pg", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "pg":
        found: str = request.getfixturevalue("postgres_url")
        return found
    return f"sqlite+aiosqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
async def history(url: str) -> AsyncIterator[History]:
    opened = await History.open(url)
    yield opened
    await opened.close()
