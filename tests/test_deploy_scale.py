"""What many replies need, from operations that are measured here."""

import re
from pathlib import Path

import pytest

from kit.bench.store import KIT, Counts, open_store
from kit.bench.table import as_markdown
from kit.deploy import scale
from kit.deploy.scale import S16, S256, Load, limits_of, need_of, scale_table

README = (Path(__file__).parent.parent / "README.md").read_text()
TEXT = "x" * 20


def test_the_operations_of_an_append_are_what_the_functions_do() -> None:
    appends = 100
    with open_store(KIT) as store:
        stream = store.begin(store.create_task())
        store.append(stream, 0, [{"type": "text-start", "id": "text-0"}])
        before = store.counts
        for seq in range(1, appends + 1):
            delta = {"type": "text-delta", "id": "text-0", "delta": TEXT}
            store.append(stream, seq, [delta])
        done = store.counts.since(before)
        assert done.documents_written == 2 * appends
        written = done.bytes_written / appends - len(TEXT)
        assert written == pytest.approx(scale.BYTES_WRITTEN, rel=0.05)
        assert done.bytes_read / appends == pytest.approx(scale.BYTES_READ, rel=0.05)

        def read(page: int) -> Counts:
            before = store.counts
            args = {"streamId": stream, "page": float(page)}
            assert store.engine.run_query("streaming:read", args).error is None
            return store.counts.since(before)

        assert read(1_000).bytes_read == pytest.approx(scale.STREAM_BYTES, rel=0.05)
        full = (read(5).bytes_read - read(1_000).bytes_read) / 4 - len(TEXT)
        assert full == pytest.approx(scale.DELTA_BYTES, rel=0.05)


def test_appends_come_no_faster_than_tokens_intervals_and_answers() -> None:
    assert need_of(100, Load()).appends == pytest.approx(10)
    assert need_of(5, Load(mutation_seconds=0.001)).appends == pytest.approx(50)
    assert need_of(5, Load(mutation_seconds=0.2)).appends == pytest.approx(5)
    assert need_of(100, Load(pace=2)).appends == pytest.approx(2)


def test_viewers_cost_calls_and_no_executions() -> None:
    few, many = need_of(100, Load(viewers=1)), need_of(100, Load(viewers=100))
    assert few.executions == many.executions == pytest.approx(12.5)
    assert few.calls == pytest.approx(10 * 2.25)
    assert many.calls == pytest.approx(10 * 126)


def test_a_longer_interval_needs_less_of_everything() -> None:
    needs = [need_of(interval, Load()) for interval in scale.INTERVALS_MS]
    for name in ("appends", "calls", "executions", "written", "io"):
        found = [getattr(need, name) for need in needs]
        assert found == sorted(found, reverse=True), name


def test_each_limit_can_be_the_first_to_be_reached() -> None:
    def tightest(interval: float, load: Load) -> str:
        allowed = limits_of(need_of(interval, load), S16)
        return min(allowed, key=lambda what: allowed[what])

    assert tightest(50, Load()) == "queries"
    assert tightest(500, Load()) == "actions"
    assert tightest(500, Load(viewers=50)) == "sessions"
    assert tightest(500, Load(pace=50_000)) == "bytes written"
    allowed = limits_of(need_of(100, Load()), S16)
    assert allowed["mutations"] == 80
    assert allowed["queries"] == 64
    assert limits_of(need_of(100, Load()), S256)["mutations"] == 16 * 80


@pytest.mark.parametrize("viewers", [1, 10])
def test_the_readme_shows_the_table(viewers: int) -> None:
    shown = re.search(
        rf"<!-- scale {viewers} -->\n(.*?)\n<!-- /scale -->", README, re.DOTALL
    )
    assert shown is not None
    _, _, table = as_markdown(scale_table(Load(viewers=viewers))).partition("\n\n")
    assert shown[1].strip() == table.partition("\n\n")[0].strip()
