"""The command `kit`: each subcommand a few lines over a module of the package."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from kit import __version__
from kit.errors import ConfigError, KitError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; its exit status.

    0: what was asked for was done and every expected behaviour held. 1: a behaviour
    did not hold. 2: the command could not be run as asked; stderr says what to do.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["deployment"]:
        from kit.deployment.__main__ import main as deployment

        return deployment(arguments[1:])
    if arguments[:1] == ["provider"]:
        from kit.llm.scripted import main as provider

        return provider(arguments[1:])
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command != "lab":
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if options.command == "lab":
            return _lab(options, rest)
        if options.command == "doctor":
            return _doctor(options)
        if options.command == "drill":
            return _drill(options)
        if options.command == "bench":
            return _bench(options)
        if options.command == "apply":
            return _apply(options)
        if options.command == "deploy":
            return _deploy(options)
        if options.command == "copy-back":
            return _copy_back(options)
        return _tour(options)
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kit",
        description="Rehearse the move of LLM chat streaming from Socket.IO to Convex.",
    )
    parser.add_argument("--version", action="version", version=f"kit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    tour = commands.add_parser(
        "tour", help="execute every notebook and report what was checked"
    )
    tour.add_argument(
        "names", nargs="*", metavar="NOTEBOOK", help="only these, e.g. 02"
    )
    tour.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (runs/<time>)"
    )
    tour.add_argument(
        "--bench",
        type=Path,
        metavar="DIR",
        help="results of kit bench, to go into the report",
    )
    _common(tour)

    lab = commands.add_parser(
        "lab", help="open JupyterLab on the notebooks, everything running"
    )
    lab.add_argument(
        "--data",
        type=Path,
        default=Path(".kit/lab"),
        metavar="DIR",
        help="where the embedded deployment keeps its data (.kit/lab)",
    )
    _common(lab)

    deploy = commands.add_parser(
        "deploy", help="deploy the functions to your own Convex, and try them"
    )
    deploy.add_argument(
        "--check", metavar="URL", help="deploy nothing: only try this deployment"
    )
    deploy.add_argument(
        "-y", "--yes", action="store_true", help="do not ask before deploying"
    )
    deploy.add_argument("--model", help="which model answers the smoke test")
    deploy.add_argument(
        "--folder", type=Path, metavar="DIR", help="Convex's project (.kit/convex)"
    )
    deploy.add_argument(
        "--preview-name", metavar="NAME", help="with a preview deploy key"
    )

    doctor = commands.add_parser(
        "doctor", help="find out why it does not work, and what to do"
    )
    doctor.add_argument(
        "--env-file",
        type=Path,
        metavar="PATH",
        help="the application's settings (.env.local, apps/frontend/.env.local)",
    )
    doctor.add_argument(
        "--deployment-url", metavar="URL", help="another deployment than the file's"
    )
    doctor.add_argument(
        "--app-url", metavar="URL", help="where the application runs (KIT_APP_URL)"
    )
    doctor.add_argument("--task", metavar="ID", help="a task that shows nothing")
    doctor.add_argument("--provider", metavar="NAME", help="try only this one's key")
    doctor.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="for each look (10)"
    )
    doctor.add_argument(
        "--repo",
        type=Path,
        metavar="PATH",
        help="your application's repository: its code, and what its settings lead to",
    )
    _places(doctor)
    doctor.add_argument(
        "--format",
        choices=("table", "json", "sarif"),
        default="table",
        help="sarif, for code hosts: with --repo only",
    )

    _add_apply(commands)
    drill = commands.add_parser(
        "drill", help="break things on purpose while replies stream, and check"
    )
    drill.add_argument("--runs", type=int, default=20, metavar="N")
    drill.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the first run (1)"
    )
    drill.add_argument(
        "--out", type=Path, metavar="DIR", help="for results.json and timeline.svg"
    )

    copy_back = commands.add_parser(
        "copy-back",
        help="copy what was written on Convex back into the SQL history",
        description="Copy what was written on Convex back into the SQL history, and "
        "compare. As the user of KIT_CONVEX_TOKEN; with the deployment's key in "
        "KIT_CONVEX_ADMIN_KEY: the tasks of all users.",
    )
    copy_back.add_argument(
        "--deployment-url", metavar="URL", required=True, help="the Convex deployment"
    )
    copy_back.add_argument(
        "--history-url",
        metavar="URL",
        required=True,
        help="sqlite+aiosqlite:///FILE or postgresql+psycopg://...; must exist",
    )
    copy_back.add_argument(
        "--task", metavar="ID", action="append", help="only this one; may be repeated"
    )
    copy_back.add_argument(
        "--dry-run", action="store_true", help="write nothing: count and compare"
    )

    bench = commands.add_parser(
        "bench", help="measure the kit beside its rivals: latency, bytes, scale"
    )
    bench.add_argument(
        "--quick", action="store_true", help="in less than three minutes"
    )
    bench.add_argument(
        "--strict", action="store_true", help="fail if a target is missed"
    )
    bench.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (runs/<time>-bench)"
    )

    commands.add_parser("deployment", help="run the embedded deployment by itself")
    commands.add_parser("provider", help="run the scripted provider by itself")
    return parser


def _add_apply(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    apply = commands.add_parser(
        "apply",
        help="make the guide's change in a repository of yours, as diffs to review",
        description="Print what the guide's change is in a repository, step by step, "
        "and a diff of each. Nothing is written without --write.",
    )
    apply.add_argument("--repo", type=Path, required=True, metavar="PATH")
    what = apply.add_mutually_exclusive_group(required=True)
    what.add_argument("--option", type=int, choices=(1, 2), help="of the guide")
    what.add_argument(
        "--rollback", action="store_true", help="take back what was changed"
    )
    apply.add_argument(
        "--write", action="store_true", help="commit it, a step each, on a new branch"
    )
    apply.add_argument(
        "--full", action="store_true", help="also show the files that are copied in"
    )
    apply.add_argument(
        "--server-file", metavar="FILE", help="the module that streams replies"
    )
    apply.add_argument(
        "--hook-file", metavar="FILE", help="the hook that merges socket data"
    )
    apply.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file: where the repository differs (kit/repo/settings.py)",
    )
    apply.add_argument(
        "--deployment-url", metavar="URL", help="for the frontend's settings file"
    )


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deployment-url",
        metavar="URL",
        help="a real Convex deployment to run against",
    )
    parser.add_argument(
        "--provider",
        choices=("scripted", "real"),
        default="scripted",
        help="scripted: offline (the default); real: the keys in the environment",
    )


def _places(parser: argparse.ArgumentParser) -> None:
    """Where a repository differs from the guide's."""
    parser.add_argument(
        "--config", type=Path, metavar="TOML", help="where the repository differs"
    )
    parser.add_argument(
        "--server-file", metavar="PATH", help="the one with the loop, if not found"
    )
    parser.add_argument(
        "--hook-file", metavar="PATH", help="the one with the hook, if not found"
    )


