import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.deployment.functions import (
    FunctionRegistry,
    internal_action,
    query,
)
from kit.errors import FunctionLoadError
from kit.values import v

HEAD = """
from kit.deployment.functions import *
from kit.values import v
"""


def folder_of(folder: Path, **files: str) -> Path:
    """A folder with these files; `__` in a name stands for a subfolder."""
    for name, source in files.items():
        file = folder / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEAD + source)
    return folder


LIST = """
@query(args={"limit": v.optional(v.number())}, returns=v.any())
async def list(ctx, args):
    return []
"""


# --- decorators ---------------------------------------------------------------


def test_a_decorator_keeps_handler_kind_and_validators() -> None:
    @internal_action(args={"a": v.string()}, returns=v.null())
    async def go(ctx: Any, args: dict[str, Any]) -> str:
        return f"{ctx} {args['a']}"

    assert (go.kind, go.internal) == ("action", True)
    assert str(go.args) == "v.object({a: v.string()})"
    assert str(go.returns) == "v.null()"
    assert asyncio.run(go("ctx", {"a": "x"})) == "ctx x"


def test_a_decorator_takes_a_validator_of_the_whole_object() -> None:
    rule = v.union(v.object({"a": v.string()}), v.object({}))
    assert query(args=rule)(handler).args is rule
    assert query()(handler).args is None


async def handler(ctx: Any, args: dict[str, Any]) -> None:
    pass


def not_async(ctx: Any, args: dict[str, Any]) -> None:
    pass


async def too_few(ctx: Any) -> None:
    pass


any_query: Any = query  # what the type checker would refuse


@pytest.mark.parametrize(
    ("define", "problem"),
    [
        (lambda: any_query()(not_async), "must be an `async def`"),
        (lambda: any_query()(too_few), r"too_few must take \(ctx, args\)"),
        (lambda: any_query(args=5), "args= needs a dict of validators, not 5"),
        (lambda: any_query(args={"a b": v.any()}), "cannot be a field of v.object"),
        (lambda: any_query(returns=str), "returns= needs a validator such as v.any()"),
    ],
)
def test_what_cannot_be_a_function_is_refused_at_once(
    define: Any, problem: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        define()


# --- loading ------------------------------------------------------------------


def test_functions_are_found_by_path(tmp_path: Path) -> None:
    folder_of(tmp_path, messages=LIST, dir__deep=LIST, _helpers=LIST, _dir__x=LIST)
    (tmp_path / "notes.txt").write_text("not Python")
    # As npm leaves it beside functions in TypeScript.
    (tmp_path / "node_modules" / "a-tool").mkdir(parents=True)
    (tmp_path / "node_modules" / "a-tool" / "make-it.py").write_text("no module")
    registry = FunctionRegistry.load(tmp_path)
    assert registry.paths() == ["dir/deep:list", "messages:list"]
    found = registry.get("dir/deep.js:list")
    assert found is not None
    assert found.path.canonical == "dir/deep.js:list"
    assert registry.get("messages:nope") is None
    assert registry.has_module("dir/deep")
    assert not registry.has_module("_helpers")
    with pytest.raises(ValueError, match="must be relative"):
        registry.get("/messages:list")


def test_modules_of_a_loose_folder_import_each_other(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        _shared="SIZE = 7\n" + LIST.replace("list", "from_helper"),
        a="from _shared import SIZE, from_helper\nfrom b import theirs\n" + LIST,
        b=LIST.replace("list", "theirs"),
    )
    registry = FunctionRegistry.load(tmp_path)
    # What another module of functions defines is registered there only.
    assert registry.paths() == ["a:from_helper", "a:list", "b:theirs"]


def test_one_loose_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    folder_of(tmp_path / "one", a=LIST, _shared="NAME = 'one'")
    folder_of(tmp_path / "two", a="from _shared import NAME\n" + LIST, _shared="NAME=2")
    FunctionRegistry.load(tmp_path / "one")
    FunctionRegistry.load(tmp_path / "two")
    assert sys.modules["a"].NAME == 2
    assert str((tmp_path / "one").resolve()) not in sys.path


def test_a_folder_in_a_package_is_imported_by_its_dotted_name(tmp_path: Path) -> None:
    package = tmp_path / "my_package" / "functions"
    folder_of(package, a="from my_package import NAME\nfrom .b import x\n" + LIST)
    folder_of(package, b="x = 1", schema="schema = define_schema({})", __init__="")
    package.joinpath("__init__.py").write_text("")
    package.parent.joinpath("__init__.py").write_text("NAME = 1")
    registry = FunctionRegistry.load(package)
    assert registry.paths() == ["a:list"]
    assert sys.modules["my_package.functions.a"].__file__ == str(package / "a.py")


def test_the_schema_is_loaded(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        schema='schema = define_schema({"t": define_table({"a": v.string()})})',
    )
    registry = FunctionRegistry.load(tmp_path)
    assert list(registry.schema.tables) == ["t"]
    assert registry.paths() == []


def test_without_schema_py_the_schema_is_empty(tmp_path: Path) -> None:
    assert FunctionRegistry.load(tmp_path).schema.tables == {}


CRONS = """
@internal_mutation()
async def tidy(ctx, args): ...

@query()
async def look(ctx, args): ...

crons = cron_jobs()
"""


def test_cron_jobs_are_loaded_beside_functions(tmp_path: Path) -> None:
    line = 'crons.interval("tidy up", {"minutes": 1}, "crons:tidy", {"n": 1})'
    registry = FunctionRegistry.load(folder_of(tmp_path, crons=CRONS + line))
    assert registry.paths() == ["crons:look", "crons:tidy"]
    assert list(registry.crons) == ["tidy up"]
    assert registry.crons["tidy up"].args == {"n": 1.0}


def test_without_crons_py_there_are_no_cron_jobs(tmp_path: Path) -> None:
    assert FunctionRegistry.load(folder_of(tmp_path, notes=LIST)).crons == {}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1", "must define `crons = cron_jobs()`; found none."),
        ("crons = {}", "must define `crons = cron_jobs()`; found {}."),
        (
            CRONS + "crons.hourly('c', 'crons:no')",
            ": cron job 'c' is to run crons:no, which does not exist. Give it a mut",
        ),
        (
            CRONS + "crons.hourly('c', 'crons:look')",
            ": cron job 'c' is to run crons:look, which is a query. Give it a mutat",
        ),
        (
            CRONS + "crons.interval('c', {}, 'crons:tidy')",
            ", line 12: ValueError: Must specify one of seconds, minutes, or hours",
        ),
    ],
)
def test_broken_cron_jobs_are_told(tmp_path: Path, source: str, problem: str) -> None:
    folder_of(tmp_path, crons=source)
    found = load_error(tmp_path)
    assert f"{tmp_path / 'crons.py'}" in found
    assert problem in found


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("http = http_router()", "HTTP actions (`httpRouter`): not offered by the em"),
        (
            "@http_action\nasync def hook(ctx, request): ...",
            "HTTP actions (`httpAction`): not offered by the embedded deployment",
        ),
        (
            "t = define_table(v.any()).search_index('s', {'searchField': 'a'})",
            "Full text search (`searchIndex`): not offered by the embedded deploymen",
        ),
        (
            "t = define_table(v.any()).vector_index('s', {'vectorField': 'a'})",
            "Vector search (`vectorIndex`): not offered by the embedded deployment",
        ),
    ],
)
def test_what_is_not_offered_is_told_when_it_is_loaded(
    tmp_path: Path, source: str, problem: str
) -> None:
    found = load_error(folder_of(tmp_path, m=source))
    assert f"{tmp_path / 'm.py'}, line " in found
    assert problem in found


