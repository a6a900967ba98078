"""Socket.IO events: those that streamed text, and those that are to stay."""

from __future__ import annotations

from collections.abc import Iterator

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import Reading
from kit.repo.socket_events import KEPT, STREAMED

__all__ = ["socket_events"]


def socket_events(reading: Reading) -> Iterator[Found]:
    """What is emitted and handled, against how far the migration is.

    `text-over-socket`: `stream-chunk` is emitted before the migration.
    `event-emitted`: after Option 2, any of the events that streamed text is; in the
    file of the events' own emitters or elsewhere. `event-handled`: after Option 2, a
    frontend handles such an event, and nothing emits it. `event-gone`: after Option 2,
    a frontend handles an event that is to stay, and its name stands nowhere else.
    `error-event-unhandled`: `stream-error` is emitted, `stream-chunk` is handled in the
    frontend, and the name `stream-error` stands nowhere in the frontend.
    """
    events = reading.layout.events
    if reading.state == "before":
        for place in events.emitted["stream-chunk"]:
            seen = "`stream-chunk` is emitted here."
            yield found("text-over-socket", place, seen)
    if reading.state == "option-2":
        yield from _left_over(reading)
        for event in KEPT:
            yield from _gone(reading, event)
    yield from _unheard_error(reading)


def _left_over(reading: Reading) -> Iterator[Found]:
    events = reading.layout.events
    for event in STREAMED:
        for place in events.emitted[event]:
            yield found("event-emitted", place, f"`{event}` is emitted here.")
        handled = [p for p in events.handled[event] if reading.is_frontend(p.file)]
        if handled and not events.emitted[event]:
            files = dict.fromkeys(place.file for place in handled)
            for file in files:
                place = next(place for place in handled if place.file == file)
                yield found("event-handled", place, f"`{event}` is handled here.")


def _gone(reading: Reading, event: str) -> Iterator[Found]:
    events = reading.layout.events
    handled = [p for p in events.handled[event] if reading.is_frontend(p.file)]
    if not handled or events.emitted[event]:
        return
    if not _named_outside(reading, event):
        seen = f"`{event}` is handled here, and emitted nowhere."
        yield found("event-gone", handled[0], seen)


def _named_outside(reading: Reading, event: str) -> bool:
    """Whether an event's name stands outside of the frontend, in whatever way."""
    return any(
        not reading.is_frontend(source.file)
        for source in reading.repository.containing(event)
    )


def _unheard_error(reading: Reading) -> Iterator[Found]:
    events = reading.layout.events
    emitted = events.emitted["stream-error"]
    listens = [p for p in events.handled["stream-chunk"] if reading.is_frontend(p.file)]
    if not emitted or not listens:
        return
    named = any(
        reading.is_frontend(source.file)
        for source in reading.repository.containing("stream-error")
    )
    if not named:
        seen = f"`stream-chunk` is handled here; {emitted[0]} emits `stream-error`."
        yield found("error-event-unhandled", listens[0], seen)
