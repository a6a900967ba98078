"""The processes that a notebook needs: started, restarted, cut off, stopped.

A `Stack` is an embedded deployment, a scripted provider and the application server,
each a process of its own (see `kit.serving` for how one announces itself and stops).
It holds no streaming logic: it only knows how to start a module, where its log is and
which environment it gets. With a deployment URL, no embedded deployment is started.

Processes stop with the stack, and also when the process that started them dies.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal

import aiohttp

from kit.app.flags import set_flags
from kit.client.background import cancel, keep_awake, spawn
from kit.errors import ConfigError, StackError
from kit.llm.secret import Secret
from kit.serving import HOST, STOP_WITH_PARENT

__all__ = [
    "ADMIN_KEY",
    "DEPLOYMENT_URL",
    "FUNCTIONS",
    "SCRIPTED_URL",
    "ServerProcess",
    "Stack",
]

DEPLOYMENT_URL = "KIT_DEPLOYMENT_URL"
SCRIPTED_URL = "KIT_SCRIPTED_URL"
ADMIN_KEY = "KIT_ADMIN_KEY"
FUNCTIONS = "KIT_FUNCTIONS"

KIT_FUNCTIONS = Path(__file__).parent / "convex"

# Loaded while nobody waits yet: the first reply would begin a second later.
MODEL_SDKS = "kit.llm.anthropic,kit.llm.responses,kit.llm.chat_completions"

API_KEYS = ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")

Provider = Literal["scripted", "real"]

# A 403 that is not the milliseconds of a time, a port or a piece of an id.
_REFUSED = re.compile(r"(?<![\w,.:])403(?!\w)")


class ServerProcess:
    """One server: `python -m <module> <args>`, its URL and its log.

    The log is a file that outlives restarts, so that what a crashed server said last
    is still there.
    """

    def __init__(
        self, name: str, args: Sequence[str], *, log: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.args = list(args)
        self.log_path = log
        self.env = dict(env)
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def port(self) -> int:
        """The port of the last start, 0 before it: a restart takes the same one."""
        return int(self.url.rsplit(":", 1)[1]) if self.url else 0

    async def start(self, *, timeout: float = 20.0) -> str:
        """Start it and wait for its ready line; the URL.

        Raises StackError, with the last log lines, when it ends or stays silent.
        """
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self.args,
                "--port",
                str(self.port),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**self.env, STOP_WITH_PARENT: "1"},
                # Interrupting a cell signals the kernel's whole process group.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
            self.url = json.loads(line)["url"]
        except (TimeoutError, ValueError, KeyError):
            await self.kill()
            raise StackError(
                f"The {self.name} did not start within {timeout:g} s. "
                f"Its log ends with:\n{self.log_tail()}"
            ) from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        return self.url

    async def stop(self, *, timeout: float = 5.0) -> None:
        """End it cleanly (SIGTERM), by force after `timeout` seconds."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(timeout):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        except asyncio.CancelledError:  # nobody will ask again
            self._process.kill()
            raise

    async def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def restart(self) -> None:
        """Stop it, if it runs, and start it again on the same port."""
        await self.stop()
        await self.start()

    def log_lines(self, containing: str = "") -> list[str]:
        """The log's lines so far, those that hold `containing`."""
        if not self.log_path.exists():
            return []
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if containing in line]

    def log_tail(self, count: int = 15) -> str:
        return "\n".join(self.log_lines()[-count:]) or "(the log is empty)"

    def __repr__(self) -> str:
        state = f"running, pid {self.pid}" if self.running else "stopped"
        return f"<{self.name} {self.url or '(never started)'} {state}>"