def test_a_folder_with_http_actions_is_told_to_leave_them_out(tmp_path: Path) -> None:
    folder_of(tmp_path, http="", m=LIST)
    assert load_error(tmp_path) == (
        f"{tmp_path / 'http.py'}: HTTP actions are not offered by the embedded "
        "deployment. Start the file's name with `_` to leave it out."
    )
    (tmp_path / "http.py").rename(tmp_path / "_http.py")
    assert FunctionRegistry.load(tmp_path).paths() == ["m:list"]


def load_error(folder: Path) -> str:
    with pytest.raises(FunctionLoadError) as error:
        FunctionRegistry.load(folder)
    return str(error.value)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\nraise ValueError('no')", ", line 5: ValueError: no"),
        ("def f(:", ", line 4: SyntaxError: "),
        ("import nowhere_to_be_found", ", line 4: ModuleNotFoundError: No module"),
        ("import sys\nsys.exit(3)", ", line 5: SystemExit: 3"),
        ("@query()\ndef f(ctx, args): pass", ", line 4: TypeError: "),
        ("import json\njson.loads('')", ", line 5: JSONDecodeError: "),
        (
            "@query()\nasync def é(ctx, args): pass",
            ", line 4: 'é' cannot be the name of a function",
        ),
    ],
)
def test_a_broken_module_is_told_with_file_and_line(
    tmp_path: Path, source: str, problem: str
) -> None:
    folder_of(tmp_path, broken=source)
    assert str(tmp_path / "broken.py") + problem in load_error(tmp_path)


def test_the_line_in_a_helper_that_failed_is_told(tmp_path: Path) -> None:
    folder_of(tmp_path, _helper="def fail():\n    raise KeyError('x')")
    folder_of(tmp_path, dir__broken="import _helper\n_helper.fail()")
    assert f"{tmp_path / '_helper.py'}, line 5: KeyError: 'x'" in load_error(tmp_path)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1", "must define `schema = define_schema({...})`; found none."),
        ("schema = {}", "must define `schema = define_schema({...})`; found {}."),
        (
            "t = define_table(v.any())\nt.index('x', ['a']).index('x', ['b'])",
            ", line 5: ValueError: Index 'x' is defined twice on this table",
        ),
        (
            "define_schema({'a b': define_table({})})",
            ", line 4: ValueError: 'a b' cannot be the name of a table",
        ),
    ],
)
def test_a_broken_schema_is_told(tmp_path: Path, source: str, problem: str) -> None:
    folder_of(tmp_path, schema=source)
    assert f"{tmp_path / 'schema.py'}" in load_error(tmp_path)
    assert problem in load_error(tmp_path)


def test_a_file_name_that_cannot_be_a_module_is_told(tmp_path: Path) -> None:
    (tmp_path / "my-module.py").write_text("")
    text = load_error(tmp_path)
    assert f"{tmp_path / 'my-module.py'} cannot be a module of functions" in text
    assert "Rename it" in text


def test_a_file_named_like_a_library_is_told(tmp_path: Path) -> None:
    folder_of(tmp_path, queue=LIST)
    text = load_error(tmp_path)
    assert "the module name 'queue' is already taken by" in text
    assert "Rename the file" in text


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    text = load_error(tmp_path / "nowhere")
    assert f"There is no folder of functions at {tmp_path / 'nowhere'}" in text


def test_a_function_may_be_made_by_a_helper(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        _make="def make():" + LIST.replace("\n", "\n    ") + "\n    return list",
    )
    folder_of(tmp_path, a="from _make import make\nmine = make()")
    assert FunctionRegistry.load(tmp_path).paths() == ["a:mine"]
