"""The frontend's folder and what its settings file says."""

from pathlib import Path

import pytest
from repositories import write

from kit.errors import ConfigError
from kit.repo import Settings, open_repository
from kit.repo.frontend import env_value, find_frontend

NEXT = '{"dependencies": {"next": "16"}}'


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("A=1", "1"),
        ("A=1\r\nB=2\r\n", "1"),
        ("export A = 1 # why", "1"),
        ('A="1 # 2"', "1 # 2"),
        ("A='x' # why", "x"),
        ("A=https://x.test/#y", "https://x.test/#y"),
        ("A=1\nA=2", "2"),
        ("A=", ""),
        ("#A=1", None),
        ("BA=1", None),
        ("", None),
    ],
)
def test_what_a_settings_file_says(body: str, value: str | None) -> None:
    assert env_value(body, "A") == value


def found(
    root: Path, files: dict[str, str], settings: Settings | None = None
) -> str | None:
    write(root, {"a.ts": "", **files})
    repository = open_repository(root, env={"PATH": ""})
    frontend, missing = find_frontend(repository, settings or Settings(), None)
    assert (frontend is None) == bool(missing)
    return None if frontend is None else frontend.env_file


def test_where_the_settings_are(tmp_path: Path) -> None:
    assert found(tmp_path, {"package.json": "{}"}) is None
    assert found(tmp_path, {"web/package.json": NEXT}) == "web/.env.local"
    assert found(tmp_path, {"docs/package.json": NEXT}) is None
    assert found(tmp_path, {"web/.env.example": ""}) == "web/.env.local"
    assert found(tmp_path, {}, Settings(frontend="docs")) == "docs/.env.local"
    assert found(tmp_path, {}, Settings(env_file=".env")) == ".env"


def test_a_frontend_outside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is outside of"):
        found(tmp_path / "root", {}, Settings(frontend="../web"))


def test_an_application_at_the_root(tmp_path: Path) -> None:
    assert found(tmp_path, {"package.json": NEXT}) == ".env.local"
    assert found(tmp_path, {"package.json": "{", "web/package.json": "[]"}) is None
