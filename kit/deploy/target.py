"""Which deployment Convex's CLI will deploy to, and how it is to be called. Pure.

Follows the CLI of npm `convex` 1.48, `getDeploymentSelectionFromEnv` in its
`src/cli/lib/deploymentSelection.ts`, and the help of its commands:

| environment | deploys to | by |
|---|---|---|
| CONVEX_DEPLOY_KEY, `prod:name` and a secret | that deployment | `deploy` |
| CONVEX_DEPLOY_KEY, `project:team:project` … | its production deployment | `deploy` |
| CONVEX_DEPLOY_KEY, `preview:team:project` … | a preview deployment | `deploy` |
| CONVEX_SELF_HOSTED_URL and _ADMIN_KEY | that URL | `deploy` |
| CONVEX_DEPLOYMENT=prod:name | its project's production | `deploy` |
| CONVEX_DEPLOYMENT=dev:name | that deployment | `dev --once` |

A deploy key goes before CONVEX_DEPLOYMENT, and CONVEX_DEPLOYMENT_TOKEN is another name
for it. With CONVEX_DEPLOYMENT=dev:name, `deploy` would push to the project's
*production* deployment ("to deploy to your dev deployment […], use `npx convex dev`").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kit.client.calls import origin
from kit.errors import ConfigError
from kit.llm.providers import PROVIDERS

__all__ = ["Target", "find_target", "reported_url"]

DEPLOY_KEY = "CONVEX_DEPLOY_KEY"
TOKEN = "CONVEX_DEPLOYMENT_TOKEN"
DEPLOYMENT = "CONVEX_DEPLOYMENT"
URL = "CONVEX_SELF_HOSTED_URL"
ADMIN_KEY = "CONVEX_SELF_HOSTED_ADMIN_KEY"
VARIABLES = (DEPLOY_KEY, TOKEN, DEPLOYMENT, URL, ADMIN_KEY)

DEPLOY = ("npx", "convex", "deploy")
DEV_ONCE = ("npx", "convex", "dev", "--once")

# A name does not tell the URL: there are regions and custom domains. `deploy` tells it
# to the command given as --cmd, which it runs before it pushes; `dev` writes it to
# .env.local.
URL_FILE = "deployment-url"
REPORT_URL = (
    "--cmd",
    f'node -p "process.env.KIT_CONVEX_URL" > {URL_FILE}',
    "--cmd-url-env-var-name",
    "KIT_CONVEX_URL",
)
_ENV_LOCAL_URL = re.compile(r"^CONVEX_URL=(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """A deployment as it is named, and the command that deploys to it. Holds no key."""

    name: str
    variables: tuple[str, ...]
    """What of the environment says so, and is all that the CLI gets to see of it."""
    command: tuple[str, ...]
    url: str | None = None
    """None: the CLI finds out."""
    takes_preview_name: bool = False

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The environment for the CLI, without the keys of models.

        The variables that do not count are there, but empty: it would take missing
        ones from an `.env.local`.
        """
        unused = {name: "" for name in VARIABLES if name not in self.variables}
        models = {settings.key_variable for settings in PROVIDERS.values()}
        kept = {name: value for name, value in env.items() if name not in models}
        return {**kept, **unused}


