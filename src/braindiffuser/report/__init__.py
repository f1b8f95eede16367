"""Stored numbers and pictures → tables, figures and one HTML page; knows no stage and no torch."""

from braindiffuser.report.html import RegionPictures, RunSummary, ScoredPictures, render_page
from braindiffuser.report.tables import scores_frame, scores_markdown

__all__ = ["RegionPictures", "RunSummary", "ScoredPictures", "render_page", "scores_frame", "scores_markdown"]
