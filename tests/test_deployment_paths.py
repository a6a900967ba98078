import pytest

from kit.deployment.paths import FunctionPath, parse_path


@pytest.mark.parametrize(
    ("text", "short", "canonical"),
    [
        ("messages:list", "messages:list", "messages.js:list"),
        ("messages.js:list", "messages:list", "messages.js:list"),
        ("dir/a:b", "dir/a:b", "dir/a.js:b"),
        ("messages", "messages", "messages.js:default"),
        ("messages:default", "messages", "messages.js:default"),
    ],
)
def test_paths_have_a_short_and_a_canonical_form(
    text: str, short: str, canonical: str
) -> None:
    path = parse_path(text)
    assert (str(path), path.canonical) == (short, canonical)
    assert parse_path(short) == parse_path(canonical) == path


def test_a_path_is_split_at_its_last_colon() -> None:
    with pytest.raises(ValueError, match="Path component a:b can only contain"):
        parse_path("a:b:c")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Path components must not be empty"),
        (":x", "Path components must not be empty"),
        ("a//b:c", "Path components must not be empty"),
        ("/a:b", "must be relative"),
        ("a:b-c", "Invalid function name 'b-c'"),
        ("a:", "Invalid function name ''"),
        ("../a:b", "at least one alphanumeric"),
        ("foo bar:c", "Path component foo bar can only contain alphanumeric"),
        ("a.ts:b", "an extension that is not 'js'"),
        ("a" * 65 + ":b", "too long"),
    ],
)
def test_what_is_no_path_is_told_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_path(text)


def test_paths_are_values() -> None:
    assert parse_path("a:b") == FunctionPath("a", "b")
    assert {parse_path("a:b"), parse_path("a.js:b")} == {FunctionPath("a", "b")}
