"""Ratings by people: a page of two-alternative choices that needs no network, and the score of its answers."""
