"""The deployment's process: `python -m kit.deployment --port 0 --data DIR`.

Prints `{"url": ..., "pid": ...}` once it accepts connections, logs to stderr, stops
cleanly on SIGTERM and SIGINT. Its data is safe from `kill -9`.

`--auth CONFIG.json` names who issues users' tokens (`auth_config`). An admin key comes
from `--admin-key-file FILE` or from the environment variable KIT_ADMIN_KEY
(`admin_key`). A deployment that was started with either is closed to whoever shows
neither, unless it is `--open`: then everybody may call public functions, as they may
call those of a Convex deployment (`auth`). Without them there are no users and no
admin, and it is always open.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.deployment.admin_key import ADMIN_KEY_VARIABLE, load_admin_key
from kit.deployment.auth import Authenticator
from kit.deployment.auth_config import load_providers
from kit.deployment.database import Database
from kit.deployment.deadline import timers_kept
from kit.deployment.engine import Engine
from kit.deployment.functions import FunctionRegistry
from kit.deployment.runtime import Runtime
from kit.deployment.server import make_app
from kit.errors import ConfigError, DatabaseError, FunctionLoadError
from kit.serving import log_to_stderr, serve

__all__ = ["main"]

DEFAULT_DATA = Path(".kit", "data")
DEFAULT_FUNCTIONS = Path(__file__).resolve().parent.parent / "convex"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a deployment until it is told to stop; the exit code.

    0 after a clean stop; 2, with one line on stderr, when the port, the data folder,
    the functions, the auth configuration or the admin key cannot be used.
    """
    options = _options(argv)
    log_to_stderr(options.log_level)
    try:
        auth = _auth(options)
        registry = FunctionRegistry.load(*options.functions)
        database = Database.open(options.data, registry.schema)
        try:
            with timers_kept():
                asyncio.run(_serve(Engine(database, registry), auth, options))
        finally:
            database.close()
    except (ConfigError, DatabaseError, FunctionLoadError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _auth(options: argparse.Namespace) -> Authenticator:
    """Raises ConfigError."""
    # First of all: functions are not to find the key in the environment.
    admin_key = load_admin_key(options.admin_key_file)
    providers = [] if options.auth is None else load_providers(options.auth)
    closed = bool(providers or admin_key) and not options.open
    return Authenticator(providers, admin_key, closed=closed)


async def _serve(
    engine: Engine, auth: Authenticator, options: argparse.Namespace
) -> None:
    runtime = Runtime(
        engine,
        options.functions,
        auth=auth,
        executor_options=["--log-level", options.log_level],
    )
    await serve(make_app(runtime), port=options.port)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kit deployment",
        description="Run an embedded Convex deployment on this machine.",
    )
    parser.add_argument(
        "--port", type=_port, default=0, help="port on 127.0.0.1; 0 takes a free one"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA,
        metavar="DIR",
        help="folder of the database, made if need be (default: %(default)s)",
    )
    parser.add_argument(
        "--functions",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder of Python functions to serve; may be given more than once "
        "(default: the kit's own)",
    )
    parser.add_argument(
        "--auth",
        type=Path,
        metavar="CONFIG.json",
        help="who issues users' tokens: Convex's auth.config as JSON, with key sets",
    )
    parser.add_argument(
        "--admin-key-file",
        type=Path,
        metavar="FILE",
        help=f"file with the admin key (default: the variable {ADMIN_KEY_VARIABLE})",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="with --auth or an admin key: let everybody call public functions",
    )
    parser.add_argument(
        "--log-level", type=str.upper, choices=LOG_LEVELS, default="INFO"
    )
    options = parser.parse_args(argv)
    options.functions = options.functions or [DEFAULT_FUNCTIONS]
    return options


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port: use 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
