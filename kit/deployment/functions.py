"""What a module of functions imports, and the registry of the functions in a folder.

```python
from kit.deployment.functions import mutation, query
from kit.values import v


@query(args={"taskId": v.id("tasks")}, returns=v.any())
async def byTask(ctx, args):
    return await ctx.db.query("messages").with_index(
        "by_task", lambda q: q.eq("taskId", args["taskId"])
    ).collect()
```

A handler is `async def handler(ctx, args)` with `args` a dict. Queries and mutations
may await nothing but `ctx`'s own methods; actions may await anything. Beside modules
of functions, a folder may have a `schema.py` (`schema`) and a `crons.py` (`crons`).
Functions do not run here (`engine` runs queries and mutations, the executor actions).
Mirrors Convex's `convex/server`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

from kit.deployment.console import console
from kit.deployment.crons import CronJob, Crons, cron_jobs
from kit.deployment.index_keys import UNSET
from kit.deployment.loading import import_modules, location_of
from kit.deployment.not_offered import http_action, http_router
from kit.deployment.pagination import (
    pagination_opts_validator,
    pagination_result_validator,
)
from kit.deployment.paths import FunctionPath, parse_path
from kit.deployment.schema import Schema, define_schema, define_table
from kit.errors import FunctionLoadError
from kit.values import ObjectValidator, Validator, is_identifier
from kit.values.validators import OptionalField

__all__ = [
    "UNSET",
    "Function",
    "FunctionKind",
    "FunctionRegistry",
    "action",
    "console",
    "cron_jobs",
    "define_schema",
    "define_table",
    "http_action",
    "http_router",
    "internal_action",
    "internal_mutation",
    "internal_query",
    "mutation",
    "pagination_opts_validator",
    "pagination_result_validator",
    "query",
]

FunctionKind: TypeAlias = Literal["query", "mutation", "action"]
Handler: TypeAlias = Callable[[Any, dict[str, Any]], Coroutine[Any, Any, Any]]
ArgsValidator: TypeAlias = Mapping[str, Validator | OptionalField] | Validator | None

SCHEMA_MODULE = "schema"
CRONS_MODULE = "crons"


@dataclass(frozen=True)
class Function:
    """A function as its decorator made it. Calling it calls the handler."""

    kind: FunctionKind
    internal: bool
    handler: Handler
    args: Validator | None = None
    returns: Validator | None = None
    path: FunctionPath = field(default_factory=lambda: FunctionPath("", ""))
    """Where it is registered; empty until a registry has loaded its module."""

    def __call__(self, ctx: Any, args: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        return self.handler(ctx, args)


Decorator: TypeAlias = Callable[[Handler], Function]


def query(*, args: ArgsValidator = None, returns: Validator | None = None) -> Decorator:
    """Register a query: reads one snapshot, writes nothing, is followed by clients.

    `args`: validators by name, or one validator for the whole object; none means that
    any arguments pass. `returns`: validator of the result.
    """
    return _decorator("query", False, args, returns)


def mutation(
    *, args: ArgsValidator = None, returns: Validator | None = None
) -> Decorator:
    """Register a mutation: reads and writes in one transaction, all or nothing."""
    return _decorator("mutation", False, args, returns)


def action(
    *, args: ArgsValidator = None, returns: Validator | None = None
) -> Decorator:
    """Register an action: may call out; reaches documents through functions only."""
    return _decorator("action", False, args, returns)


def internal_query(
    *, args: ArgsValidator = None, returns: Validator | None = None
) -> Decorator:
    """Like `query`, but out of reach for clients."""
    return _decorator("query", True, args, returns)


def internal_mutation(
    *, args: ArgsValidator = None, returns: Validator | None = None
) -> Decorator:
    """Like `mutation`, but out of reach for clients; the scheduler may run it."""
    return _decorator("mutation", True, args, returns)


def internal_action(
    *, args: ArgsValidator = None, returns: Validator | None = None
) -> Decorator:
    """Like `action`, but out of reach for clients; the scheduler may run it."""
    return _decorator("action", True, args, returns)


def _decorator(
    kind: FunctionKind,
    internal: bool,
    args: ArgsValidator,
    returns: Validator | None,
) -> Decorator:
    rule = _args_validator(args)
    if returns is not None and not isinstance(returns, Validator):
        raise TypeError(f"returns= needs a validator such as v.any(), not {returns!r}")

    def decorate(handler: Handler) -> Function:
        _check_handler(handler)
        return Function(kind, internal, handler, rule, returns)

    return decorate


def _args_validator(args: ArgsValidator) -> Validator | None:
    if args is None or isinstance(args, Validator):
        return args
    if isinstance(args, Mapping):
        return ObjectValidator(args)
    raise TypeError(f"args= needs a dict of validators, not {args!r}")


def _check_handler(handler: Handler) -> None:
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"{handler!r} must be an `async def` to be a function")
    try:
        inspect.signature(handler).bind(None, {})
    except TypeError:
        raise TypeError(f"{handler.__name__} must take (ctx, args)") from None


@dataclass(frozen=True)
class FunctionRegistry:
    """The functions of folders by path, their schema, and cron jobs by name."""

    functions: Mapping[FunctionPath, Function]
    schema: Schema = field(default_factory=Schema)
    folders: tuple[Path, ...] = ()
    crons: Mapping[str, CronJob] = field(default_factory=dict)

    @classmethod
    def load(cls, *folders: Path) -> FunctionRegistry:
        """Import the Python files below `folders` and collect their functions.

        Files and folders whose names start with `_` or `.`, and `node_modules`, are
        left out; `schema.py`, if there is one, must define `schema`, and `crons.py`
        `crons`. A folder that is a package is imported under its dotted name, any
        other through `sys.path` (one such folder at a time in a process, imported anew
        each time). Raises FunctionLoadError naming file and line, or what two folders
        both define.
        """
        return reduce(cls._with, map(cls._load, folders))

    def _with(self, other: FunctionRegistry) -> FunctionRegistry:
        both = {path.module for path in self.functions}
        both &= {path.module for path in other.functions}
        both |= self.schema.tables.keys() & other.schema.tables.keys()
        both |= self.crons.keys() & other.crons.keys()
        if both:
            raise FunctionLoadError(
                f"{other.folders[-1]} defines {', '.join(sorted(both))}, and so does "
                f"{self.folders[0]}. Give it another name."
            )
        tables = {**self.schema.tables, **other.schema.tables}
        validates = self.schema.validates and other.schema.validates
        return FunctionRegistry(
            {**self.functions, **other.functions},
            Schema(tables, validates),
            self.folders + other.folders,
            {**self.crons, **other.crons},
        )

    @classmethod
    def _load(cls, folder: Path) -> FunctionRegistry:
        folder = folder.resolve()
        _check_no_http(folder)
        modules = import_modules(folder)
        schema = _schema_of(modules.pop(SCHEMA_MODULE, None))
        names = {module.__name__ for module in modules.values()}
        functions = {
            function.path: function
            for path, module in modules.items()
            for function in _functions_of(path, module, names)
        }
        crons = _crons_of(modules.get(CRONS_MODULE), functions)
        return cls(functions, schema, (folder,), crons)

    def get(self, path: str) -> Function | None:
        """The function at `messages:list` or `messages.js:list`; None if there is none.

        Raises ValueError when `path` is not a function path.
        """
        return self.functions.get(parse_path(path))

    def has_module(self, module: str) -> bool:
        """Whether any function is in `module`, given without extension."""
        return any(path.module == module for path in self.functions)

    def paths(self) -> list[str]:
        """The paths of all functions, sorted."""
        return sorted(map(str, self.functions))


def _check_no_http(folder: Path) -> None:
    file = folder / "http.py"
    if file.exists():
        raise FunctionLoadError(
            f"{file}: HTTP actions are not offered by the embedded deployment. Start "
            "the file's name with `_` to leave it out."
        )


def _schema_of(module: ModuleType | None) -> Schema:
    if module is None:
        return Schema()
    schema = getattr(module, "schema", None)
    if not isinstance(schema, Schema):
        found = "none" if schema is None else repr(schema)
        raise FunctionLoadError(
            f"{module.__file__} must define `schema = define_schema({{...}})`; "
            f"found {found}."
        )
    return schema


def _crons_of(
    module: ModuleType | None, functions: Mapping[FunctionPath, Function]
) -> Mapping[str, CronJob]:
    if module is None:
        return {}
    crons = getattr(module, "crons", None)
    if not isinstance(crons, Crons):
        found = "none" if crons is None else repr(crons)
        raise FunctionLoadError(
            f"{module.__file__} must define `crons = cron_jobs()`; found {found}."
        )
    for name, job in crons.jobs.items():
        function = functions.get(job.path)
        if function is None or function.kind == "query":
            problem = "is a query" if function else "does not exist"
            raise FunctionLoadError(
                f"{module.__file__}: cron job {name!r} is to run {job.path}, which "
                f"{problem}. Give it a mutation or an action."
            )
    return crons.jobs


def _functions_of(
    module_path: str, module: ModuleType, module_names: Collection[str]
) -> Iterator[Function]:
    # What was imported from another module of functions is registered there.
    elsewhere = set(module_names) - {module.__name__}
    for name, value in vars(module).items():
        if isinstance(value, Function) and value.handler.__module__ not in elsewhere:
            if not is_identifier(name):
                raise FunctionLoadError(
                    f"{location_of(value.handler)}: {name!r} cannot be the name of a "
                    "function: use up to 64 letters, digits and underscores, not "
                    "starting with a digit."
                )
            yield replace(value, path=FunctionPath(module_path, name))
