"""Findings as SARIF 2.1.0, which code hosts show beside the lines of a review.

The format: OASIS, Static Analysis Results Interchange Format, version 2.1.0. Paths are
relative to the repository (`%SRCROOT%`), lines count from 1.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kit import __version__
from kit.doctor.repository.findings import Found, Review
from kit.doctor.repository.rules import Rule, rule_of

__all__ = ["as_sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"


def as_sarif(review: Review) -> dict[str, Any]:
    """One run with all findings, and the rules that they name.

    What could not be told is in the invocation's notifications. The repository's own
    path is left out: it says nothing elsewhere.
    """
    codes = list(dict.fromkeys(finding.code for finding in review))
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "kit doctor",
                        "version": __version__,
                        "rules": [_rule(code, rule_of(code)) for code in codes],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "note", "message": {"text": text}}
                            for text in review.unknown
                        ],
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": _results(review, codes),
            }
        ],
    }


def _rule(code: str, rule: Rule) -> dict[str, Any]:
    help_text = f"Users see: {rule.effect}\n\nTo do: {rule.remedy}"
    if rule.notebook:
        help_text += f"\n\nShown in notebook {rule.notebook}."
    return {
        "id": code,
        "shortDescription": {"text": _sentence(rule.title)},
        "fullDescription": {"text": rule.effect},
        "help": {"text": help_text, "markdown": help_text},
        "defaultConfiguration": {"level": rule.level},
    }


def _results(review: Review, codes: list[str]) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    results = []
    for finding in review:
        # Two alike in one file are told apart by their order.
        count = seen[finding.fingerprint] = seen.get(finding.fingerprint, 0) + 1
        results.append(_result(finding, codes.index(finding.code), count))
    return results


def _result(finding: Found, index: int, count: int) -> dict[str, Any]:
    rule = finding.rule
    where: dict[str, Any] = {
        "artifactLocation": {"uri": quote(finding.file), "uriBaseId": _ROOT}
    }
    if finding.line is not None:
        where["region"] = {"startLine": finding.line}
    text = f"{_sentence(rule.title)} {finding.seen} {rule.remedy}"
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.level,
        "message": {"text": text},
        "locations": [{"physicalLocation": where}],
        "partialFingerprints": {"kitFinding/v1": f"{finding.fingerprint}:{count}"},
    }


def _sentence(title: str) -> str:
    return f"{title[:1].upper()}{title[1:]}."
