"""The guide's claims beside what was measured."""

from bench_samples import figures, results

from kit.bench.claims import claims_table
from kit.bench.load import Load
from kit.bench.results import Results


def rows(found: Results) -> dict[str, tuple[str, str]]:
    """What was measured and what is said of it, by aspect."""
    return {row[0]: (row[2], row[3]) for row in claims_table(found).rows}


def test_every_aspect_of_the_guides_table_has_its_row() -> None:
    assert list(rows(results())) == [
        *("Streaming", "UI updates", "Data storage"),
        *("Real-time", "Code complexity", "Latency"),
    ]


def test_what_was_not_measured_has_none() -> None:
    assert list(rows(Results())) == ["Code complexity"]


def latency(sql: float, kit: float) -> str:
    found = Results(
        streams=[
            figures("sql", Load(), milliseconds=sql),
            figures("kit", Load(), milliseconds=kit),
            figures("sql", Load(streams=50), milliseconds=999.0),
            figures("kit", Load(streams=50), milliseconds=999.0),
        ]
    )
    return rows(found)["Latency"][1]


def test_latency_is_judged_by_one_reply() -> None:
    assert latency(150.0, 20.0) == "Before: yes. After: yes."
    assert "Before: not on one machine. After: yes. Convex is not" in latency(2.0, 20.0)
    assert "After: no." in latency(150.0, 60.0)


def test_a_few_late_tokens_are_not_hidden() -> None:
    found = Results(streams=[figures("sql", Load()), figures("kit", Load())])
    latency = found.streams[1].latency
    assert latency is not None
    object.__setattr__(latency, "p99", 70.0)
    assert "After: for half of the tokens." in rows(found)["Latency"][1]


def test_bytes_are_said_to_be_more_where_they_are() -> None:
    found = results()
    assert rows(found)["UI updates"][1] == "Yes."  # 60 and 50 bytes
    load = Load(9_000, 100.0, count_bytes=True)
    found.bytes.append(figures("kit", load, pushed_per_token=240.0))
    assert "at 4.0 times the bytes" in rows(found)["UI updates"][1]


def test_the_guides_way_is_compared_at_the_same_length() -> None:
    measured, said = rows(results())["Data storage"]
    assert "at 2,000 tokens: the kit 40, the guide's own code 9,000" in measured
    assert "225 times" in said


def test_who_was_away_decides_about_real_time() -> None:
    measured, said = rows(results())["Real-time"]
    assert "400 → 0 of 1,000 characters" in measured
    assert "only at the end → after 0.25 s" in measured
    assert said.startswith("Yes")
    worse = results()
    object.__setattr__(worse.away[1], "lost_live", 3)
    assert rows(worse)["Real-time"][1] == "No."