def find_target(env: Mapping[str, str], *, preview_name: str | None = None) -> Target:
    """The deployment that the environment names.

    `preview_name`: for a key for previews, which preview; in the build environments
    that the CLI knows, the branch is the default. Raises ConfigError if the
    environment names none, or two.
    """
    given = {name: env[name] for name in VARIABLES if env.get(name)}
    key_variable = next((name for name in (DEPLOY_KEY, TOKEN) if name in given), None)
    self_hosted = [name for name in (URL, ADMIN_KEY) if name in given]
    if key_variable is not None:
        _refuse_both(key_variable, self_hosted)
        target = _of_key(key_variable, given[key_variable])
    elif self_hosted:
        target = _self_hosted(given)
    elif DEPLOYMENT in given:
        target = _of_name(given[DEPLOYMENT])
    else:
        raise ConfigError(
            "No deployment to deploy to: the environment names none. Set one of\n"
            f"  {DEPLOY_KEY}, a deploy key from the settings of a deployment on the "
            "dashboard\n"
            f"  {URL} and {ADMIN_KEY}, of a deployment that you host\n"
            f"  {DEPLOYMENT}=dev:name, of a project that `npx convex dev` has set up"
        )
    if preview_name is None:
        return target
    if not target.takes_preview_name:
        raise ConfigError(
            f"--preview-name is for a preview deploy key in {DEPLOY_KEY}, and "
            f"{target.variables[0]} names {target.name}."
        )
    command = (*target.command, "--preview-name", preview_name)
    return replace(target, command=command, name=f"{target.name} ({preview_name})")


def reported_url(target: Target, project: Path) -> str:
    """The deployment's URL, as known or as the CLI has left it in its project folder.

    Raises ConfigError if it has left none.
    """
    if target.url is not None:
        return target.url
    try:
        if target.command[: len(DEV_ONCE)] == DEV_ONCE:
            text = (project / ".env.local").read_text(encoding="utf-8")
            found = _ENV_LOCAL_URL.search(text)
            return origin(found[1] if found else "")
        return origin((project / URL_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError):
        raise ConfigError(
            f"{target.name} is deployed, but Convex's CLI did not tell its URL. Take "
            "it from the dashboard, and run: kit deploy --check URL"
        ) from None


def _of_key(variable: str, key: str) -> Target:
    # `deploymentTypeFromAdminKey` and its neighbours in src/cli/lib/deployment.ts.
    name, separator, secret = key.strip().partition("|")
    if not (name and separator and secret):
        raise ConfigError(
            f"{variable} is not a deploy key: those look like prod:name|… Copy it "
            "again from the settings on the dashboard."
        )
    kind, _, rest = name.partition(":")
    # A preview deployment's own key is `preview:name`, and named like any other.
    for_previews = kind == "preview" and ":" in rest
    if for_previews:
        name = f"a preview deployment of {rest}"
    elif kind == "project":
        name = f"the production deployment of {rest}"
    return Target(
        name, (variable,), DEPLOY + REPORT_URL, takes_preview_name=for_previews
    )


def _self_hosted(given: Mapping[str, str]) -> Target:
    for name in (URL, ADMIN_KEY):
        if name not in given:
            raise ConfigError(
                f"{name} is not set. A deployment that you host needs both {URL} and "
                f"{ADMIN_KEY}, which its generate_admin_key.sh prints."
            )
    _refuse_both(URL, [DEPLOYMENT] if DEPLOYMENT in given else [])
    url = origin(given[URL])
    return Target(url, (URL, ADMIN_KEY), DEPLOY, url)


def _of_name(deployment: str) -> Target:
    # A name without a type is one of former times.
    kind = deployment.partition(":")[0] if ":" in deployment else ""
    name = deployment.rpartition(":")[2]
    match kind:
        case "preview":
            raise ConfigError(
                f"{DEPLOYMENT} names a preview deployment, {deployment}. Set "
                f"{DEPLOY_KEY} to a preview deploy key instead."
            )
        case "local" | "anonymous":
            local = True
        case _:
            local = name.startswith("anonymous-")
    if local:
        raise ConfigError(
            f"{DEPLOYMENT} names {deployment}, which runs on this machine only while "
            "`npx convex dev` does. Use the embedded deployment instead (kit lab, kit "
            "deployment), or check it while it runs: kit deploy --check URL"
        )
    if kind == "prod":
        return Target(deployment, (DEPLOYMENT,), DEPLOY + REPORT_URL)
    return Target(deployment, (DEPLOYMENT,), DEV_ONCE)


def _refuse_both(variable: str, others: list[str]) -> None:
    if others:
        raise ConfigError(
            f"{variable} and {' and '.join(others)} are set, and name two deployments. "
            "Unset one of them."
        )
