"""How a function's failure reads: Convex's error texts from Python exceptions.

`Exception` is named `Error`, as JavaScript's base class; every other exception keeps
its name. Only frames of the functions folder are shown, innermost first. A
`ConvexError` also carries data, which reaches the client as it is.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convex import ConvexError

from kit.values import InvalidValue, decode, encode
from kit.values.render import stringify

__all__ = ["FunctionFailure", "UsageError", "exception_of", "failure_of"]


class UsageError(Exception):
    """A function used `ctx` in a way that cannot work; clients see it as `Error`."""


@dataclass(frozen=True)
class FunctionFailure:
    """Why a function failed. `data_json` is there for a ConvexError only."""

    message: str
    data_json: str | None = None
    frames: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The message and one line for each frame; ends in a newline."""
        return "".join(f"{line}\n" for line in (self.message, *self.frames))

    def render(self, request_id: str) -> str:
        """The text that a client gets."""
        return f"[Request ID: {request_id}] Server Error\n{self.text}"


def failure_of(error: BaseException, *folders: Path) -> FunctionFailure:
    """The failure that `error`, raised by a function below a folder, stands for."""
    frames = tuple(_frames(error, folders))
    if isinstance(error, ConvexError):
        return _convex_failure(error, frames)
    return FunctionFailure(_uncaught(_name_of(error), _text_of(error)), None, frames)


def exception_of(failure: FunctionFailure) -> Exception:
    """What a function sees when one that it called has failed."""
    if failure.data_json is None:
        return UsageError(failure.text)
    return ConvexError(failure.text, decode(failure.data_json))


def _convex_failure(error: ConvexError, frames: tuple[str, ...]) -> FunctionFailure:
    try:
        data_json = encode(error.data)
    except InvalidValue as problem:
        text = _uncaught("Error", f"The data of a {_name_of(error)}: {problem}")
        return FunctionFailure(text, None, frames)
    message = error.args[0] if error.args else ""
    if not isinstance(message, str) or not message:
        # What Convex's own constructor makes of the data.
        message = error.data if isinstance(error.data, str) else stringify(error.data)
    return FunctionFailure(_uncaught(_name_of(error), message), data_json, frames)


def _uncaught(name: str, message: str) -> str:
    text = "Uncaught " + ": ".join(filter(None, (name, message)))
    # A lone surrogate has no UTF-8, and could not be sent.
    return text.encode("utf-8", "backslashreplace").decode()


def _name_of(error: BaseException) -> str:
    if type(error) is Exception or isinstance(error, UsageError):
        return "Error"
    return type(error).__name__


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as problem:
        return f"(its text could not be made: {problem!r})"


def _frames(error: BaseException, folders: Sequence[Path]) -> list[str]:
    found = []
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        for folder in filter(file.is_relative_to, folders):
            place = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            found.append(f"    at {frame.name} ({place}:{frame.lineno})")
    return found[::-1]
