from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import (
    COMMON,
    SCHEMA,
    Args,
    Commits,
    Ctx,
    Options,
    mutate,
    open_engine,
    query,
    registry_of,
    texts,
)

from kit.deployment import functions as f
from kit.deployment.database import Database
from kit.deployment.engine import Engine, FunctionFailure, MutationOutcome
from kit.deployment.functions import console
from kit.deployment.identity import UserIdentity
from kit.errors import DatabaseError
from kit.values import ConvexInt64, v

# --- outcomes ------------------------------------------------------------------


def test_a_query_returns_encoded_json_logs_and_what_it_read(tmp_path: Path) -> None:
    @f.query(args={"n": v.number()}, returns=v.any())
    async def q_look(ctx: Ctx, args: Args) -> Any:
        console.log("looking", args["n"])
        await ctx.db.query("notes").collect()
        return {"b": args["n"], "a": ConvexInt64(42)}

    with open_engine(tmp_path, SCHEMA, q_look=q_look) as engine:
        outcome = engine.run_query("m:q_look", {"n": 5})
        assert outcome.error is None
        assert outcome.value_json == '{"a":{"$integer":"KgAAAAAAAAA="},"b":5.0}'
        assert outcome.log_lines == ["[LOG] 'looking' 5"]
        assert len(outcome.read_set.intervals) == 1
        assert outcome.timestamp == engine.latest_timestamp


def test_a_function_is_told_who_calls_and_that_it_asked(tmp_path: Path) -> None:
    @f.query()
    async def q_who(ctx: Ctx, args: Args) -> Any:
        return await ctx.auth.get_user_identity()

    @f.query()
    async def q_through(ctx: Ctx, args: Args) -> Any:
        return await ctx.run_query("m:q_who")

    @f.query()
    async def q_refuse(ctx: Ctx, args: Args) -> Any:
        if await ctx.auth.get_user_identity():
            raise Exception("you, of all people")

    @f.query()
    async def q_other(ctx: Ctx, args: Args) -> Any:
        return None

    @f.mutation()
    async def who(ctx: Ctx, args: Args) -> Any:
        return await ctx.auth.get_user_identity()

    ann = UserIdentity.of({"subject": "ann"})
    with open_engine(
        tmp_path,
        q_who=q_who,
        q_through=q_through,
        q_refuse=q_refuse,
        q_other=q_other,
        who=who,
    ) as engine:
        for path in ("m:q_who", "m:q_through"):
            outcome = engine.run_query(path, {}, identity=ann)
            assert (outcome.value_json, outcome.identity_read) == (ann.text, True)
            outcome = engine.run_query(path, {})
            assert (outcome.value_json, outcome.identity_read) == ("null", True)
        failed = engine.run_query("m:q_refuse", {}, identity=ann)
        assert failed.error is not None and failed.identity_read
        assert not engine.run_query("m:q_other", {}, identity=ann).identity_read
        assert engine.run_mutation("m:who", {}, identity=ann).value_json == ann.text
        assert engine.run_mutation("m:who", {}).value_json == "null"


def test_a_mutation_commits_and_returns_its_timestamp(tmp_path: Path) -> None:
    commits = Commits()
    with open_engine(tmp_path, SCHEMA, Options(commits=commits), **COMMON) as engine:
        first = engine.run_mutation("m:add", {"text": "one"})
        second = engine.run_mutation("m:add", {"text": "two"})
        assert first.timestamp is not None and second.timestamp is not None
        assert first.timestamp < second.timestamp == engine.latest_timestamp
        assert [timestamp for timestamp, _ in commits.written] == [
            first.timestamp,
            second.timestamp,
        ]
        assert texts(engine) == ["one", "two"]


def test_a_mutation_that_writes_nothing_commits_nothing(tmp_path: Path) -> None:
    @f.mutation()
    async def nothing(ctx: Ctx, args: Args) -> Any:
        return await ctx.db.query("notes").first()

    commits = Commits()
    with open_engine(
        tmp_path, SCHEMA, Options(commits=commits), nothing=nothing
    ) as engine:
        before = engine.latest_timestamp
        assert engine.run_mutation("m:nothing", {}).timestamp == before
        assert commits.written == []


