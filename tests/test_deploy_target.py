"""Which deployment the environment names, and how Convex's CLI is called for it."""

from pathlib import Path

import pytest

from kit.deploy.target import (
    DEPLOY,
    DEV_ONCE,
    REPORT_URL,
    VARIABLES,
    find_target,
    reported_url,
)
from kit.errors import ConfigError

SENTINEL = "SENTINEL-never-shown"
SELF_HOSTED = {
    "CONVEX_SELF_HOSTED_URL": "http://127.0.0.1:3210/",
    "CONVEX_SELF_HOSTED_ADMIN_KEY": f"convex-self-hosted|{SENTINEL}",
}


@pytest.mark.parametrize(
    ("env", "name", "command", "seen"),
    [
        (
            {"CONVEX_DEPLOY_KEY": f"prod:happy-animal-123|{SENTINEL}"},
            "prod:happy-animal-123",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOY_KEY"},
        ),
        (
            {"CONVEX_DEPLOY_KEY": f"dev:happy-animal-123|{SENTINEL}"},
            "dev:happy-animal-123",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOY_KEY"},
        ),
        (
            {"CONVEX_DEPLOYMENT_TOKEN": f"prod:happy-animal-123|{SENTINEL}"},
            "prod:happy-animal-123",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOYMENT_TOKEN"},
        ),
        (
            {"CONVEX_DEPLOY_KEY": f"project:team:chat|{SENTINEL}"},
            "the production deployment of team:chat",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOY_KEY"},
        ),
        (
            {"CONVEX_DEPLOY_KEY": f"preview:team:chat|{SENTINEL}"},
            "a preview deployment of team:chat",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOY_KEY"},
        ),
        (SELF_HOSTED, "http://127.0.0.1:3210", DEPLOY, set(SELF_HOSTED)),
        (
            {"CONVEX_DEPLOYMENT": "dev:happy-animal-123"},
            "dev:happy-animal-123",
            DEV_ONCE,
            {"CONVEX_DEPLOYMENT"},
        ),
        (
            {"CONVEX_DEPLOYMENT": "happy-animal-123"},
            "happy-animal-123",
            DEV_ONCE,
            {"CONVEX_DEPLOYMENT"},
        ),
        (
            {"CONVEX_DEPLOYMENT": "prod:happy-animal-123"},
            "prod:happy-animal-123",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOYMENT"},
        ),
        (  # as the CLI has it: the key goes first
            {
                "CONVEX_DEPLOY_KEY": f"prod:happy-animal-123|{SENTINEL}",
                "CONVEX_DEPLOYMENT": "dev:other-animal-456",
            },
            "prod:happy-animal-123",
            DEPLOY + REPORT_URL,
            {"CONVEX_DEPLOY_KEY"},
        ),
    ],
)
def test_each_environment_has_its_deployment_and_its_command(
    env: dict[str, str], name: str, command: tuple[str, ...], seen: set[str]
) -> None:
    target = find_target(env)
    assert (target.name, target.command) == (name, command)
    assert set(target.variables) == seen
    given = target.environment({**env, "PATH": "/bin"})
    assert given["PATH"] == "/bin"
    assert {variable for variable in VARIABLES if given[variable]} == seen
    assert SENTINEL not in repr(target)


