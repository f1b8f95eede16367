"""Scores of reconstructions against what was seen: arrays in, arrays out, metrics declared, scores with an interval."""
