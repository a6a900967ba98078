"""Abort controllers that only one process knows."""

from pathlib import Path

import pytest
from reviewed import SERVER, codes, found_in

KEPT = {
    "a field": "class A { private live = new Map<string, AbortController>(); }",
    "a typed field": "class A { live: Map<string, AbortController> = new Map(); }",
    "a record": "const live: Record<string, AbortController> = {};",
    "of objects": "const live = new Map<string, { stop: AbortController; n: X }>;",
    "without types": "const live = new Map();\nfunction run(id) {\n"
    "const c = new AbortController();\nlive.set(id, c); }",
}


@pytest.mark.parametrize("source", KEPT.values(), ids=KEPT)
def test_controllers_by_key_are_found(tmp_path: Path, source: str) -> None:
    (finding,) = found_in(tmp_path, {SERVER: source})
    assert finding.code == "abort-in-memory"
    assert "live`" in finding.seen


OTHERS = {
    "one of its own": "const c = new AbortController(); fetch(url, c);",
    "a parameter": "function stop(live: Map<string, AbortController>) {}",
    "another map": "const all = new Map<string, Task>(); const c: AbortController = x;",
    "Convex stops": "class A { live = new Map<string, AbortController>();\n"
    "stop(id) { client.mutation(api.streaming.stopTask, { taskId: id }); } }",
    "headers": "function f() { const c = new AbortController(); h.set('a', 'b'); }",
}


@pytest.mark.parametrize("source", OTHERS.values(), ids=OTHERS)
def test_others_are_left(tmp_path: Path, source: str) -> None:
    assert codes(tmp_path, source) == []


def test_the_frontends_are_its_own(tmp_path: Path) -> None:
    source = "const live = new Map<string, AbortController>();"
    assert codes(tmp_path, source, "apps/frontend/lib/fetch.ts") == []
    assert codes(tmp_path, source, "packages/ui/fetch.tsx") == []
