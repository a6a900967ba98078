"""Nobody reaches what is another's: every function, over HTTP and over the WebSocket.

The functions are found by reflection. `scenarios/calls/calls.json` says how to call the
public ones, with the ids of a task, a message and a stream in place of `$task`,
`$message` and `$stream`; a function that is not in it fails a test. vitest makes the
same calls of the TypeScript functions (kit/convex/owners.test.ts). `reveals: nothing`
is for what shows no task of anybody, `asks: false` for what answers whoever calls, also
where callers are to sign in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from convex_functions import FOLDER
from deployment_fixture import DeploymentProcess, deployment_process
from llm_helpers import scripted
from sync_client import added, sync_client
from tokens import ADMIN_KEY, ISSUER, auth_config, token

from kit.deployment.functions import FunctionRegistry

SECRET = "what Ann said"
CALLS = json.loads(
    (Path(__file__).parent / "scenarios" / "calls" / "calls.json").read_text()
)
FUNCTIONS = {
    str(path): function
    for path, function in FunctionRegistry.load(FOLDER).functions.items()
}
PUBLIC = sorted(path for path in FUNCTIONS if not FUNCTIONS[path].internal)
INTERNAL = sorted(path for path in FUNCTIONS if FUNCTIONS[path].internal)

ANN, BOB = token("ann"), token("bob")

# What a function answers: its value; or what went wrong, as data or as text.
Answer = tuple[str, Any]
Call = Callable[[str, str | None, str, Any], Awaitable[Answer]]


async def over_http(url: str, user: str | None, path: str, args: Any) -> Answer:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/api/{FUNCTIONS[path].kind}",
            json={"path": path, "args": args},
            headers={} if user is None else {"Authorization": f"Bearer {user}"},
        ) as response,
    ):
        return answer_in(await response.json())


async def over_websocket(url: str, user: str | None, path: str, args: Any) -> Answer:
    async with sync_client(url) as client:
        await client.connect()
        if user is not None:
            await client.authenticate(user)
            await client.transition()
        match FUNCTIONS[path].kind:
            case "query":
                await client.modify(added(0, path, args))
                (answer,) = (await client.transition())["modifications"]
                return answer_in(answer)
            case "mutation":
                await client.mutation(0, path, args)
            case "action":
                await client.action(0, path, args)
        answer = await client.receive()
        if answer["success"]:
            return "value", answer["result"]
        return answer_in(answer | {"errorMessage": answer["result"]})


def answer_in(found: dict[str, Any]) -> Answer:
    if "errorData" in found:
        return "refused", found["errorData"]
    if found.get("errorMessage") is not None:
        # Each run has its own request id.
        return "failed", found["errorMessage"].partition("] ")[2]
    return "value", found["value"]


@pytest.fixture(params=[over_http, over_websocket])
def call(request: pytest.FixtureRequest) -> Call:
    over: Call = request.param
    return over


def users_deployment(
    folder: Path, **env: str
) -> AbstractContextManager[DeploymentProcess]:
    """A deployment of the kit's functions that knows users; open, as Convex is."""
    return deployment_process(
        data=folder / "data",
        functions=None,
        options=["--auth", str(auth_config(folder)), "--open"],
        env={"KIT_ADMIN_KEY": ADMIN_KEY, **env},
    )


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    with users_deployment(tmp_path_factory.mktemp("open")) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeploymentProcess]:
    """One whose functions ask everybody to sign in."""
    folder = tmp_path_factory.mktemp("asking")
    with users_deployment(folder, KIT_REQUIRE_AUTH="true") as deployment:
        yield deployment


@dataclass(frozen=True)
class Conversation:
    """A task of Ann's, whose reply is being written."""

    task: str
    message: str
    stream: str

    @classmethod
    def begin(cls, deployment: DeploymentProcess) -> Conversation:
        task = as_ann(deployment, "tasks:create", title=SECRET)
        begun = as_ann(
            deployment,
            "streaming:begin",
            taskId=task,
            prompt=SECRET,
            model="m",
            clientMessageId="c1",
            leaseMs=600_000,
        )
        stream = {"streamId": begun["streamId"], "epoch": 1}
        chunk = {"type": "text-delta", "id": "text-0", "delta": SECRET}
        as_ann(deployment, "streaming:append", **stream, seq=0, chunks=[chunk])
        return cls(task, begun["messageId"], begun["streamId"])

    def remove(self, deployment: DeploymentProcess) -> None:
        stream = {"streamId": self.stream, "epoch": 1}
        as_ann(deployment, "streaming:finalize", **stream, outcome="complete")
        as_ann(deployment, "tasks:remove", taskId=self.task)

    def args(self, path: str) -> Any:
        """With what a function is called about this conversation."""
        given = CALLS[path]["args"]
        return {
            name: getattr(self, value[1:])
            if isinstance(value, str) and value.startswith("$")
            else value
            for name, value in given.items()
        }

    def hidden_in(self, answer: Answer) -> str:
        """The answer as JSON, without this conversation's ids."""
        text = json.dumps(answer)
        for name in ("task", "message", "stream"):
            text = text.replace(getattr(self, name), name)
        return text


