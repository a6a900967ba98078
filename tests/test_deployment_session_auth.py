"""Sessions of users and admins, over real WebSockets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment_fixture import FUNCTIONS, DeploymentProcess, deployment_process
from serving_app import serving
from sync_client import SyncClient, added, sync_client
from tokens import ADMIN_KEY, ISSUER, auth_config, ec_key, rsa_key, token

from kit.deployment.auth import Authenticator
from kit.deployment.auth_config import load_providers
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.functions import FunctionRegistry
from kit.deployment.runtime import Runtime
from kit.deployment.server import make_app


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    folder = tmp_path_factory.mktemp("deployment")
    with deployment_process(
        data=folder / "data",
        options=[
            *("--auth", str(auth_config(folder))),
            *("--open", "--log-level", "debug"),
        ],
        env={"KIT_ADMIN_KEY": ADMIN_KEY},
    ) as deployment:
        yield deployment


@pytest.fixture
def url(deployment: DeploymentProcess) -> str:
    return deployment.url


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own."""
    return str(request.node.name)


async def identity_of(client: SyncClient) -> int:
    """The identity version that the next Transition brings."""
    version: int = (await client.transition())["endVersion"]["identity"]
    return version


async def refusal(client: SyncClient) -> dict[str, Any]:
    """The AuthError that comes next; then the socket is closed without a status."""
    message = await client.receive()
    assert message.pop("type") == "AuthError", message
    assert await client.closed() == (None, "")
    return message


# --- users --------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_token_makes_a_user(url: str, algorithm: str) -> None:
    rsa = algorithm == "RS256"
    text = token(
        "ann",
        key=rsa_key() if rsa else ec_key(),
        key_id="rsa" if rsa else "ec",
        email="ann@example",
    )
    async with sync_client(url) as client:
        # All at once, as the JavaScript client sends it.
        await client.connect()
        await client.authenticate(text)
        await client.modify(added(0, "users:whoami"))
        transition = await client.transition()
        while transition["endVersion"]["querySet"] == 0:
            transition = await client.transition()
        assert transition["endVersion"]["identity"] == 1
        assert transition["modifications"][0]["value"] == {
            "tokenIdentifier": f"{ISSUER}|ann",
            "issuer": ISSUER,
            "subject": "ann",
            "email": "ann@example",
        }


