"""All detectors over one repository."""

from pathlib import Path

import pytest
from repositories import CHAT, copy_monorepo, git, write
from reviewed import reading_of

from kit.apply import make_plan, plan_rollback, write_plan
from kit.doctor.repository import examine_repository
from kit.doctor.repository.examination import read_code
from kit.doctor.repository.reading import Reading
from kit.errors import ConfigError
from kit.repo import Settings, locate, open_repository

NO_ENV = {"PATH": ""}


async def test_the_fixture_before_the_migration(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path)
    review = await examine_repository(root)
    assert review.state == "before"
    assert [(each.code, each.level) for each in review] == [
        ("abort-in-memory", "warning"),
        ("streaming-row-left", "warning"),
        ("whole-rewrite", "note"),
        ("text-over-socket", "note"),
    ]
    lines = (root / CHAT).read_text().splitlines()
    (rewrite,) = review.of("whole-rewrite")
    assert "prisma.chatMessage.update" in lines[(rewrite.line or 0) - 1]
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
async def test_formatting_does_not_matter(
    tmp_path: Path, line_end: str, mark: str
) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    plain = [(each.code, each.where) for each in read_code(reading_of(root))]
    text = (root / CHAT).read_text().replace("  ", "\t")
    write(root, {CHAT: (mark + text.replace("\n", line_end)).encode()})
    assert [(each.code, each.where) for each in read_code(reading_of(root))] == plain


async def test_what_kit_apply_brings_is_not_found_fault_with(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path)
    before = read_code(reading_of(root))
    known = {each.code for each in before}
    for option, state in ((1, "option-1"), (2, "option-2")):
        layout = locate(open_repository(root), Settings())
        write_plan(make_plan(layout, 1 if option == 1 else 2))
        reading = Reading(locate(open_repository(root), Settings()))
        assert reading.state == state
        new = {each.code for each in read_code(reading)} - known
        left = {"event-handled", "sql-write"} if option == 2 else set()
        # On purpose: the guide has keys as arguments, listeners stay for a rollback.
        assert new == {"key-in-arguments"} | left
    assert all(each.level == "note" for each in read_code(reading))
    write_plan(plan_rollback(open_repository(root)), rollback=True)
    assert read_code(reading_of(root)) == before


async def test_what_is_not_found_is_said(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    (root / CHAT).unlink()
    review = await examine_repository(root, env=NO_ENV)
    assert review.state == "unclear"
    assert any("createMessageStream" in text for text in review.unknown)
    write(root, {"big.ts": b"\xff\xfe createMessageStream"})
    review = await examine_repository(root, env=NO_ENV)
    assert any("big.ts: not UTF-8" in text for text in review.unknown)


async def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no TypeScript"):
        await examine_repository(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        await examine_repository(tmp_path / "none")
    root = copy_monorepo(tmp_path)
    with pytest.raises(ConfigError, match="outside of"):
        await examine_repository(root, settings=Settings(server_file="../x.ts"))


async def test_many_files_are_read_once(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    for number in range(2000):
        source = f"export const key{number} = (apiKey: string) => apiKey.length;\n"
        write(root, {f"packages/p{number % 50}/src/m{number}.ts": source * 20})
    review = await examine_repository(root, env=NO_ENV)
    assert len(review) == 4
