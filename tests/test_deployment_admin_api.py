"""Functions loaded again while clients are there, and documents listed, for admins."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from convex import ConvexClient
from deployment_fixture import DeploymentProcess, deployment_process
from tokens import ADMIN_KEY

from kit.deployment.__main__ import DEFAULT_FUNCTIONS
from kit.deployment.admin_api import PAGE

ADMIN = {"Authorization": f"Convex {ADMIN_KEY}"}
HEAD = """
from kit.deployment.functions import *
from kit.values import v
"""
ANSWER = """
@query(args={}, returns=v.any())
async def answer(ctx, args):
    return %r
"""
ADD = """
@mutation(args={"n": v.number()}, returns=v.id("numbers"))
async def add(ctx, args):
    return await ctx.db.insert("numbers", {"n": args["n"]})
"""


class Served:
    """A deployment of the kit's functions and those in `folder`."""

    def __init__(self, process: DeploymentProcess, folder: Path) -> None:
        self.process = process
        self.folder = folder

    def write(self, **modules: str) -> None:
        for name, source in modules.items():
            (self.folder / f"{name}.py").write_text(HEAD + source)

    def load(self, **modules: str) -> requests.Response:
        self.write(**modules)
        url = f"{self.process.url}/kit/load_functions"
        return requests.post(url, headers=ADMIN, timeout=10)

    def call(self, kind: str, path: str, **args: Any) -> Any:
        answer = requests.post(
            f"{self.process.url}/api/{kind}",
            json={"path": path, "args": args},
            headers=ADMIN,
            timeout=20,
        ).json()
        return answer["value"] if answer["status"] == "success" else answer

    def snapshot(self, **query: Any) -> requests.Response:
        url = f"{self.process.url}/api/list_snapshot"
        return requests.get(url, params=query, headers=ADMIN, timeout=10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "own"
    folder.mkdir()
    folders = (f"--functions={DEFAULT_FUNCTIONS}", f"--functions={folder}")
    with deployment_process(
        data=tmp_path / "data",
        env={"KIT_ADMIN_KEY": ADMIN_KEY},
        options=[*folders, "--open"],
    ) as process:
        yield Served(process, folder)


def test_new_functions_stand_beside_those_there_were(served: Served) -> None:
    assert "Could not find" in served.call("query", "own:answer")["errorMessage"]
    answer = served.load(own=ANSWER % "one")
    assert answer.status_code == 200, answer.text
    assert {"own:answer", "streaming:send"} <= set(answer.json()["functions"])
    assert served.call("query", "own:answer") == "one"
    assert served.call("query", "tasks:list") == []


def test_a_live_subscription_picks_up_the_change(served: Served) -> None:
    served.load(own=ANSWER % "one")
    client = ConvexClient(served.process.url)
    values = client.subscribe("own:answer")
    assert next(values) == "one"
    served.load(own=ANSWER % "two")
    assert next(values) == "two"
    # Again within the same second, with a source as long as before.
    served.load(own=ANSWER % "six")
    assert next(values) == "six"
    values.unsubscribe()


def test_a_query_that_goes_away_and_comes_back(served: Served) -> None:
    served.load(own=ANSWER % "one")
    client = ConvexClient(served.process.url)
    values = client.subscribe("own:answer")
    assert next(values) == "one"
    served.load(own=ANSWER.replace("answer", "other") % "x")
    with pytest.raises(Exception, match="Could not find public function"):
        next(values)
    served.load(own=ANSWER % "back")
    assert next(values) == "back"


def test_a_mistake_leaves_everything_as_it_was(served: Served) -> None:
    served.load(own=ANSWER % "one")
    answer = served.load(own="def broken(")
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidModules"
    assert "own.py, line 4: SyntaxError" in answer.json()["message"]
    assert served.call("query", "own:answer") == "one"


def test_a_module_of_the_kit_is_not_replaced(served: Served) -> None:
    answer = served.load(tasks=ANSWER % "mine")
    assert answer.status_code == 400
    assert "defines tasks, and so does" in answer.json()["message"]


def test_a_table_of_ones_own(served: Served) -> None:
    schema = """
schema = define_schema({
    "numbers": define_table({"n": v.%s()}).index("by_n", ["n"]),
})
"""
    read = """
@query(args={}, returns=v.any())
async def largest(ctx, args):
    found = await ctx.db.query("numbers").with_index("by_n").order("desc").first()
    return found["n"]
"""
    assert served.load(schema=schema % "number", own=ADD + read).status_code == 200
    for n in (1, 3, 2):
        served.call("mutation", "own:add", n=n)
    assert served.call("query", "own:largest") == 3
    # Documents that do not fit a new schema keep the old one in force.
    answer = served.load(schema=schema % "string")
    assert answer.json()["code"] == "InvalidSchema"
    assert 'table "numbers" does not match the schema' in answer.json()["message"]
    assert served.call("query", "own:largest") == 3
    served.call("mutation", "own:add", n=4)
    assert served.call("query", "own:largest") == 4


def test_an_action_that_runs_ends_as_it_began(served: Served) -> None:
    wait = """
import asyncio, pathlib
@action(args={}, returns=v.any())
async def wait(ctx, args):
    folder = pathlib.Path(__file__).parent
    (folder / "began").touch()
    while not (folder / "go").exists():
        await asyncio.sleep(0.01)
    return %r
"""
    served.load(own=wait % "old")
    outcomes: list[Any] = []
    running = threading.Thread(
        target=lambda: outcomes.append(served.call("action", "own:wait"))
    )
    running.start()
    deadline = time.monotonic() + 20
    while not (served.folder / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    served.load(own=wait % "new")
    (served.folder / "go").touch()
    running.join(20)
    assert outcomes == ["old"]
    assert served.call("action", "own:wait") == "new"


def test_functions_may_change_faster_than_executors_start(served: Served) -> None:
    act = """
@action(args={}, returns=v.any())
async def act(ctx, args):
    return %r
"""
    for number in range(4):
        assert served.load(own=act % number).status_code == 200
    assert served.call("action", "own:act") == 3


def test_a_snapshot_is_of_one_moment_in_pages(served: Served) -> None:
    count = PAGE + 3
    many = f"""
@mutation(args={{}}, returns=v.null())
async def fill(ctx, args):
    for n in range({count}):
        await ctx.db.insert("tasks", {{"title": str(n), "status": "INITIALIZING"}})
"""
    served.load(own=many)
    served.call("mutation", "own:fill")
    first = served.snapshot(tableName="tasks").json()
    assert (len(first["values"]), first["hasMore"]) == (PAGE, True)
    served.call("mutation", "tasks:create", title="Came later")
    second = served.snapshot(
        tableName="tasks", cursor=first["cursor"], snapshot=first["snapshot"]
    ).json()
    assert second["hasMore"] is False
    titles = [row["title"] for row in first["values"] + second["values"]]
    assert titles == [str(n) for n in range(count)]
    assert {"_id", "_creationTime", "status"} <= first["values"][0].keys()
    later = served.snapshot(tableName="tasks", cursor=second["cursor"]).json()
    assert [row["title"] for row in later["values"]] == ["Came later"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"tableName": "nothing"}, 404, "TableNotFound"),
        ({}, 404, "TableNotFound"),
        ({"tableName": "tasks", "cursor": "%%"}, 400, "BadCursor"),
        ({"tableName": "tasks", "snapshot": "soon"}, 400, "BadCursor"),
        ({"tableName": "tasks", "snapshot": "-1"}, 400, "OutOfRetention"),
    ],
)
def test_what_cannot_be_listed(
    served: Served, query: dict[str, str], status: int, code: str
) -> None:
    answer = served.snapshot(**query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("shown", [None, "Convex wrong-key-0123456789"])
def test_only_admins_get_in(served: Served, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    for method, path in (
        ("GET", "/api/list_snapshot?tableName=tasks"),
        ("POST", "/kit/load_functions"),
    ):
        url = served.process.url + path
        answer = requests.request(method, url, headers=headers, timeout=10)
        assert answer.status_code in (401, 403)
        assert "values" not in answer.text
        assert "functions" not in answer.json()
