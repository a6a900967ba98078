from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import (
    COMMON,
    SCHEMA,
    Args,
    Ctx,
    error_of,
    mutate,
    open_engine,
    query,
)

from kit.deployment import functions as f
from kit.deployment.functions import UNSET
from kit.deployment.ids import encode_id
from kit.values import v


def test_a_mutation_reads_its_own_writes(tmp_path: Path) -> None:
    @f.mutation()
    async def write(ctx: Ctx, args: Args) -> Any:
        text_id = await ctx.db.insert("notes", {"kind": "a", "n": 1})
        await ctx.db.patch(text_id, {"n": UNSET, "m": None})
        patched = await ctx.db.get(text_id)
        await ctx.db.replace(text_id, {"kind": "b"})
        by_kind = ctx.db.query("notes").with_index("by_kind")
        replaced = await by_kind.unique()
        await ctx.db.delete(text_id)
        return [patched, replaced, await by_kind.first()]

    with open_engine(tmp_path, SCHEMA, write=write) as engine:
        patched, replaced, deleted = mutate(engine, "write")
        assert patched.keys() == {"_id", "_creationTime", "kind", "m"}
        assert patched["m"] is None
        assert replaced["kind"] == "b"
        assert deleted is None


def test_a_document_may_be_named_with_its_table(tmp_path: Path) -> None:
    @f.mutation()
    async def write(ctx: Ctx, args: Args) -> Any:
        text_id = await ctx.db.insert("notes", {"n": 1})
        await ctx.db.patch("notes", text_id, {"m": 2})
        patched = await ctx.db.get("notes", text_id)
        await ctx.db.replace("notes", text_id, {"k": 3})
        replaced = await ctx.db.get("notes", text_id)
        await ctx.db.delete("notes", text_id)
        return [patched, replaced, await ctx.db.get("notes", text_id)]

    with open_engine(tmp_path, SCHEMA, write=write) as engine:
        patched, replaced, deleted = mutate(engine, "write")
        assert (patched["n"], patched["m"]) == (1.0, 2.0)
        assert replaced == {**replaced, "k": 3.0} and "m" not in replaced
        assert deleted is None


def test_system_tables_are_read_through_db_system(tmp_path: Path) -> None:
    @f.mutation()
    async def schedule(ctx: Ctx, args: Args) -> Any:
        job_id = await ctx.scheduler.run_after(0, "m:add", {})
        system = ctx.db.system
        assert system.normalize_id("_scheduled_functions", job_id) == job_id
        return [
            await system.get(job_id),
            await system.get("_scheduled_functions", job_id),
            await system.query("_scheduled_functions").unique(),
        ]

    with open_engine(tmp_path, SCHEMA, schedule=schedule, **COMMON) as engine:
        first, second, third = mutate(engine, "schedule")
        assert first == second == third
        assert first["state"] == {"kind": "pending"}


NOTE = encode_id(10001, bytes(16))
JOB = encode_id(1, bytes(16))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda ctx: ctx.db.query("_scheduled_functions"),
            "Error: System tables can only be accessed from db.system.query().",
        ),
        (
            lambda ctx: ctx.db.system.query("notes"),
            "Error: User tables can only be accessed from db.query().",
        ),
        (
            lambda ctx: ctx.db.normalize_id("_scheduled_functions", "x"),
            "Error: System tables can only be accessed from db.system.normalizeId().",
        ),
        (
            lambda ctx: ctx.db.system.query("_cron_jobs"),
            "Error: System table _cron_jobs is out of reach for functions.",
        ),
        (
            lambda ctx: ctx.db.get(JOB),
            "Error: System tables can only be accessed with db.system.",
        ),
        (
            lambda ctx: ctx.db.system.get(NOTE),
            "Error: User tables cannot be accessed with db.system.",
        ),
        (
            lambda ctx: ctx.db.get(5),
            "Error: Invalid argument `id` for `db.get`, expected string but got 'int'",
        ),
        (
            lambda ctx: ctx.db.get("abc"),
            "Error: Invalid argument `id` for `db.get`: Unable to decode ID: Invalid I",
        ),
        (
            lambda ctx: ctx.db.system.get("abc"),
            "Error: Invalid argument `id` for `db.system.get`: Unable to decode ID: ",
        ),
        (
            lambda ctx: ctx.db.get("others", NOTE),
            (
                "Error: Invalid argument `id` for `db.get`: expected to be an "
                'Id<"others">, got Id<"notes"> instead.'
            ),
        ),
        (
            lambda ctx: ctx.db.patch("others", NOTE, {}),
            'Error: Invalid argument `id` for `db.patch`: expected to be an Id<"other',
        ),
        (
            lambda ctx: ctx.db.replace("others", NOTE, {}),
            'Error: Invalid argument `id` for `db.replace`: expected to be an Id<"oth',
        ),
        (
            lambda ctx: ctx.db.delete("others", NOTE),
            'Error: Invalid argument `id` for `db.delete`: expected to be an Id<"othe',
        ),
        (
            lambda ctx: ctx.db.get(),
            "TypeError: `get` takes `table`, `id`, or the same without `table`; it was",
        ),
        (
            lambda ctx: ctx.db.patch("notes", NOTE, {}, {}),
            "TypeError: `patch` takes `table`, `id`, `value`, or the same without",
        ),
        (
            lambda ctx: ctx.db.insert("_scheduled_functions", {}),
            "Error: System tables (prefixed with `_`) are read-only.",
        ),
        (
            lambda ctx: ctx.db.patch(JOB, {}),
            "Error: System tables (prefixed with `_`) are read-only.",
        ),
        (
            lambda ctx: ctx.db.delete("_scheduled_functions", JOB),
            "Error: System tables (prefixed with `_`) are read-only.",
        ),
        (
            lambda ctx: ctx.db.insert("a b", {}),
            "Error: Invalid table name 'a b'",
        ),
        (
            lambda ctx: ctx.db.query(7),
            "Error: Invalid table name 7",
        ),
    ],
)
def test_misuse_of_the_database_is_told(tmp_path: Path, use: Any, message: str) -> None:
    @f.mutation()
    async def misuse(ctx: Ctx, args: Args) -> Any:
        for n in range(2):
            await ctx.db.insert("notes", {"n": n})
        return await use(ctx)

    with open_engine(tmp_path, SCHEMA, misuse=misuse) as engine:
        assert error_of(engine, "misuse").startswith(f"Uncaught {message}")


def test_a_query_cannot_write(tmp_path: Path) -> None:
    @f.query()
    async def q_write(ctx: Ctx, args: Args) -> None:
        await ctx.db.insert("notes", {})

    with open_engine(tmp_path, SCHEMA, q_write=q_write) as engine:
        assert error_of(engine, "q_write") == (
            "Uncaught AttributeError: 'DatabaseReader' object has no attribute 'insert'"
        )


def test_ids_can_be_normalized(tmp_path: Path) -> None:
    @f.query(args={"id": v.string()})
    async def q_normalize(ctx: Ctx, args: Args) -> Any:
        return ctx.db.normalize_id("notes", args["id"])

    with open_engine(tmp_path, SCHEMA, q_normalize=q_normalize, **COMMON) as engine:
        note = mutate(engine, "add")
        assert query(engine, "q_normalize", id=note) == note
        assert query(engine, "q_normalize", id=encode_id(1, bytes(16))) is None
        assert query(engine, "q_normalize", id="x") is None
