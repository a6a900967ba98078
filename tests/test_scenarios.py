"""The scenarios that the functions have to play alike in both languages.

`scenarios/*.json` are played here on the Python functions, in-process, and by vitest
on the TypeScript ones (kit/convex/scenario.runner.ts). A file is `{"setup": steps,
"scenarios": [{"name", "steps"}]}`; each scenario begins with the steps of `setup`. The
clock stands still until a step turns it. A step is one of these; with `by`, a name,
it is done by the user of that name, whose `tokenIdentifier` is `https://issuer|name`:

* `call` (`kind`: mutation, or query; `args`), and what is expected: `expect` a result,
  `error` the data of a ConvexError, or `refused`: a plain error, whose text here holds
  the given one; `as` captures the result;
* `advance`, `turn`: let ms pass, and run or do not run the mutations that fall due;
* `insert` a `document` (`as` captures its id), `patch` an id with `fields`, `delete`;
* `documents`: the rows of tables, all of them; `jobs`: what is scheduled, in order of
  time, which is given in ms since the start;
* `rows` of a table, captured `as`; `equal`: captured values, as expected;
* `repeat` some `steps`, with the count in `$i`;
* `env`: variables of the deployment's environment, to the end of the scenario.

In values, `"$name.field"` is a captured value, `{"$repeat": [text, n]}`, `{"$concat":
[…]}` and `{"$sum": […]}` are computed, `{"$time": ms}` is a time since the start,
`{"$number": "NaN"}` what JSON cannot say. In what is expected, `{"$any": true}` and
`{"$like": regex}` match, and fields that begin with `_` may be left out.

`scenarios/surface/surface.json` holds the shapes of all functions and tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError
from convex_functions import Failed, Functions

from kit.deployment.identity import UserIdentity

SCENARIOS = Path(__file__).parent / "scenarios"
START = 1_700_000_000_000.0

_FILES = {path.name: json.loads(path.read_text()) for path in SCENARIOS.glob("*.json")}
_PLAYED = [
    pytest.param(content["setup"] + scenario["steps"], id=f"{name}: {scenario['name']}")
    for name, content in sorted(_FILES.items())
    for scenario in content["scenarios"]
]


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path)
    assert functions.now_ms == START
    yield functions
    functions.close()


@pytest.mark.parametrize("steps", _PLAYED)
def test_scenario(
    functions: Functions, steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Runner(functions, monkeypatch.setenv).run(steps)


def test_functions_and_tables_have_the_shapes_that_are_written_down(
    functions: Functions,
) -> None:
    surface = json.loads((SCENARIOS / "surface" / "surface.json").read_text())
    found = {
        str(path): {
            "kind": function.kind,
            "internal": function.internal,
            "args": str(function.args),
            "returns": str(function.returns),
        }
        for path, function in functions.registry.functions.items()
        if path.module != "test"
    }
    assert found == surface["functions"]
    tables = {
        name: {
            "document": str(table.validator),
            "indexes": {i.name: list(i.fields) for i in table.indexes.values()},
        }
        for name, table in functions.registry.schema.tables.items()
    }
    assert tables == surface["tables"]


class Runner:
    """Plays steps on `functions`."""

    def __init__(
        self, functions: Functions, set_variable: Callable[[str, str], None]
    ) -> None:
        self._functions = functions
        self._set_variable = set_variable
        self._captured: dict[str, Any] = {}

    def run(self, steps: Iterable[Any], before: str = "") -> None:
        for index, step in enumerate(steps):
            where = f"{before}step {index}"
            try:
                self._play(step, f"{where}, ")
            except Exception as error:
                if not hasattr(error, "__notes__"):
                    error.add_note(f"{where}: {json.dumps(step)[:200]}")
                raise

    def _play(self, step: Any, where: str) -> None:
        functions = self._functions
        functions.user = _user(step.get("by"))
        if "call" in step:
            self._call(step)
        if "advance" in step:
            functions.advance(step["advance"])
        if "turn" in step:
            functions.turn(step["turn"])
        if "insert" in step:
            document = self._value(step["document"])
            new = functions.call("test:insert", table=step["insert"], document=document)
            self._captured[step.get("as", "")] = new
        if "patch" in step:
            target, fields = self._value(step["patch"]), self._value(step["fields"])
            functions.call("test:patch", id=target, fields=fields)
        if "delete" in step:
            functions.call("test:delete", id=self._value(step["delete"]))
        for table, expected in step.get("documents", {}).items():
            self._compare(functions.rows(table), expected)
        if "jobs" in step:
            self._compare(self._jobs(), step["jobs"])
        if "rows" in step:
            self._captured[step["as"]] = functions.rows(step["rows"])
        if "equal" in step:
            values = [self._value(value) for value in step["equal"]]
            self._compare(values, step["expect"])
        for name, value in step.get("env", {}).items():
            self._set_variable(name, value)
        for i in range(step.get("repeat", 0)):
            self._captured["i"] = i
            self.run(step["steps"], f"{where}round {i}, ")

    def _call(self, step: Any) -> None:
        args = self._value(step.get("args", {}))
        try:
            result = self._functions.call(step["call"], args)
        except ConvexError as error:
            if "error" not in step:
                raise
            self._compare(error.data, step["error"])
            assert str(error).endswith(error.data["message"])
            return
        except Failed as error:
            if "refused" not in step:
                raise
            assert step["refused"] in str(error), error
            return
        assert not step.keys() & {"error", "refused"}, f"returned {result}"
        if "expect" in step:
            self._compare(result, step["expect"])
        self._captured[step.get("as", "")] = result

    def _jobs(self) -> list[Any]:
        jobs = sorted(self._functions.jobs(), key=lambda job: job["scheduledTime"])
        return [
            {
                "path": job["name"].replace(".js:", ":"),
                "args": job["args"][0],
                "at": job["scheduledTime"] - START,
            }
            for job in jobs
        ]

    # --- placeholders and matchers ------------------------------------------------

    def _value(self, value: Any) -> Any:
        """The value that is meant: placeholders filled in."""
        match value:
            case str() if value.startswith("$"):
                return self._look_up(value[1:])
            case list():
                return [self._value(item) for item in value]
            case {"$repeat": [text, count]}:
                return text * count
            case {"$concat": texts}:
                return "".join(self._value(text) for text in texts)
            case {"$sum": numbers}:
                return sum(self._value(number) for number in numbers)
            case {"$time": milliseconds}:
                return START + milliseconds
            case {"$number": text}:
                return float(text)
            case dict():
                return {name: self._value(field) for name, field in value.items()}
            case _:
                return value

    def _look_up(self, path: str) -> Any:
        name, *fields = path.split(".")
        value = self._captured[name]
        for field in fields:
            value = value[int(field)] if isinstance(value, list) else value[field]
        return value

    def _compare(self, actual: Any, expected: Any) -> None:
        assert self._simple(actual, expected) == self._simple_expected(expected)

    def _simple(self, actual: Any, expected: Any) -> Any:
        """`actual` without what `expected` leaves open."""
        match actual, expected:
            case _, {"$any": _}:
                return "anything"
            case str(), {"$like": pattern}:
                return f"like {pattern}" if re.search(pattern, actual) else actual
            case list(), list():
                rest = [None] * (len(actual) - len(expected))
                pairs = zip(actual, expected + rest, strict=False)
                return [self._simple(a, e) for a, e in pairs]
            case dict(), dict():
                return {
                    name: self._simple(value, expected.get(name))
                    for name, value in actual.items()
                    if not name.startswith("_") or name in expected
                }
            case _:
                return _typed(actual)

    def _simple_expected(self, expected: Any) -> Any:
        match expected:
            case {"$any": _}:
                return "anything"
            case {"$like": pattern}:
                return f"like {pattern}"
            case list():
                return [self._simple_expected(item) for item in expected]
            case dict() if not any(name.startswith("$") for name in expected):
                return {
                    name: self._simple_expected(value)
                    for name, value in expected.items()
                }
            case _:
                return _typed(self._value(expected))


def _user(name: str | None) -> UserIdentity | None:
    if name is None:
        return None
    who = {"issuer": "https://issuer", "subject": name}
    return UserIdentity.of({**who, "tokenIdentifier": f"https://issuer|{name}"})


def _typed(value: Any) -> Any:
    """To Python, True is 1. To JSON, it is not."""
    return f"boolean {value}" if isinstance(value, bool) else value
