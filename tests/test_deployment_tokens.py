"""Users' tokens: which are accepted, what they say, why others are refused."""

import base64
import hmac
import json
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens import APPLICATION, ISSUER, ec_key, jwks, public_jwk, rsa_key, token

from kit.deployment.auth_config import ALGORITHMS, Algorithm, Provider
from kit.deployment.identity import UserIdentity
from kit.deployment.tokens import TokenRefused, TokenVerifier
from kit.errors import ConfigError

KEYS = jwks(rsa=rsa_key(), ec=ec_key())


def oidc(**more: Any) -> Provider:
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "application_id": APPLICATION,
        "algorithms": ALGORITHMS,
        "jwks": KEYS,
    }
    return Provider(**{**given, **more})


def custom(algorithm: Algorithm = "RS256", **more: Any) -> Provider:
    return oidc(algorithms=(algorithm,), is_custom=True, **more)


def verify(text: str, *providers: Provider) -> UserIdentity:
    return TokenVerifier(providers or (oidc(),)).verify(text)


def refused(text: str, *providers: Provider) -> tuple[str, str]:
    """Code and message."""
    with pytest.raises(TokenRefused) as caught:
        verify(text, *providers)
    assert text not in str(caught.value)
    return caught.value.code, str(caught.value)


# --- accepted -----------------------------------------------------------------


@pytest.mark.parametrize("key_id", ["rsa", "ec"])
def test_a_token_of_either_algorithm_tells_its_user(key_id: str) -> None:
    key = rsa_key() if key_id == "rsa" else ec_key()
    user = verify(token("ann", key=key, key_id=key_id, exp=4e9))
    assert user.attributes() == {
        "tokenIdentifier": f"{ISSUER}|ann",
        "issuer": ISSUER,
        "subject": "ann",
    }
    assert user.expires == 4e9


def test_claims_of_openid_connect_have_convexs_names() -> None:
    user = verify(
        token(
            name="Ann",
            given_name="A",
            family_name="N",
            nickname="an",
            preferred_username="ann1",
            profile="https://p",
            picture="https://i",
            website="https://w",
            email="ann@example",
            email_verified=True,
            gender="f",
            birthdate="2000-01-01",
            zoneinfo="Europe/Berlin",
            locale="de",
            phone_number="+49",
            phone_number_verified=False,
            address={"formatted": "Street 1", "country": "DE"},
            updated_at=1_700_000_000,
            nonce="n",
            azp="other",
            nbf=0,
            jti="j",
            role="admin",
            org={"id": 7},
        )
    )
    told = user.attributes()
    for known in ("tokenIdentifier", "issuer", "subject"):
        del told[known]
    assert told == {
        "name": "Ann",
        "givenName": "A",
        "familyName": "N",
        "nickname": "an",
        "preferredUsername": "ann1",
        "profileUrl": "https://p",
        "pictureUrl": "https://i",
        "websiteUrl": "https://w",
        "email": "ann@example",
        "emailVerified": True,
        "gender": "f",
        "birthday": "2000-01-01",
        "timezone": "Europe/Berlin",
        "language": "de",
        "phoneNumber": "+49",
        "phoneNumberVerified": False,
        "address": "Street 1",
        "updatedAt": "2023-11-14T22:13:20+00:00",
        "role": "admin",
        "org": {"id": 7.0},
    }


def test_claims_of_the_wrong_type_are_left_out() -> None:
    user = verify(
        token(name=5, email_verified="yes", address="x", updated_at="yesterday")
    )
    assert set(user.attributes()) == {"tokenIdentifier", "issuer", "subject"}


def test_claims_of_a_custom_provider_are_passed_on_as_they_are() -> None:
    user = verify(token(name="Ann", org={"id": 7, "in": {"x": [1]}}), custom())
    told = user.attributes()
    assert told["name"] == "Ann"
    assert told["org.id"] == 7
    assert told["org.in.x"] == [1]
    assert not {"exp", "iat", "aud", "iss", "sub"} & set(told)


def test_a_renewed_token_is_the_same_user() -> None:
    assert verify(token(lifetime=10)) == verify(token(lifetime=1000))


def test_a_claim_cannot_pass_for_another_user() -> None:
    claims: Any = {"tokenIdentifier": "x|bob", "subject": "bob", "issuer": "x"}
    for provider in (oidc(), custom()):
        told = verify(token("ann", **claims), provider).attributes()
        assert told["tokenIdentifier"] == f"{ISSUER}|ann"
        assert (told["subject"], told["issuer"]) == ("ann", ISSUER)


