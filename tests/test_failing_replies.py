"""What goes wrong while a reply is written, over each wire and real processes.

Deployment, executor and provider are processes of their own. Whatever happens: the text
that came is kept, the message says why in words and in a kind of the closed list, and
the task goes on. How often the provider was asked shows that only calls without a first
chunk are tried again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from llm_helpers import model_named
from reply_stage import ReplyStage, reply_stage

from kit.errors import ERROR_KINDS, ErrorKind
from kit.llm.providers import PROVIDERS, ProviderName

pytestmark = pytest.mark.timeout(60)

MAX_STEPS = 3


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplyStage]:
    env = {
        "KIT_LLM_READ_TIMEOUT": "0.5",
        "KIT_TOOL_TIMEOUT_MS": "200",
        "KIT_MAX_STEPS": str(MAX_STEPS),
    }
    with reply_stage(tmp_path_factory.mktemp("data"), env) as stage:
        yield stage


@pytest.fixture
def stage(processes: ReplyStage) -> ReplyStage:
    return processes.open()


every_wire = pytest.mark.parametrize("wire", list(PROVIDERS))


# --- the model call ---------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What is scripted, and what has to come of it."""

    scenario: str
    kind: ErrorKind
    asked: int  # how often the provider is asked in all
    says: str = ""  # what the user is told, among others
    kinds: dict[str, ErrorKind] = field(default_factory=dict)  # where wires differ

    def kind_on(self, wire: ProviderName) -> ErrorKind:
        return self.kinds.get(wire, self.kind)


BY_WIRE: dict[str, ErrorKind] = {"anthropic": "overloaded"}

FAULTS = {
    "refused key": Fault("http-401", "auth", 1, "API_KEY"),
    "no credit": Fault("http-402", "billing", 1, "Add credit"),
    "no access": Fault("http-403", "forbidden", 1, "another model"),
    "no such model": Fault("http-404", "not-found", 1, "another model"),
    "rate limit": Fault(
        "http-429:retry-after=0.05", "rate-limit", 3, "asks to wait 0.05 s"
    ),
    "long rate limit": Fault(
        "http-429:retry-after=21", "rate-limit", 1, "more than the 20 s"
    ),
    "overloaded": Fault("http-529:retry-after=0.05", "overloaded", 3, "asks to wait"),
    "failing": Fault("http-500:retry-after=0.05", "server", 3, "the provider failed"),
    "error in the stream": Fault(
        "error-mid:tokens=20", "server", 1, "Send the message again", BY_WIRE
    ),
    "error before the first chunk": Fault(
        "error-mid:at=0", "server", 3, "Send the message again", BY_WIRE
    ),
    "cut": Fault("drop:tokens=20,pace=200", "connection", 1, "was cut"),
    "cut before the first chunk": Fault("drop:at=0", "connection", 3, "was cut"),
    "end without a terminal event": Fault(
        "eof:tokens=20", "interrupted", 1, "without its last event"
    ),
    "the same before the first chunk": Fault(
        "eof:at=0", "interrupted", 3, "without its last event"
    ),
    "stall": Fault("stall:tokens=20", "timeout", 1, "KIT_LLM_READ_TIMEOUT"),
    "stall before the first chunk": Fault(
        "stall:at=0", "timeout", 1, "nothing arrived for 0.5 s"
    ),
    "conversation too long": Fault(
        "text:context=1", "too-large", 1, "too long for the model"
    ),
}


@every_wire
@pytest.mark.parametrize("name", FAULTS)
def test_a_failing_call_keeps_its_text_and_says_why(
    stage: ReplyStage, wire: ProviderName, name: str
) -> None:
    fault = FAULTS[name]
    result = stage.ask(model_named(wire, fault.scenario))
    asked = stage.requests()
    assert len(asked) == fault.asked
    check_failed(stage, result, fault.kind_on(wire), kept="".join(asked[-1]["tokens"]))
    assert result["error"].startswith(f"{wire}: ")
    assert fault.says in result["error"]
    check_goes_on(stage, wire)


