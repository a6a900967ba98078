"""Whole replies that come out alike in both languages, over each wire.

`scenarios/replies/replies.json` says what the scripted provider is asked, and what
comes of it: the result and the log. It is played here on the Python
functions, and by vitest on the TypeScript ones (kit/convex/reply.runner.ts), which ask
through other SDKs.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from convex_functions import Functions
from llm_helpers import journal
from serving_app import serving

from kit.llm.scripted import create_app
from kit.parts import merge_chunks

PROMPT = "Please calculate “2 * (3 + 4)”."
KEYS = ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")

_FILE = Path(__file__).parent / "scenarios" / "replies" / "replies.json"
_ASKED = [
    pytest.param(case, provider, id=f"{case['name']}, {provider}")
    for case in json.loads(_FILE.read_text())
    for provider in case["models"]
]


@pytest.fixture
async def provider() -> AsyncIterator[str]:
    async with serving(create_app(pace=0.0)) as url:
        yield url


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path, ticking=True)
    yield functions
    functions.close()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("case", "name"), _ASKED)
async def test_reply(
    functions: Functions,
    provider: str,
    monkeypatch: pytest.MonkeyPatch,
    case: dict[str, Any],
    name: str,
) -> None:
    for variable in KEYS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KIT_SCRIPTED_URL", provider)
    for variable, value in case.get("env", {}).items():
        monkeypatch.setenv(variable, value.replace("<provider>", provider))
    outcome = await outcome_of(functions, provider, case, name)
    assert outcome == case["expect"][name]


async def outcome_of(
    functions: Functions, provider: str, case: dict[str, Any], name: str
) -> Any:
    """What both languages have in common."""
    task_id = functions.call("tasks:create", title="t")
    result = await functions.action(
        "streaming:streamChatWithTools",
        taskId=task_id,
        prompt=case.get("prompt", PROMPT),
        model=case["models"][name],
        **case.get("args", {}),
    )
    chunks = [c for row in functions.rows("streamDeltas") for c in row["chunks"]]
    scrub = Scrubber(result["toolCallIds"], provider, case.get("open", ()))
    return scrub.value(
        {
            "success": result["success"],
            "status": result["status"],
            "finishReason": result["finishReason"],
            "error": result["error"],
            "errorKind": result["errorKind"],
            "asked": len(await journal(provider)),
            "calls": len(result["toolCallIds"]),
            "usage": result["usage"],
            "chunks": settled(merge_chunks(chunks)),
        }
    )


def settled(chunks: Iterable[Any]) -> list[Any]:
    """Results of one step come in any order: here, by their calls' ids."""
    ordered: list[Any] = []
    for is_result, run in groupby(chunks, key=_is_result):
        together = list(run)
        if is_result:
            together.sort(key=itemgetter("toolCallId"))
        ordered += together
    return ordered


def _is_result(chunk: Any) -> bool:
    return chunk["type"] in ("tool-output-available", "tool-output-error")


class Scrubber:
    """Takes out what depends on the text of requests, which two SDKs write differently
    (the count of its tokens, ids and encrypted reasoning made from it), and on the
    parser of JSON."""

    def __init__(self, calls: Sequence[str], url: str, more: Sequence[str]) -> None:
        self._calls = calls
        self._url = url
        self._open = ("promptTokens", "totalTokens", "cost", *more)

    def value(self, value: Any) -> Any:
        match value:
            case str():
                return self._text(value)
            case list():
                return [self.value(item) for item in value]
            case dict():
                return {
                    name: "open" if name in self._open else self.value(field)
                    for name, field in value.items()
                }
            case _:
                return value

    def _text(self, text: str) -> str:
        for index, call in enumerate(self._calls):
            text = text.replace(call, f"call-{index}")
        text = text.replace(self._url, "<provider>")
        text = text.replace(self._url.removeprefix("http://"), "<provider>")
        text = re.sub(r"redacted-[0-9a-f]{40}", "redacted-data", text)
        text = re.sub(r"\b\d+ (tokens|of text input)", r"N \1", text)
        return re.sub(r"(the arguments are not JSON): [^`\n]*", r"\1", text)
