"""The kit's functions beside a repository's own modules."""

import json
from pathlib import Path

import pytest
from repositories import apply_plan, change, copy_monorepo, write
from typescript import install_packages

from kit.apply import Plan, make_plan
from kit.apply.packages import needed_packages
from kit.apply.types import check_types
from kit.repo import Settings, locate, open_repository

TASKS = """\
import { query } from "./_generated/server";

export const mine = query({ args: {}, handler: async () => 1 });
"""
CRONS = """\
import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const jobs = cronJobs();
jobs.interval("look at notes", { hours: 2 }, internal.cleaning.run, {});

export default jobs;
"""
CLEANING = """\
import { internalMutation } from "./_generated/server";

export const run = internalMutation({ args: {}, handler: async () => null });
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_monorepo(tmp_path, committed=False)


def plan_for(root: Path) -> Plan:
    return make_plan(locate(open_repository(root, env={"PATH": ""}), Settings()), 1)


def test_modules_that_clients_call_keep_their_names(root: Path) -> None:
    apply_plan(plan_for(root))
    for name in ("tasks", "messages", "streaming", "contract", "crons"):
        text = (root / f"convex/{name}.ts").read_text()
        assert '"./lib/' not in text
    assert (root / "convex/streamingKit/llm/route.ts").is_file()
    assert not (root / "convex/lib").exists()
    assert (root / "convex/notes.ts").is_file()


def test_modules_of_the_same_names_stay_and_export_the_kits(root: Path) -> None:
    write(root, {"convex/tasks.ts": TASKS})
    plan = plan_for(root)
    apply_plan(plan)
    text = (root / "convex/tasks.ts").read_text()
    assert text.startswith(TASKS)
    assert "create, get, " in text
    assert text.endswith('} from "./streamingKit/tasks";\n')
    inner = (root / "convex/streamingKit/tasks.ts").read_text()
    assert 'from "../_generated/server"' in inner
    assert 'from "./owners"' in inner
    assert plan_for(root).changes == ()


def test_functions_of_the_same_names_are_left_and_named(root: Path) -> None:
    write(root, {"convex/tasks.ts": TASKS.replace("mine", "list")})
    plan = plan_for(root)
    assert "called list" in "\n".join(plan.steps[0].todo)
    apply_plan(plan)
    text = (root / "convex/tasks.ts").read_text()
    exported = text[text.index("export {") :]
    assert " list" not in exported
    assert "create" in exported


def test_a_schedule_gets_one_more_line(root: Path) -> None:
    write(root, {"convex/crons.ts": CRONS, "convex/cleaning.ts": CLEANING})
    apply_plan(plan_for(root))
    text = (root / "convex/crons.ts").read_text()
    assert text.index("jobs.interval(\n") < text.index("export default jobs;")
    assert "internal.streaming.sweep" in text
    assert text.count("import { internal }") == 1
    assert not (root / "convex/streamingKit/crons.ts").exists()
    assert plan_for(root).changes == ()


@pytest.mark.timeout(300)
def test_with_modules_of_the_same_names_the_types_still_fit(root: Path) -> None:
    install_packages(root)
    write(
        root,
        {
            "convex/tasks.ts": TASKS,
            "convex/messages.ts": TASKS,
            "convex/crons.ts": CRONS,
            "convex/cleaning.ts": CLEANING,
        },
    )
    apply_plan(plan_for(root))
    found = check_types(root, [root])
    assert (found.errors, found.unchecked) == ({}, ())


def test_the_generated_types_name_all_modules(root: Path) -> None:
    apply_plan(plan_for(root))
    text = (root / "convex/_generated/api.d.ts").read_text()
    for name in ("notes", "streaming", "streamingKit_llm_route"):
        assert f"import type * as {name} from" in text
    assert '"streamingKit/llm/route": typeof streamingKit_llm_route;' in text
    assert "schema from" not in text.replace("streamingKit_schema from", "")


def test_generated_types_of_another_form_are_left(root: Path) -> None:
    api = "convex/_generated/api.d.ts"
    write(root, {api: "export declare const api: any;\n"})
    plan = plan_for(root)
    assert api not in {each.file for each in plan.changes}
    assert "npx convex codegen" in "\n".join(plan.steps[0].todo)


def test_a_repository_without_functions_gets_a_folder(root: Path) -> None:
    for path in sorted((root / "convex").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    apply_plan(plan_for(root))
    assert (root / "convex/schema.ts").is_file()
    assert (root / "convex/_generated/server.d.ts").is_file()
    api = (root / "convex/_generated/api.d.ts").read_text()
    assert "import type * as streaming from" in api
    assert "notes" not in api
    assert plan_for(root).changes == ()


# --- packages -------------------------------------------------------------------------


def test_packages_are_added_and_the_file_keeps_its_form(root: Path) -> None:
    before = (root / "package.json").read_text()
    apply_plan(plan_for(root))
    after = (root / "package.json").read_text()
    package = json.loads(after)
    wanted = {**needed_packages(), "convex": "^1.48.0"}
    assert package["dependencies"] == wanted
    assert [line for line in before.splitlines() if line not in after.splitlines()] == [
        '    "convex": "^1.48.0"'
    ]


def test_packages_in_other_versions_are_left_and_named(root: Path) -> None:
    change(root, "package.json", '"convex": "^1.48.0"', '"convex": "^1.4", "zod": "^3"')
    plan = plan_for(root)
    assert "package.json has zod ^3" in "\n".join(plan.steps[0].todo)
    apply_plan(plan)
    assert (
        json.loads((root / "package.json").read_text())["dependencies"]["zod"] == "^3"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "name": "x"\n}\n',
        '{"name": "x", "dependencies": {}}',
        '{"a": {"b": 1}}\r\n',
    ],
)
def test_a_package_file_of_any_form_stays_json(root: Path, text: str) -> None:
    write(root, {"package.json": text})
    apply_plan(plan_for(root))
    after = json.loads((root / "package.json").read_text())
    assert json.loads(text).items() <= {**after, "dependencies": {}}.items()
    listed = after.get("dependencies") or {}
    assert set(listed) in (set(), set(needed_packages()))


def test_a_package_file_that_is_no_json_blocks(root: Path) -> None:
    write(root, {"package.json": "{"})
    assert "cannot be read as a package.json" in "\n".join(
        plan_for(root).steps[0].blocked
    )
