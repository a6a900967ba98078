"""Who is let in, and how a refusal reads."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
import requests
from deployment_fixture import DeploymentProcess, deployment_process
from sync_client import sync_client


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path_factory.mktemp("data")) as deployment:
        yield deployment


@pytest.fixture
def url(deployment: DeploymentProcess) -> str:
    return deployment.url


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example@localhost"},
        {"Host": "localhost/evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://evil.example@localhost"},
    ],
    ids=str,
)
async def test_a_stranger_is_refused_everywhere(
    url: str, headers: dict[str, str]
) -> None:
    for method, path in [
        ("GET", "/version"),
        ("GET", "/api/sync"),
        ("POST", "/api/query"),
        ("OPTIONS", "/api/query"),
    ]:
        answer = await asyncio.to_thread(
            requests.request, method, url + path, headers=headers
        )
        assert answer.status_code == 403
        assert answer.json()["code"].startswith("Forbidden")
        assert "this machine only" in answer.json()["message"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with sync_client(url, headers=headers):
            pass
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:1234"},
        {"Host": "[::1]:1234"},
        {"Origin": "http://localhost:8888"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=str,
)
async def test_a_page_of_this_machine_is_let_in(
    url: str, headers: dict[str, str]
) -> None:
    answer = await asyncio.to_thread(requests.get, f"{url}/version", headers=headers)
    assert answer.status_code == 200
    assert answer.headers.get("Access-Control-Allow-Origin") == headers.get("Origin")
    async with sync_client(url, headers=headers) as client:
        await client.modify()
        await client.transition()


def test_a_browsers_preflight_is_answered(url: str) -> None:
    answer = requests.options(
        f"{url}/api/query",
        headers={
            "Origin": "http://localhost:8888",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,convex-client",
        },
        timeout=10,
    )
    assert answer.status_code == 204
    allowed = answer.headers["Access-Control-Allow-Headers"]
    assert allowed == "content-type,convex-client"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("path", ["/http/hook", "/api/storage/upload", "/http"])
def test_what_is_not_offered_is_told(url: str, path: str) -> None:
    answer = requests.post(url + path, timeout=10)
    assert answer.status_code == 404
    assert "is not offered by the embedded deployment" in answer.json()["message"]


def test_what_is_not_there_is_told_in_json(url: str) -> None:
    answer = requests.get(f"{url}/api/nothing", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
    answer = requests.get(f"{url}//api/query", timeout=10)
    assert "end in a slash?" in answer.json()["message"]
    answer = requests.get(f"{url}/api/mutation", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (405, "MethodNotAllowed")


def test_a_client_version_has_a_name(url: str) -> None:
    answer = requests.get(
        f"{url}/version", headers={"Convex-Client": "nonsense"}, timeout=10
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidClientVersion")
    answer = requests.get(
        f"{url}/version", headers={"Convex-Client": "npm-cli-1.2.3"}, timeout=10
    )
    assert answer.status_code == 200
