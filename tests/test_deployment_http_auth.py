"""HTTP calls of users and admins, and what refusals are like."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from convex.http_client import ConvexHttpClient
from deployment_fixture import DeploymentProcess, deployment_process
from tokens import ADMIN_KEY, auth_config, token


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    folder = tmp_path_factory.mktemp("deployment")
    key_file = folder / "key"
    key_file.write_text(ADMIN_KEY + "\n")
    with deployment_process(
        data=folder / "data",
        options=[
            *("--auth", str(auth_config(folder))),
            *("--admin-key-file", str(key_file)),
            *("--open", "--log-level", "debug"),
        ],
    ) as deployment:
        yield deployment


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own."""
    return str(request.node.name)


def post(
    deployment: DeploymentProcess,
    what: str,
    path: str,
    args: Any = None,
    *,
    shown: str | None = None,
    **more: Any,
) -> requests.Response:
    return requests.post(
        f"{deployment.url}/api/{what}",
        json={"path": path, "args": args or {}, **more},
        headers={} if shown is None else {"Authorization": shown},
        timeout=10,
    )


def acting(user: dict[str, Any]) -> str:
    return f"Convex {ADMIN_KEY}:{base64.b64encode(json.dumps(user).encode()).decode()}"


ANN = f"Bearer {token('ann')}"
ADMIN = f"Convex {ADMIN_KEY}"


def test_a_user_is_known_in_every_kind_of_call(
    deployment: DeploymentProcess, channel: str
) -> None:
    args = {"channel": channel}
    who = post(deployment, "query", "users:whoami", shown=ANN).json()
    assert who["value"]["subject"] == "ann"
    signed = post(deployment, "mutation", "users:sign", args, shown=ANN).json()
    assert signed["value"] == "ann"
    names = post(deployment, "action", "users:signByAction", args, shown=ANN).json()
    assert names["value"] == ["ann"] * 4
    ts = post(deployment, "query_ts", "").json()["ts"]
    then = post(deployment, "query_at_ts", "users:whoami", shown=ANN, ts=ts).json()
    assert then == who
    batch = requests.post(
        f"{deployment.url}/api/query_batch",
        json={"queries": [{"path": "users:whoami", "args": {}}] * 2},
        headers={"Authorization": ANN},
        timeout=10,
    )
    assert batch.json() == {"results": [who, who]}
    run = requests.post(
        f"{deployment.url}/api/run/users/whoami",
        json={"args": {}},
        headers={"Authorization": ANN},
        timeout=10,
    )
    assert run.json() == who
    got = requests.get(
        f"{deployment.url}/api/query?path=users:whoami",
        headers={"Authorization": ANN},
        timeout=10,
    )
    assert got.json() == who


def test_whoever_shows_nothing_calls_public_functions_as_nobody(
    deployment: DeploymentProcess,
) -> None:
    assert post(deployment, "query", "users:whoami").json()["value"] is None
    refused = post(deployment, "query", "users:membersOnly").json()
    assert "Not authenticated" in refused["errorMessage"]
    hidden = post(deployment, "query", "notes:secret").json()
    assert "Could not find public function" in hidden["errorMessage"]


@pytest.mark.parametrize("started_with", ["auth", "key"])
def test_a_closed_deployment_answers_nobody_who_shows_nothing(
    tmp_path: Path, channel: str, started_with: str
) -> None:
    with_users = started_with == "auth"
    with deployment_process(
        data=tmp_path / "data",
        options=["--auth", str(auth_config(tmp_path))] if with_users else [],
        env={} if with_users else {"KIT_ADMIN_KEY": ADMIN_KEY},
    ) as closed:
        args = {"channel": channel, "body": "x"}
        ts = post(closed, "query_ts", "").json()["ts"]
        for what, path in (
            ("query", "notes:list"),
            ("query_at_ts", "notes:list"),
            ("mutation", "notes:add"),
            ("action", "work:addThroughMutation"),
            ("run/notes/add", ""),
            ("run/no/such", ""),
            ("query", "notes:secret"),
        ):
            answer = post(closed, what, path, args, ts=ts).json()
            assert answer["errorData"]["code"] == "Unauthenticated", answer
        batch: Any = {"queries": [{"path": "notes:list", "args": {}}]}
        answers = requests.post(f"{closed.url}/api/query_batch", json=batch, timeout=10)
        (answer,) = answers.json()["results"]
        assert answer["errorData"]["code"] == "Unauthenticated"

        shown = ANN if with_users else ADMIN
        args = {"channel": channel}
        listed = post(closed, "query", "notes:list", args, shown=shown).json()
        assert listed["value"] == []


