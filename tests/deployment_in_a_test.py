"""A database and an engine for a test, with functions defined in the test itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kit.deployment.database import Database
from kit.deployment.engine import Engine, WriteSet
from kit.deployment.functions import Function, FunctionRegistry
from kit.deployment.paths import FunctionPath
from kit.deployment.schema import Schema

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


def registry_of(
    schema: Schema | None = None, **functions: Function
) -> FunctionRegistry:
    """A registry with these functions in the module `m`."""
    registered = {}
    for name, function in functions.items():
        path = FunctionPath("m", name)
        registered[path] = replace(function, path=path)
    return FunctionRegistry(registered, schema or Schema(), Path(__file__).parent)


@contextmanager
def open_engine(
    data_dir: Path,
    schema: Schema | None = None,
    *,
    clock: Clock | None = None,
    commits: Commits | None = None,
    time_limit: float = 1.0,
    **functions: Function,
) -> Iterator[Engine]:
    """An engine on the database in `data_dir`, closed at the end."""
    registry = registry_of(schema, **functions)
    clock = clock or Clock()
    database = Database.open(data_dir, registry.schema, now=clock)
    try:
        engine = Engine(database, registry, now=clock, time_limit=time_limit)
        if commits is not None:
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
