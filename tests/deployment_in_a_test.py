"""An engine on a database of its own for a test, and functions that most tests need."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kit.deployment import functions as f
from kit.deployment.database import Database
from kit.deployment.engine import Engine, WriteSet
from kit.deployment.functions import Function, FunctionRegistry
from kit.deployment.paths import FunctionPath
from kit.deployment.schema import Schema, define_schema, define_table
from kit.values import v

NOW = 1_700_000_000.0


@dataclass
class Clock:
    """A clock that stands still until it is set; seconds since the epoch."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Commits:
    """What an engine's hooks were called with."""

    written: list[tuple[int, WriteSet]] = field(default_factory=list)
    due: list[float] = field(default_factory=list)


@dataclass
class Options:
    """How an engine is opened."""

    clock: Clock = field(default_factory=Clock)
    commits: Commits = field(default_factory=Commits)
    time_limit: float = 1.0


def registry_of(
    schema: Schema | None = None, /, **functions: Function
) -> FunctionRegistry:
    """A registry with these functions in the module `m`."""
    registered = {}
    for name, function in functions.items():
        path = FunctionPath("m", name)
        registered[path] = replace(function, path=path)
    return FunctionRegistry(registered, schema or Schema(), (Path(__file__).parent,))


@contextmanager
def open_engine(
    data_dir: Path,
    schema: Schema | None = None,
    options: Options | None = None,
    /,
    **functions: Function,
) -> Iterator[Engine]:
    """An engine on the database in `data_dir`, closed at the end."""
    options = options or Options()
    clock, commits = options.clock, options.commits
    registry = registry_of(schema, **functions)
    database = Database.open(data_dir, registry.schema, now=clock)
    try:
        engine = Engine(database, registry, now=clock, time_limit=options.time_limit)
        engine.on_commit = lambda *commit: commits.written.append(commit)
        engine.on_schedule = commits.due.append
        yield engine
    finally:
        database.close()


def query(engine: Engine, name: str, **args: Any) -> Any:
    """The JSON that the query returns; fails the test if it failed."""
    outcome = engine.run_query(f"m:{name}", args)
    assert outcome.error is None, outcome.error.text
    assert outcome.value_json is not None
    return json.loads(outcome.value_json)


def mutate(engine: Engine, name: str, **args: Any) -> Any:
    """The JSON that the mutation returns; fails the test if it failed."""
    outcome = engine.run_mutation(f"m:{name}", args)
    assert outcome.error is None, outcome.error.text
    assert outcome.value_json is not None
    return json.loads(outcome.value_json)


def error_of(engine: Engine, name: str, **args: Any) -> str:
    """The message with which the query or mutation fails."""
    function = engine.run_query if name.startswith("q") else engine.run_mutation
    error = function(f"m:{name}", args).error
    assert error is not None
    return error.message


Ctx = Any
Args = dict[str, Any]

SCHEMA = define_schema({"notes": define_table(v.any()).index("by_kind", ["kind"])})


@f.mutation()
async def add(ctx: Ctx, args: Args) -> Any:
    return await ctx.db.insert("notes", args)


@f.query()
async def q_all(ctx: Ctx, args: Args) -> Any:
    return await ctx.db.query("notes").collect()


@f.query(args={"kind": v.any()})
async def q_kind(ctx: Ctx, args: Args) -> Any:
    return (
        await ctx.db.query("notes")
        .with_index("by_kind", lambda q: q.eq("kind", args["kind"]))
        .collect()
    )


COMMON = {"add": add, "q_all": q_all, "q_kind": q_kind}


def texts(engine: Engine) -> list[Any]:
    """The field `text` of all notes."""
    return [note.get("text") for note in query(engine, "q_all")]