@pytest.mark.parametrize(
    ("shown", "status", "code"),
    [
        ("Bearer nonsense-s3cret", 401, "InvalidAuthHeader"),
        (f"Bearer {token(lifetime=-60)}", 401, "Unauthenticated"),
        (f"Bearer {token(aud='other')}", 401, "NoAuthProvider"),
        ("Convex wrong-s3cret", 401, "BadAdminKey"),
        (f"Convex {ADMIN_KEY}:s3cret", 400, "HeaderParseFailure"),
        ("Basic s3cret", 400, "InvalidAdminKey"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize(
    "what", ["query", "mutation", "action", "function", "run/users/whoami"]
)
def test_what_is_wrong_is_refused_before_anything_runs(
    deployment: DeploymentProcess, what: str, shown: str, status: int, code: str
) -> None:
    answer = post(deployment, what, "users:whoami", shown=shown)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    secret = shown.partition(" ")[2]
    assert secret not in answer.text
    assert secret not in deployment.log()


def test_pages_are_for_everybody(deployment: DeploymentProcess) -> None:
    for path in ("", "version", "instance_name"):
        answer = requests.get(
            f"{deployment.url}/{path}",
            headers={"Authorization": "nonsense"},
            timeout=10,
        )
        assert answer.ok


def test_an_admin_reaches_internal_functions(
    deployment: DeploymentProcess, channel: str
) -> None:
    note = {"channel": channel, "body": "x"}
    for what, path, args in (
        ("query", "notes:secret", None),
        ("mutation", "notes:addInternally", note),
        ("action", "users:internalNameByAction", None),
    ):
        for endpoint in (what, "function", "run/" + path.replace(":", "/")):
            answer = post(deployment, endpoint, path, args, shown=ADMIN)
            assert answer.json()["status"] == "success", answer.text


def test_any_function_is_for_admins(
    deployment: DeploymentProcess, channel: str
) -> None:
    for shown in (None, ANN):
        answer = post(deployment, "function", "users:whoami", shown=shown)
        assert (answer.status_code, answer.json()["code"]) == (403, "BadDeployKey")
    signed = post(
        deployment, "function", "users:sign", {"channel": channel}, shown=ADMIN
    )
    # Functions are not told of an admin.
    assert signed.json() == {"status": "success", "value": None}
    missing = post(deployment, "function", "notes:nothing", shown=ADMIN).json()
    assert "Could not find function for 'notes:nothing'" in missing["errorMessage"]


def test_an_admin_may_act_as_a_user(deployment: DeploymentProcess) -> None:
    shown = acting({"issuer": "i", "subject": "s"})
    for endpoint in ("query", "function"):
        who = post(deployment, endpoint, "users:whoami", shown=shown).json()
        assert who["value"] == {
            "issuer": "i",
            "subject": "s",
            "tokenIdentifier": "i|s",
        }
    subject = post(deployment, "query", "users:internalName", shown=shown).json()
    assert subject["value"] == "s"


def test_functions_do_not_find_the_key(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path, env={"KIT_ADMIN_KEY": ADMIN_KEY}) as found:
        assert post(found, "query", "notes:secret", shown=ADMIN).json()["value"]
        args = {"name": "KIT_ADMIN_KEY"}
        answer = post(found, "action", "work:environment", args, shown=ADMIN).json()
        assert answer == {"status": "success", "value": None}


def test_the_official_http_client(deployment: DeploymentProcess, channel: str) -> None:
    client = ConvexHttpClient(deployment.url)
    assert client.query("users:whoami") is None
    client.set_auth(token("ann"))
    assert client.query("users:whoami")["subject"] == "ann"
    assert client.mutation("users:sign", {"channel": channel}) == "ann"
    client.set_auth("nonsense")
    with pytest.raises(Exception, match="401 InvalidAuthHeader: Could not parse JWT"):
        client.query("users:whoami")
    client.clear_auth()
    assert client.query("users:whoami") is None
    client.set_admin_auth(ADMIN_KEY)
    assert client.query("notes:secret") == "secret"
    client.set_admin_auth("wrong")
    with pytest.raises(Exception, match="401 BadAdminKey: The provided admin key"):
        client.query("users:whoami")
