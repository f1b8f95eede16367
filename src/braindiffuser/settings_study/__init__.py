"""Subjects under several settings, from one file: their runs, the settings compared on the same pictures, and a page."""
