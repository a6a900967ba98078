import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import NOW, Clock

from kit.deployment.database import Database, SessionResult
from kit.deployment.ids import decode_id
from kit.deployment.index_ranges import IndexRange
from kit.deployment.schema import Schema, define_schema, define_table
from kit.deployment.tables import CRON_JOBS, SCHEDULED_FUNCTIONS
from kit.deployment.transaction import Transaction
from kit.errors import DatabaseError
from kit.values import v

NUMBERS = define_schema({"numbers": define_table({"n": v.number()})})
FILE = "deployment.sqlite3"


@contextmanager
def opened(
    data_dir: Path, schema: Schema | None = None, clock: Clock | None = None
) -> Iterator[Database]:
    database = Database.open(data_dir, schema, now=clock or Clock())
    try:
        yield database
    finally:
        database.close()


def insert(database: Database, table: str, **fields: Any) -> str:
    transaction = Transaction(database, NOW)
    inserted = transaction.insert(table, fields)
    transaction.commit()
    return inserted


def numbers(database: Database, index_name: str = "by_creation_time") -> list[Any]:
    transaction = Transaction(database, NOW)
    table = transaction.table("numbers")
    if table is None:
        return []
    index = table.indexes[index_name]
    found = transaction.scan(index, IndexRange().interval(index, index_name))
    transaction.end()
    return [document["n"] for document in found]


def test_documents_survive_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "folder") as database:
        insert(database, "numbers", n=1)
        insert(database, "numbers", n=2)
    with opened(tmp_path / "new" / "folder") as database:
        assert numbers(database) == [1.0, 2.0]


