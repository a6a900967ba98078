"""The guide's expected behaviours as checks, each with the evidence it rests on.

`Checks` collects what held and what did not, shows it as a table, and makes the cell
fail if anything did not hold. `Recorder` watches a chat and keeps when each change
arrived; the functions below it turn such a record into checks. Nothing here starts
or stops anything.

A displayed `Checks` carries its results as `application/vnd.kit.checks+json` beside
the table, which is how `kit.report` reads them back from an executed notebook.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kit.app.hooks import ChatSource, HookChange, PartsChanged
from kit.errors import CheckFailed
from kit.guide import known_step
from kit.show import Picture
from kit.stack import ServerProcess
from kit.timeline import timeline

__all__ = ["CHECKS_MIME", "Check", "Checks", "Recorder"]

CHECKS_MIME = "application/vnd.kit.checks+json"


# Letters, not emoji: not every machine has a font for those.
_HELD = '<b style="color:#1a7f37">✓</b>'
_BROKEN = '<b style="color:#cf222e">✗</b>'


@dataclass(frozen=True, slots=True)
class Check:
    """One expected behaviour: whether it held, and what shows that.

    `step` is the step of the guide that promises it, `cell` the execution count of
    the cell that looked.
    """

    expected: str
    held: bool
    evidence: str
    step: str | None = None
    cell: int | None = None


class Checks:
    """The expected behaviours of one notebook.

    ```python
    checks = Checks("Option 1", step="Testing")
    checks.expect("No 403 errors", not refusals, f"{len(refusals)} refusals")
    checks.verify()
    ```

    `step` is the step of the guide (`kit.guide`) that the checks belong to, unless
    they name another; the report gathers them by it.
    """

    def __init__(self, title: str, *, step: str | None = None) -> None:
        self.title = title
        self.step = None if step is None else known_step(step)
        self.results: list[Check] = []
        self.open_questions: list[str] = []

    def expect(
        self, expected: str, held: object, evidence: str, *, step: str | None = None
    ) -> bool:
        """Record a behaviour; the same one again replaces it, so a cell may be rerun.

        Returns whether it held. Raises nothing: `verify` does, at the end.
        """
        step = self.step if step is None else known_step(step)
        check = Check(expected, bool(held), evidence, step, _cell())
        for index, earlier in enumerate(self.results):
            if earlier.expected == expected:
                self.results[index] = check
                break
        else:
            self.results.append(check)
        return check.held

    def expect_logged(
        self, server: ServerProcess, text: str, *, step: str | None = None
    ) -> bool:
        """Record that the server's log has a line with `text`; returns whether so."""
        lines = server.log_lines(text)
        line = lines[-1][lines[-1].index(text) :] if lines else "not in the log"
        expected = f"The {server.name} logs “{text}”"
        return self.expect(expected, lines, line, step=step)

    def leave_open(self, question: str) -> None:
        """Note what a rehearsal cannot answer and the team has to; once each."""
        if question not in self.open_questions:
            self.open_questions.append(question)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.results if not check.held]

    def verify(self) -> None:
        """Show the table, then raise CheckFailed if anything did not hold.

        No check at all is a failure too: a notebook that proves nothing is red.
        """
        from IPython.display import display

        display(self)
        if not self.results:
            raise CheckFailed(f"{self.title}: nothing was checked.")
        if self.failed:
            lines = [f"{check.expected}: {check.evidence}" for check in self.failed]
            raise CheckFailed(
                f"{self.title}: {len(lines)} of {len(self.results)} expected "
                "behaviours did not hold:\n  " + "\n  ".join(lines)
            )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            "text/plain": str(self),
            "text/html": self._as_html(),
            CHECKS_MIME: {
                "title": self.title,
                "checks": [asdict(check) for check in self.results],
                "openQuestions": self.open_questions,
            },
        }

    def __str__(self) -> str:
        lines = [
            f"{'✓' if check.held else '✗'} {check.expected}: {check.evidence}"
            for check in self.results
        ]
        return "\n".join([self.title, *lines])

    def _as_html(self) -> str:
        rows = "".join(
            f"<tr><td>{_HELD if check.held else _BROKEN}</td>"
            f'<td style="text-align:left">{html.escape(check.expected)}</td>'
            f'<td style="text-align:left">{html.escape(check.evidence)}</td></tr>'
            for check in self.results
        )
        return (
            f"<table><caption><b>{html.escape(self.title)}</b></caption>"
            '<thead><tr><th></th><th style="text-align:left">Expected</th>'
            '<th style="text-align:left">Evidence</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>"
        )

    def __repr__(self) -> str:
        return (
            f"<Checks {self.title!r}: {len(self.results)}, {len(self.failed)} failed>"
        )