async def test_whoever_shows_nothing_is_nobody(url: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.modify(added(0, "users:whoami"), added(1, "users:membersOnly"))
        nobody, refused = (await client.transition())["modifications"]
        assert nobody["value"] is None
        assert "Not authenticated" in refused["errorMessage"]


async def test_becoming_somebody_else_changes_what_depends_on_it(
    deployment: DeploymentProcess, channel: str
) -> None:
    args = {"channel": channel}
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.modify(
            added(0, "users:greet", args),
            added(1, "notes:list", args),
            added(2, "users:membersOnly"),
        )
        first = await client.transition()
        assert first["modifications"][0]["value"] == "None sees 0"
        assert first["modifications"][2]["type"] == "QueryFailed"

        for version, (name, text) in enumerate(
            [("ann", token("ann")), ("bob", token("bob"))], 1
        ):
            await client.authenticate(text)
            second = await client.transition()
            assert second["endVersion"]["identity"] == version
            changed = {each["queryId"]: each for each in second["modifications"]}
            assert changed[0]["value"] == f"{name} sees 0"
            assert 1 not in changed
            assert (2 in changed) is (version == 1)

        await client.authenticate(None)
        third = await client.transition()
        assert third["endVersion"]["identity"] == 3
        assert third["modifications"][0]["value"] == "None sees 0"
        assert third["modifications"][1]["type"] == "QueryFailed"


async def test_a_renewed_token_changes_only_the_version(url: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.authenticate(token("ann", lifetime=60))
        await client.transition()
        await client.modify(added(0, "users:whoami"))
        await client.transition()
        await client.authenticate(token("ann", lifetime=600))
        transition = await client.transition()
        assert transition["endVersion"]["identity"] == 2
        assert transition["modifications"] == []


async def test_each_user_follows_a_result_of_its_own(
    deployment: DeploymentProcess, channel: str
) -> None:
    """The query asks who calls once there is something to see, not before."""
    args = {"channel": channel}
    async with sync_client(deployment.url) as ann, sync_client(deployment.url) as bob:
        for client, name in ((ann, "ann"), (bob, "bob")):
            await client.connect()
            await client.authenticate(token(name))
            await client.transition()
            await client.subscribe(0, "users:secretive", args)
            assert await client.values() == {0: []}
        for bodies in (["x"], ["x", "y"]):
            note = {"channel": channel, "body": bodies[-1]}
            await asyncio.to_thread(deployment.value, "mutation", "notes:add", note)
            assert await ann.values() == {0: ["ann", *bodies]}
            assert await bob.values() == {0: ["bob", *bodies]}


async def test_mutations_and_actions_know_the_user(url: str, channel: str) -> None:
    args = {"channel": channel}
    async with sync_client(url) as client:
        await client.connect()
        await client.authenticate(token("ann"))
        await client.transition()
        await client.mutation(0, "users:sign", args)
        assert (await client.receive())["result"] == "ann"
        await client.transition()
        await client.action(1, "users:signByAction", args)
        response = await client.receive()
        # The action, and the query, the mutation and the action that it calls.
        assert response["result"] == ["ann"] * 4


async def test_scheduled_functions_are_run_for_nobody(url: str, channel: str) -> None:
    args = {"channel": channel}
    async with sync_client(url) as client:
        await client.connect()
        await client.authenticate(token("ann"))
        await client.transition()
        await client.subscribe(0, "notes:list", args)
        await client.transition()
        await client.mutation(0, "users:signLater", args)
        assert (await client.receive())["success"] is True
        bodies: list[str] = []
        while len(bodies) < 2:
            bodies = (await client.values()).get(0, bodies)
        assert bodies == ["None", "None"]


# --- refusals -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ({"value": "nonsense"}, "Could not parse JWT payload."),
        ({"value": token("ann", lifetime=-60)}, "Could not verify OIDC token claim."),
        (
            {"value": token("ann", key=rsa_key("mallory"))},
            "Could not verify OIDC token claim.",
        ),
        (
            {"value": token("ann", aud="other")},
            "No auth provider found matching the given token.",
        ),
        (
            {"value": "wrong", "tokenType": "Admin"},
            "The provided admin key was invalid for this instance",
        ),
        (
            {"value": ADMIN_KEY, "tokenType": "Admin", "impersonating": {}},
            'Either "tokenIdentifier" or "issuer" and "subject" must be set',
        ),
    ],
    ids=["nonsense", "expired", "forged", "audience", "admin", "impersonated"],
)
async def test_what_is_wrong_is_refused(
    deployment: DeploymentProcess, shown: dict[str, Any], why: str
) -> None:
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.authenticate(token("ann"))
        assert await identity_of(client) == 1
        await client.authenticate("", **shown)
        error = await refusal(client)
        assert error.pop("error").startswith(why)
        assert error == {"baseVersion": 1, "authUpdateAttempted": True}
    assert shown["value"] not in deployment.log()


async def test_a_version_out_of_step_closes_with_1011(url: str) -> None:
    async with sync_client(url) as client:
        await client.authenticate(token("ann"), baseVersion=5)
        assert await client.closed() == (1011, "InternalServerError")


# --- admins -------------------------------------------------------------------


