"""What a rater has to get right to be counted."""

CATCH_PASSED = 0.8
"""Share of catch trials that a rater must get right."""
