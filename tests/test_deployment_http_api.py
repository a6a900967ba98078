"""The HTTP calls: what is asked, what is answered, in which format."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from deployment_fixture import DeploymentProcess, deployment_process


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


def test_small_pages(url: str) -> None:
    assert "running" in requests.get(url, timeout=10).text
    assert requests.get(f"{url}/version", timeout=10).text[0].isdigit()
    assert requests.get(f"{url}/instance_name", timeout=10).text


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