async def test_an_admin_reaches_internal_functions(url: str, channel: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.modify(added(0, "notes:secret"), added(1, "users:whoami"))
        missing, _ = (await client.transition())["modifications"]
        assert "Could not find public function" in missing["errorMessage"]

        await client.authenticate(ADMIN_KEY, tokenType="Admin")
        transition = await client.transition()
        assert transition["endVersion"]["identity"] == 1
        # Functions are not told of an admin: `whoami` is what it was.
        (found,) = transition["modifications"]
        assert found["value"] == "secret"
        note = {"channel": channel, "body": "x"}
        await client.mutation(0, "notes:addInternally", note)
        assert (await client.receive())["success"] is True
        await client.transition()
        await client.action(1, "users:internalNameByAction")
        assert (await client.receive())["result"] is None
        await client.transition()

        await client.authenticate(None)
        (missing,) = (await client.transition())["modifications"]
        assert "Could not find public function" in missing["errorMessage"]


@pytest.mark.parametrize("name", ["impersonating", "acting_as"])
async def test_an_admin_may_act_as_a_user(url: str, name: str) -> None:
    user = {"issuer": "i", "subject": "s", "role": "tester"}
    async with sync_client(url) as client:
        await client.connect()
        await client.authenticate(ADMIN_KEY, tokenType="Admin", **{name: user})
        await client.transition()
        await client.modify(added(0, "users:whoami"), added(1, "users:internalName"))
        who, subject = (await client.transition())["modifications"]
        assert who["value"] == {**user, "tokenIdentifier": "i|s"}
        assert subject["value"] == "s"


# --- a closed deployment --------------------------------------------------------


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("closed")
    with deployment_process(
        data=folder / "data",
        options=["--auth", str(auth_config(folder))],
        env={"KIT_ADMIN_KEY": ADMIN_KEY},
    ) as deployment:
        yield deployment.url


async def test_a_closed_deployment_answers_nobody_who_shows_nothing(
    closed: str, channel: str
) -> None:
    note = {"channel": channel, "body": "x"}
    async with sync_client(closed) as client:
        await client.connect()
        await client.mutation(0, "notes:add", note)
        answers = [await client.receive()]
        await client.transition()
        await client.action(1, "work:addThroughMutation", note)
        answers.append(await client.receive())
        await client.transition()
        for number, path in enumerate(("notes:list", "notes:secret", "no:such")):
            await client.subscribe(number, path, {"channel": channel})
            answers += (await client.transition())["modifications"]
        for answer in answers:
            assert answer["errorData"]["code"] == "Unauthenticated"
            assert "--open" in answer["errorData"]["message"]
            assert answer.get("type") == "QueryFailed" or not answer["success"]

        await client.authenticate(token("ann"))
        changed = (await client.transition())["modifications"]
        assert [each.get("value") for each in changed] == [[], None, None]
        assert "errorData" not in changed[1]


async def test_in_a_closed_deployment_nobody_shares_what_a_user_follows(
    closed: str, channel: str
) -> None:
    """The query itself never asks who calls."""
    args = {"channel": channel}
    async with (
        sync_client(closed) as ann,
        sync_client(closed) as nobody,
        sync_client(closed) as admin,
    ):
        await ann.connect()
        await ann.authenticate(token("ann"))
        await ann.transition()
        await ann.subscribe(0, "notes:list", args)
        assert await ann.values() == {0: []}
        await nobody.connect()
        await nobody.subscribe(0, "notes:list", args)
        (refused,) = (await nobody.transition())["modifications"]
        assert refused["errorData"]["code"] == "Unauthenticated"

        await admin.connect()
        await admin.authenticate(ADMIN_KEY, tokenType="Admin")
        await admin.transition()
        await admin.mutation(0, "notes:add", {"channel": channel, "body": "x"})
        assert (await admin.receive())["success"] is True
        assert await ann.values() == {0: ["x"]}


# --- the end of a token -------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def served(tmp_path: Path, clock: Clock) -> AsyncIterator[str]:
    """A deployment in this process, whose clock ends tokens when the test says so."""
    registry = FunctionRegistry.load(FUNCTIONS)
    database = Database.open(tmp_path / "data", registry.schema)
    auth = Authenticator(load_providers(auth_config(tmp_path)), now=clock)
    runtime = Runtime(Engine(database, registry), [FUNCTIONS], auth=auth)
    async with serving(make_app(runtime), shutdown_timeout=2.0) as url:
        yield url
    database.close()


@pytest.mark.parametrize("what", ["mutation", "action", "query", "commit"])
async def test_an_ended_token_shows_when_something_is_run(
    served: str, clock: Clock, what: str
) -> None:
    note = {"channel": "a", "body": "x"}
    async with sync_client(served) as client, sync_client(served) as other:
        await client.connect()
        await client.authenticate(token("ann", lifetime=600))
        await client.transition()
        await client.subscribe(0, "notes:list", {"channel": "a"})
        await client.transition()
        clock.now = 5e9
        match what:
            case "mutation":
                await client.mutation(0, "notes:add", note)
            case "action":
                await client.action(0, "work:addThroughMutation", note)
            case "query":
                await client.subscribe(1, "notes:list", {"channel": "b"})
            case "commit":
                await other.mutation(0, "notes:add", note)
        assert await refusal(client) == {
            "error": "Convex token identity expired",
            "baseVersion": 1,
            "authUpdateAttempted": False,
        }
        # Nothing was run for it.
        await other.subscribe(0, "notes:list", {"channel": "a"})
        values: dict[int, Any] = {}
        while not values:
            message = await other.receive()
            if message["type"] == "Transition":
                values = {each["queryId"]: each for each in message["modifications"]}
        assert values[0]["value"] == (["x"] if what == "commit" else [])


async def test_a_token_that_was_renewed_in_time_goes_on(
    served: str, clock: Clock
) -> None:
    async with sync_client(served) as client:
        await client.connect()
        await client.authenticate(token("ann", lifetime=600))
        await client.transition()
        await client.authenticate(token("ann", exp=6e9))
        await client.transition()
        clock.now = 5e9
        await client.mutation(0, "users:sign", {"channel": "a"})
        assert (await client.receive())["result"] == "ann"