def test_the_cli_gets_no_key_of_a_model() -> None:
    keys = ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")
    given = find_target(SELF_HOSTED).environment(dict.fromkeys(keys, SENTINEL))
    assert SENTINEL not in given.values()


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({}, "the environment names none"),
        ({"CONVEX_DEPLOYMENT": ""}, "the environment names none"),
        ({"CONVEX_DEPLOY_KEY": SENTINEL}, "CONVEX_DEPLOY_KEY is not a deploy key"),
        ({"CONVEX_DEPLOY_KEY": f"|{SENTINEL}"}, "is not a deploy key"),
        (
            {"CONVEX_SELF_HOSTED_URL": "http://127.0.0.1:3210"},
            "CONVEX_SELF_HOSTED_ADMIN_KEY is not set",
        ),
        (
            {"CONVEX_SELF_HOSTED_ADMIN_KEY": SENTINEL},
            "CONVEX_SELF_HOSTED_URL is not set",
        ),
        ({**SELF_HOSTED, "CONVEX_SELF_HOSTED_URL": "here"}, "not a deployment URL"),
        (
            {**SELF_HOSTED, "CONVEX_DEPLOYMENT": "dev:happy-animal-123"},
            "CONVEX_SELF_HOSTED_URL and CONVEX_DEPLOYMENT are set",
        ),
        (
            {**SELF_HOSTED, "CONVEX_DEPLOY_KEY": f"prod:a-b-1|{SENTINEL}"},
            "CONVEX_DEPLOY_KEY and CONVEX_SELF_HOSTED_URL",
        ),
        ({"CONVEX_DEPLOYMENT": "preview:a-b-1"}, "preview deploy key"),
        ({"CONVEX_DEPLOYMENT": "local:a-b-1"}, "only while `npx convex dev` does"),
        ({"CONVEX_DEPLOYMENT": "anonymous-chat"}, "only while `npx convex dev` does"),
        ({"CONVEX_DEPLOYMENT": "anonymous:anonymous-chat"}, "kit deploy --check URL"),
    ],
)
def test_an_environment_that_names_no_deployment_is_refused(
    env: dict[str, str], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        find_target(env)
    assert text in str(caught.value)
    assert SENTINEL not in str(caught.value)


def test_a_preview_may_be_named() -> None:
    env = {"CONVEX_DEPLOY_KEY": f"preview:team:chat|{SENTINEL}"}
    target = find_target(env, preview_name="try")
    assert target.name == "a preview deployment of team:chat (try)"
    assert target.command[-2:] == ("--preview-name", "try")


@pytest.mark.parametrize(
    "env", [SELF_HOSTED, {"CONVEX_DEPLOY_KEY": f"preview:happy-animal-123|{SENTINEL}"}]
)
def test_what_is_no_key_for_previews_takes_no_preview_name(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="--preview-name is for a preview deploy key"):
        find_target(env, preview_name="try")


def test_the_url_is_what_the_cli_left(tmp_path: Path) -> None:
    url = "https://happy-animal-123.eu-west-1.convex.cloud"
    (tmp_path / "deployment-url").write_text(f"{url}\n")
    (tmp_path / ".env.local").write_text(
        "# Deployment used by `npx convex dev`\n"
        "CONVEX_DEPLOYMENT=dev:other-animal-456 # team: t, project: p\n\n"
        "CONVEX_URL=https://other-animal-456.convex.cloud\n\n"
        "CONVEX_SITE_URL=https://other-animal-456.convex.site\n"
    )
    by_key = find_target({"CONVEX_DEPLOY_KEY": f"prod:a-b-1|{SENTINEL}"})
    assert reported_url(by_key, tmp_path) == url
    by_name = find_target({"CONVEX_DEPLOYMENT": "dev:other-animal-456"})
    other = "https://other-animal-456.convex.cloud"
    assert reported_url(by_name, tmp_path) == other
    assert reported_url(find_target(SELF_HOSTED), tmp_path) == "http://127.0.0.1:3210"


@pytest.mark.parametrize("left", [None, "", "undefined\n"])
def test_a_url_that_the_cli_did_not_leave(tmp_path: Path, left: str | None) -> None:
    if left is not None:
        (tmp_path / "deployment-url").write_text(left)
        (tmp_path / ".env.local").write_text(left)
    for env in (
        {"CONVEX_DEPLOY_KEY": f"prod:a-b-1|{SENTINEL}"},
        {"CONVEX_DEPLOYMENT": "dev:a-b-1"},
    ):
        with pytest.raises(ConfigError, match="kit deploy --check URL"):
            reported_url(find_target(env), tmp_path)
