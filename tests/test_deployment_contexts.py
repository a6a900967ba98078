import math
import time
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
    registry_of,
)

from kit.deployment import functions as f
from kit.deployment.database import Database
from kit.deployment.engine import Engine
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


def test_a_query_offers_collect_take_first_and_unique(tmp_path: Path) -> None:
    @f.query()
    async def q_each(ctx: Ctx, args: Args) -> Any:
        notes = ctx.db.query("notes").with_index("by_kind")
        return {
            "collect": len(await notes.collect()),
            "take": [note["n"] for note in await notes.order("desc").take(2.0)],
            "first": (await notes.first())["n"],
            "none": await notes.order("asc").take(0),
            "missing": await ctx.db.query("missing").collect(),
        }

    with open_engine(tmp_path, SCHEMA, q_each=q_each, **COMMON) as engine:
        for n in range(3):
            mutate(engine, "add", kind="k", n=n)
        assert query(engine, "q_each") == {
            "collect": 3,
            "take": [2.0, 1.0],
            "first": 0.0,
            "none": [],
            "missing": [],
        }


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda ctx: ctx.db.query("notes").unique(),
            "Error: unique() query returned more than one result from table notes:\n [",
        ),
        (
            lambda ctx: ctx.db.query("notes").take(-1),
            "TypeError: Arg 1 `n` to `take` must be a non-negative integer",
        ),
        (
            lambda ctx: ctx.db.query("notes").take(1.5),
            "TypeError: Arg 1 `n` to `take` must be a non-negative integer",
        ),
        (
            lambda ctx: ctx.db.query("notes").with_index("by_x").collect(),
            "Error: Index notes.by_x not found.",
        ),
        (
            lambda ctx: ctx.db.query("missing").with_index("by_x").collect(),
            "Error: Index missing.by_x not found.",
        ),
        (
            lambda ctx: ctx.db.query("notes").order("asc").order("asc"),
            "Error: Queries may only specify order at most once",
        ),
        (
            lambda ctx: ctx.db.query("notes").order("up"),
            "Error: The order of a query is 'asc' or 'desc', not 'up'",
        ),
        (
            lambda ctx: ctx.db.query("notes").order("asc").with_index("by_kind"),
            "Error: `with_index` must come once, and before `order`",
        ),
        (
            lambda ctx: ctx.db.query("notes").with_index("by_kind", lambda q: None),
            "Error: The range of `with_index` must return what it built",
        ),
        (
            lambda ctx: ctx.db.query("_scheduled_functions"),
            "Error: System tables can only be accessed with db.system.",
        ),
        (
            lambda ctx: ctx.db.system.query("notes"),
            "Error: db.system can only access system tables",
        ),
        (
            lambda ctx: ctx.db.get(encode_id(1, bytes(16))),
            "Error: System tables can only be accessed with db.system.",
        ),
        (
            lambda ctx: ctx.db.insert("_scheduled_functions", {}),
            "Error: System tables (prefixed with `_`) are read-only.",
        ),
        (
            lambda ctx: ctx.db.patch(encode_id(1, bytes(16)), {}),
            "Error: System tables (prefixed with `_`) are read-only.",
        ),
        (
            lambda ctx: ctx.db.insert("a b", {}),
            "Error: Invalid table name 'a b'",
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


def test_time_stands_still_within_a_function(tmp_path: Path) -> None:
    @f.query()
    async def q_now(ctx: Ctx, args: Args) -> Any:
        first = ctx.now()
        started = time.monotonic()
        while time.monotonic() - started < 0.005:
            pass
        return [first, ctx.now(), await ctx.auth.get_user_identity()]

    registry = registry_of(q_now=q_now)
    database = Database.open(tmp_path)
    first, second, identity = query(Engine(database, registry), "q_now")
    database.close()
    assert first == second
    assert first == math.floor(first)
    assert abs(first - time.time() * 1000) < 60_000
    assert identity is None
