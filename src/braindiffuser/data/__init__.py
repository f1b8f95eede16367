"""Recordings: what was shown, what the voxels answered, and where they lie."""
