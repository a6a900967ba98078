"""What is to be examined: the inputs of a diagnosis, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.client.calls import origin
from kit.client.credentials import NOTHING, Credentials, credentials_of, secrets_in
from kit.errors import ConfigError
from kit.llm.providers import PROVIDERS, ProviderName
from kit.llm.secret import redact
from kit.stack import DEPLOYMENT_URL, Stack

__all__ = ["APP_URL", "DEFAULT_TIMEOUT", "ENV_FILES", "Case", "make_case"]

APP_URL = "KIT_APP_URL"
DEFAULT_TIMEOUT = 10.0

# Where the guide has the file, seen from the repository and from the frontend.
ENV_FILES = (Path(".env.local"), Path("apps/frontend/.env.local"))

_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class Case:
    """What to look at; None stands for unknown.

    `env` is the environment of the application, `credentials` what it shows to the
    deployment. `deployment_env`: the environment of an embedded deployment. `log`: the
    last lines of the application's log. `timeout`: seconds for each look.
    """

    env: Mapping[str, str]
    env_file: Path | None = None
    deployment_url: str | None = None
    app_url: str | None = None
    task: str | None = None
    provider: ProviderName | None = None
    credentials: Credentials = NOTHING
    deployment_env: Mapping[str, str] | None = None
    log: Callable[[], str] = lambda: ""
    timeout: float = DEFAULT_TIMEOUT

    def cleaned(self, text: str) -> str:
        """`text` without the keys and tokens of the environments."""
        secrets = [
            value
            for env in (self.env, self.deployment_env or {})
            for name, value in env.items()
            if any(word in name.upper() for word in _SECRET_NAMES)
        ]
        return redact(text, *secrets)


def make_case(
    stack: Stack | None,
    *,
    env_file: Path | str | None,
    deployment_url: str | None,
    app_url: str | None,
    task: str | None,
    provider: str | None,
    env: Mapping[str, str] | None,
    timeout: float,
) -> Case:
    """What was asked for, completed from the stack or else from the environment.

    Raises ConfigError for what makes no sense.
    """
    if not 0 < timeout <= 600:
        raise ConfigError(f"timeout is {timeout:g}: give seconds from 0 to 600.")
    if stack is not None:
        env_file = env_file or stack.env_file
        app_url = app_url or stack.app.url or None
        env = stack.app.env if env is None else env
    env = os.environ if env is None else env
    if stack is None:
        deployment_url = deployment_url or env.get(DEPLOYMENT_URL) or None
        app_url = app_url or env.get(APP_URL) or None
    return Case(
        env=dict(env),
        env_file=Path(env_file) if env_file else _found_env_file(),
        deployment_url=deployment_url,
        app_url=_app_origin(app_url),
        task=task,
        provider=_provider(provider),
        credentials=credentials_of(**secrets_in(env)),
        deployment_env=_deployment_env(stack),
        log=(lambda: "") if stack is None else lambda: stack.app.log_tail(3),
        timeout=timeout,
    )


def _provider(name: str | None) -> ProviderName | None:
    for provider in PROVIDERS:
        if provider == name:
            return provider
    if name is None:
        return None
    raise ConfigError(
        f"There is no provider {name!r}. There are: {', '.join(PROVIDERS)}."
    )


def _found_env_file() -> Path | None:
    return next((path for path in ENV_FILES if path.exists()), None)


def _app_origin(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        return origin(url)
    except ConfigError:
        raise ConfigError(
            "The application's URL should look like http://127.0.0.1:4000: scheme, "
            "host and port, as the application prints it when it starts."
        ) from None


def _deployment_env(stack: Stack | None) -> Mapping[str, str] | None:
    if stack is None or stack.deployment is None:
        return None
    return dict(stack.deployment.env)
