"""By what raters are judged."""

CATCH_PASSED = 0.8
"""Share of catch trials that a rater must get right."""
