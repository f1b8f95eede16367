"""Folders of pictures that are written for tests."""

from PIL import Image

N = 6
"""Pictures in each folder of the fixture `folders`."""


def write(folder, raw, names, suffix=".png"):
    """Write pictures, each by its name."""
    folder.mkdir(exist_ok=True, parents=True)
    for name, picture in zip(names, raw, strict=True):
        Image.fromarray(picture).save(folder / f"{name}{suffix}")
    return folder
