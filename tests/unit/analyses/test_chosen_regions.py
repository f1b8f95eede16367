"""Laws of the regions that an analysis looks at: the published ones, and those that expressions name."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffuser.analyses.attribution import Attribution
from braindiffuser.analyses.chosen_regions import expressions_of, named_regions, published_regions
from braindiffuser.analyses.default_regions import default_regions, figure_8_regions
from braindiffuser.analyses.roi_ablation import ROIAblation
from braindiffuser.analyses.roi_maximisation import ROIMaximisation
from braindiffuser.analyses.voxel_weights import VoxelWeights
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.datasets.rois import MAXIMISED_REGIONS, PUBLISHED_UNIONS
from braindiffuser.errors import RecordingError

from .linear_world import linear_world

N = 60
CEILINGS = np.where(np.arange(N) % 7 == 0, np.nan, np.linspace(0, 59, N))


def voxels(*ranges):
    return np.isin(np.arange(N), np.concatenate([np.arange(*ends) for ends in ranges]))


MASKS = {
    **{f"V{number}": voxels((8 * number, 8 * number + 8)) for number in range(1, 5)},
    **{name: voxels((40 + 5 * k, 43 + 5 * k)) for k, name in enumerate(["faces", "words", "places"])},
    "bodies": np.zeros(N, bool),
    **{name: voxels((k, 60, 5)) for k, name in enumerate(["ecc_0.5", "ecc_1", "ecc_2", "ecc_4", "ecc_4+"])},
    "my patch": voxels((0, 3)),
}
KNOWN = KnownRegions(MASKS)


def test_published_regions_are_those_with_voxels_and_unions_come_after_them():
    alone = published_regions(KNOWN, CEILINGS, unions=False)
    both = published_regions(KNOWN, CEILINGS, unions=True)
    assert list(alone.masks) == [name for name in MAXIMISED_REGIONS if name != "bodies"]
    assert list(both.masks) == [*alone.masks, *(text for text in PUBLISHED_UNIONS if "bodies" not in text)]
    early = np.any([MASKS[f"V{number}"] for number in range(1, 5)], axis=0)
    np.testing.assert_array_equal(both.masks["V1-V4"], early)
    np.testing.assert_array_equal(both.masks["V1-V4 | words"], early | MASKS["words"])


@pytest.mark.parametrize("lost", ["V2", "V4"])
def test_a_union_that_lacks_a_part_is_left_out(lost):
    fewer = KnownRegions({name: mask for name, mask in MASKS.items() if name != lost})
    assert not set(published_regions(fewer, CEILINGS, unions=True).masks) & set(PUBLISHED_UNIONS)


def test_published_regions_spelled_alike_are_left_out_and_said():
    known = KnownRegions({**MASKS, "V-2": MASKS["V1"], "v2": MASKS["V1"]} | {"V2x": MASKS["V1"]})
    known = KnownRegions({name: mask for name, mask in known.own.items() if name != "V2"})
    found = published_regions(known, CEILINGS, unions=True)
    assert "V2" not in found.masks
    assert found.remarks == ("Left out, since they are spelled alike: V-2 and v2.",)


def test_named_regions_carry_their_facts():
    found = named_regions(KNOWN, {"core": "V1 & !ecc_0.5", "my patch": "my patch"}, CEILINGS, "analyses.a.regions")
    first = found.regions[0].facts
    mask = MASKS["V1"] & ~MASKS["ecc_0.5"]
    assert first == {
        "name": "core",
        "expression": "V1 & !ecc_0.5",
        "n_voxels": mask.sum(),
        "noise_ceiling": pytest.approx(np.nanmedian(CEILINGS[mask])),
    }
    assert named_regions(KNOWN, {"V1": "V1"}, np.full(N, np.nan), "x").regions[0].noise_ceiling is None


def test_empty_equal_and_overlapping_regions_are_said():
    wanted = {"none": "bodies & V1", "a": "V1 | V2", "b": "V1-V2", "c": "V2-V3", "d": "places"}
    found = named_regions(KNOWN, wanted, CEILINGS, "x")
    assert list(found.masks) == ["a", "b", "c", "d"]
    assert found.remarks == (
        "No chosen voxel lies in none.",
        "These regions hold the same voxels: a and b.",
        "These regions share voxels: a and c (8), b and c (8).",
    )


def test_unknown_names_name_the_entry():
    with pytest.raises(RecordingError, match=r"no region 'V9' .*which analyses\.mine\.regions names"):
        named_regions(KNOWN, {"V9": "V9"}, CEILINGS, "analyses.mine.regions")


def test_an_entry_names_regions_as_a_text_a_list_or_by_name():
    assert ROIMaximisation(regions="V1|V2").region_expressions == {"V1|V2": "V1|V2"}
    assert ROIMaximisation(regions=["V1", "!V1"]).region_expressions == {"V1": "V1", "!V1": "!V1"}
    assert ROIMaximisation(regions={"early": "V1-V3"}).region_expressions == {"early": "V1-V3"}
    assert ROIMaximisation().region_expressions == expressions_of(None) == {}


@pytest.mark.parametrize("regions", [[], {}, ["V1", "V1"], [""], {"a": ""}, 3])
def test_an_entry_that_names_no_region_or_one_twice_is_refused(regions):
    with pytest.raises(ValidationError, match="regions"):
        ROIMaximisation(regions=regions)


def test_results_of_the_authors_set_depend_on_no_choice_of_regions():
    assert "regions" not in ROIMaximisation(lengths="as-published").influences("cpu")
    assert "regions" in ROIMaximisation().influences("cpu")
    assert "regions" in ROIMaximisation(lengths="as-published", regions=["V1", "V2"]).influences("cpu")


REMARKABLE = ("V1|V2", "V1", "V1 & faces")


@pytest.mark.parametrize(
    "analysis",
    [
        ROIMaximisation(regions=REMARKABLE, measured=False),
        ROIAblation(regions=REMARKABLE, how=("without",), n_images=4, n_random=0, content="rank"),
        VoxelWeights(regions=REMARKABLE, n_random=5),
        Attribution(regions=REMARKABLE, places=0, n_random=0, drawn=()),
    ],
    ids=lambda analysis: analysis.label,
)
def test_every_analysis_says_what_is_unusual_about_its_regions(analysis):
    outcome = analysis.run(linear_world())
    remarks = ["No chosen voxel lies in V1 & faces.", "These regions share voxels: V1|V2 and V1 (20)."]
    assert outcome.facts["remarks"] == remarks
    assert " ".join(remarks) in [getattr(block, "text", "") for block in outcome.section.blocks]


def test_default_regions_are_those_that_hold_voxels_each_and_together():
    data = linear_world()
    rois = {
        "V1": data.rois["V1"],
        "v-2": data.rois["V2"],
        "faces": data.rois["faces"],
        "words": data.rois["V1"] & False,
    }
    found = default_regions(replace(data, known_regions=KnownRegions(rois)))
    assert list(found.masks) == ["early", "V1", "V2", "faces"]
    np.testing.assert_array_equal(found.masks["early"], data.rois["V1"] | data.rois["V2"])


def test_of_figure_8_is_said_which_regions_lack_and_which_are_spelled_alike():
    one = np.ones(60, bool)
    data = replace(linear_world(), known_regions=KnownRegions({"v1": one, "V-1": one, "V2": one, "faces": ~one}))
    found = figure_8_regions(data)
    assert list(found.masks) == ["V2"]
    assert found.remarks == (
        "The recording has no region V3, V4, words, places, bodies.",
        "No chosen voxel lies in faces.",
        "Left out, since they are spelled alike: v1 and V-1.",
    )
