"""Folders and stacks of pictures, and which of their pictures are partners."""
