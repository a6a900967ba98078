"""The HTTP calls: what is asked, what is answered, in which format."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from deployment_fixture import DeploymentProcess, deployment_process

from kit.protocol import encode_timestamp


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path_factory.mktemp("data")) as deployment:
        yield deployment


@pytest.fixture
def url(deployment: DeploymentProcess) -> str:
    return deployment.url


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own."""
    return str(request.node.name)


def note(channel: str, body: str = "x") -> dict[str, Any]:
    return {"channel": channel, "body": body}


def call(url: str, path: str, args: Any, *, kind: str = "query", **more: Any) -> Any:
    answer = requests.post(
        f"{url}/api/{kind}", json={"path": path, "args": args, **more}, timeout=10
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("args", [{"value": 5}, [{"value": 5}]], ids=str)
def test_arguments_are_an_object_or_an_array_with_it(url: str, args: Any) -> None:
    answer = requests.post(
        f"{url}/api/query", json={"path": "notes:echo", "args": args}, timeout=10
    )
    # Always with a decimal point: the official HTTP client refuses 5.
    assert answer.text == '{"status":"success","value":5.0}'


def test_both_formats(url: str) -> None:
    encoded = call(url, "notes:every_kind", {}, format="convex_encoded_json")
    assert encoded["value"]["int64"] == {"$integer": "BwAAAAAAAAA="}
    assert encoded["value"]["nan"] == {"$float": "AAAAAAAA+H8="}
    clean = call(url, "notes:every_kind", {}, format="json")
    assert clean["value"] == {
        "null": None,
        "boolean": True,
        "float": 5.0,
        "nan": "NaN",
        "infinity": "Infinity",
        "int64": "7",
        "string": "π",
        "bytes": "YWI=",
        "array": [1.0, [2.0]],
    }
    assert call(url, "notes:every_kind", {}) == clean


def test_a_functions_error_is_an_answer(url: str) -> None:
    crashed = call(url, "notes:crash", {}, kind="mutation")
    assert crashed["status"] == "error"
    assert "] Server Error\nUncaught RuntimeError: boom\n" in crashed["errorMessage"]
    assert "errorData" not in crashed
    refused = call(
        url, "notes:refuse", {"data": {"$integer": "BwAAAAAAAAA="}}, kind="mutation"
    )
    assert refused["errorData"] == "7"
    assert refused["logLines"] == ["[WARN] 'refusing'"]
    for path in ("notes:nothing", "notes:secret"):
        missing = call(url, path, {})
        assert "Could not find public function for" in missing["errorMessage"]


def test_null_data_is_there(url: str) -> None:
    refused = call(url, "notes:refuse", {"data": None}, kind="mutation")
    assert refused["errorData"] is None


def test_the_clients_request_id_is_used(url: str) -> None:
    for given, used in (("abc123", True), ("a b", False), ("x" * 65, False)):
        answer = requests.post(
            f"{url}/api/mutation",
            json={"path": "notes:crash", "args": {}},
            headers={"Convex-Request-Id": given},
            timeout=10,
        )
        assert (f"[Request ID: {given}]" in answer.json()["errorMessage"]) is used


def test_query_by_get(url: str, channel: str) -> None:
    answer = requests.get(
        f"{url}/api/query",
        params={"path": "notes:list", "args": json.dumps({"channel": channel})},
        timeout=10,
    )
    assert answer.json() == {"status": "success", "value": []}
    answer = requests.get(f"{url}/api/query", timeout=10)
    assert answer.status_code == 400


def test_query_timestamp(deployment: DeploymentProcess, channel: str) -> None:
    before = deployment.timestamp()
    deployment.value("mutation", "notes:add", note(channel))
    assert deployment.timestamp() > before


def test_a_query_as_of_a_timestamp(deployment: DeploymentProcess, channel: str) -> None:
    """What the npm client's `consistentQuery` does."""
    args = {"channel": channel}
    deployment.value("mutation", "notes:add", note(channel, "one"))
    ts = requests.post(f"{deployment.url}/api/query_ts", timeout=10).json()["ts"]
    note_id = deployment.value("mutation", "notes:add", note(channel, "two"))
    deployment.value("mutation", "notes:remove", {"id": note_id})
    deployment.value("mutation", "notes:add", note(channel, "three"))

    for path, value in (("notes:list", ["one"]), ("notes:count", 1.0)):
        answer = call(deployment.url, path, args, kind="query_at_ts", ts=ts)
        assert answer["value"] == value
    assert deployment.value("query", "notes:list", args) == ["one", "three"]


def test_a_query_as_of_a_timestamp_may_fail(
    deployment: DeploymentProcess, channel: str
) -> None:
    url = deployment.url
    ts = requests.post(f"{url}/api/query_ts", timeout=10).json()["ts"]
    deployment.value("mutation", "notes:add", note(channel))
    args = {"channel": channel}
    failed = call(url, "notes:failing", args, kind="query_at_ts", ts=ts)
    assert "the channel is empty" in failed["errorMessage"]
    assert call(url, "notes:failing", args)["value"] == ["x"]


@pytest.mark.parametrize(
    ("ts", "code"),
    [
        ("soon", "BadTimestamp"),
        ("", "BadTimestamp"),
        (encode_timestamp(2**62), "OutOfRetention"),
    ],
)
def test_a_timestamp_that_cannot_be_had(url: str, ts: str, code: str) -> None:
    body: Any = {"path": "notes:every_kind", "args": {}, "ts": ts}
    answer = requests.post(f"{url}/api/query_at_ts", json=body, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_batch_of_queries(url: str, channel: str) -> None:
    queries: list[Any] = [
        {"path": "notes:echo", "args": [{"value": {"$integer": "BwAAAAAAAAA="}}]},
        {
            "path": "notes:echo",
            "args": {"value": {"$integer": "BwAAAAAAAAA="}},
            "format": "convex_encoded_json",
        },
        {"path": "notes:failing", "args": {"channel": channel}},
        {"path": "notes:nothing", "args": {}},
    ]
    answer = requests.post(
        f"{url}/api/query_batch", json={"queries": queries}, timeout=10
    )
    clean, encoded, failed, missing = answer.json()["results"]
    assert clean == {"status": "success", "value": "7"}
    assert encoded["value"] == {"$integer": "BwAAAAAAAAA="}
    assert (failed["status"], missing["status"]) == ("error", "error")
    assert failed["logLines"] == [f"[LOG] 'looking at' '{channel}'"]

    queries.append({"path": "no such path!", "args": {}})
    answer = requests.post(
        f"{url}/api/query_batch", json={"queries": queries}, timeout=10
    )
    assert answer.json()["code"] == "BadConvexFunctionIdentifier"
    answer = requests.post(f"{url}/api/query_batch", json={"queries": []}, timeout=10)
    assert answer.json() == {"results": []}


def test_a_batch_is_of_one_moment(deployment: DeploymentProcess, channel: str) -> None:
    """Somebody writes all the time; between two queries there is time for it."""
    queries: list[Any] = [{"path": "notes:count", "args": {"channel": channel}}] * 50
    stopping = threading.Event()

    def write() -> None:
        with requests.Session() as session:
            while not stopping.is_set():
                body: Any = {"path": "notes:add", "args": note(channel)}
                session.post(f"{deployment.url}/api/mutation", json=body, timeout=10)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: set[float] = set()
        while len(seen) < 5:
            answer = requests.post(
                f"{deployment.url}/api/query_batch",
                json={"queries": queries},
                timeout=10,
            )
            (count,) = {result["value"] for result in answer.json()["results"]}
            seen.add(count)
    finally:
        stopping.set()
        writer.join()


def test_any_function_by_its_url(url: str, channel: str) -> None:
    def run(path: str, args: Any, **more: Any) -> Any:
        answer = requests.post(
            f"{url}/api/run/{path}", json={"args": args, **more}, timeout=10
        )
        return answer.json()

    assert run("notes/add", note(channel))["status"] == "success"
    assert run("notes/list", {"channel": channel})["value"] == ["x"]
    assert run("work/wait", {"seconds": 0})["value"] == 0.0
    number = {"value": {"$integer": "BwAAAAAAAAA="}}
    assert run("notes/echo", number)["value"] == "7"
    encoded = run("notes/echo", number, format="convex_encoded_json")
    assert encoded["value"] == {"$integer": "BwAAAAAAAAA="}

    for path in ("notes/nothing", "nowhere/list", "some/dir/notes/list"):
        assert "Could not find function for '" in run(path, {})["errorMessage"]
    assert "Could not find public function" in run("notes/secret", {})["errorMessage"]
    for path in ("notes", "", "notes/"):
        assert run(path, {})["code"] == "MissingIdentifier"
    assert run("notes/no-name", {})["code"] == "BadConvexFunctionIdentifier"


def test_components_are_not_offered(url: str) -> None:
    body: Any = {"path": "notes:every_kind", "args": {}, "componentPath": "other"}
    answer = requests.post(f"{url}/api/query", json=body, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "ComponentNotFound")
    body["componentPath"] = ""
    assert requests.post(f"{url}/api/query", json=body, timeout=10).ok


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "BadJsonBody"),
        (b"{", "BadJsonBody"),
        (b"[]", "BadJsonBody"),
        (b'{"path":"notes:list"}', "BadJsonBody"),
        (b'{"path":5,"args":{}}', "BadJsonBody"),
        (b'{"path":"\xff","args":{}}', "BadJsonBody"),
        (
            b'{"path":"x:y","args":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "BadJsonBody",
        ),
        (b'{"path":"no such path!","args":{}}', "BadConvexFunctionIdentifier"),
        (b'{"path":"x:y","args":{},"format":"xml"}', "BadFormat"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_request_is_refused(url: str, body: bytes, code: str) -> None:
    answer = requests.post(
        f"{url}/api/query",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert answer.json()["message"]


def test_the_content_type_must_be_json(url: str) -> None:
    answer = requests.post(
        f"{url}/api/query", data=b'{"path":"notes:every_kind","args":{}}', timeout=10
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "BadJsonBody")


def test_a_body_that_is_too_large_is_refused(url: str) -> None:
    answer = requests.post(
        f"{url}/api/query",
        data=b"x" * (17 * 1024 * 1024),
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "RequestTooLarge")
