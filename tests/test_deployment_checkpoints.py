"""Checkpoints are made beside the commits; without them, by whoever commits."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.deployment import sqlite_file
from kit.deployment.checkpoints import Checkpoints
from kit.deployment.sqlite_file import SqliteFile


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile(tmp_path / "file.sqlite3")
    file.use_log()
    file.execute("CREATE TABLE t (text TEXT)")
    yield file
    file.close()


def commit(sqlite: SqliteFile, text: str) -> None:
    sqlite.begin()
    sqlite.insert("INSERT INTO t VALUES (?)", text)
    sqlite.commit()


def texts(sqlite: SqliteFile) -> list[str]:
    return [text for (text,) in sqlite.rows("SELECT text FROM t ORDER BY rowid")]


def is_in_the_file(sqlite: SqliteFile, text: str) -> bool:
    return text.encode() in sqlite.path.read_bytes()


def threads() -> set[threading.Thread]:
    return {found for found in threading.enumerate() if found.name == "checkpoints"}


def size_of_log(sqlite: SqliteFile) -> int:
    return sqlite.path.with_name(f"{sqlite.path.name}-wal").stat().st_size


def test_what_was_committed_comes_into_the_file_meanwhile(
    sqlite: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "COMMITS_BETWEEN_CHECKPOINTS", 2)
    commit(sqlite, "the first")
    assert not is_in_the_file(sqlite, "the first")
    commit(sqlite, "the second")
    while not is_in_the_file(sqlite, "the second"):
        time.sleep(0.001)  # the test's time limit ends this
    commit(sqlite, "the third")
    assert texts(sqlite) == ["the first", "the second", "the third"]


def test_nothing_is_lost_while_checkpoints_go_on(
    sqlite: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "COMMITS_BETWEEN_CHECKPOINTS", 1)
    numbers = list(map(str, range(1000)))
    for number in numbers:
        commit(sqlite, number)
    assert texts(sqlite) == numbers
    sqlite.close()
    reopened = SqliteFile(sqlite.path)
    assert texts(reopened) == numbers
    reopened.close()


def test_the_log_does_not_grow_for_ever_when_checkpoints_lag_behind(
    sqlite: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "begin_one", lambda _: None)
    sqlite.execute("PRAGMA wal_autocheckpoint = 100")
    for _ in range(20):
        commit(sqlite, "x" * 50_000)
    assert size_of_log(sqlite) < 400_000
    assert len(texts(sqlite)) == 20


def test_the_thread_ends_with_the_file(
    sqlite: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "COMMITS_BETWEEN_CHECKPOINTS", 1)
    before = threads()
    commit(sqlite, "one")
    (thread,) = threads() - before
    sqlite.close()
    assert not thread.is_alive()
    assert is_in_the_file(sqlite, "one"), "closing makes a last one"


def test_an_error_ends_it_without_a_word(tmp_path: Path) -> None:
    """Who commits makes the checkpoints then, and has the error to tell."""
    checkpoints = Checkpoints(tmp_path)  # no file: a folder
    before = threads()
    checkpoints.begin_one()
    while threads() > before:
        time.sleep(0.001)
    checkpoints.begin_one()
    checkpoints.close()
