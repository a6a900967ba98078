"""The figures of a turn in words: short in the status line, exact in a tooltip.

Holds the wording only. A figure that is an estimate says so, and each says from when to
when it was measured and where: a reader compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "describe", "elapsed_tip"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and what exactly it means."""

    text: str
    tip: str


def elapsed_tip(*, sent_here: bool) -> str:
    """What the seconds of a turn mean."""
    return f"{_since(sent_here)} until now, or until the reply had ended."


def describe(
    *,
    first: float | None,
    sent_here: bool,
    tokens: int | None,
    tokens_counted: bool,
    rate: float | None,
) -> list[Figure]:
    """The figures that are known, in the order in which they become known."""
    figures = []
    if first is not None:
        tip = f"{_since(sent_here)} until the first part of the reply was here."
        figures.append(Figure(f"first part {_seconds(first)}", tip))
    about = "" if tokens_counted else "≈ "
    if tokens is not None:
        figures.append(Figure(f"{about}{tokens:,} tokens", _tokens_tip(tokens_counted)))
    if rate is not None:
        tip = (
            "Tokens per second from the first part on, as seen in the kernel; the time "
            "that tools take counts. "
        )
        figures.append(
            Figure(
                f"{about}{_rounded(rate)} tokens/s", tip + _tokens_tip(tokens_counted)
            )
        )
    return figures


def _since(sent_here: bool) -> str:
    return (
        "From sending the message in this view"
        if sent_here
        else "From when the message or its reply was first seen here"
    )


def _tokens_tip(counted: bool) -> str:
    if counted:
        return "Output tokens as the provider has counted them, reasoning included."
    return (
        "Estimated: one token for four characters of text, reasoning and arguments. "
        "The provider's own count comes with the end of the reply."
    )


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _rounded(rate: float) -> str:
    return f"{rate:.1f}" if rate < 10 else f"{rate:,.0f}"
