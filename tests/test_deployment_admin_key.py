"""The admin key: where it comes from, what it is like, that it does not show."""

import os
from pathlib import Path

import pytest
from tokens import ADMIN_KEY

from kit.deployment.admin_key import AdminKey, load_admin_key
from kit.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIT_ADMIN_KEY", raising=False)


def test_only_the_key_matches() -> None:
    key = AdminKey(ADMIN_KEY)
    assert key.matches(ADMIN_KEY)
    for other in (
        "",
        ADMIN_KEY[:-1],
        ADMIN_KEY + "x",
        ADMIN_KEY.upper(),
        "é",
        "\udc80",
    ):
        assert not key.matches(other)


def test_the_type_of_a_deployment_is_no_part_of_its_key() -> None:
    for key in ("name|0123456789abcdef", "prod:name|0123456789abcdef"):
        for given in ("name|0123456789abcdef", "dev:name|0123456789abcdef"):
            assert AdminKey(key).matches(given)
        assert not AdminKey(key).matches("other|0123456789abcdef")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("tiny", "shorter than 16"),
        ("with:a-colon-within-it", "a colon"),
        ("päätös-0123456789abcdef", "ASCII"),
        ("two\nlines-0123456789abcdef", "printable"),
    ],
)
def test_a_key_that_cannot_serve_is_told_without_showing_it(key: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        AdminKey(key)
    assert key not in str(caught.value)


def test_it_does_not_show() -> None:
    assert ADMIN_KEY not in repr(AdminKey(ADMIN_KEY))


def test_it_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{ADMIN_KEY}\n")
    key = load_admin_key(file)
    assert key is not None and key.matches(ADMIN_KEY)


def test_it_is_taken_out_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KIT_ADMIN_KEY", f" {ADMIN_KEY}\n")
    key = load_admin_key(None)
    assert key is not None and key.matches(ADMIN_KEY)
    assert "KIT_ADMIN_KEY" not in os.environ

    monkeypatch.setenv("KIT_ADMIN_KEY", "another-key-of-some-length")
    (tmp_path / "key").write_text(ADMIN_KEY)
    key = load_admin_key(tmp_path / "key")
    assert key is not None and key.matches(ADMIN_KEY)
    assert "KIT_ADMIN_KEY" not in os.environ


def test_there_may_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_admin_key(None) is None
    monkeypatch.setenv("KIT_ADMIN_KEY", "")
    assert load_admin_key(None) is None


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere cannot be read: No such file"):
        load_admin_key(tmp_path / "nowhere")
    (tmp_path / "bytes").write_bytes(b"\xff" * 32)
    with pytest.raises(ConfigError, match="it is not text"):
        load_admin_key(tmp_path / "bytes")
