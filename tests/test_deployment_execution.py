import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError
from deployment_in_a_test import (
    COMMON,
    SCHEMA,
    Args,
    Commits,
    Ctx,
    Options,
    error_of,
    mutate,
    open_engine,
    query,
    texts,
)

from kit.deployment import functions as f
from kit.deployment.engine import FunctionFailure
from kit.deployment.failures import UsageError
from kit.deployment.functions import console
from kit.deployment.ids import encode_id
from kit.values import v

# --- finding functions, arguments, results -------------------------------------


def test_functions_that_cannot_be_called_are_told_as_convex_does(
    tmp_path: Path,
) -> None:
    @f.internal_query()
    async def q_hidden(ctx: Ctx, args: Args) -> str:
        return "seen"

    with open_engine(tmp_path, SCHEMA, q_hidden=q_hidden, **COMMON) as engine:
        assert error_of(engine, "q_nope") == (
            "Could not find public function for 'm:q_nope'."
        )
        assert error_of(engine, "q_hidden") == (
            "Could not find public function for 'm:q_hidden'."
        )
        assert engine.run_query("m:q_hidden", {}, internal=True).value_json == '"seen"'
        failed = engine.run_mutation("m:q_all", {}).error
        assert failed is not None
        assert failed.message == (
            "Trying to execute m.js:q_all as Mutation, but it is defined as Query."
        )
        wrong = engine.run_query("m:a b", {}).error
        assert wrong is not None
        assert wrong.message.startswith("m:a b is not a valid path to a Convex func")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"n": "x"},
            (
                "ArgumentValidationError: Value does not match validator.\n"
                'Path: .n\nValue: "x"\nValidator: v.float64()\n'
            ),
        ),
        (
            {},
            (
                "ArgumentValidationError: Object is missing the required field `n`. "
                "Consider wrapping the field validator in `v.optional(...)` if this is "
                "expected.\n\nObject: {}\nValidator: v.object({n: v.float64()})\n"
            ),
        ),
        (
            {"n": 1, "$x": 1},
            (
                "Invalid arguments for m.js:q_n: Field name $x starts with '$', which "
                "is reserved."
            ),
        ),
        (
            [1],
            (
                "ArgumentValidationError: Expected to receive an object as the "
                "function's argument. Instead received: [1.0]\n"
            ),
        ),
    ],
)
def test_bad_arguments_are_told_as_convex_does(
    tmp_path: Path, args: Any, message: str
) -> None:
    @f.query(args={"n": v.number()})
    async def q_n(ctx: Ctx, args: Args) -> None:
        pass

    with open_engine(tmp_path, q_n=q_n) as engine:
        error = engine.run_query("m:q_n", args).error
        assert error == FunctionFailure(message)


def test_ids_in_arguments_are_checked_against_the_tables(tmp_path: Path) -> None:
    @f.query(args={"id": v.id("notes")})
    async def q_get(ctx: Ctx, args: Args) -> Any:
        return await ctx.db.get(args["id"])

    @f.mutation()
    async def other(ctx: Ctx, args: Args) -> Any:
        return await ctx.db.insert("others", {})

    with open_engine(tmp_path, SCHEMA, q_get=q_get, other=other, **COMMON) as engine:
        note = mutate(engine, "add", text="x")
        assert query(engine, "q_get", id=note)["text"] == "x"
        assert "from table `others`, which does not match" in error_of(
            engine, "q_get", id=mutate(engine, "other")
        )
        assert "Value does not match validator." in error_of(engine, "q_get", id="x")
        absent = encode_id(10001, bytes(16))
        assert query(engine, "q_get", id=absent) is None


def test_arguments_and_results_may_not_be_too_large(tmp_path: Path) -> None:
    @f.query()
    async def q_length(ctx: Ctx, args: Args) -> Any:
        return len(args["text"])

    @f.query()
    async def q_large(ctx: Ctx, args: Args) -> Any:
        return "x" * int(args["n"])

    with open_engine(tmp_path, q_length=q_length, q_large=q_large) as engine:
        assert error_of(engine, "q_length", text="x" * 20 * 2**20) == (
            "Arguments for m.js:q_length are too large (actual: 20 MiB, limit: 16 MiB)"
        )
        assert error_of(engine, "q_large", n=17 * 2**20) == (
            "Function m.js:q_large return value is too large "
            "(actual: 17 MiB, limit: 16 MiB)"
        )
        assert len(query(engine, "q_large", n=15 * 2**20)) == 15 * 2**20