COMMITTING = """
import sys
from pathlib import Path
from kit.deployment.database import Database
from kit.deployment.transaction import Transaction

database = Database.open(Path(sys.argv[1]))
for n in range(1_000_000):
    transaction = Transaction(database, 0.0)
    transaction.insert("numbers", {"n": n})
    sys.stdout.write(f"{n} {transaction.commit()}\\n")
    sys.stdout.flush()
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMITTING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(500)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().splitlines(keepends=True)
    last, timestamp = [line for line in acknowledged if line.endswith("\n")][-1].split()
    with opened(tmp_path) as database:
        stored = numbers(database)
        assert stored == list(map(float, range(len(stored))))
        assert len(stored) > int(last)
        assert database.timestamp >= int(timestamp)


def test_timestamps_go_up_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    clock = Clock()
    seen = []
    with opened(tmp_path, clock=clock) as database:
        assert database.timestamp == 0
        for now in (NOW, NOW, NOW + 1, NOW - 3600):
            clock.now = now
            insert(database, "numbers", n=1)
            seen.append(database.timestamp)
    assert 0 < seen[0] - int(NOW * 1e9) < 1000
    clock.now = NOW - 7200
    with opened(tmp_path, clock=clock) as database:
        assert database.timestamp == seen[-1]
        insert(database, "numbers", n=1)
        seen.append(database.timestamp)
    assert seen == sorted(set(seen))


def test_creation_times_go_up_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        times = [database.next_creation_time(now) for now in (NOW, NOW, NOW - 5, NOW)]
        assert times[0] == NOW * 1000.0
        insert(database, "numbers", n=1)
    with opened(tmp_path) as database:
        times.append(database.next_creation_time(NOW - 5))
    assert times == sorted(set(times))


def test_a_rollback_undoes_documents_and_tables(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        transaction = Transaction(database, NOW)
        undone = transaction.insert("numbers", {"n": 1})
        transaction.end()
        assert database.catalog.named("numbers") is None
        kept = insert(database, "numbers", n=2)
        assert numbers(database) == [2.0]
        assert decode_id(undone)[0] == decode_id(kept)[0]
        assert database.timestamp - int(NOW * 1e9) < 1000


def test_savepoints_undo_what_is_inside(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        transaction = Transaction(database, NOW)
        transaction.insert("numbers", {"n": 1})
        with pytest.raises(KeyError), transaction.savepoint():
            transaction.insert("numbers", {"n": 2})
            with transaction.savepoint():
                transaction.insert("others", {})
            with pytest.raises(ValueError, match="x"), transaction.savepoint():
                raise ValueError("x")
            raise KeyError
        with transaction.savepoint():
            transaction.insert("numbers", {"n": 3})
        transaction.commit()
        assert numbers(database) == [1.0, 3.0]
        assert database.catalog.named("others") is None


def test_a_savepoint_undoes_one_inside_that_was_left_open(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        transaction = Transaction(database, NOW)
        with pytest.raises(KeyError), transaction.savepoint():
            transaction.insert("numbers", {"n": 1})
            # As when a function is stopped just before its own undoing.
            database._sqlite.execute("SAVEPOINT depth_1")
            transaction.insert("numbers", {"n": 2})
            raise KeyError
        transaction.insert("numbers", {"n": 3})
        transaction.commit()
        assert numbers(database) == [3.0]


def test_user_tables_are_numbered_from_10001_for_good(tmp_path: Path) -> None:
    schema = define_schema({"a": define_table({}), "b": define_table({})})
    with opened(tmp_path, schema) as database:
        insert(database, "c")
        found = {table.name: table.number for table in database.catalog}
    system = {SCHEDULED_FUNCTIONS: 1, CRON_JOBS: 2}
    assert found == {**system, "a": 10001, "b": 10002, "c": 10003}
    with opened(tmp_path) as database:
        assert {table.name: table.number for table in database.catalog} == found


def test_a_database_keeps_its_secret(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as database:
        secret = database.secret
        assert len(secret) == 32
    with opened(tmp_path / "a") as database:
        assert database.secret == secret
    with opened(tmp_path / "b") as database:
        assert database.secret != secret


def test_a_file_that_was_made_without_a_secret_gets_one(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        insert(database, "numbers", n=1)
        database._sqlite.execute("DROP TABLE secret")
    with opened(tmp_path) as database:
        assert len(database.secret) == 32
        assert numbers(database) == [1.0]


# --- schema changes -----------------------------------------------------------


def with_index(name: str, *fields: str) -> Schema:
    table = define_table({"n": v.number(), "m": v.optional(v.number())})
    return define_schema({"numbers": table.index(name, fields)})


def test_a_new_index_is_filled_and_a_removed_one_dropped(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        for n in (3, 1, 2):
            insert(database, "numbers", n=n)
    with opened(tmp_path, with_index("by_n", "n")) as database:
        assert numbers(database, "by_n") == [1.0, 2.0, 3.0]
        insert(database, "numbers", n=0)
        assert numbers(database, "by_n") == [0.0, 1.0, 2.0, 3.0]
        table = database.catalog.named("numbers")
        assert table is not None
        old = table.indexes["by_n"].id
    with opened(tmp_path, NUMBERS) as database:
        with pytest.raises(KeyError):
            numbers(database, "by_n")
        assert list(database.scan(old, (b"", b"\xff"))) == []
    with opened(tmp_path, with_index("by_n", "n")) as database:
        table = database.catalog.named("numbers")
        assert table is not None
        assert table.indexes["by_n"].id > old
        assert numbers(database, "by_n") == [0.0, 1.0, 2.0, 3.0]


def test_an_index_on_other_fields_is_filled_anew(tmp_path: Path) -> None:
    with opened(tmp_path, with_index("by_x", "n")) as database:
        insert(database, "numbers", n=1, m=2)
        insert(database, "numbers", n=2, m=1)
        assert numbers(database, "by_x") == [1.0, 2.0]
    with opened(tmp_path, with_index("by_x", "m")) as database:
        assert numbers(database, "by_x") == [2.0, 1.0]


def test_filling_goes_through_many_documents(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        transaction = Transaction(database, NOW)
        for n in range(2500):
            transaction.insert("numbers", {"n": -n})
        transaction.commit()
    with opened(tmp_path, with_index("by_n", "n")) as database:
        assert numbers(database, "by_n") == [float(-n) for n in reversed(range(2500))]


def test_documents_that_do_not_match_the_schema_are_named(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        wrong = insert(database, "numbers", n="one")
    with pytest.raises(DatabaseError) as error:
        Database.open(tmp_path, NUMBERS)
    assert str(error.value).startswith(
        f'Document with ID "{wrong}" in table "numbers" does not match the schema: '
        'Value does not match validator.\nPath: .n\nValue: "one"\n'
    )
    # Nothing has changed, and the lock is released.
    with opened(tmp_path) as database:
        assert numbers(database) == ["one"]


def test_a_schema_may_give_the_indexes_alone(tmp_path: Path) -> None:
    table = define_table({"n": v.number()}).index("by_n", ["n"])
    loose = define_schema({"numbers": table}, schema_validation=False)
    with opened(tmp_path, loose) as database:
        for n in (2, "x", 1):
            insert(database, "numbers", n=n)
        assert numbers(database, "by_n") == [1.0, 2.0, "x"]
    with (
        pytest.raises(DatabaseError, match="does not match the schema"),
        opened(tmp_path, define_schema({"numbers": table})),
    ):
        pass


def test_a_table_that_left_the_schema_takes_anything(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        insert(database, "numbers", n=1)
    with opened(tmp_path) as database:
        insert(database, "numbers", n="two")
        assert numbers(database) == [1.0, "two"]
    with pytest.raises(DatabaseError, match="does not match the schema"):
        Database.open(tmp_path, NUMBERS)


def test_ids_in_documents_are_checked_against_all_tables(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        target = insert(database, "z")
        insert(database, "a", ref=target)

    def referring_to(table: str) -> Schema:
        return define_schema({"a": define_table({"ref": v.id(table)})})

    with opened(tmp_path, referring_to("z")):
        pass
    with pytest.raises(DatabaseError, match="from table `z`, which does not match"):
        Database.open(tmp_path, referring_to("a"))


# --- session results ----------------------------------------------------------


def commit_result(database: Database, request: int) -> int:
    transaction = Transaction(database, NOW)
    return transaction.commit(SessionResult("s", request, "1.0", ["[LOG] 'é'"]))


def test_session_results_are_stored_with_the_commit(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        timestamp = commit_result(database, 1)
    with opened(tmp_path) as database:
        stored = SessionResult("s", 1, "1.0", ["[LOG] 'é'"])
        assert database.session_result("s", 1) == (timestamp, stored)
        assert database.session_result("s", 2) is None
        assert database.session_result("t", 1) is None


def test_session_results_are_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock) as database:
        commit_result(database, 1)
        clock.now += 25 * 3600
        commit_result(database, 2)
    with opened(tmp_path, clock=clock) as database:
        assert database.session_result("s", 1) is None
        assert database.session_result("s", 2) is not None


# --- files that cannot be used ------------------------------------------------


def test_a_folder_in_use_is_told(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(DatabaseError, match="Another deployment is using this folder"),
    ):
        Database.open(tmp_path)
    with opened(tmp_path):
        pass


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot be made or used: File exists"):
        Database.open(tmp_path / "file")
    with pytest.raises(DatabaseError, match="cannot be made or used: Not a directory"):
        Database.open(tmp_path / "file" / "below")


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(DatabaseError, match="check who owns it and its folder"):
        Database.open(tmp_path)


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough" * 100)
    with pytest.raises(DatabaseError, match="damaged, or no database: move it away"):
        Database.open(tmp_path)
    assert (tmp_path / FILE).read_bytes().startswith(b"not a database")


def raw(tmp_path: Path, statement: str) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(statement)
    connection.close()


def test_the_database_of_another_application_is_told(tmp_path: Path) -> None:
    raw(tmp_path, "CREATE TABLE t (x)")
    with pytest.raises(DatabaseError, match="belongs to another application"):
        Database.open(tmp_path)


def test_the_database_of_a_newer_kit_is_told(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    raw(tmp_path, "PRAGMA user_version = 99")
    with pytest.raises(DatabaseError, match="has format 99, this kit knows format 1"):
        Database.open(tmp_path)


def test_a_damaged_page_is_told_when_it_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        for _ in range(100):
            insert(database, "numbers", n=1)
    file = tmp_path / FILE
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xee" * (len(content) - 4096))
    with pytest.raises(DatabaseError, match="damaged"):
        numbers(Database.open(tmp_path, NUMBERS))


def test_a_failed_statement_dooms_the_transaction(tmp_path: Path) -> None:
    with opened(tmp_path, NUMBERS) as database:
        insert(database, "numbers", n=1)
        # As on a full disk.
        database._sqlite.execute("PRAGMA max_page_count = 1")
        transaction = Transaction(database, NOW)
        transaction.insert("numbers", {"n": 2})
        with pytest.raises(DatabaseError, match="Check the disk's free space"):
            transaction.insert("others", {"big": "x" * 900_000})
        with pytest.raises(DatabaseError, match="Check the disk's free space"):
            transaction.commit()
        database._sqlite.execute("PRAGMA max_page_count = 100000")
        insert(database, "numbers", n=3)
        assert numbers(database) == [1.0, 3.0]