class Stack:
    """Everything that one rehearsal needs, running.

    `await Stack.start(...)` in a notebook, `await stack.aclose()` in its last cell; or
    `async with await Stack.start(...)`. `deployment` and `provider` are None when they
    are somebody else's (a URL was given, or real providers are used).

    `functions` is the folder of functions of one's own that the deployment serves
    beside the kit's, None if it is none of ours; `admin_key` opens what only admins
    may (see `kit.explore`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        deployment_url: str | None,
        provider: Provider,
        pace: float,
        deployment_env: Mapping[str, str],
        owns_folder: bool,
    ) -> None:
        self.folder = folder
        self.env_file = folder / "apps" / "frontend" / ".env.local"
        self._remove_folder: Callable[[], object] = lambda: None
        if owns_folder:
            # Also at the end of the process: a notebook may end without `aclose()`.
            self._remove_folder = weakref.finalize(
                self, shutil.rmtree, folder, ignore_errors=True
            )
        self._external_url = deployment_url
        self._awake: asyncio.Task[None] | None = None
        self._environment = _environment(provider)
        self._pace = pace
        self.admin_key, self.functions = self._admin_access()
        self._earlier_requests = 0  # of a scripted provider that ran before us
        self.provider = self._scripted_provider(provider, pace)
        self.deployment = None if deployment_url else self._embedded_deployment()
        if self.deployment is not None:
            self.deployment.env.update(deployment_env)
        self.app = self._application()

    @classmethod
    async def start(
        cls,
        *,
        deployment_url: str | None = None,
        provider: Provider = "scripted",
        pace: float = 50.0,
        folder: Path | None = None,
        app: bool = True,
        deployment_env: Mapping[str, str] = MappingProxyType({}),
    ) -> Stack:
        """Start what is needed and wait until all of it answers.

        `deployment_url` None means the one in `KIT_DEPLOYMENT_URL`, else an embedded
        deployment; likewise a scripted provider at `KIT_SCRIPTED_URL` is used (that is
        how notebooks share what `kit lab` has started). `pace` is that provider's
        tokens per second, 0 for as fast as possible. `folder` holds the data, the logs
        and the application's `.env.local`; None takes a temporary one that goes with
        the stack. The flag is off at first.

        `deployment_env` goes to the functions of the embedded deployment, such as
        `{"KIT_FLUSH_INTERVAL_MS": "200"}`; to change it later, change
        `stack.deployment.env` and restart. A deployment of yours has its own
        environment (`npx convex env set`), which this does not touch.

        Raises ConfigError or StackError; nothing is left running then.
        """
        if provider not in ("scripted", "real"):
            raise ConfigError(
                f"provider is {provider!r}: use 'scripted' (offline) or 'real' "
                "(the keys in the environment)."
            )
        owns_folder = folder is None
        folder = folder or Path(tempfile.mkdtemp(prefix="kit-"))
        stack = cls(
            folder,
            deployment_url=deployment_url or os.environ.get(DEPLOYMENT_URL) or None,
            provider=provider,
            pace=pace,
            deployment_env=deployment_env,
            owns_folder=owns_folder,
        )
        try:
            await stack._start(app)
        except BaseException:
            await stack.aclose()
            raise
        return stack

    async def _start(self, app: bool) -> None:
        # In a notebook: so that a cell that waits for something can be interrupted.
        self._awake = spawn(keep_awake(), "keep the loop awake")
        if self.provider is not None:
            self._environment[SCRIPTED_URL] = await self.provider.start()
        elif self.scripted_url is not None:
            await _http("PUT", f"{self.scripted_url}/pace", self._pace)
            log = await self.provider_log()
            self._earlier_requests = log[-1]["number"] if log else 0
        for server in (self.deployment, self.app):
            if server is not None:
                server.env.update(self._environment)
        if self.deployment is not None:
            self.deployment.env.setdefault("KIT_WARM_UP", MODEL_SDKS)
        if self.deployment is not None and self.admin_key is not None:
            self.deployment.env[ADMIN_KEY] = self.admin_key.reveal()
        if self.deployment is not None:
            await self.deployment.start()
        self.set_flags(realtime=False)
        if app:
            await self.app.start()

    @property
    def deployment_url(self) -> str:
        if self._external_url:
            return self._external_url
        assert self.deployment is not None
        return self.deployment.url

    @property
    def scripted_url(self) -> str | None:
        """Where the scripted provider answers; None with real providers."""
        return self._environment.get(SCRIPTED_URL)

    @property
    def history_url(self) -> str:
        """The application's SQL history: a SQLite file in the stack's folder."""
        return f"sqlite+aiosqlite:///{self.folder / 'history.db'}"

    def set_flags(
        self, *, realtime: bool, option: int = 1, url: str | None = None
    ) -> str:
        """Edit the application's `.env.local`; the edit as a unified diff.

        Takes effect when the application restarts, as with the guide's own.
        """
        return set_flags(
            self.env_file,
            realtime=realtime,
            convex_url=url or self.deployment_url,
            option=option,
        )

    async def create_task(self, title: str) -> str:
        """Create a task in the application; its id.

        With the flag on, the task is created on Convex as well and has Convex's id.
        Raises StackError when the application refuses.
        """
        answer = await _http("POST", f"{self.app.url}/api/tasks", {"title": title})
        return str(answer["taskId"])

    async def stored_messages(self, task_id: str) -> list[dict[str, Any]]:
        """The messages of a task in the application's SQL history, oldest first."""
        answer = await _http("GET", f"{self.app.url}/api/tasks/{task_id}/messages")
        return list(answer["messages"])

    async def provider_log(self) -> list[dict[str, Any]]:
        """The requests to the scripted provider since the start; [] with real ones."""
        if self.scripted_url is None:
            return []
        since = self._earlier_requests
        answer = await _http("GET", f"{self.scripted_url}/log?since={since}")
        return list(answer["requests"])

    def refusals(self) -> list[str]:
        """The lines with a 403 in the logs of the stack's processes."""
        servers = (self.app, self.deployment)
        return [
            line
            for server in servers
            if server is not None
            for line in server.log_lines()
            if _REFUSED.search(line)
        ]

    async def cut_deployment(self) -> None:
        """Let nobody answer at the deployment any more.

        An embedded deployment is killed. One that is not ours is left alone: the
        application is pointed at a closed port instead, and restarted.
        """
        if self.deployment is not None:
            await self.deployment.kill()
        else:
            self._point_application_at(f"http://{HOST}:{_closed_port()}")
            await self.app.restart()

    async def restore_deployment(self) -> None:
        """Undo `cut_deployment`: same URL, same data."""
        if self.deployment is not None:
            await self.deployment.start()
        else:
            self._point_application_at(self.deployment_url)
            await self.app.restart()

    def _point_application_at(self, url: str) -> None:
        self.set_flags(realtime=True, url=url)

    async def aclose(self) -> None:
        """Stop everything that this stack started, and remove its temporary folder."""
        if self._awake is not None:
            await cancel(self._awake)
        for server in (self.app, self.deployment, self.provider):
            if server is not None:
                await server.stop()
        self._remove_folder()

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _server(self, name: str, *args: str) -> ServerProcess:
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{name.replace(' ', '-')}.log"
        return ServerProcess(name, args, log=log, env=self._environment)

    def _scripted_provider(
        self, provider: Provider, pace: float
    ) -> ServerProcess | None:
        if provider == "real" or SCRIPTED_URL in self._environment:
            return None
        return self._server(
            "scripted provider", "kit.llm.scripted", "--pace", str(pace)
        )

    def _embedded_deployment(self) -> ServerProcess:
        return self._server(
            "deployment",
            "kit.deployment",
            f"--data={self.folder / 'deployment'}",
            f"--functions={KIT_FUNCTIONS}",
            f"--functions={self.folder / 'functions'}",
            "--open",  # the admin key is for looking inside, not for locking up
        )

    def _admin_access(self) -> tuple[Secret | None, Path | None]:
        """The admin key and the folder of one's own functions, as far as there are.

        Of a deployment that is not ours they come from the environment: `kit lab`
        puts those of its own there.
        """
        if self._external_url is None:
            folder = self.folder / "functions"
            folder.mkdir(parents=True, exist_ok=True)
            return Secret(secrets.token_hex(32)), folder
        key, path = os.environ.get(ADMIN_KEY), os.environ.get(FUNCTIONS)
        return Secret(key) if key else None, Path(path) if path else None

    def _application(self) -> ServerProcess:
        self.env_file.parent.mkdir(parents=True, exist_ok=True)
        return self._server(
            "application",
            "kit.app.server",
            "--env-file",
            str(self.env_file),
            "--history-url",
            self.history_url,
            "--workspace",
            str(self.folder / "workspace"),
        )

    def __repr__(self) -> str:
        deployment = self.deployment or f"<deployment {self._external_url} (external)>"
        parts = [deployment, self.app, self.provider or "<real providers>"]
        return "<Stack\n  " + "\n  ".join(str(part) for part in parts) + "\n>"


def _environment(provider: Provider) -> dict[str, str]:
    """The servers' environment: real keys only where real providers are asked for."""
    environment = dict(os.environ)
    environment["PYTHONUNBUFFERED"] = "1"
    environment.pop(ADMIN_KEY, None)  # for the deployment alone
    if provider == "real":
        environment.pop(SCRIPTED_URL, None)
        if not any(environment.get(name) for name in API_KEYS):
            raise ConfigError(
                "provider='real' needs a key in the environment: set one of "
                f"{', '.join(API_KEYS)}, or use provider='scripted'."
            )
        return environment
    for name in API_KEYS:
        environment.pop(name, None)
    return environment


async def _http(
    method: str, url: str, body: Mapping[str, Any] | float | None = None
) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, json=body) as response,
        ):
            text = await response.text()
            if response.status >= 400:
                raise StackError(
                    f"{method} {url} was refused ({response.status}): {text}"
                )
            answer: dict[str, Any] = json.loads(text)
            return answer
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StackError(f"{method} {url} was not answered: {error}") from None


def _closed_port() -> int:
    """A port where nobody listens: taken and given back."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port: int = taken.getsockname()[1]
        return port
