"""The comparison, as a notebook calls it."""

from typing import Any

import pytest
from bench_samples import results

from kit.bench.compare import Comparison, compare
from kit.errors import ConfigError


@pytest.mark.timeout(120)
async def test_one_call_measures_what_it_was_asked_for() -> None:
    begun: list[str] = []
    found = await compare(
        paces=(100.0, 0.0),
        concurrent=(1, 2),
        lengths=(20,),
        delays=(0.02,),
        byte_lengths=(20, 40),
        absence=0.3,
        ways=("sql", "guide", "kit"),
        on_step=begun.append,
    )
    figures = found.results.streams
    assert len(figures) == 5 * 3
    assert {figure.lost for figure in figures} == {0}
    late = [f for f in figures if f.load.delay]
    assert len(late) == 3
    for figure in late:
        assert figure.latency is not None
        assert figure.latency.percentiles[0] >= 20
    assert {seen.way for seen in found.results.away} == {"sql", "guide", "kit"}
    assert [row[0] for row in found.claims.rows] == [
        *("Streaming", "UI updates", "Data storage"),
        *("Real-time", "Code complexity", "Latency"),
    ]
    assert begun[0] == "starting the processes"
    page = found._repr_html_()
    for table in (found.latency, found.bytes, found.viewers, found.costs):
        assert table.title.replace("'", "&#x27;") in page
        assert table.title in repr(found)


def test_pictures_are_shown_with_what_they_show() -> None:
    found = Comparison(results())
    bundle = found.picture("latency")._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg")
    assert "tokens" in bundle["text/plain"]
    with pytest.raises(ConfigError, match=r"There are: latency, concurrency"):
        found.picture("nothing")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"paces": ()}, "paces is empty"),
        ({"paces": (-1,)}, "paces has -1"),
        ({"concurrent": (0,)}, "concurrent has 0"),
        ({"lengths": (10**9,)}, "lengths has"),
        ({"viewers": (0,)}, "viewers has 0"),
        ({"delays": (60.0,)}, "delays has 60.0"),
        ({"byte_lengths": (0,)}, "byte_lengths has 0"),
        ({"absence": -1.0}, "absence is -1.0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"ways": ("bare", "pigeon")}, "choose from bare, sql, guide, kit"),
        ({"ways": ()}, "choose from"),
    ],
)
async def test_what_cannot_be_measured_is_refused_at_once(
    wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        await compare(**wrong)