def check_failed(
    stage: ReplyStage, result: dict[str, Any], kind: ErrorKind, *, kept: str
) -> None:
    row, task = stage.messages()[-1], stage.task()
    assert (result["success"], result["status"]) == (False, "failed")
    assert result["errorKind"] == row["errorKind"] == kind
    assert kind in ERROR_KINDS
    assert result["text"] == row["content"] == kept
    assert (row["status"], row["error"]) == ("failed", result["error"])
    assert (task["status"], task["errorMessage"]) == ("FAILED", result["error"])
    assert row["finishReason"] == ("interrupted" if kind == "interrupted" else "error")
    *others, last = row["parts"]
    assert (last["type"], last["kind"], last["errorText"]) == (
        ("error", kind, result["error"])
    )
    assert "error" not in [part["type"] for part in others]
    # Words on one line, the last of which say what to do.
    assert "\n" not in result["error"]
    assert result["error"].endswith(".")


def check_goes_on(stage: ReplyStage, wire: ProviderName) -> None:
    again = stage.ask(model_named(wire, "text:tokens=3,context=200"))
    assert (again["success"], again["text"]) == (True, "Rain fell on")
    task = stage.task()
    assert (task["status"], task.get("errorMessage")) == ("COMPLETED", None)


@every_wire
def test_a_failure_that_passes_is_tried_again(
    stage: ReplyStage, wire: ProviderName
) -> None:
    model = model_named(wire, "flaky:fails=2,retry-after=0.3,tokens=3")
    result = stage.ask(model)
    assert (result["success"], result["text"]) == (True, "Rain fell on")
    first, second, third = stage.requests()
    assert third["status"] == 200
    # Not before the time that the provider asked for.
    assert second["receivedAt"] - first["endedAt"] > 0.29
    assert third["receivedAt"] - second["endedAt"] > 0.29


@every_wire
def test_a_prompt_that_is_too_long_does_not_stay_in_the_way(
    stage: ReplyStage, wire: ProviderName
) -> None:
    model = model_named(wire, "text:tokens=3,context=400")
    assert stage.ask(model, "first")["success"]
    too_long = stage.ask(model, "word " * 1000)
    check_failed(stage, too_long, "too-large", kept="")
    assert stage.ask(model, "third")["success"]


# --- tools ------------------------------------------------------------------------


@dataclass(frozen=True)
class ToolFault:
    scenario: str
    kind: ErrorKind
    prompt: str
    says: str
    tools: tuple[str, ...] = ("calculator",)


TOOL_FAULTS = {
    "raises": ToolFault("tool", "tool-failed", "“1 / 0”", "ZeroDivisionError"),
    "hangs": ToolFault(
        "tool", "tool-timeout", "wait 25 s", "within 0.2 s", ("wait_seconds",)
    ),
    "arguments are no JSON": ToolFault(
        "broken-tool", "tool-input", "2 + 3", "not JSON"
    ),
    "arguments are of wrong types": ToolFault(
        "wrong-tool", "tool-failed", "2 + 3", "must be a text"
    ),
    "does not exist": ToolFault("tool", "tool-unknown", "rain?", "no tool", ()),
}


@every_wire
@pytest.mark.parametrize("name", TOOL_FAULTS)
def test_what_a_tool_does_wrong_is_read_by_the_model(
    stage: ReplyStage, wire: ProviderName, name: str
) -> None:
    fault = TOOL_FAULTS[name]
    model = model_named(wire, fault.scenario)
    result = stage.ask(model, fault.prompt, tools=list(fault.tools))
    row = stage.messages()[-1]
    assert (result["success"], result["status"]) == (True, "complete")
    assert (result["error"], result["errorKind"]) == (None, None)
    # A call whose arguments cannot be used has no result: it says so itself.
    [failed] = [part for part in row["parts"] if "errorKind" in part]
    assert failed["errorKind"] == fault.kind
    assert failed["type"] == (
        "tool-call" if fault.kind == "tool-input" else TOOL_RESULT
    )
    assert fault.says in failed.get("resultText", failed.get("errorText"))
    assert "failed: " in row["content"]
    assert len(stage.requests()) == 2
    check_goes_on(stage, wire)


TOOL_RESULT = "tool-result"


@every_wire
def test_a_model_that_never_stops_calling_tools_is_stopped(
    stage: ReplyStage, wire: ProviderName
) -> None:
    model = model_named(wire, "tool:rounds=50")
    result = stage.ask(model, "2 + 3", tools=["calculator"])
    assert len(stage.requests()) == MAX_STEPS
    kept = "Let me ask `calculator`.\n" * MAX_STEPS
    check_failed(stage, result, "step-limit", kept=kept)
    assert f"in step {MAX_STEPS}" in result["error"]
    check_goes_on(stage, wire)
