"""Runs of several subjects, each under several splits or settings: planned, checked before the first, made, and joined."""