@pytest.mark.parametrize(
    ("configured", "named"),
    [
        (ISSUER + "/", ISSUER),
        (ISSUER, ISSUER + "/"),
        (ISSUER, ISSUER.removeprefix("https://")),
    ],
)
def test_an_issuer_may_be_written_in_several_ways(configured: str, named: str) -> None:
    user = verify(token(iss=named), oidc(issuer=configured))
    assert user.attributes()["issuer"] == named


def test_the_provider_is_the_one_of_the_token() -> None:
    other = oidc(issuer="https://other.example", jwks=jwks(rsa=rsa_key("other")))
    of_other = token(iss="https://other.example", key=rsa_key("other"))
    for providers in ((oidc(), other), (other, oidc())):
        verify(token(), *providers)
        verify(of_other, *providers)


def test_one_audience_among_several_does_for_a_custom_provider() -> None:
    text = token(aud=["other", APPLICATION])
    verify(text, custom())
    assert refused(text)[0] == "Unauthenticated"


def test_a_custom_provider_may_be_for_any_audience() -> None:
    verify(token(aud="other"), custom(application_id=None))
    verify(token(without=("aud",)), custom(application_id=None))


def test_the_only_key_needs_no_name() -> None:
    verify(token(key_id=None), oidc(jwks={"keys": [public_jwk(rsa_key())]}))
    verify(token(key_id=None), oidc(jwks=jwks(rsa=rsa_key())))
    assert refused(token(key_id=None))[0] == "Unauthenticated"


# --- refused ------------------------------------------------------------------

NOT_A_TOKEN = ["", "nonsense", "a.b.c", "a" * 5000, "é.é.é", "\udc80", "." * 9]


@pytest.mark.parametrize("text", NOT_A_TOKEN, ids=lambda text: ascii(text)[:20])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(TokenRefused, match=r"Could not parse JWT payload\.") as caught:
        verify(text)
    assert caught.value.code == "InvalidAuthHeader"


def test_a_token_nested_beyond_measure() -> None:
    parts = (b'{"alg":"RS256"}', b"[" * 100_000, b"x")
    text = ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts
    )
    assert refused(text)[0] == "InvalidAuthHeader"


def test_a_token_without_issuer() -> None:
    code, message = refused(token(without=("iss",)))
    assert code == "InvalidAuthHeader"
    assert "Missing issuer claim ('iss') in JWT payload" in message


@pytest.mark.parametrize(
    "claims", [{"iss": "https://other.example"}, {"aud": "other"}, {"aud": None}]
)
def test_a_token_of_nobody_that_is_known(claims: dict[str, Any]) -> None:
    code, message = refused(token(**claims), oidc(), custom())
    assert code == "NoAuthProvider"
    assert message.startswith("No auth provider found matching the given token. Check")
    known = (
        f"OIDC(domain={ISSUER}, app_id=chat), CustomJWT(issuer={ISSUER}, app_id=chat)"
    )
    assert message.endswith(f"match one of your configured providers: [{known}]")


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def tampered() -> str:
    header, _, signature = token("ann").split(".")
    _, claims, _ = token("bob").split(".")
    return f"{header}.{claims}.{signature}"


def unsigned() -> str:
    _, claims, _ = token().split(".")
    header = b'{"alg":"none","kid":"rsa"}'
    return f"{encoded(header)}.{claims}."


def signed_with_the_public_key() -> str:
    """The old trick: a public key taken for the secret of an HMAC."""
    _, claims, _ = token().split(".")
    header = b'{"alg":"HS256","kid":"rsa"}'
    signed = f"{encoded(header)}.{claims}"
    public = (
        rsa_key()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    signature = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{encoded(signature)}"


FORGED = [
    tampered(),
    unsigned(),
    signed_with_the_public_key(),
    token(key=rsa_key("mallory")),
    token(key=ec_key(), key_id="rsa"),
    token(key_id="unknown"),
]


@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_a_forged_token(text: str) -> None:
    code, message = refused(text)
    assert code == "Unauthenticated"
    assert message.startswith("Could not verify OIDC token claim.")
    code, message = refused(text, custom())
    assert code == "InvalidAuthHeader"
    assert message.startswith("Could not decode token. The JWT's 'kid'")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (token(lifetime=-1), "Signature has expired"),
        (token(lifetime=-60), "Signature has expired"),
        (token(nbf=4e9), "The token is not yet valid (nbf)"),
        (token(iat=4e9), "The token is not yet valid (iat)"),
        (token(sub=5), "Subject must be a string"),
    ],
    ids=["just", "long ago", "not before", "issued later", "subject"],
)
def test_a_token_that_does_not_hold(text: str, why: str) -> None:
    assert refused(text)[0] == "Unauthenticated"
    assert refused(text, custom()) == (
        "InvalidAuthHeader",
        f"Could not validate token: {why}",
    )


