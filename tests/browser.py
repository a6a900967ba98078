"""JupyterLab in a real Chromium, for tests.

Holds how a JupyterLab server is started apart from the user's own settings, how a
notebook is opened in Debian's Chromium, and how its cells are run. Nothing is
downloaded: the browser is the system's.

    with start_lab(folder, tmp_path) as lab:
        async with open_notebook(lab, "one.ipynb") as notebook:
            await notebook.run_all()
            await expect(notebook.page.locator(".kit-chat")).to_be_visible()

Tests of one module keep a `Window`: loading JupyterLab takes longer than most of them.
Each has a notebook and a kernel of its own, in the page that is open already.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    async_playwright,
    expect,
)

__all__ = [
    "Lab",
    "Notebook",
    "Window",
    "open_file",
    "open_notebook",
    "open_window",
    "require_browser",
    "start_lab",
    "write_notebook",
]

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT = 60.0  # seconds; two or three on a quiet machine
expect.set_options(timeout=20_000)  # ms; other tests share the machine


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def require_browser() -> None:
    """Skip the test where there is no Chromium; fail it if KIT_REQUIRE_ALL=1."""
    if find_chromium() is not None and find_spec("jupyterlab") is not None:
        return
    reason = "needs Chromium (Debian: apt-get install chromium) and JupyterLab"
    if os.environ.get("KIT_REQUIRE_ALL") == "1":
        pytest.fail(f"KIT_REQUIRE_ALL=1, but this {reason}")
    pytest.skip(reason)


# --- the server --------------------------------------------------------------------


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    token: str
    folder: Path

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A call of the server's REST API; its JSON, if it answers any."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = answer.read()
        return json.loads(said) if said else None

    def close_sessions(self) -> None:
        """End all kernels: a notebook that is opened again would find its old one."""
        for session in self.call("GET", "/api/sessions"):
            self.call("DELETE", f"/api/sessions/{session['id']}")


@contextlib.contextmanager
def start_lab(
    folder: Path,
    state: Path,
    *,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "jupyterlab"),
) -> Iterator[Lab]:
    """JupyterLab on `folder`, with all its settings and files under `state`.

    `command` starts it, given JupyterLab's options. `env` is added to the environment
    of the server and its kernels. It is ended, and its kernels with it, when the block
    is left. Raises RuntimeError with the end of its log if it does not come up.
    """
    _write_settings(state / "settings")
    port, token = _free_port(), secrets.token_hex(16)
    log = state / "jupyterlab.log"
    full_command = [
        *command,
        *("--no-browser", "--ip=127.0.0.1", f"--port={port}"),
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
    ]
    if os.geteuid() == 0:
        full_command.append("--allow-root")
    with log.open("wb") as output:
        server = subprocess.Popen(
            full_command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={
                **os.environ,
                **_own_folders(state),
                "JUPYTER_TOKEN": token,
                **(env or {}),
            },
        )
    lab = Lab(f"http://127.0.0.1:{port}", token, folder)
    try:
        _wait_until_up(lab, server, log)
        yield lab
        with contextlib.suppress(OSError):
            lab.close_sessions()
    finally:
        _end(server)


def _own_folders(state: Path) -> dict[str, str]:
    names = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "IPYTHONDIR": "ipython",
    }
    return {name: str(state / folder) for name, folder in names.items()}


def _write_settings(folder: Path) -> None:
    """No toast about news, no question whether to look for updates."""
    plugin = folder / "@jupyterlab" / "apputils-extension"
    plugin.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    settings = plugin / "notification.jupyterlab-settings"
    settings.write_text(json.dumps(quiet))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_up(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            lab.call("GET", "/api/status")
            return
        except (urllib.error.URLError, OSError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(
                    f"JupyterLab did not start: {error}\n{tail}"
                ) from None
        time.sleep(0.1)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and what it started: they are one process group."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=10)
            return


# --- the browser -------------------------------------------------------------------


@dataclass
class Notebook:
    """A notebook that is open in the browser, its kernel idle."""

    lab: Lab
    path: str
    page: Page
    browser: Browser
    complaints: list[str] = field(default_factory=list)
    """Errors of the page: exceptions, and what was logged as an error."""

    def note_exception(self, error: object) -> None:
        self.complaints.append(str(error))

    def note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    async def run_all(self) -> None:
        """Start running all cells; does not wait for them."""
        await self.command("notebook:run-all-cells")

    async def open(self, path: str) -> None:
        """Open another notebook beside this one, in front, and wait for its kernel."""
        await self.command("docmanager:open", {"path": path})
        # A page that is just loaded may still put its launcher in front.
        await self.page.wait_for_function(
            """path => {
              const { shell } = jupyterapp;
              const opened = [...shell.widgets('main')];
              const wanted = opened.find(each => each.context?.path === path);
              if (wanted && shell.currentWidget !== wanted) {
                shell.activateById(wanted.id);
              }
              return wanted && shell.currentWidget === wanted;
            }""",
            arg=path,
            timeout=START_TIMEOUT * 1000,
        )
        await _wait_until_ready(self.page)

    async def save(self) -> None:
        await self.command("docmanager:save")

    async def set_theme(self, *, dark: bool) -> None:
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        await self.command("apputils:change-theme", {"theme": name})
        await self.page.wait_for_selector(
            f'body[data-jp-theme-name="{name}"]', state="attached"
        )

    async def scroll_to_cell(self, source: str) -> None:
        """Scroll to the first cell with `source`: JupyterLab attaches it only then."""
        await self.page.evaluate(
            """source => {
              const { content } = jupyterapp.shell.currentWidget;
              const has = each => each.model.sharedModel.getSource().includes(source);
              return content.scrollToItem(content.widgets.findIndex(has), 'start');
            }""",
            source,
        )

    async def scroll_to(self, place: Locator, timeout: float = 30.0) -> None:
        """Scroll until it is in view, again where the page has scrolled elsewhere.

        JupyterLab moves cells when others are laid out above them.
        """
        async with asyncio.timeout(timeout):
            while True:
                await place.scroll_into_view_if_needed()
                try:
                    return await expect(place).to_be_in_viewport(timeout=1000)
                except AssertionError:
                    continue

    async def keep_screenshot(self, name: str) -> None:
        """Keep a picture of the page where CI collects them, if it does."""
        if folder := os.environ.get("KIT_SCREENSHOTS"):
            await self.page.screenshot(path=Path(folder) / f"{name}.png")

    async def command(self, name: str, args: Mapping[str, Any] | None = None) -> None:
        """Start a command of JupyterLab. Waiting for it might wait for all cells."""
        await self.page.evaluate(
            "([name, args]) => { void jupyterapp.commands.execute(name, args) }",
            [name, dict(args or {})],
        )

    async def reload(self) -> None:
        """Reload the page and wait until the notebook is connected again."""
        await self.page.reload()
        await _wait_until_restored(self.page)
        await _wait_until_ready(self.page)

    async def until_idle(self, timeout: float = 60.0) -> None:
        """Wait until the kernel has run all cells."""
        await self.page.wait_for_function(
            """() => {
              const { content, sessionContext } = jupyterapp.shell.currentWidget;
              const cells = content.widgets.map(each => each.model);
              // A cell that waits for its turn has neither a star nor a number.
              return sessionContext.session?.kernel?.status === 'idle' && cells.every(
                each => each.type !== 'code' || each.executionCount !== null
              );
            }""",
            timeout=timeout * 1000,
        )


class Window:
    """A browser with one page of JupyterLab, for one notebook after the other."""

    def __init__(self, lab: Lab, browser: Browser) -> None:
        self.lab = lab
        self._browser = browser
        self._page: Page | None = None

    @contextlib.asynccontextmanager
    async def open_notebook(
        self, path: str, *, width: int = 1100, height: int = 900, keep: bool = True
    ) -> AsyncIterator[Notebook]:
        """Open a notebook and wait until its kernel is idle.

        Afterwards all notebooks are closed and their kernels ended. The page is used
        again, but not after a failure, nor when `keep` is false: for a test that
        changes what the page is made of.
        """
        page = self._page or await self._load_page()
        notebook = Notebook(self.lab, path, page, self._browser)
        page.on("pageerror", notebook.note_exception)
        page.on("console", notebook.note_message)
        try:
            await page.set_viewport_size({"width": width, "height": height})
            await notebook.open(path)
            yield notebook
            if keep:
                await page.evaluate(CLOSE_ALL)
        except BaseException:
            keep = False
            raise
        finally:
            page.remove_listener("pageerror", notebook.note_exception)
            page.remove_listener("console", notebook.note_message)
            if not keep:
                await self.drop_page()

    async def _load_page(self) -> Page:
        context = await self._browser.new_context(
            permissions=["clipboard-read", "clipboard-write"]
        )
        self._page = await context.new_page()
        await self._page.goto(f"{self.lab.url}/lab?token={self.lab.token}&reset")
        await _wait_until_restored(self._page)
        return self._page

    async def drop_page(self) -> None:
        """Close the page, and end the kernels of the notebooks that were open in it."""
        page, self._page = self._page, None
        if page is not None:
            await page.context.close()
            await asyncio.to_thread(self.lab.close_sessions)


# Nobody is asked whether to save: what is open is dropped.
CLOSE_ALL = """async () => {
  const { shell, serviceManager } = jupyterapp;
  for (const widget of [...shell.widgets('main')]) widget.dispose();
  await serviceManager.sessions.shutdownAll();
}"""


@contextlib.asynccontextmanager
async def open_window(lab: Lab) -> AsyncIterator[Window]:
    """A browser for the notebooks of `lab`; its page is loaded with the first one."""
    async with _start_browser() as browser:
        yield Window(lab, browser)


@contextlib.asynccontextmanager
async def open_notebook(
    lab: Lab, path: str, *, width: int = 1100, height: int = 900
) -> AsyncIterator[Notebook]:
    """Open a notebook of `lab` in a browser of its own."""
    async with (
        open_window(lab) as window,
        window.open_notebook(path, width=width, height=height, keep=False) as notebook,
    ):
        yield notebook


@contextlib.asynccontextmanager
async def open_file(
    path: Path, *, width: int = 1200
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open a page from disk, without network; with the URLs that it asks for."""
    async with _start_browser() as browser:
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, offline=True
        )
        page = await context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(path.as_uri())
        yield page, asked


@contextlib.asynccontextmanager
async def _start_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=CHROMIUM_FLAGS
        )
        try:
            yield browser
        finally:
            await browser.close()


async def _wait_until_restored(page: Page) -> None:
    await page.wait_for_function(
        "() => globalThis.jupyterapp?.commands.hasCommand('notebook:run-all-cells')",
        timeout=START_TIMEOUT * 1000,
    )
    await page.evaluate("async () => { await jupyterapp.restored }")


async def _wait_until_ready(page: Page) -> None:
    """Wait for the kernel: cells that are run before it is idle are not run at all."""
    await page.wait_for_function(
        """() => {
          const session = jupyterapp.shell.currentWidget?.sessionContext;
          const status = session?.isReady && session.session?.kernel?.status;
          return status === 'idle' || status === 'busy';
        }""",
        timeout=START_TIMEOUT * 1000,
    )


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of code cells."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
