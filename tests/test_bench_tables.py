"""The tables of a bench."""

from bench_samples import results

from kit.bench.results import Results
from kit.bench.tables import tables


def test_every_table_is_there_and_square() -> None:
    found = tables(results())
    assert [table.title for table in found] == [
        "Where it must be",
        "From the provider's token to the viewer's callback, ms",
        "What the processes cost",
        "Bytes per token",
        "Viewers that come and go",
        "Length of the conversation",
        "The kit's flush interval, at 50 tokens/s",
        "Many viewers of one reply",
        "What an append costs",
        "By itself",
    ]
    for table in found:
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.title


def test_what_was_not_measured_has_no_table_but_its_targets() -> None:
    assert [table.title for table in tables(Results())] == ["Where it must be"]


def rows(title: str) -> list[list[str]]:
    (table,) = [table for table in tables(results()) if table.title == title]
    return [list(row) for row in table.rows]


def test_a_stream_says_its_load_its_way_and_its_times() -> None:
    first = rows("From the provider's token to the viewer's callback, ms")[0]
    assert first == [
        *("200 tokens, 50/s", "bare Socket.IO", "1.0", "1.0", "1.0", "2.0", "1.0"),
        *("1.0", "50", "0"),
    ]


def test_bytes_stand_beside_documents_and_what_processes_wrote() -> None:
    found = {row[1]: row for row in rows("Bytes per token") if row[0] == "2,000"}
    assert found["kit on Convex"][2:] == ["50", "46", "9", "1.00", "40", "8,000"]
    assert found["bare Socket.IO"][2:] == ["50", "46", "9", "1.00", "", "8,000"]


def test_what_became_of_a_viewer_is_said_in_words() -> None:
    found = rows("Viewers that come and go")
    assert found == [
        [
            *("joins in the middle", "bare Socket.IO", "never"),
            *("500 of 1,000 characters", "500"),
        ],
        [
            *("is away for a while", "Socket.IO + SQL"),
            *("when the reply has ended, 2.0 s", "400 of 1,000 characters", "0"),
        ],
        [
            *("is away for a while", "kit on Convex", "after 0.25 s"),
            *("0 of 1,000 characters", "0"),
        ],
    ]
