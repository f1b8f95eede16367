"""Laws of composed scenes: what a picture depends on, what its description promises, and whose photographs are shown."""

import csv
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from braindiffuser.datasets.simulation import scenes
from braindiffuser.datasets.simulation.scenes import (
    OBJECT_SIZES,
    Photograph,
    Scene,
    SceneKit,
    compose_scene,
    compose_scenes,
    iterate_scenes,
    load_scene_kit,
)

KIT = Path(str(files("braindiffuser.datasets.simulation") / "scene_kit"))
MIDDLE = (0.2, 0.3, 0.8, 0.9)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (KIT / "kit.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**40), first=st.integers(0, 10**6), order=st.permutations(range(4)))
def test_a_scene_depends_on_its_seed_and_number_alone(seed, first, order):
    together, described = compose_scenes(4, seed, size=32, first=first)
    for k in order:
        alone, scene = compose_scenes(1, seed, size=32, first=first + k)
        np.testing.assert_array_equal(alone[0], together[k])
        assert scene == [described[k]]


def test_blocks_join_to_the_whole():
    whole, described = compose_scenes(9, seed=3, size=32)
    last, last_scenes = compose_scenes(5, seed=3, size=32, first=4)
    start, start_scenes = compose_scenes(4, seed=3, size=32)
    np.testing.assert_array_equal(np.concatenate([start, last]), whole)
    assert start_scenes + last_scenes == described


def test_scenes_one_at_a_time_are_the_same():
    whole, described = compose_scenes(5, seed=1, size=32, split="held_out")
    for (picture, scene), expected, wanted in zip(iterate_scenes(5, 1, 32, "held_out"), whole, described, strict=True):
        np.testing.assert_array_equal(picture, expected)
        assert scene == wanted


def test_no_two_numbers_or_seeds_give_the_same_picture():
    pictures = np.concatenate([compose_scenes(30, seed, size=32)[0] for seed in (0, 1)])
    assert len({picture.tobytes() for picture in pictures}) == 60


@pytest.mark.parametrize(("n_scenes", "size"), [(0, 64), (2, 17), (1, 96)])
def test_pictures_have_the_size_asked_for(n_scenes, size):
    pictures, described = compose_scenes(n_scenes, seed=0, size=size)
    assert pictures.shape == (n_scenes, size, size, 3)
    assert pictures.dtype == np.uint8
    assert len(described) == n_scenes


def test_the_box_is_where_the_picture_differs_from_its_background():
    kit, size = load_scene_kit(), 64
    invisible = tuple(replace(photo, image=Image.new("RGBA", photo.image.size)) for photo in kit.objects)
    for seed in range(200):
        picture, scene = compose_scene(kit, np.random.default_rng(seed), size)
        background, _ = compose_scene(SceneKit(invisible, kit.backgrounds), np.random.default_rng(seed), size)
        differs = (picture != background).any(axis=-1)
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        left, top, right, bottom = (share * size for share in scene.box)
        seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(seen, (left, top, right, bottom), rtol=0, atol=1e-9)
        assert 0 <= left < right <= size
        assert 0 <= top < bottom <= size


def test_objects_are_as_large_as_promised():
    _, described = compose_scenes(200, seed=5)
    sides = np.array([max(right - left, bottom - top) for left, top, right, bottom in (s.box for s in described)])
    smallest, largest = OBJECT_SIZES
    assert sides.min() >= smallest - 0.5 / 64
    assert sides.max() <= largest + 0.5 / 64
    assert np.ptp(sides) > 0.9 * (largest - smallest)


def test_splits_share_no_photograph_and_lose_none():
    kit = load_scene_kit()
    training, held_out = kit.split("training"), kit.split("held_out")
    for kind in ("objects", "backgrounds"):
        trained, kept = ({photo.image.tobytes() for photo in getattr(part, kind)} for part in (training, held_out))
        assert trained
        assert kept
        assert not trained & kept
        assert len(trained) + len(kept) == len(getattr(kit, kind))


def test_scenes_show_only_photographs_of_their_split(monkeypatch):
    def photograph(mode: str, colour: tuple[int, ...], held_out: bool) -> Photograph:
        return Photograph("square", "shape", held_out, Image.new(mode, (32, 32), colour))

    painted = SceneKit(
        (photograph("RGBA", (0, 200, 0, 255), False), photograph("RGBA", (200, 0, 0, 255), True)),
        (photograph("RGB", (0, 100, 0), False), photograph("RGB", (100, 0, 0), True)),
    )
    monkeypatch.setattr(scenes, "load_scene_kit", lambda: painted)
    training, _ = compose_scenes(40, seed=0, size=16, split="training")
    held_out, _ = compose_scenes(40, seed=0, size=16, split="held_out")
    assert training[..., 1].all()
    assert not training[..., 0].any()
    assert held_out[..., 0].all()
    assert not held_out[..., 1].any()


def test_captions_name_object_and_background():
    _, described = compose_scenes(100, seed=2, size=32)
    for scene in described:
        assert len(set(scene.captions)) == 5
        assert all(scene.object_name in caption for caption in scene.captions)
        assert sum(scene.background_name in caption for caption in scene.captions) == 4


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0.0, 0.0, 0.5, 0.5), "a small owl on the left"),
        ((0.5, 0.5, 1.0, 1.0), "a small owl on the right"),
        (MIDDLE, "a small owl in the middle"),
        ((0.1, 0.1, 0.9, 0.9), "a large owl in the middle"),
    ],
)
def test_captions_tell_size_and_place(box, words):
    assert words in Scene("owl", "animal", "igloo", "building", box).captions


@pytest.mark.parametrize(
    ("background", "phrase"),
    [
        ("igloo", "an owl in front of an igloo"),
        ("rocks", "an owl in front of rocks"),
        ("dam", "an owl in front of a dam"),
    ],
)
def test_captions_have_the_right_articles(background, phrase):
    assert Scene("owl", "animal", background, "any", MIDDLE).captions[0] == phrase


def test_every_photograph_has_author_licence_and_origin(rows):
    assert rows
    for row in rows:
        assert all(row[column].strip() for column in ("name", "category", "author", "licence", "origin")), row["file"]
        assert row["kind"] in {"object", "background"}
        assert row["held_out"] in {"yes", "no"}


def test_the_table_lists_exactly_the_files_of_the_kit(rows):
    listed = [row["file"] for row in rows]
    assert len(listed) == len(set(listed))
    assert {path.relative_to(KIT).as_posix() for path in KIT.rglob("*.webp")} == set(listed)
    assert {path.suffix for path in KIT.rglob("*") if path.is_file()} == {".webp", ".csv"}


def test_the_kit_is_small():
    assert sum(path.stat().st_size for path in KIT.rglob("*") if path.is_file()) <= 5_000_000


def test_cut_outs_are_transparent_around_and_backgrounds_are_square():
    kit = load_scene_kit()
    for photo in kit.objects:
        assert photo.image.mode == "RGBA"
        assert photo.image.getchannel("A").getextrema() == (0, 255), photo.name
    for photo in kit.backgrounds:
        assert photo.image.mode == "RGB"
        assert photo.image.width == photo.image.height
