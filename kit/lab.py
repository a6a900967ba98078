"""`kit lab`: JupyterLab on the notebooks, with everything that they need running.

Starts the embedded deployment and the scripted provider once, tells the kernels where
they are through the environment, and stops them when JupyterLab ends. Notebooks that
start a `Stack` then attach to these instead of starting their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kit.errors import ConfigError
from kit.stack import (
    ADMIN_KEY,
    DEPLOYMENT_URL,
    FUNCTIONS,
    SCRIPTED_URL,
    Provider,
    Stack,
)
from kit.tour import notebooks_folder

__all__ = ["lab"]


def lab(
    *,
    data: Path,
    deployment_url: str | None = None,
    provider: Provider = "scripted",
    jupyter_arguments: Sequence[str] = (),
) -> int:
    """Run JupyterLab until it ends; its exit status.

    `data` keeps the embedded deployment's documents between sessions. The notebooks
    opened are the checkout's own, or, from an installed package, a copy in `data`.
    `jupyter_arguments` go to `jupyter lab` as they are. Raises ConfigError or
    StackError when something cannot be started; nothing is left running then.
    """
    return asyncio.run(_lab(data, deployment_url, provider, jupyter_arguments))


async def _lab(
    data: Path,
    deployment_url: str | None,
    provider: Provider,
    jupyter_arguments: Sequence[str],
) -> int:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot keep data in {data}: {error.strerror}. "
            "Choose another folder with --data."
        ) from None
    stack = await Stack.start(
        deployment_url=deployment_url,
        provider=provider,
        folder=data.resolve(),
        app=False,
    )
    async with stack:
        environment = {**os.environ, DEPLOYMENT_URL: stack.deployment_url}
        if stack.admin_key is not None:
            environment[ADMIN_KEY] = stack.admin_key.reveal()
        if stack.functions is not None:
            environment[FUNCTIONS] = str(stack.functions)
        if stack.scripted_url:
            environment[SCRIPTED_URL] = stack.scripted_url
        models = stack.scripted_url or "real providers, keys from the environment"
        Console().print(
            f"Convex deployment  {stack.deployment_url}\n"
            f"Model provider     {models}\n"
            f"Data               {data.resolve()}\n",
            highlight=False,
            soft_wrap=True,
        )
        return await _jupyter(_editable_notebooks(data), environment, jupyter_arguments)


async def _jupyter(
    folder: Path, environment: dict[str, str], arguments: Sequence[str]
) -> int:
    if not any(argument.startswith("--ServerApp.root_dir") for argument in arguments):
        arguments = [f"--ServerApp.root_dir={folder}", *arguments]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jupyterlab", *arguments, env=environment
    )
    # Ctrl-C reaches JupyterLab by itself, which asks before it ends: wait for that.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    return await process.wait()


def _editable_notebooks(data: Path) -> Path:
    """Where the notebooks may be changed: never inside an installed package."""
    source = notebooks_folder()
    if not source.is_relative_to(Path(__file__).parent):
        return source
    copy = data.resolve() / "notebooks"
    for notebook in source.glob("*.ipynb"):
        if not (copy / notebook.name).exists():
            copy.mkdir(exist_ok=True)
            shutil.copy(notebook, copy)
    return copy