def test_bad_results_are_told(tmp_path: Path) -> None:
    @f.query(returns=v.string())
    async def q_wrong(ctx: Ctx, args: Args) -> Any:
        return 5

    @f.query()
    async def q_no_value(ctx: Ctx, args: Args) -> Any:
        return {"a": {1}}

    @f.query()
    async def q_query(ctx: Ctx, args: Args) -> Any:
        return ctx.db.query("notes")

    @f.query()
    async def q_coroutine(ctx: Ctx, args: Args) -> Any:
        return ctx.db.query("notes").collect()

    functions = [q_wrong, q_no_value, q_query, q_coroutine]
    named = {function.handler.__name__: function for function in functions}
    with open_engine(tmp_path, **named) as engine:
        assert error_of(engine, "q_wrong") == (
            "ReturnsValidationError: Value does not match validator.\n\n"
            "Value: 5.0\nValidator: v.string()\n"
        )
        assert "m.js:q_no_value is invalid: set is not a supported" in error_of(
            engine, "q_no_value"
        )
        assert error_of(engine, "q_query") == (
            "Uncaught Error: Return value is a Query. Results must be retrieved with "
            "`.collect()`, `.take(n)`, `.unique()`, or `.first()`."
        )
        assert error_of(engine, "q_coroutine") == (
            "Uncaught Error: Return value is a coroutine: an `await` is missing"
        )


# --- what goes wrong inside ----------------------------------------------------


def test_errors_carry_their_frames_and_data(tmp_path: Path) -> None:
    @f.mutation()
    async def taken(ctx: Ctx, args: Args) -> None:
        raise ConvexError("", {"code": "Taken"})

    with open_engine(tmp_path, taken=taken) as engine:
        error = engine.run_mutation("m:taken", {}).error
        assert error is not None
        assert error.message == 'Uncaught ConvexError: {"code":"Taken"}'
        assert error.data_json == '{"code":"Taken"}'
        (frame,) = error.frames
        assert frame.startswith("    at taken (tests/test_deployment_execution.py:")


@pytest.mark.parametrize("wait", [asyncio.sleep(0), asyncio.sleep(1)])
def test_waiting_for_anything_but_ctx_is_told(tmp_path: Path, wait: Any) -> None:
    cleaned = []

    @f.query()
    async def q_wait(ctx: Ctx, args: Args) -> None:
        try:
            await wait
        finally:
            cleaned.append(True)

    async def inside_a_loop() -> str:
        with open_engine(tmp_path, q_wait=q_wait) as engine:
            return error_of(engine, "q_wait")

    message = asyncio.run(inside_a_loop())
    assert "may only await the methods of `ctx`" in message
    assert "belong in an action" in message
    assert cleaned == [True]


async def test_gathering_is_told_and_reaches_no_document(tmp_path: Path) -> None:
    tasks: list[asyncio.Future[Any]] = []

    @f.mutation()
    async def gather(ctx: Ctx, args: Args) -> None:
        tasks.append(asyncio.ensure_future(ctx.db.insert("notes", {"text": "late"})))
        await asyncio.gather(*tasks)

    with open_engine(tmp_path, SCHEMA, gather=gather, **COMMON) as engine:
        message = error_of(engine, "gather")
        assert "may only await the methods of `ctx`" in message
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert "was used after its function had ended" in str(results[0])
        assert texts(engine) == []


def test_ctx_cannot_be_used_after_the_function(tmp_path: Path) -> None:
    kept: list[Ctx] = []

    @f.mutation()
    async def keep(ctx: Ctx, args: Args) -> None:
        kept.append(ctx)

    with open_engine(tmp_path, SCHEMA, keep=keep) as engine:
        mutate(engine, "keep")
        for use in (
            kept[0].db.insert("notes", {}),
            kept[0].db.get("x" * 32),
            kept[0].db.query("notes").collect(),
            kept[0].scheduler.run_after(0, "m:keep"),
        ):
            with pytest.raises(UsageError):
                asyncio.run(use)


@pytest.mark.skipif(sys.platform == "win32", reason="no interval timers")
# It may be stopped between making a coroutine and awaiting it.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
# Or inside a callback that swallows it, such as the garbage collector's.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_runaway_function_is_stopped_and_undone(tmp_path: Path) -> None:
    @f.mutation()
    async def run_away(ctx: Ctx, args: Args) -> None:
        await ctx.db.insert("notes", {"text": "lost"})
        while True:
            try:
                while True:
                    await ctx.db.insert("notes", {"text": "lost"})
            except Exception:
                pass

    with open_engine(
        tmp_path, SCHEMA, Options(time_limit=0.1), run_away=run_away, **COMMON
    ) as engine:
        assert error_of(engine, "run_away") == (
            "Function execution timed out (maximum duration: 0.1s)"
        )
        mutate(engine, "add", text="kept")
        assert texts(engine) == ["kept"]


def test_outside_the_main_thread_functions_run_too(tmp_path: Path) -> None:
    seen: list[Any] = []

    def work() -> None:
        with open_engine(tmp_path, SCHEMA, **COMMON) as engine:
            mutate(engine, "add", text="x")
            seen.extend(texts(engine))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["x"]


def test_leaving_the_process_is_only_a_failure(tmp_path: Path) -> None:
    @f.query()
    async def q_exit(ctx: Ctx, args: Args) -> None:
        sys.exit("bye")

    with open_engine(tmp_path, q_exit=q_exit) as engine:
        assert error_of(engine, "q_exit") == "Uncaught SystemExit: bye"


