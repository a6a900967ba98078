"""Prototype, rehearse and prove the move of LLM chat streaming to Convex."""

__version__ = "0.1.0"
