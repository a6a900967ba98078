"""PURE: the answer to a mutation or an action, as a sync message."""

from __future__ import annotations

from msgspec import UNSET, Raw, UnsetType

from kit.deployment.actions import ActionOutcome
from kit.deployment.engine import MutationOutcome
from kit.deployment.failures import FunctionFailure
from kit.deployment.requests import request_id_of
from kit.protocol import (
    ActionResponse,
    MutationResponse,
    encode_timestamp,
    json_string,
)

__all__ = ["action_response", "mutation_response"]


def mutation_response(
    session_id: str, request_id: int, outcome: MutationOutcome
) -> MutationResponse:
    """The answer to mutation `request_id` of a session."""
    log_lines = tuple(outcome.log_lines)
    if outcome.error is not None:
        text, data = _error(session_id, request_id, outcome.error)
        return MutationResponse(request_id, False, text, None, log_lines, data)
    assert outcome.value_json is not None and outcome.timestamp is not None
    timestamp = encode_timestamp(outcome.timestamp)
    value = Raw(outcome.value_json)
    return MutationResponse(request_id, True, value, timestamp, log_lines)


def action_response(
    session_id: str, request_id: int, outcome: ActionOutcome
) -> ActionResponse:
    """The answer to action `request_id` of a session."""
    log_lines = tuple(outcome.log_lines)
    if outcome.error is not None:
        text, data = _error(session_id, request_id, outcome.error)
        return ActionResponse(request_id, False, text, log_lines, data)
    assert outcome.value_json is not None
    return ActionResponse(request_id, True, Raw(outcome.value_json), log_lines)


def _error(
    session_id: str, request_id: int, failure: FunctionFailure
) -> tuple[Raw, Raw | UnsetType]:
    """The text and the data of an error."""
    text = failure.render(request_id_of(session_id, request_id))
    data = failure.data_json
    return json_string(text), UNSET if data is None else Raw(data)
