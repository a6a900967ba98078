"""`kit apply` as it is called: what it prints, writes and refuses."""

import io
from pathlib import Path

import pytest
from repositories import CHAT, change, commit, copy_monorepo, git, write
from rich.console import Console
from typescript import install_packages

from kit.apply import make_plan
from kit.apply.command import Request, apply
from kit.cli import main
from kit.errors import ConfigError
from kit.repo import Settings, locate, open_repository

URL = "http://x.test"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_monorepo(tmp_path)


def run(**given: object) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, width=200)
    status = apply(Request(**given), console)  # type: ignore[arg-type]
    return status, out.getvalue()


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_plan_comes_first_then_a_diff_per_step(root: Path) -> None:
    before = files(root)
    status, out = run(repo=root, option=1, deployment_url=URL)
    assert status == 0
    assert files(root) == before
    order = [
        "→ Functions",
        "→ Option 1, step 1",
        "→ Option 1, step 2",
        f"found   {CHAT}:44: the loop over the model's stream, in processMessage.",
        "→ Option 1, step 3",
        "\nFunctions: Bring",
        "+++ b/convex/schema.ts",
        f"+++ b/{CHAT}",
        "+      const convexReply = await tryConvexFirst({",
        "Nothing was written. With --write, it is.",
    ]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    assert "+++ b/convex/streaming.ts" not in out


def test_in_full_the_diff_is_one_that_git_applies(root: Path) -> None:
    _, out = run(repo=root, option=2, deployment_url=URL, full=True)
    patch = out[out.index("\nFunctions: Bring") :]
    lines = [line for line in patch.splitlines() if not line.startswith("Option ")]
    (root / "change.patch").write_text("\n".join(lines[2:-2]) + "\n")
    git(root, "apply", "--check", "change.patch")


def test_written_it_says_where_to_look(root: Path) -> None:
    status, out = run(repo=root, option=1, deployment_url=URL, write=True)
    assert status == 0
    assert "Written: 3 commits on kit/convex-option-1, from main." in out
    assert "TypeScript is not installed" in out
    status, out = run(repo=root, option=1, write=True)
    assert (status, out.splitlines()[-1]) == (0, "Nothing to do.")
    status, out = run(repo=root, rollback=True, write=True)
    assert status == 0
    assert git(root, "diff", "--stat", "main") == ""


def test_a_blocked_plan_is_not_written(root: Path) -> None:
    change(root, CHAT, "createMessageStream", "openStream")
    commit(root)
    status, out = run(repo=root, option=1, write=True)
    assert status == 1
    assert "✗ Option 1, step 2" in out
    assert "--server-file" in out
    assert git(root, "branch", "--show-current").strip() == "main"


@pytest.mark.timeout(300)
def test_types_are_compared_with_those_of_before(root: Path) -> None:
    install_packages(root)
    write(root, {"apps/server/src/old.ts": 'export const old: number = "text";\n'})
    # Who draws a part's arguments has something to do: their shape is another one.
    change(
        root,
        "apps/frontend/components/task-status.tsx",
        "  return <p",
        '  const part = task.streamingPartsMap.get("x");\n'
        '  if (part?.type === "tool-call") console.log(part.args);\n  return <p',
    )
    commit(root)
    status, out = run(repo=root, option=1, deployment_url=URL, write=True)
    assert status == 1
    assert "The type checker finds 1 more errors" in out
    assert "task-status.tsx: TS2339: Property 'args'" in out
    assert "old.ts" not in out
    assert "git switch main" in out


@pytest.mark.timeout(300)
def test_packages_to_install_are_no_errors_of_the_change(root: Path) -> None:
    install_packages(root)
    for name in ("ai", "zod"):
        (root / "node_modules" / name).unlink()
    commit(root)
    status, out = run(repo=root, option=1, deployment_url=URL, write=True)
    assert "modules of new packages are not installed yet" in out
    assert status in (0, 1)


def test_the_toml_file_says_where_things_are(root: Path, tmp_path: Path) -> None:
    config = tmp_path / "kit.toml"
    config.write_text(f'server_file = "{CHAT}"\n[names]\nserver_method = "nothing"\n')
    status, out = run(repo=root, option=1, config=config)
    assert status == 1
    assert f"was found in {CHAT}" in out
    config.write_text('[names]\nserver_method = "processMessage"\n')
    assert run(repo=root, option=1, config=config)[0] == 0


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('server_file = "../outside.ts"', "is outside of"),
        ('hook_file = "/etc/passwd"', "is outside of"),
        ('env_file = "../.env"', "is outside of"),
        ('convex = "../convex"', "is outside of"),
        ('serverfile = "x"', "`serverfile` is not known here"),
        ("server_file = 1", "must be a string"),
        ('[names]\nstop = "x"', "`stop` is not known"),
        ('[expressions]\nprompt = "a\\nb"', "must be one line"),
        ("names = 1", "must be a table"),
        ("= 1", "is not TOML"),
    ],
)
def test_a_toml_file_that_cannot_be_used(
    root: Path, tmp_path: Path, toml: str, said: str
) -> None:
    config = tmp_path / "kit.toml"
    config.write_text(toml)
    before = files(root)
    with pytest.raises(ConfigError, match=said):
        run(repo=root, option=1, config=config, write=True)
    assert files(root) == before


def test_what_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        run(repo=tmp_path / "nowhere", option=1)
    write(tmp_path, {"main.py": ""})
    with pytest.raises(ConfigError, match="holds no TypeScript"):
        run(repo=tmp_path, option=1)


def test_a_large_file_is_named_and_not_in_the_way(root: Path) -> None:
    large = b"// createMessageStream useTaskSocket\n" * 60_000
    write(root, {"apps/server/src/made.ts": large})
    status, out = run(repo=root, option=1)
    assert status == 0
    assert "Not looked into: apps/server/src/made.ts (large (2.1 MiB))" in out


def test_of_2000_files_only_those_that_matter_are_parsed(root: Path) -> None:
    lines = "".join(
        f"export const v{n} = (x: number) => x * {n};\n" for n in range(150)
    )
    for number in range(2000):
        name = f"apps/frontend/components/part-{number // 100}/view-{number}.tsx"
        write(root, {name: lines})
    repository = open_repository(root)
    plan = make_plan(locate(repository, Settings()), 2)
    assert not plan.blocked
    sources = [repository.source(file) for file in repository.typescript()]
    assert len(sources) > 2000
    # A tree is made when it is first asked for, and kept.
    parsed = [each for each in sources if each is not None and "tree" in vars(each)]
    assert 0 < len(parsed) < 20


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "--repo", str(root), "--option", "2"]) == 0
    assert "→ Option 2, step 2" in capsys.readouterr().out
    assert main(["apply", "--repo", str(root), "--rollback"]) == 2
    assert "nothing to roll back" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["apply", "--repo", str(root)])
