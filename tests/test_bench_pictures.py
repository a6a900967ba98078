"""The pictures of a bench."""

from xml.etree import ElementTree

from bench_samples import results

from kit.bench.pictures import pictures
from kit.bench.results import Results


def texts(picture: str) -> set[str]:
    root = ElementTree.fromstring(picture)
    return {element.text or "" for element in root.iter() if element.text}


def test_each_is_an_svg_that_names_what_it_shows() -> None:
    found = pictures(results())
    assert list(found) == [
        *("latency", "concurrency", "bytes-pushed", "bytes-written"),
        *("flush-interval", "append-cost"),
    ]
    ways = {"bare Socket.IO", "Socket.IO + SQL", "guide on Convex", "kit on Convex"}
    for name in ("latency", "concurrency", "bytes-pushed"):
        assert ways <= texts(found[name]), name
    assert "other tasks" in texts(found["append-cost"])


def test_what_has_less_than_two_points_is_not_drawn() -> None:
    assert pictures(Results()) == {}
    one_length = results()
    one_length.bytes = one_length.bytes[:4]
    one_length.intervals = one_length.intervals[:1]
    assert not {"bytes-pushed", "flush-interval"} & set(pictures(one_length))
