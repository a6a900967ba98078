"""The drawing of a reply's parts: every update a tick, at its time."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

from kit.timeline import timeline

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg: str) -> dict[str, list[float]]:
    """The x of each tick by the row's label."""
    root = ET.fromstring(svg)
    found: dict[str, list[float]] = {}
    label = ""
    for element in root:
        if element.tag == f"{SVG}text" and element.get("text-anchor") == "end":
            label = element.text or ""
        path = element.get("d", "")
        if element.get("stroke-width"):
            found[label] = [float(x) for x in re.findall(r"M([\d.]+)", path)]
    return found


def test_each_update_is_a_tick_of_its_part_in_order() -> None:
    rows = drawn(timeline({"reasoning-0": [10.0, 10.5], "text-0": [11.0, 11.5, 12.0]}))
    assert list(rows) == ["reasoning-0", "text-0"]
    assert [len(ticks) for ticks in rows.values()] == [2, 3]
    ticks = rows["reasoning-0"] + rows["text-0"]
    gaps = [b - a for a, b in pairwise(ticks)]
    assert max(gaps) - min(gaps) < 0.2  # even times, even places


def test_what_the_provider_sent_stands_above_on_the_same_clock() -> None:
    rows = drawn(timeline({"text-0": [1.5, 2.0]}, sent=[1.0, 2.0]))
    assert list(rows) == ["sent by the provider", "text-0"]
    assert rows["sent by the provider"][1] == rows["text-0"][1]


def test_a_long_name_keeps_its_ends() -> None:
    (label,) = drawn(timeline({"toolu_0123456789_0123456789-result": [1.0]}))
    assert label == "toolu_01234…789-result"


def test_names_are_escaped_and_nothing_is_drawn_of_nothing() -> None:
    assert list(drawn(timeline({"<b>&": [1.0]}))) == ["<b>&"]
    assert drawn(timeline({})) == {}
