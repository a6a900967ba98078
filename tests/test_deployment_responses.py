"""Outcomes as the messages that answer requests."""

import json
from typing import Any

from kit.deployment.actions import ActionOutcome
from kit.deployment.engine import MutationOutcome
from kit.deployment.failures import FunctionFailure
from kit.deployment.requests import request_id_of
from kit.deployment.responses import action_response, mutation_response
from kit.protocol import ActionResponse, MutationResponse, encode

SESSION = "1c84c4aa-30d4-4a70-8aa0-2b76f37755cd"
FAILURE = FunctionFailure("Uncaught ConvexError: taken", '"taken"')


def sent(message: MutationResponse | ActionResponse) -> Any:
    return json.loads(encode(message))


def test_a_mutation_that_succeeded_has_its_timestamp() -> None:
    outcome = MutationOutcome('{"x":5.0}', None, ["[LOG] 1"], 1)
    assert sent(mutation_response(SESSION, 3, outcome)) == {
        "type": "MutationResponse",
        "requestId": 3,
        "success": True,
        "result": {"x": 5.0},
        "ts": "AQAAAAAAAAA=",
        "logLines": ["[LOG] 1"],
    }


def test_a_mutation_that_failed_has_its_text_and_data() -> None:
    text = (
        f"[Request ID: {request_id_of(SESSION, 3)}] Server Error\n"
        "Uncaught ConvexError: taken\n"
    )
    assert sent(mutation_response(SESSION, 3, MutationOutcome(None, FAILURE))) == {
        "type": "MutationResponse",
        "requestId": 3,
        "success": False,
        "result": text,
        "ts": None,
        "logLines": [],
        "errorData": "taken",
    }


def test_an_action_is_answered_in_the_same_way_without_a_timestamp() -> None:
    assert sent(action_response(SESSION, 4, ActionOutcome("null", None))) == {
        "type": "ActionResponse",
        "requestId": 4,
        "success": True,
        "result": None,
        "logLines": [],
    }
    failed = sent(action_response(SESSION, 4, ActionOutcome(None, FAILURE)))
    assert failed["success"] is False
    assert failed["errorData"] == "taken"
    assert "ts" not in failed


def test_an_error_without_data_has_no_such_key() -> None:
    outcome = ActionOutcome(None, FunctionFailure("Uncaught Error: boom"))
    assert "errorData" not in sent(action_response(SESSION, 4, outcome))
