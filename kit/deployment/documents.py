"""What may be stored as a document, and its text.

A document is stored as Convex JSON text with its system fields, `_id` and
`_creationTime`. This module knows the rules and Convex's texts for breaking them; it
stores nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kit.deployment.failures import UsageError
from kit.deployment.index_keys import UNSET
from kit.deployment.tables import Table, is_system
from kit.values import (
    InvalidValue,
    JsonValue,
    Value,
    format_bytes,
    from_json,
    nesting_of,
    size_of,
    to_json,
)
from kit.values.render import debug
from kit.values.validators import TableOfId

__all__ = [
    "check_document",
    "document_of",
    "fields_of",
    "patched",
    "text_of",
]

MAX_SIZE = 1024 * 1024
MAX_NESTING = 16
SYSTEM_FIELDS = frozenset(("_id", "_creationTime"))

_encoder = msgspec.json.Encoder(order="sorted")


def text_of(table: Table, json: JsonValue) -> str:
    """The text of a document's JSON. Raises UsageError when it is too large or deep."""
    text = _encoder.encode(json).decode()
    if not is_system(table.name):
        _check_limits(json, text)
    return text


def document_of(json: dict[str, JsonValue], text: str) -> dict[str, Value]:
    """The values of a document, given its JSON and its text."""
    # Without a special form, JSON and values are the same.
    document: dict[str, Value] = from_json(json) if '"$' in text else json
    return document


def fields_of(value: Any, system_fields: dict[str, Value], method: str) -> JsonValue:
    """The JSON of a whole document to be stored, with `system_fields` filled in.

    `system_fields` may be given again in `value` if they are the same. Raises
    UsageError.
    """
    json = _object_json(value, method)
    _check_system_fields(json, system_fields)
    json.update(system_fields)
    return json


def patched(
    json: dict[str, JsonValue], fields: Any, system_fields: dict[str, Value]
) -> dict[str, JsonValue]:
    """`json` with `fields` set, or removed where they are UNSET. Raises UsageError."""
    if not isinstance(fields, dict):
        raise _not_an_object("patch")
    removed = [name for name, value in fields.items() if value is UNSET]
    kept = {name: value for name, value in fields.items() if value is not UNSET}
    changes = _object_json(kept, "patch")
    _check_system_fields(changes, system_fields)
    if not SYSTEM_FIELDS.isdisjoint(removed):
        raise UsageError("System fields `_id` and `_creationTime` cannot be removed")
    result = {**json, **changes}
    for name in removed:
        result.pop(name, None)
    return result


def check_document(
    table: Table, document: dict[str, Value], table_of: TableOfId
) -> None:
    """Raises kit.values.ValidationFailed unless `document` fits the schema."""
    if table.validator is None:
        return
    fields = {name: document[name] for name in document if name not in SYSTEM_FIELDS}
    table.validator.check(fields, table_of)


def _object_json(value: Any, method: str) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise _not_an_object(method)
    try:
        json: dict[str, JsonValue] = to_json(value)
    except InvalidValue as error:
        raise UsageError(
            f"Invalid argument `value` for `db.{method}`: {error}"
        ) from None
    return json


def _not_an_object(method: str) -> UsageError:
    return UsageError(
        f"Invalid argument `value` for `db.{method}`: Value must be an Object"
    )


def _check_system_fields(
    json: dict[str, JsonValue], system_fields: dict[str, Value]
) -> None:
    for name, value in json.items():
        if not name.startswith("_"):
            continue
        if name not in system_fields:
            raise UsageError(
                f"{debug(from_json(json))} isn't a valid document: Field '{name}' "
                "starts with an underscore, which is only allowed for system fields "
                "like '_id'"
            )
        if value != system_fields[name]:
            what = "document ID" if name == "_id" else "creation time"
            raise UsageError(
                f"Provided {what} {system_fields[name]} doesn't match '{name}' field "
                f"{debug(value)}"
            )


def _check_limits(json: JsonValue, text: str) -> None:
    # No document is larger than four bytes for each character of its text, nor deeper
    # than the text has brackets: small documents need no measuring.
    if len(text) * 4 > MAX_SIZE:
        size = size_of(from_json(json))
        if size > MAX_SIZE:
            raise UsageError(
                f"Value is too large ({format_bytes(size)} > "
                f"maximum size {format_bytes(MAX_SIZE)})"
            )
    if text.count("{") + text.count("[") > MAX_NESTING:
        nesting = nesting_of(from_json(json))
        if nesting > MAX_NESTING:
            raise UsageError(
                f"Document is too nested (nested {nesting} levels deep > "
                f"maximum nesting {MAX_NESTING})"
            )