def _tour(options: argparse.Namespace) -> int:
    from kit.tour import tour

    parameters: dict[str, object] = {}
    if options.deployment_url:
        parameters["deployment_url"] = options.deployment_url
    if options.provider != "scripted":
        parameters["provider"] = options.provider
    return tour(
        out=options.out,
        only=options.names,
        parameters=parameters,
        bench=options.bench,
    )


def _doctor(options: argparse.Namespace) -> int:
    try:
        from kit.doctor.command import doctor
    except ImportError as error:
        raise ConfigError(
            f"{sys.executable} lacks what the kit needs: {error}. Install it again "
            "with this interpreter: python -m pip install -e . (in a checkout)"
        ) from None

    if options.repo is not None:
        return _doctor_repository(options)
    for name in ("config", "server_file", "hook_file"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} goes with --repo PATH.")
    if options.format == "sarif":
        raise ConfigError("--format sarif goes with --repo PATH: it is about files.")
    return doctor(
        env_file=options.env_file,
        deployment_url=options.deployment_url,
        app_url=options.app_url,
        task=options.task,
        provider=options.provider,
        timeout=options.timeout,
        format=options.format,
    )


def _apply(options: argparse.Namespace) -> int:
    from kit.apply.command import Request, apply

    return apply(
        Request(
            repo=options.repo,
            option=options.option,
            rollback=options.rollback,
            write=options.write,
            full=options.full,
            server_file=options.server_file,
            hook_file=options.hook_file,
            config=options.config,
            deployment_url=options.deployment_url,
        )
    )


def _doctor_repository(options: argparse.Namespace) -> int:
    from kit.doctor.repository.command import doctor_repository
    from kit.repo import read_settings

    for name in ("env_file", "task", "provider"):
        if getattr(options, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} does not go with --repo. Without --repo, "
                "the doctor looks at what runs."
            )
    settings = read_settings(options.config).with_files(
        server_file=options.server_file, hook_file=options.hook_file
    )
    return doctor_repository(
        options.repo,
        settings=settings,
        deployment_url=options.deployment_url,
        app_url=options.app_url,
        timeout=options.timeout,
        format=options.format,
    )


def _drill(options: argparse.Namespace) -> int:
    from kit.drill.command import drill

    return drill(runs=options.runs, seed=options.seed, out=options.out)


def _copy_back(options: argparse.Namespace) -> int:
    from kit.app.copy_back import copy_between

    report = asyncio.run(
        copy_between(
            options.deployment_url,
            options.history_url,
            task_ids=options.task,
            dry_run=options.dry_run,
        )
    )
    print(report)
    return 0 if report.complete else 1


def _bench(options: argparse.Namespace) -> int:
    from kit.bench.command import bench

    return bench(quick=options.quick, strict=options.strict, out=options.out)


def _lab(options: argparse.Namespace, jupyter_arguments: Sequence[str]) -> int:
    from kit.lab import lab

    return lab(
        data=options.data,
        deployment_url=options.deployment_url,
        provider=options.provider,
        jupyter_arguments=jupyter_arguments,
    )


def _deploy(options: argparse.Namespace) -> int:
    from kit.deploy import FOLDER, MODEL, check, deploy

    model = options.model or MODEL
    if options.check is not None:
        return check(options.check, model=model)
    return deploy(
        folder=options.folder or FOLDER,
        yes=options.yes,
        model=model,
        preview_name=options.preview_name,
    )


if __name__ == "__main__":
    sys.exit(main())
