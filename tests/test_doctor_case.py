"""The inputs of a diagnosis, and where they come from."""

import math
from pathlib import Path
from typing import Any

import pytest

from kit.doctor.case import Case, make_case
from kit.errors import ConfigError
from kit.stack import Stack


def make(stack: Stack | None = None, /, **given: Any) -> Case:
    inputs: dict[str, Any] = {
        "env_file": None,
        "deployment_url": None,
        "app_url": None,
        "task": None,
        "provider": None,
        "env": {},
        "timeout": 10.0,
    }
    return make_case(stack, **{**inputs, **given})


def test_the_environment_says_what_is_not_given() -> None:
    env = {"KIT_DEPLOYMENT_URL": "http://a", "KIT_APP_URL": "http://b/"}
    case = make(env=env)
    assert (case.deployment_url, case.app_url) == ("http://a", "http://b")
    given = make(env=env, deployment_url="http://c", app_url="http://d")
    assert (given.deployment_url, given.app_url) == ("http://c", "http://d")


@pytest.mark.parametrize("place", [".env.local", "apps/frontend/.env.local"])
def test_the_file_is_looked_for_where_the_guide_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert make().env_file is None
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert make().env_file == Path(place)
    assert make(env_file="other").env_file == Path("other")


async def test_a_stack_says_all_of_it() -> None:
    async with await Stack.start() as stack:
        case = make(stack, env=None, task="t")
        assert case.env_file == stack.env_file
        assert case.app_url == stack.app.url
        assert case.deployment_url is None, "the application's file decides"
        assert case.env == stack.app.env
        assert stack.deployment is not None
        assert case.deployment_env == stack.deployment.env
        assert "kit" in case.log()
        assert case.task == "t"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"provider": "nobody"}, "There are: openrouter, anthropic, openai"),
        ({"timeout": 0}, "seconds"),
        ({"timeout": -1}, "seconds"),
        ({"timeout": math.nan}, "seconds"),
        ({"timeout": 1e9}, "seconds"),
        (
            {"env": {"KIT_CONVEX_TOKEN": "a", "KIT_CONVEX_ADMIN_KEY": "b"}},
            "one of them",
        ),
        ({"app_url": "nonsense"}, "application's URL"),
        ({"app_url": "http://127.0.0.1:1/path"}, "application's URL"),
    ],
)
def test_inputs_that_make_no_sense(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**given)


def test_what_is_shown_has_no_key_of_either_environment() -> None:
    case = Case(
        env={"MY_API_KEY": "plain-0123456789", "HOME": "/home/somebody"},
        deployment_env={"A_TOKEN": "token-0123456789"},
    )
    text = "plain-0123456789 token-0123456789 /home/somebody sk-ant-0123456789"
    assert case.cleaned(text) == "[redacted] [redacted] /home/somebody [redacted]"
