"""Reading and editing the application's `.env.local`."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.app.flags import Flags, edit_env, read_env, set_flags
from kit.errors import ConfigError

URL = "http://127.0.0.1:3210"
ON = f"NEXT_PUBLIC_USE_CONVEX_REALTIME=true\nNEXT_PUBLIC_CONVEX_URL={URL}\n"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env.local"


def test_a_missing_file_means_before(env_file: Path) -> None:
    assert Flags.read(env_file) == Flags(False, None, 1)
    assert Flags.read(env_file).mode == "before"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "before"),
        ("NEXT_PUBLIC_USE_CONVEX_REALTIME=\n", "before"),
        ("NEXT_PUBLIC_USE_CONVEX_REALTIME=false\nKIT_MIGRATION_OPTION=2\n", "before"),
        (ON, "option-1"),
        (ON + "KIT_MIGRATION_OPTION=1\n", "option-1"),
        (ON + "KIT_MIGRATION_OPTION=2\n", "option-2"),
    ],
)
def test_the_mode_follows_from_the_flags(env_file: Path, text: str, mode: str) -> None:
    env_file.write_text(text)
    assert Flags.read(env_file).mode == mode


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NEXT_PUBLIC_USE_CONVEX_REALTIME=yes\n", "'yes'. Write true or false"),
        ("NEXT_PUBLIC_USE_CONVEX_REALTIME=True\n", "'True'. Write true or false"),
        ("NEXT_PUBLIC_USE_CONVEX_REALTIME=true\n", "NEXT_PUBLIC_CONVEX_URL is missing"),
        (ON.replace(URL, "127.0.0.1:3210"), "not an http(s) URL"),
        (ON.replace(URL, "http://127.0.0.1:port"), "not an http(s) URL"),
        (ON.replace(URL, "http://[::1"), "not an http(s) URL"),
        (
            ON.replace(URL, "https://your-deployment.convex.cloud"),
            "still the guide's example",
        ),
        (ON.replace(URL, "prod:a-1|sentinel"), "'prod:a-1|…' (a key)"),
        ("KIT_MIGRATION_OPTION=3\n", "'3'. Write 1"),
    ],
)
def test_nonsense_is_refused_with_what_to_write(
    env_file: Path, text: str, said: str
) -> None:
    env_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Flags.read(env_file)
    assert said in str(caught.value)
    assert str(env_file) in str(caught.value)


def test_a_bad_url_does_not_matter_while_the_flag_is_off(env_file: Path) -> None:
    env_file.write_text("NEXT_PUBLIC_CONVEX_URL=nonsense\n")
    assert Flags.read(env_file) == Flags(False, "nonsense", 1)


def test_a_folder_and_bytes_that_are_not_utf8_are_refused(env_file: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read"):
        Flags.read(env_file.parent)
    env_file.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match="Save it as UTF-8"):
        Flags.read(env_file)


def test_read_env_knows_the_format(env_file: Path) -> None:
    env_file.write_bytes(
        b"\xef\xbb\xbf# a comment\r\n"
        b"PLAIN=one two  # behind\r\n"
        b"export EXPORTED = x\n"
        b'DOUBLE="a # b"\n'
        b"SINGLE='a \" b' # behind\n"
        b"HASH=a#b\n"
        b'OPEN="a\n'
        b"EMPTY=\n"
        b"ONLY_COMMENT=#nothing\n"
        b"not a setting\n"
        b"TWICE=1\n"
        b"TWICE=2"
    )
    assert read_env(env_file) == {
        "PLAIN": "one two",
        "EXPORTED": "x",
        "DOUBLE": "a # b",
        "SINGLE": 'a " b',
        "HASH": "a",
        "OPEN": '"a',
        "EMPTY": "",
        "ONLY_COMMENT": "",
        "TWICE": "2",
    }


def test_an_edit_leaves_everything_else_as_it_was(env_file: Path) -> None:
    env_file.write_bytes(b"# top\r\nA=1 # why\r\n\r\nB='x y'\r\nA=2 # last")
    diff = edit_env(env_file, {"A": "3", "NEW": "a b#c"})
    assert env_file.read_bytes() == (
        b"# top\r\nA=1 # why\r\n\r\nB='x y'\r\nA=3 # last\r\nNEW=\"a b#c\"\r\n"
    )
    assert diff.splitlines()[:2] == ["--- a/.env.local", "+++ b/.env.local"]
    assert "-A=2 # last" in diff.splitlines()
    assert "+A=3 # last" in diff.splitlines()


def test_an_edit_that_changes_nothing_touches_nothing(env_file: Path) -> None:
    env_file.write_text("A='1'")
    assert edit_env(env_file, {"A": "1"}) == ""
    assert env_file.read_text() == "A='1'"


@pytest.mark.parametrize("value", ["", "plain", "a b", "#", "'", '"', "\\", "$x", "é"])
def test_what_is_written_is_read_back(env_file: Path, value: str) -> None:
    edit_env(env_file, {"KEY": value})
    assert read_env(env_file) == {"KEY": value}
    edit_env(env_file, {"KEY": value + "2"})
    assert read_env(env_file) == {"KEY": value + "2"}


@pytest.mark.parametrize(
    ("key", "value"), [("A B", "x"), ("", "x"), ("A", "x\ny"), ("A", "\"'`")]
)
def test_what_cannot_stand_on_a_line_is_refused(
    env_file: Path, key: str, value: str
) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        edit_env(env_file, {key: value})
    assert not env_file.exists()


def test_set_flags_creates_the_file_and_shows_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "apps" / "frontend" / ".env.local"
    diff = set_flags(path, realtime=True, convex_url=URL, option=2)
    assert Flags.read(path) == Flags(True, URL, 2)
    assert "+NEXT_PUBLIC_USE_CONVEX_REALTIME=true" in diff


def test_rolling_back_is_one_line(env_file: Path) -> None:
    set_flags(env_file, realtime=True, convex_url=URL, option=1)
    diff = set_flags(env_file, realtime=False)
    changed = [line for line in diff.splitlines()[2:] if line[0] in "+-"]
    assert changed == [
        "-NEXT_PUBLIC_USE_CONVEX_REALTIME=true",
        "+NEXT_PUBLIC_USE_CONVEX_REALTIME=false",
    ]
    assert Flags.read(env_file) == Flags(False, URL, 1)


def test_set_flags_writes_nothing_that_would_be_refused(env_file: Path) -> None:
    with pytest.raises(ConfigError, match="is missing"):
        set_flags(env_file, realtime=True)
    with pytest.raises(ConfigError, match="not an http"):
        set_flags(env_file, realtime=True, convex_url="nonsense")
    with pytest.raises(ConfigError, match="Write 1"):
        set_flags(env_file, realtime=False, option=7)
    assert not env_file.exists()