@pytest.mark.parametrize(("claim", "name"), [("sub", "subject"), ("exp", "expiry")])
def test_a_token_that_lacks_a_claim(claim: str, name: str) -> None:
    text = token(without=(claim,))
    assert refused(text)[0] == "Unauthenticated"
    assert refused(text, custom()) == ("InvalidAuthHeader", f"Missing {name}")


@pytest.mark.parametrize(
    "claims",
    [{"exp": float("inf")}, {"level": 10**400}, {"name": "\ud800"}],
    ids=["endless", "huge", "half a character"],
)
def test_signed_nonsense(claims: dict[str, Any]) -> None:
    for provider in (oidc(), custom()):
        assert refused(token(**claims), provider)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "name", "address", "x")


@settings(max_examples=300, deadline=None)
@given(
    header=st.dictionaries(st.sampled_from(("alg", "kid", "typ", "crit", "b64")), JSON),
    claims=st.dictionaries(st.sampled_from(CLAIMS), JSON),
    odd=st.sets(
        st.sampled_from(("alg", "kid", "iss", "sub", "aud", "exp")), max_size=2
    ),
)
def test_whatever_is_signed_is_a_user_or_refused(
    header: dict[str, Any], claims: dict[str, Any], odd: set[str]
) -> None:
    right = {"alg": "RS256", "kid": "rsa"}
    header |= {name: right[name] for name in right.keys() - odd}
    said: Any = {"iss": ISSUER, "sub": "ann", "aud": APPLICATION, "exp": 4e9}
    claims |= {name: said[name] for name in said.keys() - odd}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    signature = rsa_key().sign(signed.encode(), PKCS1v15(), SHA256())
    text = f"{signed}.{encoded(signature)}"
    for provider in (oidc(), custom(), custom(application_id=None)):
        try:
            user = verify(text, provider)
        except TokenRefused:
            continue
        assert user.attributes()["issuer"] == claims["iss"]


def test_a_custom_providers_token_names_its_key_and_its_algorithm() -> None:
    text = "Could not decode token. JWT may be missing a 'kid' (key ID) header."
    assert refused(token(key_id=None), custom()) == ("InvalidAuthHeader", text)
    code, message = refused(token(key=ec_key(), key_id="ec"), custom("RS256"))
    assert (code, "'ec'" in message) == ("InvalidAuthHeader", True)
    verify(token(key=ec_key(), key_id="ec"), custom("ES256"))


def test_the_clock_is_the_deployments() -> None:
    verifier = TokenVerifier([oidc()], now=lambda: 5e9)
    with pytest.raises(TokenRefused):
        verifier.verify(token(lifetime=1000))


def test_without_providers_there_is_none() -> None:
    with pytest.raises(TokenRefused, match="no providers configured"):
        TokenVerifier([]).verify(token())


# --- keys ---------------------------------------------------------------------


def test_keys_for_other_purposes_are_passed_over() -> None:
    others: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"},
        {"kty": "EC", "crv": "P-384", "x": "", "y": "", "kid": "rsa"},
        {**public_jwk(rsa_key("other"), "rsa"), "use": "enc"},
        {**public_jwk(rsa_key("other"), "rsa"), "alg": "PS256"},
        "no key",
    ]
    verify(token(), oidc(jwks={"keys": [public_jwk(rsa_key(), "rsa"), *others]}))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "has no public key for RS256 or ES256"),
        ({"keys": None}, "has no public key for RS256 or ES256"),
        ({"keys": [{"kty": "RSA"}]}, "a key that cannot be used"),
        (jwks(short=rsa_key("short", 1024)), "an RSA key of 1024 bits"),
    ],
    ids=["none", "null", "broken", "short"],
)
def test_keys_that_cannot_be_used_are_told(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        TokenVerifier([oidc(jwks=keys)])


def test_a_private_key_is_not_wanted() -> None:
    private = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(), as_dict=True)
    with pytest.raises(ConfigError, match="holds a private key") as caught:
        TokenVerifier([oidc(jwks={"keys": [private]})])
    assert private["d"] not in str(caught.value)


def test_a_provider_needs_a_key_of_its_algorithm() -> None:
    keys: Sequence[Any] = [public_jwk(rsa_key(), "rsa")]
    with pytest.raises(ConfigError, match="no public key for ES256"):
        TokenVerifier([custom("ES256", jwks={"keys": keys})])
