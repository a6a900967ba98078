from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.deployment.sqlite_file import SqliteFile
from kit.errors import DatabaseError


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile(tmp_path / "folder" / "file.sqlite3")
    file.use_log()
    file.begin()
    file.execute("CREATE TABLE t (n INTEGER)")
    file.commit()
    yield file
    file.close()


def numbers(sqlite: SqliteFile) -> list[int]:
    return [n for (n,) in sqlite.rows("SELECT n FROM t ORDER BY n")]


def insert(sqlite: SqliteFile, n: int) -> int:
    return sqlite.insert("INSERT INTO t VALUES (?)", n)


def test_rows_are_read_as_they_were_written(sqlite: SqliteFile) -> None:
    sqlite.begin()
    assert [insert(sqlite, n) for n in (3, 1)] == [1, 2]
    sqlite.execute_many("INSERT INTO t VALUES (?)", [(2,), (0,)])
    sqlite.commit()
    assert numbers(sqlite) == [0, 1, 2, 3]
    assert sqlite.row("SELECT n FROM t WHERE n = ?", 2) == (2,)
    assert sqlite.row("SELECT n FROM t WHERE n = ?", 9) is None
    assert sqlite.value("SELECT count(*) FROM t") == 4


def test_a_rollback_undoes_and_may_come_twice(sqlite: SqliteFile) -> None:
    sqlite.begin()
    insert(sqlite, 1)
    sqlite.rollback()
    sqlite.rollback()
    assert numbers(sqlite) == []


def test_a_savepoint_undoes_one_inside_that_was_left_open(sqlite: SqliteFile) -> None:
    sqlite.begin()
    with sqlite.savepoint():
        insert(sqlite, 1)
    with pytest.raises(KeyError), sqlite.savepoint():
        insert(sqlite, 2)
        # As when a function is stopped just before its own undoing.
        sqlite.execute("SAVEPOINT depth_1")
        insert(sqlite, 3)
        raise KeyError
    with sqlite.savepoint():
        insert(sqlite, 4)
    sqlite.commit()
    assert numbers(sqlite) == [1, 4]


def test_an_error_is_told_again_until_the_next_transaction(sqlite: SqliteFile) -> None:
    sqlite.begin()
    sqlite.check()
    for fail in (
        lambda: sqlite.execute("SELECT"),
        lambda: sqlite.execute_many("INSERT INTO none VALUES (?)", [(1,)]),
        lambda: list(sqlite.rows("SELECT n FROM none")),
    ):
        with pytest.raises(DatabaseError, match=r"file\.sqlite3: .*SQLITE_ERROR"):
            fail()
        with pytest.raises(DatabaseError, match="What was committed before is kept"):
            sqlite.check()
    sqlite.rollback()
    sqlite.begin()
    sqlite.check()
    sqlite.rollback()


def test_a_second_opener_is_told_what_to_do(
    sqlite: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.deployment.sqlite_file.LOCK_WAIT", 0.01)
    second = SqliteFile(sqlite.path)
    with pytest.raises(DatabaseError, match="Another deployment is using this folder"):
        second.use_log()
    second.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot be made or used"):
        SqliteFile(tmp_path / "file" / "file.sqlite3")
