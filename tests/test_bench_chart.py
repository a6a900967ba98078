"""The line chart."""

import re
from xml.etree import ElementTree

import pytest

from kit.bench.chart import HEIGHT, WIDTH, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def draw(**options: object) -> ElementTree.Element:
    series = options.pop("series", {"a": [(1.0, 10.0), (10.0, 1000.0)]})
    text = line_chart("T & t", series, x_label="<x>", y_label="y", **options)  # type: ignore[arg-type]
    return ElementTree.fromstring(text)


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def dots(root: ElementTree.Element) -> list[tuple[float, float]]:
    return [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in root.iter(f"{SVG}circle")
    ]


def test_it_names_what_it_shows() -> None:
    root = draw()
    assert {"T & t", "<x>", "y", "a"} <= set(texts(root))
    assert root.attrib["viewBox"] == f"0 0 {WIDTH} {HEIGHT}"


def test_larger_values_lie_higher_and_further_right() -> None:
    (left, low), (right, high) = dots(draw())
    assert left < right < WIDTH
    assert high < low < HEIGHT


def test_a_logarithmic_axis_spaces_powers_evenly() -> None:
    series = {"a": [(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)]}
    places = dots(draw(series=series, log_x=True, log_y=True))
    xs, ys = zip(*places, strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show() -> None:
    series = {"a": [(0.0, 5.0), (1.0, 5.0), (2.0, 0.0), (3.0, 7.0)]}
    assert len(dots(draw(series=series, log_x=True, log_y=True))) == 2


@pytest.mark.parametrize("log", [False, True])
def test_points_that_are_all_the_same_have_a_place(log: bool) -> None:
    series = {"a": [(5.0, 5.0), (5.0, 5.0)]}
    root = draw(series=series, log_x=log, log_y=log)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in dots(root))


def test_many_points_are_a_line_without_dots() -> None:
    series = {"a": [(float(x), float(x)) for x in range(100)]}
    root = draw(series=series)
    assert dots(root) == []
    longest = max((p.attrib["d"] for p in root.iter(f"{SVG}path")), key=len)
    assert len(re.findall("L", longest)) == 99


def test_a_limit_is_a_line_with_a_name_within_the_picture() -> None:
    series = {"a": [(0.0, 1.0), (1.0, 2.0)]}
    limited = draw(series=series, limit=(50.0, "too much"))
    assert "too much" in texts(limited)
    lines = [
        float(found[1])
        for path in limited.iter(f"{SVG}path")
        if (found := re.fullmatch(r"M\S+ ([\d.]+)H\S+", path.attrib["d"]))
        and path.attrib["stroke"] == "#222"
    ]
    assert len(lines) == 1
    assert 0 < lines[0] < HEIGHT
    # The axis reaches as far as the limit does.
    assert min(y for _, y in dots(limited)) > lines[0]


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        line_chart("none", {"a": []}, x_label="x", y_label="y")
