"""The pure helpers whose results must not depend on the language.

`scenarios/helpers/helpers.json` holds, by helper, pairs of arguments and result. They
are checked here on the Python helpers, and by vitest on their TypeScript twins
(kit/convex/helpers.test.ts).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError

from kit.agent.steps import Ids, StepChunks
from kit.convex._settings import Settings
from kit.convex._tools import calculate, search_guide
from kit.deltas import TextRepair, take_batch
from kit.errors import ConfigError, LLMError
from kit.llm.route import route
from kit.llm.secret import redact
from kit.parts import Chunk, PartsFold, add_usage

_FILE = Path(__file__).parent / "scenarios" / "helpers" / "helpers.json"
_CASES = [
    pytest.param(helper, args, expected, id=f"{helper} {index}")
    for helper, cases in json.loads(_FILE.read_text()).items()
    for index, (args, expected) in enumerate(cases)
]


@pytest.mark.parametrize(("helper", "args", "expected"), _CASES)
def test_helper(helper: str, args: list[Any], expected: Any) -> None:
    assert HELPERS[helper](*args) == expected


def _route(model: str, keys: dict[str, str | None], env: dict[str, str]) -> Any:
    try:
        chosen = route(model, keys, env)
    except LLMError as error:
        return f"{error.kind}: {error}"
    except ConfigError as error:
        return f"config: {error}"
    return {
        "provider": chosen.provider,
        "model": chosen.model,
        "key": chosen.api_key.reveal(),
        "baseUrl": chosen.base_url,
        "readTimeout": chosen.read_timeout,
    }


def _settings(env: Mapping[str, str]) -> Any:
    try:
        settings = Settings.read(env)
    except ConvexError as error:
        return error.data
    return [
        settings.flush_interval_ms,
        settings.lease_ms,
        settings.tool_timeout_ms,
        settings.max_steps,
    ]


def _told(run: Callable[[], Any]) -> str:
    """What a tool returns, or how it fails, as a viewer is shown it."""
    try:
        return json.dumps(run(), ensure_ascii=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _fold(chunks: Iterable[Chunk], reason: str | None) -> Any:
    fold = PartsFold(chunks)
    if reason is not None:
        fold.close(reason)
    return [fold.snapshot(), fold.content()]


def _repair(chunks: Iterable[Chunk]) -> list[Chunk]:
    repair = TextRepair()
    repaired = [clean for chunk in chunks for clean in repair.repair(chunk)]
    return repaired + list(repair.rest())


def _steps(steps: Iterable[Iterable[Chunk]], reason: str | None) -> list[Chunk]:
    ids = Ids()
    written: list[Chunk] = []
    for chunks in steps:
        step = StepChunks(ids, max_input=100)
        for chunk in chunks:
            written += step.take(chunk)
        if reason is not None:
            written += step.abandon(reason)
    return written


def _batch(chunks: list[Chunk], max_bytes: int) -> Any:
    batch, rest = take_batch(chunks, max_bytes)
    return [batch, list(rest)]


HELPERS: dict[str, Callable[..., Any]] = {
    "route": _route,
    "settings": _settings,
    "redact": lambda text, secrets: redact(text, *secrets),
    "calculator": lambda text: _told(lambda: calculate({"expression": text})),
    "search_guide": lambda text: _told(lambda: search_guide({"query": text})),
    "fold": _fold,
    "repair": _repair,
    "steps": _steps,
    "batch": _batch,
    "usage": add_usage,
}
