"""Composed photographic scenes: real cut-outs at random place, size and flip on real photographic backgrounds.

Being composed, pictures have captions, categories and boxes, without end.
The photographs and their licences are listed in `scene_kit/kit.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from braindiffuser.arrays import RawPictures

__all__ = ["Scene", "compose_scenes"]

Split = Literal["training", "held_out"]

OBJECT_SIZES = (0.5, 0.9)
"""Longest side of the object, as a share of the picture's side: smallest and largest."""
BACKGROUND_CROPS = (0.7, 1.0)
"""Side of the crop taken out of the background photograph: smallest and largest share."""


@dataclass(frozen=True)
class Photograph:
    """One photograph of the kit: a cut-out with alpha (`object`) or a square `background`."""

    name: str
    category: str
    held_out: bool
    image: Image.Image


@dataclass(frozen=True)
class SceneKit:
    """All photographs that scenes are composed from."""

    objects: tuple[Photograph, ...]
    backgrounds: tuple[Photograph, ...]

    def split(self, split: Split) -> SceneKit:
        """Return the photographs that networks are trained on, or those held out from all training."""
        held_out = split == "held_out"
        return SceneKit(
            tuple(photo for photo in self.objects if photo.held_out == held_out),
            tuple(photo for photo in self.backgrounds if photo.held_out == held_out),
        )


@dataclass(frozen=True)
class Scene:
    """What one composed picture shows.

    `box` is (left, top, right, bottom) of the object as shares of the picture's side, in [0, 1].
    """

    object_name: str
    category: str
    background_name: str
    background_category: str
    box: tuple[float, float, float, float]

    @property
    def captions(self) -> tuple[str, ...]:
        """Five captions: what, where and how large, in plain words."""
        thing, place = _with_article(self.object_name), _with_article(self.background_name)
        left, top, right, bottom = self.box
        size = "large" if max(right - left, bottom - top) > 0.7 else "small"
        middle = (left + right) / 2
        side = "on the left" if middle < 0.42 else "on the right" if middle > 0.58 else "in the middle"
        return (
            f"{thing} in front of {place}",
            f"a photo of {thing} near {place}",
            f"a {size} {self.object_name} {side}",
            f"{thing} {side} and {place} behind it",
            f"{place} with a {size} {self.object_name}",
        )


@cache
def load_scene_kit() -> SceneKit:
    """Read the bundled scene kit: about 150 cut-outs and 50 backgrounds."""
    folder = files("braindiffuser.datasets.simulation") / "scene_kit"
    photographs: dict[str, list[Photograph]] = {"object": [], "background": []}
    with (folder / "kit.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            with (folder / row["file"]).open("rb") as file:
                image = Image.open(file).convert("RGBA" if row["kind"] == "object" else "RGB")
            photographs[row["kind"]].append(Photograph(row["name"], row["category"], row["held_out"] == "yes", image))
    return SceneKit(tuple(photographs["object"]), tuple(photographs["background"]))


def compose_scene(kit: SceneKit, rng: np.random.Generator, size: int = 64) -> tuple[UInt8[np.ndarray, "h w 3"], Scene]:
    """Compose one picture.

    Args:
        kit: photographs to draw from.
        rng: source of every choice; the same state gives the same scene.
        size: side of the picture in pixels.

    Returns:
        The 8-bit picture (size, size, 3) and what it shows.
    """
    background = kit.backgrounds[rng.integers(len(kit.backgrounds))]
    cutout = kit.objects[rng.integers(len(kit.objects))]
    canvas = _crop_background(background.image, rng, size)
    thing = _scale_cutout(cutout.image, rng, size)
    left, top = (int(rng.integers(side - extent + 1)) for side, extent in zip(canvas.size, thing.size, strict=True))
    canvas.paste(thing, (left, top), thing)
    box = (left / size, top / size, (left + thing.width) / size, (top + thing.height) / size)
    return np.asarray(canvas), Scene(cutout.name, cutout.category, background.name, background.category, box)


def compose_scenes(
    n_scenes: int, seed: int, size: int = 64, split: Split = "training", first: int = 0
) -> tuple[RawPictures, list[Scene]]:
    """Compose scenes `first` … `first + n_scenes - 1` of the infinite sequence given by `seed`.

    Scene number k depends on (seed, k, size, split) alone, so blocks can be composed in any order.

    Returns:
        Pictures (n_scenes, size, size, 3), uint8, and their scenes.

    Example:
        >>> pictures, scenes = compose_scenes(2, seed=0)
        >>> pictures.shape
        (2, 64, 64, 3)
    """
    composed = list(iterate_scenes(n_scenes, seed, size, split, first))
    pictures = np.stack([picture for picture, _ in composed]) if composed else np.zeros((0, size, size, 3), np.uint8)
    return pictures, [scene for _, scene in composed]


def iterate_scenes(
    n_scenes: int, seed: int, size: int = 64, split: Split = "training", first: int = 0
) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], Scene]]:
    """Yield the same scenes as `compose_scenes`, one at a time."""
    kit = load_scene_kit().split(split)
    for number in range(first, first + n_scenes):
        yield compose_scene(kit, np.random.default_rng([seed, number, split == "held_out"]), size)


def _crop_background(photo: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    side = round(photo.width * rng.uniform(*BACKGROUND_CROPS))
    left, top = int(rng.integers(photo.width - side + 1)), int(rng.integers(photo.height - side + 1))
    crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def _scale_cutout(photo: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    scale = rng.uniform(*OBJECT_SIZES) * size / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    thing = photo.resize((width, height), Image.Resampling.BICUBIC)
    return thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else thing


def _with_article(name: str) -> str:
    if name in {"palm leaves", "rocks", "steam", "city from above"} or name.endswith("s above"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
