from collections.abc import Callable
from typing import Any

import pytest

from kit.deployment.failures import UsageError
from kit.deployment.index_keys import END, UNSET, encode_key, past
from kit.deployment.index_ranges import IndexRange
from kit.deployment.tables import Index
from kit.values import ConvexInt64

INDEX = Index(1, "by_a_b", ("a", "b"))
ID, INTERNAL_ID = "j57000820c20a1g7104gm2rc1m70ynr8", bytes(range(16))
SEE = "For more information see https://docs.convex.dev/using/indexes."


def key(*values: Any) -> bytes:
    return encode_key(values)


@pytest.mark.parametrize(
    ("build", "low", "high"),
    [
        (lambda q: q, b"", END),
        (lambda q: q.eq("a", 1), key(1.0), past(key(1.0))),
        (lambda q: q.eq("b", 2).eq("a", 1), key(1.0, 2.0), past(key(1.0, 2.0))),
        (lambda q: q.gt("a", 1), past(key(1.0)), END),
        (lambda q: q.gte("a", 1), key(1.0), END),
        (lambda q: q.lt("a", 1), b"", key(1.0)),
        (lambda q: q.lte("a", 1), b"", past(key(1.0))),
        (
            lambda q: q.eq("a", "x").gte("b", 1).lt("b", 4),
            key("x", 1.0),
            key("x", 4.0),
        ),
        (
            lambda q: q.eq("a", 1).eq("b", 2).lte("_creationTime", 3),
            key(1.0, 2.0),
            past(key(1.0, 2.0, 3.0)),
        ),
        (lambda q: q.eq("a", UNSET), key(UNSET), past(key(UNSET))),
        (lambda q: q.gt("a", UNSET), past(key(UNSET)), END),
        (
            lambda q: q.eq("a", 1).eq("b", 2).eq("_creationTime", 3).gt("_id", ID),
            past(key(1.0, 2.0, 3.0) + INTERNAL_ID),
            past(key(1.0, 2.0, 3.0)),
        ),
        # Nothing can be in it, but never back to front.
        (lambda q: q.gt("a", 5).lt("a", 3), past(key(5.0)), past(key(5.0))),
    ],
)
def test_a_range_is_an_interval_of_keys(
    build: Callable[[IndexRange], IndexRange], low: bytes, high: bytes
) -> None:
    assert build(IndexRange()).interval(INDEX, "t.by_a_b") == (low, high)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (
            lambda q: q.eq("b", 1),
            (
                "Tried to query index t.by_a_b but the query didn't use the index "
                'fields in order.\nIndex fields: ["a", "b", "_creationTime"]\n'
                f'Query fields: ["b"]\nFirst incorrect field: "b"\n{SEE}'
            ),
        ),
        (
            lambda q: q.eq("a", 1).gt("_creationTime", 1),
            (
                'Query fields: ["a", "_creationTime"]\n'
                'First incorrect field: "_creationTime"'
            ),
        ),
        (
            lambda q: q.eq("c", 1),
            (
                'The index range included a comparison with "c", but t.by_a_b with '
                f'fields ["a", "b", "_creationTime"] doesn\'t index this field. {SEE}'
            ),
        ),
        (
            lambda q: q.gt("a", 1).gte("a", 1),
            'Already defined lower bound in index range. Can\'t add "a" >= 1.0.',
        ),
        (
            lambda q: q.lt("a", 1).lte("a", "x"),
            'Already defined upper bound in index range. Can\'t add "a" <= "x".',
        ),
        (
            lambda q: q.eq("a", 1).eq("a", UNSET),
            (
                "Already defined equality bound in index range. "
                'Can\'t add "a" == undefined.'
            ),
        ),
        (
            lambda q: q.gt("a", 1).eq("a", 2),
            'Already defined inequality bound in index range. Can\'t add "a" == 2.0.',
        ),
        (
            lambda q: q.gt("a", 1).lt("b", 2),
            (
                "Upper and lower bounds in `range` can only be applied to a single "
                "index field. This query against index t.by_a_b attempted to set a "
                'range bound on both "a" and "b". Consider using `filter` instead.'
            ),
        ),
        (lambda q: q.eq("a", {1}), "Invalid bound in index range: set is not a supp"),
    ],
)
def test_a_range_that_does_not_fit_the_index_is_told_as_convex_does(
    build: Callable[[IndexRange], IndexRange], problem: str
) -> None:
    with pytest.raises(UsageError) as error:
        build(IndexRange()).interval(INDEX, "t.by_a_b")
    assert problem in str(error.value)


def test_a_dotted_field_is_a_field_of_the_index() -> None:
    index = Index(1, "by_a_b", ("a.b", "c"))
    chosen = IndexRange().eq("a.b", 1).lt("c", 2)
    assert chosen.interval(index, "t.by_a_b") == (key(1.0), key(1.0, 2.0))


def test_a_range_has_one_json_however_it_was_built() -> None:
    built = IndexRange().gt("c", UNSET).eq("b", 2).eq("a", ConvexInt64(1)).lte("c", 4)
    again = IndexRange().eq("a", ConvexInt64(1)).eq("b", 2.0).lte("c", 4).gt("c", UNSET)
    assert built.to_json() == again.to_json()
    assert built.to_json() == [
        ["a", "==", {"$integer": "AQAAAAAAAAA="}],
        ["b", "==", 2.0],
        ["c", ">", {"$undefined": None}],
        ["c", "<=", 4.0],
    ]
    assert IndexRange().gt("c", 1).to_json() != IndexRange().gte("c", 1).to_json()


def test_by_id_takes_ids() -> None:
    by_id = Index(2, "by_id", ())
    assert IndexRange().eq("_id", ID).interval(by_id, "t.by_id") == (
        INTERNAL_ID,
        past(INTERNAL_ID),
    )
    with pytest.raises(UsageError, match="Invalid `_id` in index range"):
        IndexRange().eq("_id", "x").interval(by_id, "t.by_id")
    with pytest.raises(UsageError, match="doesn't index this field"):
        IndexRange().eq("a", "x").interval(by_id, "t.by_id")
