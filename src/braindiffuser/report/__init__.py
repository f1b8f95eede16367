"""Stored numbers and pictures → tables, figures and one HTML page; knows no stage and no torch."""

from braindiffuser.report.html import RunSummary, ScoredPictures, render_page
from braindiffuser.report.tables import scores_frame, scores_markdown

__all__ = ["RunSummary", "ScoredPictures", "render_page", "scores_frame", "scores_markdown"]
