"""The map of regions: each cell holds what lies there, whatever the orientation of the volume and the unit of places."""

import re

import numpy as np
import pytest

from braindiffuser.analyses.voxel_grid import FINEST, grid_of
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.report.region_map import region_hue, region_map

SHAPE = (3, 4, 5)
PLACES = np.argwhere(np.ones(SHAPE))
PLACES_OF_20 = np.argwhere(np.ones((20, 20, 20)))
REGIONS = {"right": PLACES[:, 0] == 2, "front": PLACES[:, 1] == 3, "up": PLACES[:, 2] == 4}
ABOVE = {(x, y) for x in range(3) for y in range(4)}
SIDE = {(y, z) for y in range(4) for z in range(5)}


def mapped(voxels, regions):
    grid = grid_of(voxels)
    return region_map(grid.cells, regions, oriented=grid.oriented)


def cells(figure, name=None):
    """Cells (column, row from the top) of one part, or of all voxels, in each view."""
    views = re.findall(r'<g transform="translate\((\d+) (\d+)\)">(.*?)</g>', figure.svg)
    found = []
    for _, _, content in views:
        marked = re.escape('class="voxels"' if name is None else f'data-region="{name}"')
        (path,) = re.findall(rf'<path {marked} d="([^"]*)"[^>]*>', content)
        runs = [tuple(map(int, run)) for run in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", path)]
        found.append({(x // side + k, y // side) for x, y, width, side in runs for k in range(width // side)})
    return found


def assert_shows_them(figure):
    assert cells(figure) == [ABOVE, SIDE]
    assert cells(figure, "right") == [{(2, row) for row in range(4)}, SIDE]
    assert cells(figure, "front") == [{(column, 0) for column in range(3)}, {(3, row) for row in range(5)}]
    assert cells(figure, "up") == [ABOVE, {(column, 0) for column in range(4)}]


@pytest.mark.parametrize("known", [True, False], ids=["affine", "no-affine"])
def test_both_views_show_the_voxels_of_each_region(known):
    mask = np.zeros((8, 9, 10), bool)
    mask[2:5, 3:7, 1:6] = True
    affine = np.diag([1.8, 1.8, 3, 1]) if known else None
    figure = mapped(Voxels.in_volume(mask, affine), REGIONS)
    assert_shows_them(figure)
    assert ("from above" in figure.svg, "right is right" in figure.note) == (known, known)
    assert ("axes 1 and 2" in figure.svg, "is not known" in figure.note) == (not known, not known)


def test_an_affine_that_is_none_is_no_orientation():
    singular = np.diag([1.8, 0, 3, 1])
    assert not grid_of(Voxels.in_volume(np.ones(SHAPE, bool), singular)).oriented
    assert not grid_of(Voxels(60, coordinates=PLACES.astype(float))).oriented


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_the_orientation_of_the_volume_does_not_matter(order, signs):
    """Axis k of the volume points along axis order[k] of the world, or against it."""
    affine = np.zeros((4, 4))
    for axis, (to, sign) in enumerate(zip(order, signs, strict=True)):
        affine[to, axis] = 2.0 * sign
    affine[3, 3] = 1
    volume = np.zeros((*SHAPE, len(REGIONS)), bool)
    for number, mask in enumerate(REGIONS.values()):
        volume[..., number] = mask.reshape(SHAPE)
    stored = volume.transpose(*order, 3)
    for axis, sign in enumerate(signs):
        stored = stored if sign > 0 else np.flip(stored, axis)
    regions = {name: stored[..., number].reshape(-1) for number, name in enumerate(REGIONS)}
    assert_shows_them(mapped(Voxels.in_volume(np.ones(stored.shape[:3], bool), affine), regions))


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 4])
@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_places_without_a_volume_leave_no_gaps(angle, scale):
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    places = scale * np.argwhere(np.ones((12, 12, 12))) @ turn - 7.0
    above, side = cells(mapped(Voxels(len(places), coordinates=places), {}))
    for view in (above, side):
        for row in {row for _, row in view}:
            columns = sorted(column for column, own in view if own == row)
            assert columns == list(range(columns[0], columns[-1] + 1))


def test_regions_of_places_lie_where_their_places_are():
    places = 2.0 * np.argwhere(np.ones((12, 12, 12)))
    figure = mapped((Voxels(len(places), coordinates=places)), {"front": places[:, 1] > 16, "up": places[:, 2] > 16})
    above, side = cells(figure)
    front, up = cells(figure, "front"), cells(figure, "up")
    assert max(row for _, row in front[0]) < max(row for _, row in above) / 2
    assert min(column for column, _ in front[1]) > max(column for column, _ in side) / 2
    assert up[0] == above
    assert max(row for _, row in up[1]) < max(row for _, row in side) / 2


def test_a_map_of_many_voxels_stays_small():
    figure = mapped(Voxels.in_volume(np.ones((80, 150, 20), bool)), {"all": np.ones(80 * 150 * 20, bool)})
    assert max(max(place) for view in cells(figure, "all") for place in view) < FINEST
    assert len(figure.svg) < 20_000


def test_smaller_regions_lie_above_larger_ones():
    small = np.arange(len(PLACES)) < 3
    figure = mapped(Voxels.in_volume(np.ones(SHAPE, bool)), {"small": small, "large": ~small})
    assert re.findall(r'data-region="(\w+)"', figure.svg) == ["large", "small"] * 2


def test_an_outline_is_every_side_of_a_region_that_has_a_cell_of_it_on_one_side_alone():
    rng = np.random.default_rng(0)
    figure = mapped(Voxels.in_volume(np.ones(SHAPE, bool)), {"some": rng.random(len(PLACES)) < 0.2})
    outlines = re.findall(r'<path class="outline" data-outline="some" d="([^"]*)"', figure.svg)
    size = int(re.search(r"v(\d+)", figure.svg).group(1))
    for own, outline in zip(cells(figure, "some"), outlines, strict=True):
        sides = [side for x, y in own for side in ((x, y, "h"), (x, y + 1, "h"), (x, y, "v"), (x + 1, y, "v"))]
        drawn = [
            (int(x) // size + (k if along == "h" else 0), int(y) // size + (k if along == "v" else 0), along)
            for x, y, along, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", outline)
            for k in range(int(length) // size)
        ]
        assert sorted(drawn) == sorted(side for side in set(sides) if sides.count(side) == 1)


def test_names_stand_where_their_region_is_seen_and_on_no_other_name():
    """Two regions of one place cannot both be named there; one with an arm on each side is named on an arm."""
    figure = mapped(
        Voxels.in_volume(np.ones((20, 20, 20), bool)), {"A": PLACES_OF_20[:, 1] < 6, "B": PLACES_OF_20[:, 1] > 13}
    )
    above, _ = re.findall(r"<g .*?</g>", figure.svg)
    assert re.findall(r'<text class="name" x="(\d+)" y="(\d+)" font-size="13">(\w)</text>', above) == [
        ("114", "34", "B"),
        ("114", "202", "A"),
    ]
    arms = {"arms": np.isin(PLACES_OF_20[:, 0], (0, 1, 2, 17, 18, 19)), "between": np.abs(PLACES_OF_20[:, 0] - 9.5) < 6}
    figure = mapped(Voxels.in_volume(np.ones((20, 20, 20), bool)), arms)
    above, _ = re.findall(r"<g .*?</g>", figure.svg)
    (x,) = re.findall(r'<text class="name" x="(\d+)" y="\d+" font-size="13">arms</text>', above)
    assert not 36 < int(x) < 204  # of cells of 12 pixels
    everywhere = PLACES_OF_20[:, 0] >= 0
    figure = mapped(Voxels.in_volume(np.ones((20, 20, 20), bool)), {"one": everywhere, "two": everywhere})
    assert figure.svg.count('class="name"') == 2  # of the upper one, in each view
    figure = mapped(Voxels.in_volume(np.ones((20, 20, 20), bool)), {"a name that is too long for it" * 3: everywhere})
    assert figure.svg.count('class="name"') == 0


def test_hues_of_many_regions_differ():
    assert len({region_hue(number) for number in range(40)}) == 40
    assert min(abs(region_hue(n) - region_hue(n + 1)) for n in range(20)) > 90


def test_names_stay_text():
    figure = mapped(Voxels.in_volume(np.ones(SHAPE, bool)), {'V1 & "<b>"': REGIONS["up"]})
    assert "<title>V1 &amp; &quot;&lt;b&gt;&quot;</title>" in figure.svg


@pytest.mark.parametrize(
    "voxels",
    [
        Voxels(9),
        Voxels(9, coordinates=np.zeros((9, 3))),
        Voxels(9, coordinates=np.full((9, 3), np.nan)),
        Voxels(2, coordinates=np.eye(3)[:2]),
        Voxels.in_volume(np.ones((1, 1, 1), bool)),
    ],
    ids=["unknown", "one place", "nan", "two", "one voxel"],
)
def test_without_places_there_is_no_map(voxels):
    assert grid_of(voxels) is None