def test_a_failed_mutation_stores_and_schedules_nothing(tmp_path: Path) -> None:
    @f.mutation()
    async def fail(ctx: Ctx, args: Args) -> None:
        await ctx.db.insert("notes", {"text": "lost"})
        await ctx.db.insert("new_table", {})
        await ctx.scheduler.run_after(0, "m:add", {})
        console.warn("about to fail")
        raise Exception("boom")

    commits = Commits()
    with open_engine(
        tmp_path, SCHEMA, Options(commits=commits), fail=fail, **COMMON
    ) as engine:
        outcome = engine.run_mutation("m:fail", {})
        assert outcome.error is not None
        assert outcome.error.message == "Uncaught Error: boom"
        assert (outcome.value_json, outcome.timestamp) == (None, None)
        assert outcome.log_lines == ["[WARN] 'about to fail'"]
        assert texts(engine) == []
        assert engine.next_due_ms() is None
        assert commits == Commits()


def test_a_subscription_is_overtaken_exactly_when_it_would_differ(
    tmp_path: Path,
) -> None:
    commits = Commits()
    with open_engine(tmp_path, SCHEMA, Options(commits=commits), **COMMON) as engine:
        mutate(engine, "add", kind="a")
        read_set = engine.run_query("m:q_kind", {"kind": "a"}).read_set
        mutate(engine, "add", kind="b")
        assert not read_set.overlaps(commits.written[-1][1])
        mutate(engine, "add", kind="a")
        assert read_set.overlaps(commits.written[-1][1])


def test_a_failed_query_still_tells_what_it_read(tmp_path: Path) -> None:
    @f.query()
    async def q_need(ctx: Ctx, args: Args) -> Any:
        note = await ctx.db.query("notes").first()
        return note["text"]

    commits = Commits()
    with open_engine(
        tmp_path, SCHEMA, Options(commits=commits), q_need=q_need, **COMMON
    ) as engine:
        outcome = engine.run_query("m:q_need", {})
        assert outcome.error is not None
        assert outcome.error.message.startswith("Uncaught TypeError: 'NoneType'")
        mutate(engine, "add", text="now")
        assert outcome.read_set.overlaps(commits.written[-1][1])
        assert query(engine, "q_need") == "now"


@pytest.mark.parametrize("name", ["swallow", "q_swallow"])
def test_a_failing_disk_is_not_the_functions_failure(tmp_path: Path, name: str) -> None:
    async def read_all(ctx: Ctx, args: Args) -> None:
        try:
            await ctx.db.query("notes").collect()
        except Exception:
            console.error("swallowed")

    functions = {"swallow": f.mutation()(read_all), "q_swallow": f.query()(read_all)}
    database = Database.open(tmp_path, SCHEMA)
    engine = Engine(database, registry_of(SCHEMA, **functions, **COMMON))
    mutate(engine, "add", text="kept")
    # Any error from SQLite will do.
    database._sqlite.execute("ALTER TABLE documents RENAME TO hidden")
    run = engine.run_query if name.startswith("q") else engine.run_mutation
    with pytest.raises(DatabaseError, match="What was committed before is kept"):
        run(f"m:{name}", {})
    database._sqlite.execute("ALTER TABLE hidden RENAME TO documents")
    assert texts(engine) == ["kept"]
    database.close()


def test_a_full_disk_stores_nothing(tmp_path: Path) -> None:
    database = Database.open(tmp_path, SCHEMA)
    engine = Engine(database, registry_of(SCHEMA, **COMMON))
    mutate(engine, "add", text="kept")
    database._sqlite.execute("PRAGMA max_page_count = 1")
    with pytest.raises(DatabaseError, match="Check the disk's free space"):
        engine.run_mutation("m:add", {"text": "x" * 900_000})
    database._sqlite.execute("PRAGMA max_page_count = 100000")
    mutate(engine, "add", text="and kept")
    assert texts(engine) == ["kept", "and kept"]
    database.close()


