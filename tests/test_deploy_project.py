"""The folder that Convex's CLI runs in: laid out, installed, kept from harm."""

import json
import os
from pathlib import Path

import pytest
from convex_functions import FOLDER as FUNCTIONS

from kit.deploy import project
from kit.deployment.functions import FunctionRegistry
from kit.errors import ConfigError


def modules(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.ts")}


def test_a_project_has_the_functions_in_a_folder_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "project"
    project.lay_out(folder)
    found = modules(folder / "convex")
    assert {"schema.ts", "tasks.ts", "crons.ts", "lib/writer.ts"} <= found
    assert "_generated/api.d.ts" in found
    assert not {name for name in found if name.endswith((".test.ts", ".runner.ts"))}
    # Else the CLI would take each package for functions.
    assert not (folder / "convex" / "node_modules").exists()
    assert not (folder / "convex" / "package.json").exists()
    assert (folder / "convex" / "tsconfig.json").exists()
    assert "convex" in json.loads((folder / "package.json").read_text())["dependencies"]
    assert (folder / "package-lock.json").exists()


def test_laid_out_again_it_has_what_the_functions_are_now(tmp_path: Path) -> None:
    project.lay_out(tmp_path)
    (tmp_path / "convex" / "gone.ts").write_text("export {};")
    (tmp_path / "convex" / "tasks.ts").write_text("// edited")
    packages = tmp_path / "node_modules"
    packages.mkdir()
    project.lay_out(tmp_path)
    assert "gone.ts" not in modules(tmp_path / "convex")
    assert (tmp_path / "convex" / "tasks.ts").read_text() != "// edited"
    assert packages.exists()


def test_configurations_are_copied_and_tests_are_not(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("lib", "_generated"):
        (source / name).mkdir(parents=True)
    for name in ("auth.config.ts", "tasks.ts", "tasks.test.ts", "vitest.config.ts"):
        (source / name).write_text("export {};")
    (source / "package.json").write_text('{"name": "mine"}')
    (source / "tsconfig.json").write_text("{}")
    project.lay_out(tmp_path / "out", source)
    assert modules(tmp_path / "out" / "convex") == {"auth.config.ts", "tasks.ts"}


@pytest.mark.parametrize("package", [None, '{"name": "my-app"}', "[]", "no JSON"])
def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, package: str | None
) -> None:
    functions = tmp_path / "convex" / "mine.ts"
    functions.parent.mkdir()
    functions.write_text("export {};")
    if package is not None:
        (tmp_path / "package.json").write_text(package)
    with pytest.raises(ConfigError, match="holds something else"):
        project.lay_out(tmp_path)
    assert functions.exists()


def test_the_functions_themselves_are_left_alone() -> None:
    with pytest.raises(ConfigError, match="holds something else"):
        project.lay_out(project.SOURCE)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Choose another folder with --folder"):
        project.lay_out(tmp_path / "file" / "project")


def test_a_read_only_installation_gives_a_project_that_can_be_written(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    project.lay_out(source)  # any copy will do
    installed = source / "convex"
    for name in ("package.json", "package-lock.json"):
        (source / name).rename(installed / name)
    for path in [installed, *installed.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        folder = tmp_path / "project"
        project.lay_out(folder, installed)
        project.lay_out(folder, installed)
        for path in [folder, *folder.rglob("*")]:
            assert path.stat().st_mode & 0o200, path
    finally:
        for path in [installed, *installed.rglob("*")]:
            path.chmod(0o755)


def test_the_public_functions_are_those_that_the_embedded_deployment_has() -> None:
    registry = FunctionRegistry.load(FUNCTIONS)
    public = {
        str(p) for p, function in registry.functions.items() if not function.internal
    }
    assert set(project.public_functions()) == public


def test_missing_programs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"node, npm, npx not found.*Install Node"):
        project.require_node({"PATH": str(tmp_path)})
    with pytest.raises(ConfigError, match="npm not found"):
        project.run(["npm", "ci"], tmp_path, {"PATH": str(tmp_path)})


def test_packages_are_there_once_npm_has_succeeded(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    project.lay_out(folder)
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\n[ "$1" = ci ] && mkdir node_modules\n')
    npm.chmod(0o755)
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert not project.has_packages(folder)
    project.install(folder, env)
    assert project.has_packages(folder)
    lock = folder / "node_modules" / ".installed"
    lock.write_text("those of another version")
    assert not project.has_packages(folder)


def test_packages_that_npm_cannot_install(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    project.lay_out(folder)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexit 7\n")
    npm.chmod(0o755)
    with pytest.raises(ConfigError, match=r"ended with status 7.*Nothing was deployed"):
        project.install(folder, {"PATH": str(tmp_path)})
    assert not project.has_packages(folder)
