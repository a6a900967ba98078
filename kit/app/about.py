"""What a running application tells of itself: settings, versions, its Convex client.

Holds `GET /about`, for whoever looks for a fault: which settings this process has, as
they were when it started, and whether its interpreter can import the Convex client
now. Tells names of keys and never a key.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kit.app.flags import Flags
from kit.llm.route import PROVIDERS

__all__ = ["PACKAGES", "About", "ClientImport", "import_client", "package_versions"]

PACKAGES = ("convex-streaming-kit", "convex", "anthropic", "openai")

IMPORT_TIMEOUT = 8.0  # seconds; whoever asks waits for it

# What the kit needs of the package. Its compiled half loads with it.
_IMPORT = """
import json, convex
convex.ConvexClient, convex.ConvexError, convex.ConvexInt64, convex.json_to_convex
print(json.dumps({"file": getattr(convex, "__file__", None)}))
"""


@dataclass(frozen=True, slots=True)
class ClientImport:
    """Whether the official Convex client can be imported, from where, or why not."""

    file: str | None = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.error is None


async def import_client(
    env: Mapping[str, str] | None = None, *, timeout: float = IMPORT_TIMEOUT
) -> ClientImport:
    """Import the official client in a new process of this interpreter.

    In this process it may have been imported long ago, before the package broke. `env`
    is the new process's environment, None for this one's. A failure is in the result;
    cancelling ends the process.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _IMPORT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=None if env is None else dict(env),
        # Interrupting a cell signals the kernel's whole process group.
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except TimeoutError:
        return ClientImport(error=f"the import did not end within {timeout:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _outcome(process.returncode, out, err)


def _outcome(status: int | None, out: bytes, err: bytes) -> ClientImport:
    if status == 0:
        try:
            file = json.loads(out.splitlines()[-1])["file"]
        except (ValueError, LookupError, TypeError):
            return ClientImport(error="the import printed something unexpected")
        return ClientImport(file=file)
    said = err.decode(errors="replace").strip().splitlines()
    if status is not None and status < 0:
        return ClientImport(error=f"the interpreter was killed by signal {-status}")
    return ClientImport(error=said[-1] if said else f"exit status {status}")


def package_versions() -> dict[str, str | None]:
    """The installed versions of `PACKAGES`, None for what is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class About:
    """Answers for one process; `convex_url` is where it reaches Convex, if it does."""

    def __init__(
        self,
        env_file: Path,
        flags: Flags,
        convex_url: str | None,
        env: Mapping[str, str],
    ) -> None:
        self._settings = {
            "envFile": str(env_file.absolute()),
            "mode": flags.mode,
            "convexUrl": convex_url,
            "apiKeys": [
                settings.key_variable
                for settings in PROVIDERS.values()
                if env.get(settings.key_variable, "").strip()
            ],
            "scriptedProvider": bool(env.get("KIT_SCRIPTED_URL", "").strip()),
        }
        self._importing = asyncio.Lock()

    async def tell(self) -> dict[str, Any]:
        """The whole answer; imports the client in a process of its own meanwhile."""
        async with self._importing:  # one at a time, however many ask
            imported = await import_client()
        return {
            **self._settings,
            "pid": os.getpid(),
            "python": sys.executable,
            "versions": {"python": platform.python_version(), **package_versions()},
            "convexClient": asdict(imported),
        }
