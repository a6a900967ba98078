"""A plan as a notebook shows it."""

from pathlib import Path

from repositories import CHAT, copy_monorepo

from kit.apply import Plan, make_plan
from kit.apply.shown import FoldedDiff, PlanTable, show_plan
from kit.repo import Settings, locate, open_repository
from kit.show import CHANGE_MIME


def plan_of(root: Path) -> Plan:
    layout = locate(open_repository(root), Settings())
    return make_plan(layout, 1, deployment_url="http://127.0.0.1:3210")


def test_the_table_says_what_is_found_changed_and_left(tmp_path: Path) -> None:
    plan = plan_of(copy_monorepo(tmp_path))
    table, *diffs = show_plan(plan)
    assert isinstance(table, PlanTable)
    for shown in table._repr_mimebundle_().values():
        shown = shown.replace("<wbr>", "").replace("<code>", "`")
        for step in plan.steps:
            assert step.name in shown
            assert step.title in shown
        assert f"{CHAT}" in shown
        assert "files of the kit" in shown
        assert "apps/frontend/.env.local (new)" in shown
    assert len(diffs) == len(plan.steps)


def test_a_diff_is_folded_and_belongs_to_its_step(tmp_path: Path) -> None:
    _, functions, _, server, _ = show_plan(plan_of(copy_monorepo(tmp_path)))
    assert isinstance(server, FoldedDiff)
    bundle = server._repr_mimebundle_()
    assert bundle["text/html"].startswith("<details><summary>Option 1, step 2")
    assert bundle[CHANGE_MIME]["step"] == "Option 1, step 2"
    assert f"+++ b/{CHAT}" in bundle["text/plain"]
    # Copies of the kit's own files are not shown line by line.
    assert "convex-streaming.ts\n" not in bundle["text/plain"]
    # Bringing the functions is no step of the guide.
    assert CHANGE_MIME not in functions._repr_mimebundle_()


def test_what_stops_a_plan_is_shown(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path)
    (root / CHAT).unlink()
    table, *_ = show_plan(plan_of(root))
    for shown in table._repr_mimebundle_().values():
        assert "✗" in shown
        assert "createMessageStream" in shown
