"""Projects of Node in the tests: their packages, type check and test files.

A project is a folder with a `package.json` of exact versions and a lock file. What its
test files found is handed back file by file, so that each can be a test of pytest:

```python
@pytest.fixture(scope="module")
def project():
    require_node()
    install(PROJECT)


@pytest.fixture(scope="module")
def results(project):
    return run_vitest(PROJECT)


@pytest.mark.parametrize("name", vitest_files(PROJECT))
def test_vitest(results, name):
    results[name].check()
```
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["VitestFile", "install", "require_node", "run", "run_vitest", "vitest_files"]

NODE_MAJOR = 20
INSTALL_TIMEOUT = 300.0  # seconds; a quarter of a minute on a quiet machine
RUN_TIMEOUT = 300.0


def require_node() -> None:
    """Skip the test where Node 20 and npm are missing; fail it if KIT_REQUIRE_ALL=1."""
    if shutil.which("npm") is not None and _node_major() >= NODE_MAJOR:
        return
    reason = f"needs Node {NODE_MAJOR} or later, and npm"
    if os.environ.get("KIT_REQUIRE_ALL") == "1":
        pytest.fail(f"KIT_REQUIRE_ALL=1, but this {reason}")
    pytest.skip(reason)


def _node_major() -> int:
    if shutil.which("node") is None:
        return 0
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    return int(version.strip().removeprefix("v").partition(".")[0])


def install(project: Path) -> None:
    """Make `node_modules` what the lock file says, unless it is already."""
    wanted = _fingerprint(project)
    with _locked(project / "package.json"):
        stamp = project / "node_modules" / ".installed"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        # No package here needs its install script.
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        run(project, "npm", "ci", *options, timeout=INSTALL_TIMEOUT)
        stamp.write_text(wanted)


def _fingerprint(project: Path) -> str:
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((project / name).read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all processes of this machine that lock the same file."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(
    project: Path,
    *command: str,
    env: Mapping[str, str] | None = None,
    timeout: float = RUN_TIMEOUT,
) -> str:
    """What the command printed; fails the test if it fails or takes too long.

    Commands of the project's packages are found as `npm run` finds them. Nothing that
    the command has started outlives it.
    """
    code, output = _finish(project, command, env, timeout)
    if code != 0:
        pytest.fail(f"`{' '.join(command)}` in {project.name}/ failed:\n{output}")
    return output


def _finish(
    project: Path,
    command: Sequence[str],
    env: Mapping[str, str] | None,
    timeout: float,
) -> tuple[int, str]:
    path = f"{project / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        command,
        cwd=project,
        env={**os.environ, "PATH": path, "NO_COLOR": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_all(process)
        output, _ = process.communicate()
        output += f"\nNot done within {timeout:g} s: killed."
    finally:
        _kill_all(process)
    return process.returncode, output


def _kill_all(process: subprocess.Popen[str]) -> None:
    """The process and all that it has started, as far as they still run."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


# --- vitest -------------------------------------------------------------------------


@dataclass(frozen=True)
class VitestFile:
    """What vitest found in one file."""

    name: str
    passed: int
    failures: tuple[str, ...]

    def check(self) -> None:
        """Fail unless there were tests and all have passed."""
        if self.failures:
            pytest.fail("\n\n".join(self.failures), pytrace=False)
        assert self.passed, f"{self.name} holds no tests"


def vitest_files(project: Path) -> list[str]:
    """The test files of a project, as paths below it."""
    found = (
        path.relative_to(project)
        for suffix in ("ts", "tsx")
        for path in project.rglob(f"*.test.{suffix}")
    )
    made = {"node_modules", "build"}
    return sorted(str(path) for path in found if made.isdisjoint(path.parts))


def run_vitest(
    project: Path,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = RUN_TIMEOUT,
) -> dict[str, VitestFile]:
    """Run all test files of a project; each one's results by its path below it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--reporter=default", "--reporter=json", f"--outputFile={report}"]
        command = ["vitest", "run", *options]
        code, output = _finish(project, command, env, timeout)
        if not report.is_file():
            pytest.fail(f"vitest in {project.name}/ did not report:\n{output}")
        files = json.loads(report.read_text())["testResults"]
    results = {}
    for file in files:
        name = str(Path(file["name"]).relative_to(project))
        results[name] = _read_results(name, file)
    if code != 0 and not any(result.failures for result in results.values()):
        # An error outside of all tests, such as an unhandled rejection.
        pytest.fail(f"vitest in {project.name}/ failed:\n{output}")
    return results


def _read_results(name: str, file: dict[str, Any]) -> VitestFile:
    tests = file["assertionResults"]
    failures = [
        "\n".join([f"{name}: {test['fullName']}", *test["failureMessages"]])
        for test in tests
        if test["status"] == "failed"
    ]
    if file["status"] == "failed" and not failures:
        failures = [f"{name}: {file['message']}"]  # it could not be loaded
    passed = sum(test["status"] == "passed" for test in tests)
    return VitestFile(name, passed, tuple(failures))
