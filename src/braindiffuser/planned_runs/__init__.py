"""Runs of several subjects, each under several settings, such as splits: planned, checked before the first, made, and joined."""
