"""Exceptions; each message says what was found, what was expected and what to do."""

__all__ = ["BrainDiffuserError", "DependencyError", "RecordingError", "RunError"]


class BrainDiffuserError(Exception):
    """Base of every error that this package raises on purpose."""


class RecordingError(BrainDiffuserError):
    """A recording on disk is missing a file, is truncated, or does not fit its design."""


class RunError(BrainDiffuserError):
    """An experiment, a run or its folder cannot be used as asked; the message says why and what to do."""


class DependencyError(BrainDiffuserError):
    """An optional package, or a published file, is missing or damaged."""
