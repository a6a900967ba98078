"""All that a bench has measured."""

import json

from bench_samples import results

from kit.bench.results import machine


def test_results_are_json() -> None:
    found = json.loads(json.dumps(results().as_json()))
    assert found["streams"][0]["load"]["tokens"] == 200
    assert found["deployment"]["mutations_per_second"] == 3500


def test_figures_are_found_by_way_and_load() -> None:
    found = results()
    kit = found.figures("kit", streams=50)
    assert kit is not None
    assert (kit.way, kit.load.streams) == ("kit", 50)
    assert found.figures("kit", streams=3) is None
    assert len(list(found.matching("kit"))) == 4


def test_the_machine_is_told() -> None:
    told = machine()
    assert told["cores"] >= 1
    assert "aiohttp" in told["packages"]