def as_ann(deployment: DeploymentProcess, path: str, **args: Any) -> Any:
    """Call any function, as an admin does who acts as Ann."""
    ann = base64.b64encode(
        json.dumps({"issuer": ISSUER, "subject": "ann"}).encode()
    ).decode()
    answer = requests.post(
        f"{deployment.url}/api/function",
        json={"path": path, "args": args},
        headers={"Authorization": f"Convex {ADMIN_KEY}:{ann}"},
        timeout=10,
    ).json()
    assert answer["status"] == "success", answer
    return answer["value"]


@pytest.mark.parametrize("path", PUBLIC)
async def test_a_public_function_tells_others_what_it_tells_of_what_is_gone(
    deployment: DeploymentProcess, call: Call, path: str
) -> None:
    assert path in CALLS, f"Say in calls.json how to call {path}, as its docstring asks"
    anns, gone = Conversation.begin(deployment), Conversation.begin(deployment)
    gone.remove(deployment)
    before = said(deployment, anns)
    names_it = "$" in json.dumps(CALLS[path]["args"])
    for user in (BOB, None):
        told = await call(deployment.url, user, path, anns.args(path))
        assert SECRET not in json.dumps(told)
        if names_it:
            of_gone = await call(deployment.url, user, path, gone.args(path))
            assert anns.hidden_in(told) == gone.hidden_in(of_gone)
    assert said(deployment, anns) == before

    # The call is one that tells its owner more.
    told = await call(deployment.url, ANN, path, anns.args(path))
    if names_it:
        of_gone = await call(deployment.url, ANN, path, gone.args(path))
        assert anns.hidden_in(told) != gone.hidden_in(of_gone)
    elif CALLS[path].get("reveals") != "nothing":
        assert SECRET in json.dumps(told)


def said(deployment: DeploymentProcess, conversation: Conversation) -> Any:
    """All of a conversation, as its owner sees it."""
    task = {"taskId": conversation.task}
    stream = {"streamId": conversation.stream, "from": 0}
    return [
        as_ann(deployment, "tasks:get", **task),
        as_ann(deployment, "messages:byTask", **task),
        as_ann(deployment, "streaming:catchUp", **stream),
    ]


@pytest.mark.parametrize("path", PUBLIC)
async def test_where_callers_are_to_sign_in_a_public_function_refuses_who_has_not(
    asking: DeploymentProcess, call: Call, path: str
) -> None:
    anns = Conversation.begin(asking)
    kind, told = await call(asking.url, None, path, anns.args(path))
    if CALLS[path].get("asks") is False:
        assert kind == "value"
    else:
        assert (kind, told["code"]) == ("refused", "Unauthenticated")


@pytest.mark.parametrize("path", INTERNAL)
async def test_an_internal_function_cannot_be_found(
    deployment: DeploymentProcess, call: Call, path: str
) -> None:
    """Those that only the scheduler calls, too."""
    for user in (ANN, None):
        kind, text = await call(deployment.url, user, path, {})
        assert kind == "failed"
        assert f"Could not find public function for '{path}'" in text


def test_both_kinds_of_functions_were_found() -> None:
    assert len(PUBLIC) > 12
    assert len(INTERNAL) > 10
    assert CALLS.keys() == set(PUBLIC)


@pytest.mark.parametrize("ask", ["streaming:send", "streaming:streamChatWithTools"])
async def test_a_reply_is_produced_for_its_owner(
    tmp_path: Path, call: Call, ask: str
) -> None:
    """By the scheduler, which acts for nobody; or by an action, for who called it."""
    async with scripted() as provider:
        with users_deployment(
            tmp_path, KIT_SCRIPTED_URL=provider, KIT_REQUIRE_AUTH="true"
        ) as deployment:
            url = deployment.url
            _, task = await call(url, ANN, "tasks:create", {"title": "Mine"})
            args = {"taskId": task, "prompt": "Hello", "model": "claude-opus-5-5"}
            kind, _ = await call(url, ANN, ask, args)
            assert kind == "value"
            reply = {"status": "streaming"}
            while reply["status"] == "streaming":
                _, rows = await call(url, ANN, "messages:byTask", {"taskId": task})
                reply = rows[-1]
            assert reply["status"] == "complete"
            assert (await call(url, BOB, "messages:byTask", {"taskId": task}))[1] == []
