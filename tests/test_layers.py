"""Who imports whom: no circles, and the borders that keep pieces replaceable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kit"

# A module may import from its own layer or a lower one; the longest prefix decides.
LAYERS = {
    "kit.errors": 0,
    "kit.guide": 1,
    "kit.serving": 0,
    "kit.values": 1,
    "kit.parts": 1,
    "kit.deltas": 2,
    "kit.protocol": 2,
    "kit.llm": 2,
    "kit.client": 2,
    "kit.deployment": 3,
    "kit.writer": 3,
    "kit.agent": 3,
    "kit.convex": 4,
    "kit.app": 4,
    "kit.show": 5,
    "kit.repo": 5,
    "kit.stack": 5,
    "kit.widget": 5,
    "kit.apply": 6,
    "kit.checks": 6,
    "kit.deploy": 6,
    "kit.report": 6,
    "kit.timeline": 5,
    "kit.tour": 6,
    "kit.doctor": 6,
    "kit.bench": 6,
    "kit.drill": 6,
    "kit.explore": 6,
    "kit.lab": 7,
    "kit.cli": 7,
    "kit": 7,
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def layer(module: str) -> int:
    while module not in LAYERS:
        module = module.rpartition(".")[0]
    return LAYERS[module]


def imported_modules(path: Path) -> set[str]:
    known = {module_name(module) for module in MODULES}
    return {name for name in imports(path) if name in known and name != "kit"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_its_own_layer_or_lower(path: Path) -> None:
    own = layer(module_name(path))
    upward = {name for name in imported_modules(path) if layer(name) > own}
    assert not upward


def test_there_are_no_circles() -> None:
    graph = {module_name(path): imported_modules(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for target in graph.get(module, ()):
                if target != module:
                    visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def modules_importing(name: str) -> set[str]:
    return {
        module_name(path)
        for path in MODULES
        if any(found == name or found.startswith(f"{name}.") for found in imports(path))
    }


def test_only_two_modules_import_sqlite() -> None:
    assert modules_importing("sqlite3") == {
        "kit.deployment.checkpoints",
        "kit.deployment.sqlite_file",
    }


def test_only_the_worker_makes_an_official_client() -> None:
    assert {
        module_name(path) for path in MODULES if "ConvexClient(" in path.read_text()
    } == {"kit.client.worker"}


def test_only_the_model_layer_imports_a_provider_sdk() -> None:
    importers = modules_importing("anthropic") | modules_importing("openai")
    assert {module.rpartition(".")[0] for module in importers} == {"kit.llm"}


def test_client_and_deployment_do_not_know_each_other() -> None:
    for path in MODULES:
        name, targets = module_name(path), imported_modules(path)
        if name.startswith("kit.client"):
            assert not any(target.startswith("kit.deployment") for target in targets)
        if name.startswith("kit.deployment"):
            assert not any(
                target.startswith(("kit.client", "kit.convex")) for target in targets
            )


def test_only_the_blocking_client_applies_nest_asyncio() -> None:
    assert modules_importing("nest_asyncio") == {"kit.client.blocking"}
