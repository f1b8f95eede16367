"""What can go wrong, in words that say what came, what was expected and what to do."""


class BrainDiffuserError(Exception):
    """Base of every error that this package raises on purpose."""


class RecordingError(BrainDiffuserError):
    """A recording on disk is missing a file, is truncated, or does not fit its design."""


class RunError(BrainDiffuserError):
    """A run folder holds other settings than those asked for, or lacks the result of an earlier stage."""


class DependencyError(BrainDiffuserError):
    """An optional package, or a file of weights, is missing or damaged."""
