"""The paper in one command: runs of all subjects and splits, its five findings from their numbers, and a report's files."""