def test_print_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @f.query()
    async def q_print(ctx: Ctx, args: Args) -> None:
        print("printed")  # noqa: T201

    with open_engine(tmp_path, q_print=q_print) as engine:
        assert engine.run_query("m:q_print", {}).log_lines == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "printed\n")


# --- sessions ------------------------------------------------------------------


def test_a_request_that_is_sent_again_gets_the_same_answer(tmp_path: Path) -> None:
    def send(engine: Engine, request: int, session: str = "s") -> MutationOutcome:
        return engine.run_mutation("m:add", {"text": "x"}, session=(session, request))

    with open_engine(tmp_path, SCHEMA, **COMMON) as engine:
        first = send(engine, 0)
        again = send(engine, 0)
        assert not first.replayed and again.replayed
        assert (again.value_json, again.timestamp) == (
            first.value_json,
            first.timestamp,
        )
        assert not send(engine, 1).replayed
        assert not send(engine, 0, "other").replayed
        assert len(texts(engine)) == 3
    with open_engine(tmp_path, SCHEMA, **COMMON) as engine:
        assert send(engine, 0).replayed


def test_the_answer_is_stored_even_if_nothing_was_written(tmp_path: Path) -> None:
    runs = []

    @f.mutation()
    async def count(ctx: Ctx, args: Args) -> Any:
        runs.append(1)
        console.log("run", len(runs))
        return len(runs)

    with open_engine(tmp_path, count=count) as engine:
        first = engine.run_mutation("m:count", {}, session=("s", 7))
        again = engine.run_mutation("m:count", {}, session=("s", 7))
        assert first.value_json == again.value_json == "1.0"
        assert first.log_lines == again.log_lines == ["[LOG] 'run' 1"]
        assert first.timestamp == again.timestamp == engine.latest_timestamp


def test_a_request_number_may_be_of_any_size(tmp_path: Path) -> None:
    with open_engine(tmp_path, SCHEMA, **COMMON) as engine:
        for expected in (False, True):
            outcome = engine.run_mutation("m:add", {}, session=("s", 2**70))
            assert outcome.replayed is expected


def test_a_failed_request_is_run_again(tmp_path: Path) -> None:
    with open_engine(tmp_path, SCHEMA, **COMMON) as engine:
        bad = {"_x": 1}
        assert engine.run_mutation("m:add", bad, session=("s", 1)).error is not None
        good = engine.run_mutation("m:add", {}, session=("s", 1))
        assert good.error is None and not good.replayed


# --- actions -------------------------------------------------------------------


def test_arguments_and_results_of_actions_are_checked(tmp_path: Path) -> None:
    @f.action(args={"id": v.id("notes")}, returns=v.number())
    async def act(ctx: Ctx, args: Args) -> Any: ...

    with open_engine(tmp_path, SCHEMA, act=act, **COMMON) as engine:
        note = mutate(engine, "add")
        found = engine.check_action("m:act", {"id": note})
        assert not isinstance(found, FunctionFailure)
        assert str(found.path) == "m:act"
        wrong = engine.check_action("m:act", {"id": "x"})
        assert isinstance(wrong, FunctionFailure)
        assert wrong.message.startswith("ArgumentValidationError: ")
        not_one = engine.check_action("m:add", {})
        assert isinstance(not_one, FunctionFailure)
        assert "as Action, but it is defined as Mutation." in not_one.message
        assert engine.check_action_result("m:act", 5.0) is None
        bad = engine.check_action_result("m:act", "five")
        assert bad is not None
        assert bad.message.startswith("ReturnsValidationError: ")
        no_value = engine.check_action_result("m:act", {"$x": 1})
        assert no_value is not None
        assert "Return value of m:act is invalid" in no_value.message
