"""SARIF: what the format demands of the parts that are used, and what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from kit.doctor.repository.findings import Found, Review
from kit.doctor.repository.rules import RULES
from kit.doctor.repository.sarif import as_sarif

# The official JSON schema of 2.1.0, as far as it is about what is written here: no
# other field is allowed, those without a default are required.

Level = Literal["none", "note", "warning", "error"]
Line = Annotated[int, Meta(ge=1)]
Reference = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~!$&'()*+,;=:@%/-]+$")]
Url = Annotated[str, Meta(pattern=r"^https://[^ ]+$")]


class Strict(Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class Message(Strict):
    text: str


class MultiformatMessage(Strict):
    text: str
    markdown: str | None = None


class Configuration(Strict):
    level: Level


class Descriptor(Strict):
    id: str
    short_description: MultiformatMessage
    full_description: MultiformatMessage
    help: MultiformatMessage
    default_configuration: Configuration


class Driver(Strict):
    name: str
    version: str
    rules: list[Descriptor]


class Tool(Strict):
    driver: Driver


class Notification(Strict):
    message: Message
    level: Level


class Invocation(Strict):
    execution_successful: bool
    tool_execution_notifications: list[Notification]


class ArtifactLocation(Strict):
    uri: Reference
    uri_base_id: str


class Region(Strict):
    start_line: Line


class PhysicalLocation(Strict):
    artifact_location: ArtifactLocation
    region: Region | None = None


class Location(Strict):
    physical_location: PhysicalLocation


class Result(Strict):
    rule_id: str
    rule_index: int
    level: Level
    message: Message
    locations: list[Location]
    partial_fingerprints: dict[str, str]


class Run(Strict):
    tool: Tool
    invocations: list[Invocation]
    column_kind: Literal["utf16CodeUnits", "unicodeCodePoints"]
    results: list[Result]


class Log(Struct, forbid_unknown_fields=True):
    version: Literal["2.1.0"]
    runs: list[Run]
    schema: Url = msgspec.field(name="$schema")


def run_of(review: Review) -> Run:
    data: Any = json.loads(json.dumps(as_sarif(review)))
    (run,) = msgspec.convert(data, type=Log).runs
    return run


FOUND = [
    Found("key-logged", "error", "apps/a b/[id]/ü.ts", 3, "`apiKey` is logged."),
    Found("key-logged", "error", "apps/a b/[id]/ü.ts", 9, "`apiKey` is logged."),
    Found("whole-rewrite", "note", "chat.ts", 7, "The loop writes `content`."),
    Found("deployment-refused", "error", ".env.local", None, "Refused."),
]
REVIEW = Review(FOUND, root="/home/somebody/app", unknown=["The URL. Give one."])


def test_it_is_what_the_format_demands() -> None:
    run = run_of(REVIEW)
    assert run.tool.driver.name == "kit doctor"
    assert len(run.results) == len(REVIEW)
    for result, finding in zip(run.results, REVIEW, strict=True):
        rule = run.tool.driver.rules[result.rule_index]
        assert rule.id == result.rule_id == finding.code
        assert result.level == finding.level
        assert finding.seen in result.message.text
        (location,) = result.locations
        where = location.physical_location
        assert unquote(where.artifact_location.uri) == finding.file
        assert where.artifact_location.uri_base_id == "%SRCROOT%"
        line = None if where.region is None else where.region.start_line
        assert line == finding.line


def test_a_rule_says_what_users_see_and_what_to_do() -> None:
    (rule,) = [r for r in run_of(REVIEW).tool.driver.rules if r.id == "whole-rewrite"]
    known = RULES["whole-rewrite"]
    assert known.effect in rule.help.text
    assert known.remedy in rule.help.text
    assert known.notebook in rule.help.text
    assert rule.default_configuration.level == "warning"


def test_a_finding_is_known_again_when_lines_have_moved() -> None:
    moved = [
        Found(each.code, each.level, each.file, each.line and each.line + 5, each.seen)
        for each in FOUND
    ]
    before = [result.partial_fingerprints for result in run_of(REVIEW).results]
    after = run_of(Review(moved, root="/elsewhere")).results
    assert [result.partial_fingerprints for result in after] == before
    prints = [json.dumps(each) for each in before]
    assert len(set(prints)) == len(prints)


def test_what_could_not_be_told_is_a_notification() -> None:
    (invocation,) = run_of(REVIEW).invocations
    (notification,) = invocation.tool_execution_notifications
    assert notification.message.text == "The URL. Give one."


def test_the_path_of_the_checkout_is_nowhere() -> None:
    assert "somebody" not in json.dumps(as_sarif(REVIEW))


def test_nothing_found_is_a_run_without_results() -> None:
    run = run_of(Review([], root=str(Path.cwd())))
    assert (run.results, run.tool.driver.rules) == ([], [])


def test_ids_of_rules_stay_the_same() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in RULES)
