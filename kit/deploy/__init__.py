"""`kit deploy`: the functions to your own Convex, and a smoke test of what is there.

Deploys with Convex's own CLI (`target` says how, `project` where), then takes the
steps of `smoke`. Shows no key, and sends none.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kit.bench.terminal import print_table
from kit.client.calls import origin
from kit.deploy import project
from kit.deploy.scale import Load as ScaleLoad
from kit.deploy.scale import scale_table
from kit.deploy.smoke import MODEL, SmokeTest, Step
from kit.deploy.target import URL_FILE, Target, find_target, reported_url

__all__ = ["FOLDER", "MODEL", "check", "deploy"]

FOLDER = Path(".kit/convex")


def deploy(
    *,
    folder: Path = FOLDER,
    yes: bool = False,
    model: str = MODEL,
    preview_name: str | None = None,
) -> int:
    """Deploy to the deployment that the environment names, and try it.

    Says first what will be done. A person at a terminal is asked, unless `yes`; where
    nobody can answer, as in CI, it goes ahead. `folder` becomes the CLI's project,
    and is kept: its packages need not be installed again. Returns 0 if all of it
    worked, 1 if the CLI or a step of the smoke test failed or the answer was no.
    Raises ConfigError, before anything is done, for an environment that names no
    deployment, and for missing programs.
    """
    target = find_target(os.environ, preview_name=preview_name)
    project.require_node(os.environ)
    console = Console()
    folder = folder.absolute()
    _print_plan(console, target, folder, model)
    if not (yes or _confirmed(console)):
        console.print("Nothing was deployed.")
        return 1

    project.lay_out(folder)
    environment = target.environment(os.environ)
    if not project.has_packages(folder):
        project.install(folder, environment)
    (folder / URL_FILE).unlink(missing_ok=True)
    status = project.run(target.command, folder, environment)
    if status != 0:
        console.print(
            f"Convex's CLI ended with status {status}; its output is above. Nothing "
            "was checked."
        )
        return 1
    return check(reported_url(target, folder), model=model, folder=folder)


def check(url: str, *, model: str = MODEL, folder: Path | None = None) -> int:
    """Take the steps of the smoke test; 0 if all of them held, else 1.

    `folder`: the project in which the CLI knows the deployment, if known. Raises
    ConfigError for what can be no URL.
    """
    url = origin(url)
    console = Console()
    test = SmokeTest(url, model=model, project=folder)
    steps = asyncio.run(_take(console, test))
    held = all(step.held for step in steps)
    _print_steps(console, url, steps)
    if held and test.round_trip is not None:
        _print_scale(console, test.round_trip)
    if held and folder is not None:
        console.print(f"To use it: kit tour --deployment-url {url}", soft_wrap=True)
    return 0 if held else 1


async def _take(console: Console, test: SmokeTest) -> list[Step]:
    with console.status("") as status:
        return await test.run(lambda name: status.update(f"{name} …"))


def _print_scale(console: Console, round_trip: float) -> None:
    """What many replies at once need, if a mutation takes as long as it did from here.

    That is at most what it takes an action, which runs beside the database.
    """
    table = scale_table(ScaleLoad(mutation_seconds=round_trip))
    print_table(console, table)
    console.print(f"{table.note} A mutation as measured: {round_trip * 1000:.0f} ms.\n")


def _confirmed(console: Console) -> bool:
    if not sys.stdin.isatty():
        return True
    try:
        answer = console.input("Deploy? [y/N] ", markup=False)
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _print_plan(console: Console, target: Target, folder: Path, model: str) -> None:
    commands = [shlex.join(target.command)]
    if not project.has_packages(folder):
        commands.insert(0, shlex.join(project.INSTALL))
    rows = {
        "Deployment": f"{target.name} (from {', '.join(target.variables)})",
        "Functions": ", ".join(project.public_functions()),
        "Folder": f"{folder}, a copy of {project.SOURCE}",
        "Commands": " && ".join(commands),
        "Then": f"one short reply of {model} as a smoke test, removed afterwards",
    }
    for name, text in rows.items():
        # Lines are left as they are: a command is there to be copied.
        console.print(
            f"{name:11} {text}", markup=False, highlight=False, soft_wrap=True
        )
    console.print()


def _print_steps(console: Console, url: str, steps: Sequence[Step]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("Step")
    table.add_column("Seen", overflow="fold", style="dim")
    table.add_column("s", justify="right")
    for step in steps:
        if step.held is None:
            table.add_row("", step.name, "not tried", "")
            continue
        mark = "[green]✓[/]" if step.held else "[red]✗[/]"
        table.add_row(mark, step.name, escape(step.seen), f"{step.seconds:.2f}")
    console.print(table)
    for step in steps:
        if step.advice:
            console.print(f"\n{step.name}: {step.advice}", markup=False, soft_wrap=True)
    held = sum(bool(step.held) for step in steps)
    console.print(
        f"\n{held} of {len(steps)} steps held on {url}, "
        f"{sum(step.seconds for step in steps):.1f} s.",
        soft_wrap=True,
    )