def test_an_endless_recursion_is_only_a_failure(tmp_path: Path) -> None:
    @f.mutation()
    async def recurse(ctx: Ctx, args: Args) -> None:
        await ctx.db.insert("notes", {"text": "lost"})
        await ctx.run_mutation("m:recurse", {})

    with open_engine(tmp_path, SCHEMA, recurse=recurse, **COMMON) as engine:
        assert "RecursionError" in error_of(engine, "recurse")
        assert texts(engine) == []


# --- calls within a transaction ------------------------------------------------


def test_nested_calls_share_the_transaction(tmp_path: Path) -> None:
    @f.internal_mutation(args={"text": v.string()})
    async def inner(ctx: Ctx, args: Args) -> Any:
        console.log("inner")
        return await ctx.db.insert("notes", args)

    @f.mutation()
    async def outer(ctx: Ctx, args: Args) -> Any:
        await ctx.run_mutation("m:inner", {"text": "x"})
        return await ctx.run_query("m:q_all")

    commits = Commits()
    with open_engine(
        tmp_path, SCHEMA, Options(commits=commits), inner=inner, outer=outer, **COMMON
    ) as engine:
        outcome = engine.run_mutation("m:outer", {})
        assert outcome.value_json is not None
        assert [note["text"] for note in json.loads(outcome.value_json)] == ["x"]
        assert outcome.log_lines == ["[LOG] 'inner'"]
        assert len(commits.written) == 1


def test_a_nested_mutation_that_fails_undoes_only_itself(tmp_path: Path) -> None:
    @f.internal_mutation()
    async def inner(ctx: Ctx, args: Args) -> None:
        await ctx.db.insert("notes", {"text": "inner"})
        await ctx.scheduler.run_after(0, "m:add", {"text": "scheduled by inner"})
        raise ConvexError("no", {"code": "No"})

    @f.mutation()
    async def outer(ctx: Ctx, args: Args) -> Any:
        await ctx.db.insert("notes", {"text": "before"})
        try:
            await ctx.run_mutation("m:inner")
        except ConvexError as error:
            caught = error.data
        await ctx.db.insert("notes", {"text": "after"})
        return caught

    commits = Commits()
    with open_engine(
        tmp_path, SCHEMA, Options(commits=commits), inner=inner, outer=outer, **COMMON
    ) as engine:
        assert mutate(engine, "outer") == {"code": "No"}
        assert texts(engine) == ["before", "after"]
        assert engine.next_due_ms() is None
        assert commits.due == []


def test_a_nested_failure_that_is_not_caught_fails_the_whole(tmp_path: Path) -> None:
    @f.internal_mutation()
    async def inner(ctx: Ctx, args: Args) -> None:
        raise ConvexError("taken", "taken")

    @f.internal_mutation()
    async def plain(ctx: Ctx, args: Args) -> None:
        raise ValueError("bad")

    @f.mutation(args={"path": v.string()})
    async def outer(ctx: Ctx, args: Args) -> None:
        await ctx.db.insert("notes", {})
        await ctx.run_mutation(args["path"])

    with open_engine(
        tmp_path, SCHEMA, inner=inner, plain=plain, outer=outer, **COMMON
    ) as engine:
        error = engine.run_mutation("m:outer", {"path": "m:inner"}).error
        assert error is not None
        lines = error.text.splitlines()
        assert lines[0] == "Uncaught ConvexError: Uncaught ConvexError: taken"
        assert lines[1].startswith("    at inner (tests/test_deployment_execution.py:")
        assert lines[2] == ""
        assert lines[3].startswith("    at outer (tests/test_deployment_execution.py:")
        assert error.data_json == '"taken"'
        assert error_of(engine, "outer", path="m:plain").startswith(
            "Uncaught Error: Uncaught ValueError: bad\n"
        )
        assert error_of(engine, "outer", path="m:nope") == (
            "Uncaught Error: Could not find public function for 'm:nope'.\n"
        )
        assert error_of(engine, "outer", path="m:q_all") == (
            "Uncaught Error: Trying to execute m.js:q_all as Mutation, but it is "
            "defined as Query.\n"
        )
        assert texts(engine) == []


def test_values_cross_between_functions_as_copies(tmp_path: Path) -> None:
    @f.internal_query()
    async def q_keep(ctx: Ctx, args: Args) -> Any:
        args["list"].append(2)
        return args["list"]

    @f.query()
    async def q_outer(ctx: Ctx, args: Args) -> Any:
        mine = [1]
        theirs = await ctx.run_query("m:q_keep", {"list": mine})
        return [mine, theirs]

    with open_engine(tmp_path, q_keep=q_keep, q_outer=q_outer) as engine:
        assert query(engine, "q_outer") == [[1.0], [1.0, 2.0]]
