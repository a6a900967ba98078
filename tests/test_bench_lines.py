"""Lines of code, counted."""

import pytest

from kit.bench.lines import COUNTED, code_lines, lines_table, streaming_lines

SOURCE = '''"""Module."""

# A comment.
import os  # counts


def f(
    a: int,
) -> str:
    """Doc
    string."""

    # Another comment.
    text = """two
lines"""
    return text  # counts
'''


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    assert code_lines(SOURCE) == 1 + 3 + 2 + 1


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("", 0),
        ("# only a comment\n", 0),
        ('"""only a docstring"""\n', 0),
        ("x = 1\n", 1),
        ('x = "a string that is code"\n', 1),
        ('class A:\n    """Doc."""\n    x: int\n    """What x is."""\n', 2),
        ('f(\n    "an argument"\n)\n', 3),
        ('f("a")\n"""loose"""\n', 1),
    ],
)
def test_what_counts(source: str, lines: int) -> None:
    assert code_lines(source) == lines


def test_all_that_is_counted_exists_and_holds_code() -> None:
    found = streaming_lines()
    assert len(found) == sum(map(len, COUNTED.values()))
    assert all(one.lines > 0 for one in found)


def test_the_table_sums_what_it_lists() -> None:
    table = lines_table()
    assert [row[:2] for row in table.rows] == list(COUNTED)
    for way, place, _, lines in table.rows:
        here = [
            one for one in streaming_lines() if (one.way, one.place) == (way, place)
        ]
        assert int(lines.replace(",", "")) == sum(one.lines for one in here)
