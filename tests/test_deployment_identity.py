"""Who calls: what functions are told, and who is the same as whom."""

from kit.deployment.identity import NOBODY, Identity, UserIdentity


def test_a_user_is_told_as_given_with_numbers_as_convex_has_them() -> None:
    claims = {
        "subject": "ann",
        "level": 3,
        "ok": True,
        "nested": [{"n": 1}],
        "no": None,
    }
    told = UserIdentity.of(claims).attributes()
    assert told == claims
    assert isinstance(told["level"], float)
    assert isinstance(told["nested"][0]["n"], float)
    assert told["ok"] is True


def test_what_a_function_does_with_it_stays_its_own() -> None:
    user = UserIdentity.of({"subject": "ann"})
    user.attributes()["subject"] = "bob"
    assert user.attributes() == {"subject": "ann"}


def test_a_renewed_token_is_the_same_user() -> None:
    user = UserIdentity.of({"subject": "ann", "issuer": "here"}, 1.0)
    renewed = UserIdentity.of({"issuer": "here", "subject": "ann"}, 2.0)
    assert user == renewed
    assert hash(user) == hash(renewed)
    assert user != UserIdentity.of({"subject": "ann", "issuer": "there"}, 1.0)


def test_an_admin_is_not_nobody() -> None:
    assert Identity(is_admin=True) != NOBODY
    assert Identity(UserIdentity.of({})) != NOBODY
