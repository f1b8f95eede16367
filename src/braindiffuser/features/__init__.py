"""Stimuli and captions to the targets that a decoder predicts."""