def _cell() -> int | None:
    """The execution count of the running cell; None outside of a kernel."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None or shell.history_manager is None:
        return None
    # `shell.execution_count` counts before the cell in some versions, after in others.
    return len(shell.history_manager.input_hist_parsed) - 1


@dataclass(frozen=True, slots=True)
class Seen:
    """One change of a chat as a viewer saw it; `at` is seconds since the epoch."""

    at: float
    change: HookChange
    streaming: bool


class Recorder:
    """Keeps every change that a chat shows while the block runs.

    ```python
    with Recorder(hybrid) as seen:
        await hybrid.send_message(prompt)
        await hybrid.until(lambda chat: not chat.is_streaming)
    ```
    """

    def __init__(
        self, source: ChatSource, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.source = source
        self.seen: list[Seen] = []
        self._clock = clock
        self._stop: Callable[[], None] | None = None

    def __enter__(self) -> Recorder:
        self._stop = self.source.observe(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _note(self, change: HookChange) -> None:
        self.seen.append(Seen(self._clock(), change, self.source.is_streaming))

    @property
    def part_changes(self) -> list[Seen]:
        """The changes of parts that came while the reply was still streaming."""
        return [
            seen
            for seen in self.seen
            if seen.streaming and isinstance(seen.change, PartsChanged)
        ]

    def timeline(
        self, token_times: Sequence[float] = (), *, caption: str = ""
    ) -> Picture:
        """When each part grew in the view, drawn below when its tokens were sent.

        `token_times` as for `check_ahead_of_provider`.
        """
        rows: dict[str, list[float]] = {}
        for seen in self.part_changes:
            assert isinstance(seen.change, PartsChanged)
            for part_id in {part.part_id: None for part in seen.change.changes}:
                rows.setdefault(part_id, []).append(seen.at)
        caption = caption or "Each part as it arrived in the view, one tick per update"
        return Picture(timeline(rows, token_times), caption)

    def check_live(self, checks: Checks) -> None:
        """Parts appeared while the reply was still streaming, in several steps."""
        changes = self.part_changes
        spread = changes[-1].at - changes[0].at if changes else 0.0
        checks.expect(
            "Parts appear in the view while the reply streams",
            len(changes) >= 3,
            f"{len(changes)} live updates over {spread:.2f} s",
        )

    def check_ahead_of_provider(
        self, checks: Checks, token_times: Sequence[float]
    ) -> None:
        """A token was seen before the provider had sent its last one.

        `token_times`: when the scripted provider sent each token of this reply, in
        seconds since the epoch.
        """
        changes = self.part_changes
        if not changes or not token_times:
            held, evidence = False, f"{len(changes)} changes, {len(token_times)} tokens"
        else:
            first, lead = changes[0].at, max(token_times) - changes[0].at
            held = lead > 0
            evidence = (
                f"first seen {(first - min(token_times)) * 1000:.0f} ms after the "
                f"provider's first token, {lead:.2f} s before its last"
            )
        checks.expect(
            "A token is seen before the provider has sent its last", held, evidence
        )
