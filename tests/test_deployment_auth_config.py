"""The file that names the issuers of tokens: what it may say, what is wrong with it."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kit.deployment.auth_config import Provider, load_providers
from kit.errors import ConfigError

JWKS = {"keys": [{"kty": "RSA", "kid": "one"}]}


def load(folder: Path, *providers: dict[str, Any]) -> list[Provider]:
    file = folder / "auth.json"
    file.write_text(json.dumps({"providers": list(providers)}))
    return load_providers(file)


def refused(folder: Path, *providers: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *providers)
    assert str(folder / "auth.json") in str(caught.value)
    return str(caught.value)


def oidc(**more: Any) -> dict[str, Any]:
    return {"domain": "https://here.example", "applicationID": "chat", **more}


def custom(**more: Any) -> dict[str, Any]:
    return {"type": "customJwt", "issuer": "there.example", "jwks": JWKS, **more}


def test_both_kinds_of_provider(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "jwks.json").write_text(json.dumps(JWKS))
    here, there = load(tmp_path, oidc(jwks="keys/jwks.json"), custom(algorithm="ES256"))
    assert here == Provider(
        "https://here.example", "chat", ("RS256", "ES256"), JWKS, False
    )
    assert there == Provider("https://there.example", None, ("ES256",), JWKS, True)
    assert str(here) == "OIDC(domain=https://here.example, app_id=chat)"
    assert str(there) == "CustomJWT(issuer=https://there.example, app_id=none)"


@pytest.mark.parametrize(
    "url",
    [
        "data:application/json," + quote(json.dumps(JWKS)),
        "data:application/json;base64,"
        + base64.b64encode(json.dumps(JWKS).encode()).decode(),
    ],
    ids=["percent", "base64"],
)
def test_a_key_set_may_be_a_data_url(tmp_path: Path, url: str) -> None:
    (provider,) = load(tmp_path, oidc(jwks=url))
    assert provider.jwks == JWKS


def test_no_providers_are_fine(tmp_path: Path) -> None:
    assert load(tmp_path) == []


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        (oidc(), "save the provider's key set in a file"),
        (oidc(jwks="https://here.example/jwks.json"), "is not fetched: save that"),
        (oidc(jwks="missing.json"), "missing.json cannot be read: No such file"),
        (oidc(jwks="auth.json/x"), "cannot be read: Not a directory"),
        (oidc(jwks="data:application/json"), "needs a comma"),
        (oidc(jwks="data:;base64,!"), "is not base64"),
        (oidc(jwks="data:,[]"), "the data URL of https://here.example is not a key"),
        ({"domain": "https://here.example", "jwks": JWKS}, "`applicationID`"),
        (oidc(domain="", jwks=JWKS), "`domain`"),
        (custom(), "`algorithm`"),
        (custom(algorithm="HS256"), "'HS256'"),
        (custom(issuer=None, algorithm="RS256"), "`issuer`"),
        (oidc(jwks=JWKS, aplicationID="x"), "aplicationID"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told(
    tmp_path: Path, provider: dict[str, Any], why: str
) -> None:
    assert why in refused(tmp_path, provider)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"providers":1}', b"\xff"])
def test_what_is_no_configuration_is_told(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "auth.json"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=r"auth\.json cannot be used"):
        load_providers(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.json cannot be read: No such file"):
        load_providers(tmp_path / "auth.json")


def test_keys_do_not_show(tmp_path: Path) -> None:
    (provider,) = load(tmp_path, oidc(jwks={"keys": [{"n": "modulus"}]}))
    assert "modulus" not in repr(provider)
