"""Stored numbers and pictures → sections, tables, figures and one HTML page; knows no stage and no torch."""
